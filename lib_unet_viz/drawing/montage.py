"""Many small pictures in one: a grid with labels over columns and at rows, a caption, a colour bar."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib_unet_viz.drawing.color import Bytes, Colorizer
from lib_unet_viz.drawing.lettering import Lettering

Color = tuple[int, int, int]

BACKGROUND: Color = (18, 20, 26)
LINES: Color = (52, 57, 69)
BRIGHT: Color = (236, 238, 243)
DIM: Color = (160, 167, 181)

TITLE, TEXT, LABEL = Lettering(19), Lettering(14), Lettering(13)

MARGIN = 18
_SPACE = 6
# A montage aims at this width; a row of labelled columns may need more.
_WIDTH, _LABELLED_WIDTH = 1280, 1680
_NARROWEST = 460
_LARGEST_CELL, _SMALLEST_LABELLED_CELL = 320, 24
LONGEST_LABEL = 150
_BAR = (300, 12)
_MOST_LINES = 100  # of a caption
MOST_PIXELS, LONGEST_SIDE = 2**27, 2**17  # of a grid


def montage(
    cells: Bytes,
    *,
    columns: int | None = None,
    column_labels: Sequence[str] = (),
    row_labels: Sequence[str] = (),
    gap: int = 1,
    caption: str = "",
    colorbar: Colorizer | None = None,
) -> Image.Image:
    """Cells (n, y, x, 3) uint8 RGB, row by row, as one picture.

    columns: cells in a row; None: about a 4:3 page. Labels: one a column, one a row; each is shown as a
    whole, if need be upright, up to a length at which it ends in an ellipsis. Small cells are enlarged by a
    whole factor. gap: pixels between cells. caption: its first line is the title. colorbar: whose colours
    these are.
    ValueError on no cells, on a wrong number of labels, or on a grid that is too large.
    """
    if cells.ndim != 4 or cells.shape[3] != 3 or 0 in cells.shape:
        raise ValueError(f"cells of shape {cells.shape}; expected (n, y, x, 3), none of them 0")
    n, height, width = cells.shape[:3]
    columns = columns or page_columns(n, (height, width))
    rows = math.ceil(n / columns)
    _check(column_labels, columns, "column")
    _check(row_labels, rows, "row")
    check_size(n, (height, width), columns=columns, gap=gap)
    upright, scale = _fit_columns(column_labels, columns=columns, width=width, gap=gap)
    scale = max(scale, _scale(columns, (height, width), gap))
    if row_labels:
        scale = max(scale, math.ceil(LABEL.height / height))
    check_size(n, (height * scale, width * scale), columns=columns, gap=gap)
    grid = _grid(cells, columns=columns, scale=scale, gap=gap)
    top = _column_masks(column_labels, upright=upright, width=width * scale)
    left = [LABEL.mask(LABEL.fit(label, LONGEST_LABEL)) for label in row_labels]
    labelled = _labelled(grid, top, left, cell=(height * scale + gap, width * scale + gap))
    return _framed(labelled, caption, colorbar)


def page_columns(n: int, cell: tuple[int, int]) -> int:
    """Columns for n cells (height, width) on a page of about 4:3; rows are full where n allows it."""
    ideal = math.sqrt(n * 4 / 3 * cell[0] / cell[1])
    whole = [c for c in range(1, n + 1) if n % c == 0 and 0.7 * ideal <= c <= 1.5 * ideal]
    return min(whole, key=lambda c: abs(c - ideal), default=min(n, math.ceil(ideal)))


def _check(labels: Sequence[str], expected: int, what: str) -> None:
    if labels and len(labels) != expected:
        raise ValueError(f"{len(labels)} {what} labels for {expected} {what}s")


def check_size(n: int, cell: tuple[int, int], *, columns: int, gap: int = 1) -> None:
    """Refuse, by a ValueError, what would take gigabytes to draw: n cells of (height, width)."""
    height, width = math.ceil(n / columns) * (cell[0] + gap), columns * (cell[1] + gap)
    if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
        raise ValueError(
            f"a sheet of {height} x {width} pixels is too large to draw; allowed: {LONGEST_SIDE} a side and "
            f"{MOST_PIXELS} in all"
        )


def _scale(columns: int, cell: tuple[int, int], gap: int) -> int:
    """By how much cells grow so that the grid fills the page."""
    height, width = cell
    room = (_WIDTH - columns * gap) // (columns * width)
    return max(1, min(room, _LARGEST_CELL // max(height, width)))


def _fit_columns(labels: Sequence[str], *, columns: int, width: int, gap: int) -> tuple[bool, int]:
    """Whether the labels stand upright, and the least scale at which cells carry them."""
    if not any(labels):
        return False, 1
    longest = max(LABEL.width(label) for label in labels) + _SPACE
    level = math.ceil(longest / width)
    if longest <= LONGEST_LABEL and columns * (width * level + gap) <= _LABELLED_WIDTH:
        return False, level
    return True, math.ceil(max(_SMALLEST_LABELLED_CELL, LABEL.height) / width)


def _column_masks(labels: Sequence[str], *, upright: bool, width: int) -> list[Image.Image]:
    if not upright:
        return [LABEL.mask(LABEL.fit(label, width)) for label in labels]
    masks = (LABEL.mask(LABEL.fit(label, LONGEST_LABEL)) for label in labels)
    return [mask.transpose(Image.Transpose.ROTATE_90) for mask in masks]


def _grid(cells: Bytes, *, columns: int, scale: int, gap: int) -> Image.Image:
    """The cells in rows, on lines `gap` wide; places after the last cell stay background."""
    words = _words(cells)
    if scale > 1:
        words = words.repeat(scale, axis=1).repeat(scale, axis=2)
    n, height, width = words.shape
    full, rest = divmod(n, columns)
    rows = full + bool(rest)
    line, background = _words(np.array([LINES, BACKGROUND], np.uint8))
    canvas = np.full((rows, height + gap, columns, width + gap), line)
    whole = words[: full * columns].reshape(full, columns, height, width)
    canvas[:full, :height, :, :width] = whole.transpose(0, 2, 1, 3)
    if rest:
        canvas[full, :height, :rest, :width] = words[full * columns :].transpose(1, 0, 2)
        canvas[full, :, rest:] = background
    size = (columns * (width + gap), rows * (height + gap))
    grid = Image.frombytes("RGB", size, canvas.data, "raw", "RGBX")
    return grid.crop((0, 0, size[0] - gap, size[1] - gap)) if gap else grid


def _words(colors: Bytes) -> NDArray[np.uint32]:
    """(..., 3) RGB as one word a pixel, R G B x in memory: moved at once, and what Pillow holds for RGB."""
    owner = colors.base
    # A Colormap's colours are a view of such words already.
    if (
        isinstance(owner, np.ndarray)
        and owner.dtype == np.uint32
        and (*owner.shape, 3) == colors.shape
        and owner.ctypes.data == colors.ctypes.data
        and (*owner.strides, 1) == colors.strides
    ):
        return owner
    padded = np.empty((*colors.shape[:-1], 4), np.uint8)
    padded[..., :3] = colors
    padded[..., 3] = 255
    return padded.view(np.uint32)[..., 0]


def _labelled(
    grid: Image.Image, top: Sequence[Image.Image], left: Sequence[Image.Image], *, cell: tuple[int, int]
) -> Image.Image:
    """The grid with a mask over the middle of each column and one at the middle of each row."""
    if not top and not left:
        return grid
    above = max((mask.height for mask in top), default=-_SPACE) + _SPACE
    before = max((mask.width for mask in left), default=-2 * _SPACE) + 2 * _SPACE
    page = Image.new("RGB", (before + grid.width, above + grid.height), BACKGROUND)
    page.paste(grid, (before, above))
    height, width = cell
    for column, mask in enumerate(top):
        x = before + column * width + (width - mask.width) // 2
        page.paste(BRIGHT, (x, above - _SPACE - mask.height), mask)
    for row, mask in enumerate(left):
        y = above + row * height + (height - mask.height) // 2
        page.paste(DIM, (before - 2 * _SPACE - mask.width, y), mask)
    return page


@dataclass(frozen=True)
class _Line:
    """One line of text with the space that follows it."""

    mask: Image.Image
    color: Color
    after: int


def _framed(body: Image.Image, caption: str, colorbar: Colorizer | None) -> Image.Image:
    """The body with a margin, the caption above it and the colour bar below."""
    width = max(body.width, _NARROWEST if caption or colorbar else 0)
    lines = list(_caption_lines(caption, width))
    head = sum(line.mask.height + line.after for line in lines)
    foot = None if colorbar is None else _foot(colorbar, width)
    below = 0 if foot is None else foot.height + MARGIN
    page = Image.new("RGB", (width + 2 * MARGIN, head + body.height + below + 2 * MARGIN), BACKGROUND)
    y = MARGIN
    for line in lines:
        page.paste(line.color, (MARGIN, y), line.mask)
        y += line.mask.height + line.after
    page.paste(body, (MARGIN, y))
    if foot is not None:
        page.paste(foot, (MARGIN, y + body.height + MARGIN))
    return page


def _caption_lines(caption: str, width: int) -> list[_Line]:
    title, _, rest = caption.partition("\n")
    bright = [_Line(TITLE.mask(line), BRIGHT, 2) for line in first_lines(TITLE, title, width)]
    dim = [_Line(TEXT.mask(line), DIM, 2) for line in first_lines(TEXT, rest, width)]
    lines = [*bright, *dim]
    if lines:
        lines[-1] = _Line(lines[-1].mask, lines[-1].color, MARGIN - _SPACE)
    return lines


def first_lines(letters: Lettering, text: str, width: int) -> list[str]:
    """The text in lines, none of them empty; what is above `_MOST_LINES` is counted in the last one."""
    lines = list(itertools.islice(filter(None, letters.lines(text, width)), _MOST_LINES + 1))
    if len(lines) <= _MOST_LINES:
        return lines
    rest = _inked(text) - sum(map(_inked, lines[:-1]))
    return [*lines[:-1], letters.fit(f"… and {rest:,} more letters", width)]


def _inked(text: str) -> int:
    return sum(not letter.isspace() for letter in text)


def _foot(colorizer: Colorizer, width: int) -> Image.Image:
    """What the colours are, the bar, and the numbers at its ends and middle."""
    ticks = [LABEL.mask(text) for text in colorizer.ticks()]
    needed = sum(mask.width for mask in ticks) + 4 * _SPACE
    bar_width = min(width, max(_BAR[0], needed))
    words = [TEXT.mask(line) for line in TEXT.wrap(colorizer.describe(), width)]
    foot = Image.new(
        "RGB", (width, len(words) * TEXT.height + _BAR[1] + 2 * _SPACE + LABEL.height), BACKGROUND
    )
    for row, mask in enumerate(words):
        foot.paste(DIM, (0, row * TEXT.height), mask)
    y = len(words) * TEXT.height + _SPACE
    colors = np.ascontiguousarray(np.broadcast_to(colorizer.bar(bar_width), (_BAR[1], bar_width, 3)))
    foot.paste(Image.fromarray(colors), (0, y))
    y += _BAR[1] + _SPACE
    places = (0, (bar_width - ticks[1].width) // 2, bar_width - ticks[2].width)
    for x, mask in zip(places, ticks, strict=True):
        foot.paste(BRIGHT, (x, y), mask)
    return foot


def stacked(pictures: Sequence[Image.Image]) -> Image.Image:
    """Pages below each other, at the left."""
    size = max(picture.width for picture in pictures), sum(picture.height for picture in pictures)
    page, y = Image.new("RGB", size, BACKGROUND), 0
    for picture in pictures:
        page.paste(picture, (0, y))
        y += picture.height
    return page
