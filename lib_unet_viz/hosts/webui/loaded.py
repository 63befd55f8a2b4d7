"""What the webui or Forge has loaded: its U-Net, and what it was trained on."""

from __future__ import annotations

from typing import Any

from lib_unet_viz.hosts.webui import forge
from lib_unet_viz.unet import UNet

FACTOR = 8  # pixels a latent position stands for
NOT_LOADED = "No checkpoint is loaded yet: wait until it is, or choose one at the top of the page."


class NoModelError(ValueError):
    """No checkpoint is loaded."""

    def __init__(self) -> None:
        super().__init__(NOT_LOADED)


def loaded_unet(model: Any) -> UNet:
    """The U-Net of the webui's or Forge's `shared.sd_model`.

    Raises UnsupportedModelError where it has none of the kinds known (SD 3, Flux), RuntimeError if no model
    is loaded yet.
    """
    return UNet.of(module_of(model))


def module_of(model: Any) -> Any:
    """The U-Net, or what stands in its place; RuntimeError if no model is loaded yet."""
    inner = forge.inner_model(model) or getattr(model, "model", None)
    if inner is None:
        raise RuntimeError("no checkpoint is loaded yet: generate a picture first, or wait until it is")
    return getattr(inner, "diffusion_model", inner)


def keeps_model(p: Any) -> bool:
    """Whether a run begins with the model that is loaded now: no request loads another one first."""
    return p.sd_model is not None and "sd_model_checkpoint" not in (p.override_settings or {})


def native_size(model: Any) -> int:
    """Pixels of a side of the pictures that the loaded model was trained on."""
    side = getattr(model, "image_size", None)
    if isinstance(side, int):
        return side * FACTOR
    return 1024 if getattr(model, "is_sdxl", False) else 512
