"""Masks and label maps out of heat maps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from lib_unet_viz.maps.words import HeatMap

OTSU = "otsu"


def mask(heat: HeatMap, size: tuple[int, int], *, threshold: float | str = OTSU) -> npt.NDArray[np.bool_]:
    """Where a word is, (y, x) of `size` (height, width).

    threshold: of the map stretched to [0, 1]; or "otsu", which finds the one that separates best. Raises
    ValueError for any other.
    """
    values = heat.resized(size)
    return values > _threshold(values, threshold)


def otsu(values: npt.NDArray[np.float32], bins: int = 256) -> float:
    """The threshold in [0, 1] that leaves the least variance within the two classes (Otsu 1979, "A Threshold
    Selection Method from Gray-Level Histograms").
    """
    counts, edges = np.histogram(values, bins=bins, range=(0, 1))
    centres, share = (edges[:-1] + edges[1:]) / 2, counts / counts.sum()
    below = np.cumsum(share)[:-1]
    moment = np.cumsum(share * centres)
    parts = below * (1 - below)
    between = (moment[-1] * below - moment[:-1]) ** 2 / np.where(parts > 0, parts, np.inf)
    best = np.flatnonzero(between == between.max())  # several between two heaps with nothing between them
    return float((edges[best[0] + 1] + edges[best[-1] + 1]) / 2)


def labels(
    heats: Sequence[HeatMap], size: tuple[int, int], *, threshold: float | str = OTSU
) -> npt.NDArray[np.int64]:
    """All words as one map (y, x): at each place the index of the hottest word whose mask it is in, or -1."""
    values = np.stack([heat.resized(size) for heat in heats])
    inside = np.stack([each > _threshold(each, threshold) for each in values])
    return np.where(inside.any(0), np.where(inside, values, -1).argmax(0), -1)


def _threshold(values: npt.NDArray[np.float32], threshold: float | str) -> float:
    if threshold == OTSU:
        return otsu(values)
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise ValueError(f"{threshold!r} is no threshold; allowed: 0 to 1, or {OTSU!r}")
    return threshold
