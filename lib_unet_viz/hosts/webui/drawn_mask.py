"""The mask that was drawn for inpainting: as an edit's own, and what of a picture was sampled.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.own_mask import OwnMask
from lib_unet_viz.unet import Size


def drawn(p: Any) -> OwnMask | None:
    """The mask of a `p` that has read its pictures, as its sampler has it: inverted, blurred and cropped
    (processing.py:1746). Raises SettingsError where nothing is to change.
    """
    mask = getattr(p, "nmask", None)
    return OwnMask.of(mask.float().cpu().flatten(end_dim=-3)[0].numpy()) if isinstance(mask, Tensor) else None


def sampled(p: Any, picture: Image.Image) -> Image.Image:
    """What of a picture the U-Net saw: all, or the part around the mask ("Only masked")."""
    place = getattr(p, "paste_to", None)
    if place is None:
        return picture
    x, y, width, height = place
    return picture.crop((x, y, x + width, y + height))


def whole(p: Any, edited: Edited) -> Edited:
    """With masks of whole pictures, where only a part of them was sampled ("Only masked")."""
    place, blend = getattr(p, "paste_to", None), edited.plan.blend
    if place is None or blend is None or blend.own is None:
        return edited
    size = (edited.pictures[0].height, edited.pictures[0].width)
    masks = {
        at: [(step, _within(mask.float(), place, size) > 0) for step, mask in steps]
        for at, steps in edited.masks.items()
    }
    own = replace(blend.own, values=_within(torch.from_numpy(blend.own.values), place, size).numpy())
    return replace(edited, plan=replace(edited.plan, blend=replace(blend, own=own)), masks=masks)


def _within(values: Tensor, place: Sequence[int], size: Size) -> Tensor:
    """Values (y, x) at a place (x, y, width, height) of a picture of this size, in pixels; 0 elsewhere."""
    x, y, width, height = place
    found = torch.zeros(size)
    found[y : y + height, x : x + width] = interpolate(values[None, None], size=(height, width))[0, 0]
    return found
