"""Masks and label maps as pictures, with a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib_unet_viz.drawing.montage import BACKGROUND, BRIGHT, TEXT, Color

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

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
