"""The picture as a guide for maps of few places: what is hot up to an edge in the picture ends at that edge.

The guided filter (He, Sun, Tang 2010, "Guided Image Filtering"): within a window, a map is a linear function
of the picture's red, green and blue. Where the picture is plain, the map stays as it is, but smoother.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from lib_unet_viz.maps.aggregation import resize

if TYPE_CHECKING:
    from torch import Tensor

SIDE = 128  # places of the longer side
REACH = 1.5  # places of a map by which its edges may be off: a window's radius
SMOOTHNESS = 1e-4  # variance of colours in [0, 1] under which a window counts as plain


def along(maps: Tensor, picture: Image.Image) -> Tensor:
    """Maps (map, y, x) of a picture at its shape, the longer side `SIDE` places or the picture's pixels.

    Each map keeps its range. `REACH` and `SMOOTHNESS` were chosen on one half of the nouns and scenes of
    benchmarks/thing_maps.py.
    """
    guide = _guide(picture)
    size = (int(guide.shape[-2]), int(guide.shape[-1]))
    radius = max(1, round(REACH * max(size) / max(maps.shape[-2:])))
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    fine = resize(maps, size).clamp(low, high)
    slope, offset = _linear(fine, guide, radius)
    return (torch.einsum("mcyx,cyx->myx", _mean(slope, radius), guide) + _mean(offset, radius)).clamp(
        low, high
    )


def _guide(picture: Image.Image) -> Tensor:
    """The picture's colours in [0, 1], (channel, y, x)."""
    small = picture.convert("RGB")
    small.thumbnail((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small, dtype=np.float32) / 255).movedim(-1, 0)


def _linear(maps: Tensor, guide: Tensor, radius: int) -> tuple[Tensor, Tensor]:
    """Of each window the function of colours that is nearest to each map: slope (map, channel, y, x), and
    offset (map, y, x)."""
    color, heat = _mean(guide, radius), _mean(maps, radius)
    both = _mean(maps[:, None] * guide, radius) - heat[:, None] * color
    colors = _mean(guide[:, None] * guide, radius) - color[:, None] * color
    colors = colors.movedim((0, 1), (2, 3)) + SMOOTHNESS * torch.eye(len(guide))
    slope = torch.linalg.solve(colors, both.movedim((0, 1), (3, 2))).movedim((3, 2), (0, 1))
    return slope, heat - torch.einsum("mcyx,cyx->myx", slope, color)


def _mean(values: Tensor, radius: int) -> Tensor:
    """Of each place's window, as much of it as lies in the picture; (..., y, x)."""
    flat = values.reshape(1, -1, *values.shape[-2:])
    for window, margin in (((2 * radius + 1, 1), (radius, 0)), ((1, 2 * radius + 1), (0, radius))):
        flat = functional.avg_pool2d(flat, window, 1, margin, count_include_pad=False)
    return flat.reshape(values.shape)
