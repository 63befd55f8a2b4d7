"""The old place of `lib_unet_viz.hosts.diffusers.layer_prompts`; it goes with version 0.2."""

from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts

__all__ = ["LayerPrompts"]
