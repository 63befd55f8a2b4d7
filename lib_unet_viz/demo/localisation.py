"""How well a heat map shows where an object is, against a mask that is known to the pixel.

pointing    share of maps whose maximum lies in the mask (Zhang et al. 2016, "Top-down Neural Attention by
            Excitation Backprop")
miou        mean intersection over union at half of a map's range; miou_mean: at the map's mean
map         mean average precision of the pixels, ranked by heat
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

RESAMPLED = 2000
INTERVAL = (2.5, 97.5)  # percentiles


@dataclass(frozen=True)
class Judged:
    """One map's marks, each in [0, 1]."""

    pointing: float
    miou: float
    miou_mean: float
    map: float


def judge(heat: npt.NDArray[Any], mask: npt.NDArray[np.bool_]) -> Judged:
    """The marks of a map in [0, 1] for a mask that is not empty, both (y, x)."""
    order = np.argsort(-heat, axis=None, kind="stable")
    hits = mask.ravel()[order]
    precision = np.cumsum(hits) / np.arange(1, hits.size + 1)
    return Judged(
        float(hits[0]), _iou(heat > 0.5, mask), _iou(heat > heat.mean(), mask), precision[hits].mean()
    )


def summary(scenes: Sequence[Sequence[Judged]], *, seed: int = 0) -> dict[str, Any]:
    """Means of the marks over all maps, and `intervals`: their 95 % intervals (bootstrap over scenes).

    scenes: the maps of each scene, as those of one scene are no independent samples.
    """
    names = [field.name for field in fields(Judged)]
    sums = np.array([np.sum([astuple(each) for each in scene], axis=0) for scene in scenes])
    counts = np.array([len(scene) for scene in scenes])
    drawn = np.random.default_rng(seed).integers(len(scenes), size=(RESAMPLED, len(scenes)))
    again = sums[drawn].sum(1) / counts[drawn].sum(1)[:, None]
    low, high = np.percentile(again, INTERVAL, axis=0)
    means = dict(zip(names, (sums.sum(0) / counts.sum()).tolist(), strict=True))
    limits = np.stack([low, high], axis=1).tolist()
    return {**means, "intervals": dict(zip(names, limits, strict=True))}


def _iou(found: npt.NDArray[np.bool_], mask: npt.NDArray[np.bool_]) -> float:
    return float((found & mask).sum() / max(1, (found | mask).sum()))
