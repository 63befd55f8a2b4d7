"""What the webui loads: the scripts of its dropdown, and what it is to call when. Nothing else is here."""

from modules import script_callbacks

from lib_unet_viz.extension import axes, edit_tab, explore_tab, routes, tab
from lib_unet_viz.extension.script import AlwaysOn, Dropdown, Watcher, add_options, count_tokens, pasted
from lib_unet_viz.hosts.webui import running

__all__ = ["AlwaysOn", "Dropdown", "Watcher"]

script_callbacks.on_ui_settings(add_options)
script_callbacks.on_before_ui(axes.register)
script_callbacks.on_before_token_counter(count_tokens)
script_callbacks.on_cfg_denoiser(running.before_denoiser)
script_callbacks.on_cfg_after_cfg(running.after_denoiser)
script_callbacks.on_infotext_pasted(pasted)
script_callbacks.on_script_unloaded(running.forget_all)
script_callbacks.on_app_started(routes.add)
tab.register()
edit_tab.register()
explore_tab.register()
