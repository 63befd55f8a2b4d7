"""Masks and label maps out of heat maps: as arrays, and as pictures with a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib_unet_viz.drawing.montage import BACKGROUND, BRIGHT, TEXT, Color

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from lib_unet_viz.maps.words import HeatMap

OTSU = "otsu"
NAMELESS = "none of them"
# Okabe & Ito 2008, "Color Universal Design": told apart by the colour-blind too; then lighter ones.
PALETTE: tuple[Color, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (170, 170, 255),
    (150, 220, 150),
    (255, 180, 180),
)
EMPTY = (40, 40, 44)
GAP, LONGEST = 6, 200  # pixels


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


def label_picture(
    found: npt.NDArray[np.int64], names: Sequence[str], *, picture: Image.Image | None = None
) -> Image.Image:
    """A label map (y, x) in colours, half over `picture` if there is one, with a legend below.

    names: of the labels from 0 on; -1 is nothing. Colours repeat after ten.
    """
    known = [PALETTE[index % len(PALETTE)] for index in range(len(names))]
    colors = np.array([*known, EMPTY], dtype=np.uint8)
    image = Image.fromarray(colors[found])
    if picture is not None:
        image = Image.blend(picture.convert("RGB").resize(image.size), image, 0.6)
    shown = [index for index in range(len(names)) if (found == index).any()]
    entries = [(names[index], known[index]) for index in shown]
    return _with_legend(image, [*entries, *([(NAMELESS, EMPTY)] if (found < 0).any() else [])])


def mask_picture(found: npt.NDArray[np.bool_]) -> Image.Image:
    """White where the mask is, else black; 8 bit grey."""
    return Image.fromarray(found.astype(np.uint8) * 255)


def _threshold(values: npt.NDArray[np.float32], threshold: float | str) -> float:
    if threshold == OTSU:
        return otsu(values)
    if isinstance(threshold, str) or not 0 <= threshold <= 1:
        raise ValueError(f"{threshold!r} is no threshold; allowed: 0 to 1, or {OTSU!r}")
    return threshold


def _with_legend(image: Image.Image, entries: Sequence[tuple[str, Color]]) -> Image.Image:
    """A line below for each entry: a square of the colour, and the name."""
    side = TEXT.height
    names = [TEXT.mask(TEXT.fit(name, LONGEST)) for name, _ in entries]
    width = max([image.width, *(name.width + side + 3 * GAP for name in names)])
    page = Image.new("RGB", (width, image.height + GAP + len(entries) * (side + GAP)), BACKGROUND)
    page.paste(image, (0, 0))
    for line, (name, (_, color)) in enumerate(zip(names, entries, strict=True)):
        top = image.height + GAP + line * (side + GAP)
        page.paste(color, (GAP, top, GAP + side, top + side))
        page.paste(BRIGHT, (2 * GAP + side, top), name)
    return page
