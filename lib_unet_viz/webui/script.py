"""The webui's scripts: one in the dropdown of txt2img and img2img, one always on where that is switched on.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from modules import processing, scripts, shared

from lib_unet_viz.hosts import webui
from lib_unet_viz.settings import Settings
from lib_unet_viz.webui import axes, panel, paths, results

TITLE = "U-Net Viz"
ALWAYS_ON_TITLE = f"{TITLE} (always on)"


class _Script(scripts.Script):
    """What both have in common: the panel, and settings from what the webui passes."""

    panel: panel.ScriptPanel | None = None
    place = ""  # part of the elements' names in the page

    def show(self, is_img2img: bool) -> Any:
        self._around: dict[str, Any] = {}
        names = ("steps", "width", "height")
        self.on_after_component_elem_id = [
            (f"{self.tabname}_{name}", lambda made, name=name: self._around.update({name: made.component}))
            for name in names
        ]
        return True

    def ui(self, is_img2img: bool) -> list[Any]:
        made = panel.build(Settings.off(), name=f"{self.tabname}_unet_viz{self.place}")
        if self.panel is None:  # the API calls this again, for default values (api.py:326)
            self.panel = made
            self.infotext_fields = made.infotext_fields()
            self.paste_field_names = [panel.INFOTEXT]
            around = {"steps": gr.State(20), "width": gr.State(512), "height": gr.State(512), **self._around}
            panel.connect(made, **around)
        return made.components

    def settings(self, p: Any, values: Sequence[Any]) -> Settings:
        """The settings of this run, with what X/Y/Z axes changed. Raises ValueError for wrong ones."""
        if self.panel is None:
            raise RuntimeError("the script's panel has not been made yet")
        settings = axes.applied(p, self.panel.settings(values))
        paths.check(settings)
        return settings


class Dropdown(_Script):
    """Runs the generation with capture, and puts the sheets after their pictures."""

    def title(self) -> str:
        return TITLE

    def run(self, p: Any, *values: Any) -> Any:
        webui.rest()
        with _for_people(p):
            settings = self.settings(p, values)
            if not settings.enabled:
                p.comment(f"{TITLE}: nothing was ticked, so nothing was recorded.")
                return processing.process_images(p)
            generation = webui.Generation(p, settings)
            p.extra_generation_params.update({"Script": TITLE, panel.INFOTEXT: panel.written(settings)})
            with generation:
                processed = processing.process_images(p)
        results.add(processed, p, generation.trace, settings)
        return processed


class AlwaysOn(_Script):
    """Records along with any other script. Exceptions here are only logged by the webui (scripts.py:820), so
    what is wrong is raised in the U-Net's first call, which stops the run.
    """

    place = "_always"

    def title(self) -> str:
        return ALWAYS_ON_TITLE

    def show(self, is_img2img: bool) -> Any:
        super().show(is_img2img)
        return scripts.AlwaysVisible if getattr(shared.opts, axes.ALWAYS_ON_OPTION, False) else False

    def ui(self, is_img2img: bool) -> list[Any]:
        with gr.Accordion(TITLE, open=False, elem_id=f"{self.tabname}_unet_viz_accordion"):
            return super().ui(is_img2img)

    def process(self, p: Any, *values: Any) -> None:
        """Begin to record. A run that is nested in another has its own `p`."""
        webui.rest()
        p.unet_viz = None
        try:
            with _for_people(p):
                settings = self.settings(p, values)
                if not settings.enabled:
                    return
                p.unet_viz = webui.Generation(p, settings)
            p.extra_generation_params[panel.INFOTEXT] = panel.written(settings)
        except Exception as error:
            p.unet_viz = webui.Refusal(p, error)
        p.unet_viz.__enter__()

    def postprocess(self, p: Any, processed: Any, *values: Any) -> None:
        """Finish, and put the sheets after their pictures."""
        generation = getattr(p, "unet_viz", None)
        if generation is None:
            return
        p.unet_viz = None
        generation.__exit__(None, None, None)
        if isinstance(generation, webui.Generation):
            results.add(processed, p, generation.trace, generation.settings)


@contextmanager
def _for_people(p: Any) -> Iterator[None]:
    """What a request got wrong becomes a 422 with the reason; in the page it is shown as it is."""
    try:
        yield
    except ValueError as error:
        if not getattr(p, "is_api", False):
            raise
        from fastapi import HTTPException

        raise HTTPException(status_code=422, detail=str(error)) from error


def add_options() -> None:
    """The Settings page's section; to be called by `on_ui_settings`."""
    section = ("unet_viz", TITLE)
    info = shared.OptionInfo(False, "Show U-Net Viz as an always-on accordion too", section=section)
    text = "combines with the X/Y/Z plot and any other script; needs a reload of the UI"
    shared.opts.add_option(axes.ALWAYS_ON_OPTION, info.info(text).needs_reload_ui())
