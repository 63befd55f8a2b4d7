"""One number for each block and step of a run: how large its features are, how much words act in it.

norm    root mean square of the block's features, over channels and places
words   share of cross-attention, in [0, 1], that goes to the prompt's words and not to BOS, EOS and padding;
        the mean over heads, places and layers
word    the same of one word
change  root mean square of the difference of two runs' features, over that of the first run's

Values, and heads, that are not finite are left out.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from lib_unet_viz.maps.soundness import sound
from lib_unet_viz.notation import tokens
from lib_unet_viz.trace import FeatureMap, Trace

M = TypeVar("M", bound=FeatureMap)
Step = int | None  # from 0; None: over all steps
Values = Mapping[tuple[str, Step], float]  # by block and step


def unread(item: M) -> M:
    """The same map, so that what is read from a file for it does not stay in memory with it."""
    return copy.copy(item)


@dataclass(frozen=True)
class Shares:
    """What one layer's cross-attention gives to tokens, by position: the mean over places, and by how much
    its best place exceeds that (`maps.strength`). words: the positions of each, in the text that it reads.
    """

    block: str
    step: Step
    mean: Mapping[int, float]
    peak: Mapping[int, float]
    words: Mapping[str, Sequence[int]]

    def share(self, word: str) -> float | None:
        """A word's, over all its tokens; None where the text does not hold it."""
        there = [self.mean[at] for at in self.words.get(word, ()) if at in self.mean]
        return sum(there) if there else None

    def strength(self, word: str) -> float | None:
        """That of the strongest of a word's tokens."""
        return max((self.peak[at] for at in self.words.get(word, ()) if at in self.peak), default=None)

    def all_words(self) -> float | None:
        """The share of all words together."""
        there = [self.mean[at] for places in self.words.values() for at in places if at in self.mean]
        return sum(there) if there else None


def shares(trace: Trace) -> list[Shares]:
    """Of each cross-attention QK of a view, in its order."""
    found = []
    for item in trace.attention.all(what="QK", kind="cross"):
        heads = sound(unread(item))
        if len(heads):
            kept = range(item.shape[1]) if item.tokens is None else item.tokens
            places = heads.mean(0).flatten(1)
            mean, best = places.mean(1), places.amax(1)
            words = tokens.named(trace.texts(item.key))
            by_token = dict(zip(kept, mean.tolist(), strict=True))
            peaks = dict(zip(kept, (best - mean).tolist(), strict=True))
            found.append(Shares(item.key.block, item.key.step, by_token, peaks, words))
    return found


def norms(maps: Iterable[FeatureMap]) -> Values:
    """Of features."""
    each = {(item.key.block, item.key.step): norm(unread(item).numpy()) for item in maps}
    return {place: value for place, value in each.items() if value is not None}


def norm(values: npt.NDArray[np.float32]) -> float | None:
    """Root mean square of the finite values; None where there are none."""
    known = values[np.isfinite(values)].astype(np.float64)
    return float(np.sqrt(np.mean(known**2))) if known.size else None


def changes(before: Iterable[FeatureMap], after: Iterable[FeatureMap]) -> Values:
    """Of features that both runs hold, of the same shape."""
    there = {(item.key.block, item.key.step): item for item in before}
    found = {}
    for item in after:
        place = (item.key.block, item.key.step)
        other = there.get(place)
        if other is None or other.shape != item.shape:
            continue
        old = unread(other).numpy()
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinities are left out
            size, change = norm(old), norm(unread(item).numpy() - old)
        if size and change is not None:
            found[place] = change / size
    return found


def averaged(all_shares: Iterable[Shares], value: Callable[[Shares], float | None]) -> Values:
    """The mean over layers, by block and step."""
    layers: dict[tuple[str, Step], list[float]] = {}
    for each in all_shares:
        found = value(each)
        if found is not None:
            layers.setdefault((each.block, each.step), []).append(found)
    return {place: sum(values) / len(values) for place, values in layers.items()}


def table(values: Values, steps: Sequence[int]) -> dict[str, list[float | None]]:
    """For each block that has some, a number for each of the steps."""
    blocks = dict.fromkeys(block for block, step in values if step is not None)
    return {block: [rounded(values.get((block, step))) for step in steps] for block in blocks}


def means(values: Values) -> dict[str, float | None]:
    """For each block one number: of its mean over steps where there is one, else the mean of its steps."""
    found: dict[str, Any] = {}
    for (block, step), value in values.items():
        found.setdefault(block, {})[step] = value
    whole = {block: by_step.get(None) for block, by_step in found.items()}
    return {
        block: rounded(sum(by_step.values()) / len(by_step) if whole[block] is None else whole[block])
        for block, by_step in found.items()
    }


def rounded(value: float | None) -> float | None:
    """To the digits that are shown."""
    return None if value is None else float(f"{value:.4g}")
