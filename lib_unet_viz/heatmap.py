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
    from collections.abc import Iterator, Mapping, Sequence

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

    Where blocks read texts of their own, a word's map is the mean over the layers whose text holds the word;
    positions in `words` are of the text that the other blocks read. Raises ValueError where the trace holds
    no cross-attention probabilities of that image and half, or the method is unknown.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is no method; allowed: {', '.join(METHODS)}")
    recorded = trace.attention.all(what="QK", kind="cross", half=half, image=image, sub=sub)
    maps = [m for m in recorded if not m.tokens and (words is None or not trace.reads_its_own(m))]
    maps = [m for m in maps if m.key.step is None] or maps  # means over steps, where the trace has them
    if not maps:
        raise ValueError(f"the trace holds no cross-attention (QK) of image {image}, {half}: record it first")
    if method == "vxa":
        maps = [m for m in maps if m.key.block == MIDDLE] or maps
    size = max(((m.shape[-2], m.shape[-1]) for m in maps), key=math.prod)
    found: dict[str, list[_Part]] = {}
    for texts, alike in _by_text(trace, maps):
        named = _unique(token_module.words(texts)) if words is None else words
        for name, part in _parts(alike, method, named, texts=texts, size=size):
            found.setdefault(name, []).append(part)
    return [_joined(name, parts) for name, parts in found.items()]


@dataclass(frozen=True)
class _Part:
    """A word's map (y, x) from `layers` layers that read the same text."""

    positions: tuple[int, ...]
    values: npt.NDArray[np.float32]
    layers: int


def _by_text(
    trace: Trace, maps: Sequence[AttentionMap]
) -> Iterator[tuple[Sequence[str], list[AttentionMap]]]:
    """Maps whose tokens are the same, with these; the text that most blocks read comes first."""
    groups: dict[tuple[bool, int, tuple[str, ...]], list[AttentionMap]] = {}
    for item in maps:
        key = (trace.reads_its_own(item), item.shape[1], tuple(trace.token_texts(item)))
        groups.setdefault(key, []).append(item)
    yield from ((key[2], groups[key]) for key in sorted(groups, key=lambda key: key[0]))


def _parts(
    maps: Sequence[AttentionMap],
    method: Method,
    words: Mapping[str, Sequence[int]],
    *,
    texts: Sequence[str],
    size: tuple[int, int],
) -> Iterator[tuple[str, _Part]]:
    content = token_module.content(texts) or list(range(1, maps[0].shape[1]))
    asked = {position for positions in words.values() for position in positions}
    content = sorted({*content, *asked} if method == "rescaled" else content)
    layers = len({(item.key.block, item.key.layer) for item in maps})
    maps_of = aggregate(maps, method, content=content, size=size)
    for name, at in words.items():
        if at:
            yield name, _Part(tuple(at), maps_of[list(at)].mean(0), layers)


def _joined(name: str, parts: Sequence[_Part]) -> HeatMap:
    if len(parts) == 1:
        return HeatMap(name, parts[0].positions, parts[0].values)
    weights = [part.layers for part in parts]
    values = np.average([part.values for part in parts], axis=0, weights=weights)
    return HeatMap(name, parts[0].positions, values.astype(np.float32))


def aggregate(
    maps: Sequence[AttentionMap], method: Method, *, content: Sequence[int], size: tuple[int, int]
) -> npt.NDArray[np.float32]:
    """Reduce maps (head, token, y, x) of layers and steps, with the same tokens, to (token, *size)."""
    if method == "vxa":
        summed = torch.stack([_resize(m.data.float(), size).sum(0) for m in maps]).sum(0)
        return summed.numpy()
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
