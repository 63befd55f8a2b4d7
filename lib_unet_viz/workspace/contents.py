"""Which maps of a run go into a bundle, and in which order, as long as there is room.

First come the means over steps of words, which are small; then step after step, in an order in which any
first few are spread evenly over the run, the features and words of all blocks; then what is left.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.errors import ranges
from lib_unet_viz.notation.specs import BlockSpec, StepSpec
from lib_unet_viz.trace import AttentionMap, AttentionMaps, FeatureMap, FeatureMaps, Trace
from lib_unet_viz.workspace.measures import unread

_ORDER = {"features": 0, "QK": 0, "VQK": 1, "Q": 1, "K": 1}
_SELF = 2


@dataclass(frozen=True)
class Choice:
    """What a person wants of a run: blocks as of `BlockSpec`, steps as of `StepSpec`; blank is all."""

    blocks: str = ""
    steps: str = ""

    def of(self, trace: Trace) -> list[FeatureMap]:
        """The maps of a view. Raises SpecError for what cannot be read, or is not there."""
        maps: list[FeatureMap] = [*trace.features, *trace.attention]
        chosen = set(BlockSpec.parse(self.blocks).names(block_names(trace)))
        steps = StepSpec.parse(self.steps)
        total = max((item.key.step + 1 for item in maps if item.key.step is not None), default=0)
        total = max(total, trace.meta.steps or 0)
        return [
            item
            for item in maps
            if item.key.block in chosen
            and (item.key.step is None or steps.includes(item.key.step + 1, total))
        ]

    def trace(self, trace: Trace) -> Trace:
        """A view with the chosen maps alone. Raises ChoiceError where there are none."""
        maps = self.of(trace)
        if not maps:
            raise ChoiceError(f"nothing fits; there are {trace.features}, {trace.attention}")
        attention = [item for item in maps if isinstance(item, AttentionMap)]
        features = [item for item in maps if not isinstance(item, AttentionMap)]
        return replace(trace, features=FeatureMaps(features), attention=AttentionMaps(attention))


class ChoiceError(ValueError):
    """A run holds nothing of what was chosen; the message says what it holds."""


def block_names(trace: Trace) -> list[str]:
    """The U-Net's blocks in the order in which they run; where a dump does not say, those that have maps."""
    return list(trace.meta.blocks or sorted({item.key.block for item in (*trace.features, *trace.attention)}))


@dataclass(frozen=True)
class Part:
    """One map as it goes into a bundle.

    rank: the lower, the more wanted. tokens: positions along its token axis; None: it has none, or those of a
    grid. labels: their texts, where they are known.
    """

    item: FeatureMap
    rank: tuple[int, int]
    tokens: tuple[int, ...] | None = None
    labels: tuple[str, ...] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the kept tokens, with the map's axes."""
        shape = list(self.item.shape)
        if self.tokens is not None:
            shape[1] = len(self.tokens)
        return tuple(shape)

    @property
    def pictures(self) -> tuple[int, int, int]:
        """Of `planes`: (n, y, x)."""
        *others, height, width = self.shape
        return int(np.prod(others)), height, width

    @property
    def nbytes(self) -> int:
        """Before anything is deflated, at one byte a value."""
        return int(np.prod(self.shape))

    def planes(self) -> npt.NDArray[np.float32]:
        """Pictures (n, y, x), as of `FeatureMap.planes`."""
        values = unread(self.item).numpy()
        if self.tokens is not None and isinstance(self.item, AttentionMap):
            there = list(self.item.tokens or range(self.item.shape[1]))
            values = values[:, [there.index(token) for token in self.tokens]]
        return values.reshape(-1, *values.shape[-2:])

    def entry(self) -> dict[str, Any]:
        """What a manifest says of it; steps count from 1."""
        key = self.item.key
        return {
            "kind": key.what,
            "attention": key.kind,
            "block": key.block,
            "layer": key.layer,
            "step": None if key.step is None else key.step + 1,
            "axes": list(self.item.axes),
            "shape": list(self.shape),
            "tokens": None if self.tokens is None else list(self.tokens),
            "labels": None if self.labels is None else list(self.labels),
        }


def parts(trace: Trace, choice: Choice) -> list[Part]:
    """The maps of a view that a choice wants, the most wanted first."""
    maps = choice.of(trace)
    rank = _spread({item.key.step for item in maps if item.key.step is not None})

    def wanted(item: FeatureMap) -> tuple[int, int]:
        kind = _SELF if item.key.kind == "self" else _ORDER[item.key.what]
        return kind, -1 if item.key.step is None else rank[item.key.step]

    return sorted((_part(trace, item, wanted(item)) for item in maps), key=lambda part: part.rank)


def _part(trace: Trace, item: FeatureMap, rank: tuple[int, int]) -> Part:
    """Of cross-attention, the tokens of words, as BOS, EOS and padding would take most of the room."""
    if not isinstance(item, AttentionMap) or item.key.kind != "cross" or "token" not in item.axes:
        return Part(item, rank)
    texts = trace.texts(item.key)
    there = item.tokens or tuple(range(item.shape[1]))
    around = [at for places in tokens.special(texts).values() for at in places[:1]]
    words = set(tokens.content(texts) or around or there)
    kept = tuple(token for token in there if token in words)
    return Part(item, rank, kept, tuple(tokens.readable(texts[at]) for at in kept) if texts else None)


def _spread(steps: Iterable[int]) -> dict[int, int]:
    """A rank for each step: the last, the first, then again and again the middles between those before."""
    order = sorted(steps)
    found, gaps = [*order[-1:], *order[:1]], deque([(0, len(order) - 1)])
    while gaps:
        first, last = gaps.popleft()
        middle = (first + last) // 2
        if first < middle:
            found.append(order[middle])
            gaps += [(first, middle), (middle, last)]
    return {step: rank for rank, step in enumerate(dict.fromkeys(found))}


def left_out(parts: Sequence[Part]) -> str:
    """What there was no room for, in a line for people."""
    keys = [part.item.key for part in parts]
    blocks = dict.fromkeys(key.block for key in keys)
    steps = sorted({key.step + 1 for key in keys if key.step is not None})
    kinds = dict.fromkeys(f"{key.kind}-attention {key.what}" if key.kind else key.what for key in keys)
    at = f" at steps {ranges(steps)}" if steps else ""
    return (
        f"{len(parts)} maps did not fit into the page, and only their measures are in it: "
        f"{', '.join(kinds)} of {', '.join(blocks)}{at}. Choose fewer blocks or steps to have them."
    )
