"""Maps of words: from the cross-attention of many layers, heads and steps to one heat map per word.

A method turns the recorded maps of one image into (token, y, x); a word's map is the mean over its tokens.
Methods, by name:

`vxa`       one layer (the middle block unless other layers are recorded alone), heads summed
            (benkyoujouzu, "Visualize Cross-Attention" extension, 2022)
`daam`      bicubic upsampling, mean over layers and heads, sum over steps
            (Tang et al. 2023, "What the DAAM: Interpreting Stable Diffusion Using Cross Attention")
`rescaled`  as `daam`, then each pixel normalised over the content tokens, then each token's range stretched
            to [0, 1] (per-pixel rescaling as in "GoCA", arXiv 2603.06178)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import torch
from torch.nn import functional

from lib_unet_viz import tokens as token_module

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from lib_unet_viz.trace import AttentionMap, Half, Trace

Method = Literal["vxa", "daam", "rescaled"]
METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = "daam"  # what points best on the bundled model; `unet-viz score` measures it
MIDDLE = "M00"


@dataclass(frozen=True)
class HeatMap:
    """One word's map: float32 (y, x), non-negative, in the units of its method."""

    word: str
    positions: tuple[int, ...]
    values: npt.NDArray[np.float32]

    def unit(self) -> npt.NDArray[np.float32]:
        """Stretched to [0, 1], (y, x); all 0 where the map is flat."""
        low, high = float(self.values.min()), float(self.values.max())
        return (self.values - low) / (high - low) if high > low else np.zeros_like(self.values)

    def resized(self, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """The map in [0, 1] at another (height, width), bicubic."""
        return _resize(torch.from_numpy(self.unit())[None], size)[0].clamp(0, 1).numpy()


def word_maps(
    trace: Trace,
    words: Mapping[str, Sequence[int]] | None = None,
    *,
    method: Method = DEFAULT,
    half: Half = "cond",
    image: int = 0,
    sub: int = 0,
) -> list[HeatMap]:
    """One heat map per word of the prompt, or per entry of `words` (a name to token positions).

    Raises ValueError where the trace holds no cross-attention probabilities of that image and half, or the
    method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is no method; allowed: {', '.join(METHODS)}")
    maps = [
        m
        for m in trace.attention.all(what="QK", kind="cross", half=half, image=image, sub=sub)
        if not m.tokens
    ]
    maps = [m for m in maps if m.key.step is None] or maps  # means over steps, where the trace has them
    if not maps:
        raise ValueError(f"the trace holds no cross-attention (QK) of image {image}, {half}: record it first")
    texts = trace.token_texts(maps[0])
    if words is None:
        words = _unique(token_module.words(texts))
    content = token_module.content(texts) or list(range(1, maps[0].shape[1]))
    asked = {position for positions in words.values() for position in positions}
    maps_of = aggregate(maps, method, content=sorted({*content, *asked} if method == "rescaled" else content))
    return [HeatMap(name, tuple(at), maps_of[list(at)].mean(0)) for name, at in words.items() if at]


def aggregate(
    maps: Sequence[AttentionMap], method: Method, *, content: Sequence[int]
) -> npt.NDArray[np.float32]:
    """Reduce maps (head, token, y, x) of several layers and steps to (token, y, x), of the finest's size."""
    if method == "vxa":
        middle = [m for m in maps if m.key.block == MIDDLE]
        maps = middle or maps
        alike = [m.numpy().sum(0) for m in maps if m.shape == maps[0].shape]
        summed: npt.NDArray[np.float32] = np.stack(alike).sum(0, dtype=np.float32)
        return summed
    size = max(((m.shape[-2], m.shape[-1]) for m in maps), key=math.prod)
    layers: dict[tuple[str, int | None], torch.Tensor] = {}  # (head, token, y, x), summed over steps
    for item in maps:
        site = (item.key.block, item.key.layer)
        layers[site] = layers[site] + item.data.float() if site in layers else item.data.float()
    # Clipped per head, as castorini/daam's trace.py (compute_global_heat_map) does.
    upsampled = [_resize(layer, size).clamp(min=0).mean(0) for layer in layers.values()]
    total = torch.stack(upsampled).mean(0)
    if method == "rescaled":
        total = rescale(total, content)
    return total.numpy()


def rescale(maps: torch.Tensor, content: Sequence[int]) -> torch.Tensor:
    """Normalise each pixel of (token, y, x) over the content tokens; stretch each token's range to [0, 1]."""
    share = maps / maps[list(content)].sum(0).clamp(min=1e-12)
    low, high = share.amin((1, 2), keepdim=True), share.amax((1, 2), keepdim=True)
    return (share - low) / (high - low).clamp(min=1e-12)


def _resize(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """Bicubic, (..., y, x) to (..., *size)."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    resized = functional.interpolate(flat, size=tuple(size), mode="bicubic", align_corners=False)
    return resized.reshape(*maps.shape[:-2], *size)


def _unique(words: Sequence[token_module.Word]) -> dict[str, tuple[int, ...]]:
    """Words by text; a repeated word gets `#2`, `#3`..."""
    named: dict[str, tuple[int, ...]] = {}
    for word in words:
        ordinal = sum(name.partition("#")[0] == word.text for name in named) + 1
        named[word.text if ordinal == 1 else f"{word.text}#{ordinal}"] = word.positions
    return named
