"""Horizontal bars with their names and numbers, drawn as the sheets are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from PIL import Image, ImageDraw

from lib_unet_viz.drawing.montage import (
    BACKGROUND,
    BRIGHT,
    DIM,
    LABEL,
    LINES,
    LONGEST_LABEL,
    MARGIN,
    TEXT,
    TITLE,
    Color,
    first_lines,
)

COLORS: tuple[Color, ...] = ((45, 178, 165), (236, 145, 62), (150, 132, 224))
_WIDTH, _THICK, _BETWEEN, _SPACE = 560, 15, 8, 10


def bar_chart(labels: Sequence[str], series: Mapping[str, Sequence[float]], *, caption: str) -> Image.Image:
    """For each label a group of bars, one of each series, all on one scale that starts at 0.

    series: names, which a legend shows, to values >= 0, one for each label. caption: its first line is the
    title. ValueError where a series has another length than `labels`, or more series than colours.
    """
    if len(series) > len(COLORS) or any(len(values) != len(labels) for values in series.values()):
        counts = {name: len(values) for name, values in series.items()}
        raise ValueError(f"up to {len(COLORS)} series of {len(labels)} values are possible, not {counts}")
    labels = [LABEL.fit(label, LONGEST_LABEL) for label in labels]
    left = max((LABEL.width(label) for label in labels), default=0) + _SPACE
    right = max((LABEL.width(_written(v)) for values in series.values() for v in values), default=0) + _SPACE
    width = left + _WIDTH + right
    title, _, rest = caption.partition("\n")
    lines = [(TITLE.mask(line), BRIGHT) for line in first_lines(TITLE, title, width)]
    lines += [(TEXT.mask(line), DIM) for line in first_lines(TEXT, rest, width)]
    group = max(LABEL.height, len(series) * _THICK) + _BETWEEN
    head = sum(mask.height for mask, _ in lines) + _SPACE + LABEL.height + _SPACE
    page = Image.new("RGB", (width + 2 * MARGIN, head + len(labels) * group + 2 * MARGIN), BACKGROUND)
    y = MARGIN
    for mask, color in lines:
        page.paste(color, (MARGIN, y), mask)
        y += mask.height
    _legend(page, list(series), y + _SPACE)
    _bars(page, labels, series, left=MARGIN + left, top=MARGIN + head, group=group)
    return page


def _legend(page: Image.Image, names: Sequence[str], y: int) -> None:
    x, draw = MARGIN, ImageDraw.Draw(page)
    for name, color in zip(names, COLORS, strict=False):
        draw.rectangle((x, y + 3, x + _THICK, y + 3 + _THICK), fill=color)
        mask = LABEL.mask(name)
        page.paste(BRIGHT, (x + _THICK + _SPACE, y), mask)
        x += _THICK + mask.width + 3 * _SPACE


def _bars(
    page: Image.Image,
    labels: Sequence[str],
    series: Mapping[str, Sequence[float]],
    *,
    left: int,
    top: int,
    group: int,
) -> None:
    draw = ImageDraw.Draw(page)
    longest = max((value for values in series.values() for value in values), default=0.0) or 1.0
    draw.line((left - 1, top, left - 1, top + len(labels) * group - _BETWEEN), fill=LINES)
    for place, label in enumerate(labels):
        y = top + place * group
        name = LABEL.mask(label)
        page.paste(BRIGHT, (left - _SPACE - name.width, y + (group - _BETWEEN - name.height) // 2), name)
        for row, (values, color) in enumerate(zip(series.values(), COLORS, strict=False)):
            end = left + round(_WIDTH * values[place] / longest)
            at = y + row * _THICK
            draw.rectangle((left, at, end, at + _THICK - 2), fill=color)
            mask = LABEL.mask(_written(values[place]))
            page.paste(DIM, (end + _SPACE // 2, at + (_THICK - mask.height) // 2), mask)


def _written(value: float) -> str:
    return f"{value:.1f}"
