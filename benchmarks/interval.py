"""What pairs of calls tell of a whole run: its ratio to a plain one, with a 95 % interval.

A run has kinds of calls, such as those in which something is recorded and those in which nothing is due. Of
each kind some calls are measured, each beside a plain one; the median of their ratios counts as often as the
run has such calls. The interval is of the pairs drawn anew (bootstrap within each kind).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

_RESAMPLED, _FEWEST = 4000, 3
_PERCENT = (2.5, 97.5)
Verdict = Literal["met", "missed", "open"]


@dataclass(frozen=True)
class Interval:
    """A ratio, and between what it lies; `known` where there are pairs enough of each kind to tell."""

    ratio: float
    low: float
    high: float
    known: bool = True

    @classmethod
    def of(cls, pairs: Mapping[str, Sequence[float]], calls: Mapping[str, int], *, seed: int = 0) -> Interval:
        """pairs: ratios by kind of call. calls: how many of these a run has."""
        drawn = np.random.default_rng(seed)
        middle, again = 0.0, np.zeros(_RESAMPLED)
        for kind, ratios in pairs.items():
            share = calls[kind] / sum(calls.values())
            values = np.asarray(ratios)
            middle += share * float(np.median(values))
            chosen = drawn.integers(len(values), size=(_RESAMPLED, len(values)))
            again += share * np.median(values[chosen], axis=1)
        low, high = np.percentile(again, _PERCENT)
        return cls(middle, float(low), float(high), min(map(len, pairs.values())) >= _FEWEST)

    def verdict(self, bar: float) -> Verdict:
        """Whether the whole interval keeps a bar, the whole of it misses it, or more pairs are needed."""
        if not self.known:
            return "open"
        return "met" if self.high <= bar else "missed" if self.low > bar else "open"

    def __str__(self) -> str:
        return f"{self.ratio:.3f} ({self.low:.3f} to {self.high:.3f})"
