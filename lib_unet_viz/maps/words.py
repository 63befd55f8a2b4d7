"""Maps of words: from the cross-attention of many layers, heads and steps to one heat map per word.

A method (`aggregation` says which there are) turns the recorded maps of one image into (token, y, x); the map
of a word adds up those of its tokens.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from lib_unet_viz import notebook
from lib_unet_viz.capture.request import explore_captures, word_captures
from lib_unet_viz.maps import edges, self_attention, strength
from lib_unet_viz.maps.aggregation import DEFAULT, METHODS, MIDDLE, aggregate, chosen, resize
from lib_unet_viz.notation import tokens as token_module
from lib_unet_viz.settings import Method
from lib_unet_viz.trace import FIRST, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import numpy.typing as npt
    from PIL import Image

    from lib_unet_viz.trace import AttentionMap, Trace

__all__ = [
    "DEFAULT",
    "METHODS",
    "MIDDLE",
    "HeatMap",
    "HeatMaps",
    "Method",
    "cross_maps",
    "explore_captures",
    "word_captures",
    "word_maps",
]


@dataclass(frozen=True)
class HeatMap:
    """One word's map: float32 (y, x), non-negative, in the units of its method.

    strength: how much the word stands out, in [0, 1]; see `maps.strength`.
    """

    word: str
    positions: tuple[int, ...]
    values: npt.NDArray[np.float32]
    strength: float = 0.0

    def unit(self) -> npt.NDArray[np.float32]:
        """Stretched to [0, 1], (y, x); all 0 where the map is flat."""
        low, high = float(self.values.min()), float(self.values.max())
        return (self.values - low) / (high - low) if high > low else np.zeros_like(self.values)

    def resized(self, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """The map in [0, 1] at another (height, width), bicubic."""
        return resize(torch.from_numpy(self.unit())[None], size)[0].clamp(0, 1).numpy()

    def _repr_html_(self) -> str:
        """For notebooks: the map in grey, and the word with its strength."""
        return notebook.figures([(notebook.grey(self.values), f"{self.word} ({self.strength:.2f})")])


class HeatMaps(list[HeatMap]):
    """A list of words' maps that shows them in a notebook, in its order, each over its own range."""

    def _repr_html_(self) -> str:
        shown = [(notebook.grey(heat.values), f"{heat.word} ({heat.strength:.2f})") for heat in self]
        return notebook.figures(shown) if shown else notebook.paragraph("no words")


def word_maps(
    trace: Trace,
    words: Mapping[str, Sequence[int]] | None = None,
    *,
    method: Method = DEFAULT,
    selection: Selection = FIRST,
    picture: Image.Image | None = None,
) -> HeatMaps:
    """One heat map per word of the prompt, or per entry of `words` (a name to token positions).

    The maps of a word's several tokens are added up, as the VXA extension does.

    Where blocks read texts of their own, the layers of each text are aggregated apart, and a word's map is
    the mean over the layers whose text holds the word; positions in `words` are of the text that the other
    blocks read. selection: of which image, half, sub-prompt and pass. picture: the one that guides `guided`,
    where it is not the trace's.

    Raises ValueError where the trace holds no cross-attention probabilities of what is selected, or does not
    know its tokens, or the method is unknown or cannot be had of this trace.
    """
    trace = trace.view(selection)
    everything = cross_maps(trace, common=words is not None)
    maps = chosen(everything, method)
    if words is None and not any(trace.token_texts(item) for item in maps):
        raise ValueError(
            "which words the tokens are is not known of this run (was it given embeddings instead of a "
            "prompt?): name the positions of words, as {'cat': [2]}"
        )
    affinity = self_attention.table(trace)
    found: dict[str, list[_Part]] = {}
    for texts, alike in _by_text(trace, maps):
        positions = token_module.named(texts) if words is None else words
        length = alike[0].shape[1]
        read = [each for each in everything if trace.token_texts(each) == texts and each.shape[1] == length]
        strong = strength.strengths(read).numpy()
        for part in _parts(alike, method, positions, texts=texts, affinity=affinity, strong=strong):
            found.setdefault(part.heat.word, []).append(part)
    heats = [_joined(parts) for parts in found.values()]
    picture = picture or trace.picture
    return HeatMaps(heats if method != "guided" or picture is None else _guided(heats, picture))


@dataclass(frozen=True)
class _Part:
    """A word's map of `layers` layers that read the same text."""

    heat: HeatMap
    layers: int


def _by_text(trace: Trace, maps: Sequence[AttentionMap]) -> Iterator[tuple[list[str], list[AttentionMap]]]:
    """Maps whose tokens are the same, with these; the text that most blocks read comes first."""
    groups: dict[tuple[bool, int, tuple[str, ...]], list[AttentionMap]] = {}
    for item in maps:
        key = (trace.reads_its_own(item), item.shape[1], tuple(trace.token_texts(item)))
        groups.setdefault(key, []).append(item)
    yield from ((list(key[2]), groups[key]) for key in sorted(groups, key=lambda key: key[0]))


def _parts(
    maps: Sequence[AttentionMap],
    method: Method,
    words: Mapping[str, Sequence[int]],
    *,
    texts: Sequence[str],
    affinity: tuple[torch.Tensor, tuple[int, int]] | None,
    strong: npt.NDArray[np.float32],
) -> Iterator[_Part]:
    content = token_module.content(texts) or list(range(1, maps[0].shape[1]))
    asked = {position for positions in words.values() for position in positions}
    content = sorted({*content, *asked} if method == "rescaled" else content)
    layers = len({(item.key.block, item.key.layer) for item in maps})
    maps_of = aggregate(maps, method, content=content, affinity=affinity).numpy()
    for name, at in words.items():
        if at:
            heat = HeatMap(name, tuple(at), maps_of[list(at)].sum(0), float(strong[list(at)].max()))
            yield _Part(heat, layers)


def _joined(parts: Sequence[_Part]) -> HeatMap:
    """The mean, by layers, at the size of the finest."""
    heats = [part.heat for part in parts]
    if len(heats) == 1:
        return heats[0]
    size = max((heat.values.shape for heat in heats), key=math.prod)
    values = [resize(torch.from_numpy(heat.values)[None], size)[0].clamp(min=0).numpy() for heat in heats]
    mean = np.average(values, axis=0, weights=[part.layers for part in parts])
    best = max(heat.strength for heat in heats)
    return replace(heats[0], values=mean.astype(np.float32), strength=best)


def _guided(heats: Iterable[HeatMap], picture: Image.Image) -> Iterator[HeatMap]:
    """Along the picture's edges, by `maps.edges`."""
    for heat in heats:
        [values] = edges.along(torch.from_numpy(heat.values)[None], picture).numpy()
        yield replace(heat, values=values)


def cross_maps(trace: Trace, *, selection: Selection = FIRST, common: bool = False) -> list[AttentionMap]:
    """The cross-attention probabilities of all tokens of a selection: means over steps where there are some.

    common: only of the layers that read the text that most blocks read. Raises ValueError where there are
    none.
    """
    maps = [
        item
        for item in trace.view(selection).attention.all(what="QK", kind="cross")
        if not (item.tokens or (common and trace.reads_its_own(item)))
    ]
    maps = [item for item in maps if item.key.step is None] or maps
    if not maps:
        raise ValueError(f"the trace holds no cross-attention (QK) of {selection}: record it first")
    return maps
