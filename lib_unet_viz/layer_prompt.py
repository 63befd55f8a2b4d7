"""The old place of `lib_unet_viz.notation.layer_prompt`; it goes with version 0.2."""

from lib_unet_viz.notation.layer_prompt import LayerPrompt

__all__ = ["LayerPrompt"]
