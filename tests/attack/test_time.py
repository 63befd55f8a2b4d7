"""Work grows with what was typed and no faster: counted, not timed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from lib_unet_viz.drawing.bars import bar_chart
from lib_unet_viz.drawing.lettering import Lettering
from lib_unet_viz.drawing.montage import montage

LONG = ["masterpiece,1girl,", "女の子は本を読む", "ab ", "i", "W", "one_two three   ", "e\u0301"]


@dataclass(frozen=True)
class Counting(Lettering):
    """Keeps how many letters it was asked to measure."""

    measured: list[int] = field(default_factory=list)

    def width(self, text: str) -> int:
        self.measured.append(len(text))
        return super().width(text)


def measured(text: str, *, fit: bool) -> int:
    letters = Counting(14)
    _ = letters.fit(text, 120) if fit else letters.wrap(text, 300)
    return sum(letters.measured)


@pytest.mark.parametrize("fit", [False, True])
@pytest.mark.parametrize("part", LONG)
def test_letters_are_measured_a_few_times_however_long_the_text(part: str, fit: bool) -> None:
    short, long = (part * (length // len(part)) for length in (400, 4_000))
    assert measured(long, fit=fit) <= 12 * measured(short, fit=fit)
    assert measured(long, fit=fit) <= 16 * len(long)


def by_letter(letters: Lettering, text: str, width: int) -> list[str]:
    """What `wrap` is to give, one letter after the other."""
    lines, line = [], ""
    for word in text.split():
        joined = f"{line} {word}" if line else word
        if letters.width(joined) <= width:
            line = joined
            continue
        lines += [line] if line else []
        line = ""
        for letter in word:
            if line and letters.width(line + letter) > width:
                lines.append(line)
                line = ""
            line += letter
    return [*lines, line]


@pytest.mark.parametrize("width", [3, 20, 90, 300])
@pytest.mark.parametrize("text", [*LONG, "a cat, sitting on a sofabedwithoutblanks in the rain"])
def test_lines_are_as_full_as_can_be(text: str, width: int) -> None:
    letters, several = Lettering(14), " ".join((text * 3).split())
    assert letters.wrap(several, width) == by_letter(letters, several, width)


def test_captions_and_labels_of_any_length_make_pictures_of_bounded_size() -> None:
    cells, prompt = np.zeros((4, 8, 8, 3), np.uint8), "masterpiece,1girl," * 1_000
    page = montage(cells, caption=f"{prompt}\n{prompt}", column_labels=[prompt] * 2, columns=2)
    assert page.width <= 1000
    assert page.height <= 6000
    assert bar_chart([prompt], {"a": [1.0]}, caption=prompt).width <= 1000
