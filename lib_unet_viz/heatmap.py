"""Maps of words: from the cross-attention of many layers, heads and steps to one heat map per word.

A method (`aggregation` says which there are) turns the recorded maps of one image into (token, y, x); the map
of a word is the mean over its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lib_unet_viz import self_attention
from lib_unet_viz import tokens as token_module
from lib_unet_viz.aggregation import DEFAULT, METHODS, MIDDLE, Method, aggregate, resize
from lib_unet_viz.capture import Capture

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from lib_unet_viz.trace import AttentionMap, Half, Trace

__all__ = [
    "DEFAULT",
    "METHODS",
    "MIDDLE",
    "HeatMap",
    "Method",
    "cross_maps",
    "explore_captures",
    "word_captures",
    "word_maps",
]


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
        return resize(torch.from_numpy(self.unit())[None], size)[0].clamp(0, 1).numpy()


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

    half: "uncond" is the negative prompt's. sub: which of the prompts that AND joins.

    Raises ValueError where the trace holds no cross-attention probabilities of that image and half, or the
    method is unknown or cannot be had of this trace.
    """
    maps = cross_maps(trace, half=half, image=image, sub=sub)
    texts = trace.token_texts(maps[0])
    if words is None:
        words = token_module.named(texts)
    content = token_module.content(texts) or list(range(1, maps[0].shape[1]))
    asked = {position for positions in words.values() for position in positions}
    looks = self_attention.table(trace, half=half, image=image)
    found = aggregate(
        maps,
        method,
        content=sorted({*content, *asked} if method == "rescaled" else content),
        looks=looks,
    ).numpy()
    return [HeatMap(name, tuple(at), found[list(at)].mean(0)) for name, at in words.items() if at]


def word_captures(blocks: str = "", *, halves: Sequence[Half] = ("cond", "uncond")) -> tuple[Capture, ...]:
    """What a recorder is to keep for word maps: means over steps, a few megabytes an image."""
    return (
        Capture(blocks, mean=True, halves=halves),
        Capture(kinds="self", mean=True, halves=halves, most=self_attention.MOST),
    )


def explore_captures(fine: str, *, blocks: str = "") -> tuple[Capture, ...]:
    """What a recorder is to keep so that other words (see `asking`) and single places can be asked of a run.

    blocks: whose cross-attention. fine: whose self-attention, such as `vxa.default_layers`.
    """
    return Capture(blocks, what="Q"), Capture(fine, kinds="self", what="Q,K")


def cross_maps(trace: Trace, *, half: Half = "cond", image: int = 0, sub: int = 0) -> list[AttentionMap]:
    """The cross-attention probabilities of all tokens of one image: means over steps where there are some.

    Raises ValueError where there are none.
    """
    maps = [
        item
        for item in trace.attention.all(what="QK", kind="cross", half=half, image=image, sub=sub)
        if not item.tokens
    ]
    maps = [item for item in maps if item.key.step is None] or maps
    if not maps:
        raise ValueError(f"the trace holds no cross-attention (QK) of image {image}, {half}: record it first")
    return maps
