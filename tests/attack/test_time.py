"""Work grows with what was typed and no faster: counted; `python benchmarks/time_bounds.py` has the times."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest
from time_bounds import GROWING, cats, several

from lib_unet_viz.drawing.bars import bar_chart
from lib_unet_viz.drawing.lettering import Lettering
from lib_unet_viz.drawing.montage import montage
from lib_unet_viz.editing.alignment import Alignment, Prompt, align
from lib_unet_viz.notation import edits, tokens
from lib_unet_viz.notation.errors import SpecError, ranges
from lib_unet_viz.notation.specs import BlockSpec, StepSpec

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


@pytest.mark.heavy
def test_captions_and_labels_of_any_length_make_pictures_of_bounded_size() -> None:
    cells, prompt = np.zeros((4, 8, 8, 3), np.uint8), "masterpiece,1girl," * 1_000
    page = montage(cells, caption=f"{prompt}\n{prompt}", column_labels=[prompt] * 2, columns=2)
    assert page.width <= 1000
    assert page.height <= 6000
    assert bar_chart([prompt], {"a": [1.0]}, caption=prompt).width <= 1000


def calls(work: Callable[[int], object], n: int) -> int:
    """How many functions are called, Python's own included."""
    counted = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal counted
        counted += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        with contextlib.suppress(SpecError):
            work(n)
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("name", GROWING)
def test_calls_grow_with_the_text(name: str) -> None:
    assert calls(GROWING[name], 900) <= 12 * calls(GROWING[name], 90) + 200


@pytest.mark.parametrize("name", GROWING)
def test_twenty_thousand_of_them_are_read_at_once(name: str) -> None:
    """Of what runs inside one call, as regular expressions do: a square would take minutes."""
    begun = time.thread_time()
    with contextlib.suppress(SpecError):
        GROWING[name](20_000)
    assert time.thread_time() - begun < 4


def aligned(n: int) -> Alignment:
    edit = edits.targets("cat " * n, "cat#1 -> dog")[0]
    return align(Prompt("cat " * n, cats(n)), edit, [tokens.BOS, "dog</w>", *cats(n - 1)[1:]])


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "ranges": (lambda: StepSpec.parse("1-2," * 1_000 + "1"), "at most 1,000 steps and ranges"),
    "blocks": (lambda: BlockSpec.parse("M00," * 1_000 + "M00"), "at most 1,000 blocks and ranges"),
    "edits": (lambda: edits.targets("a cat", "cat -> dog\n---\n" * 201), "at most 200 edits"),
    "words": (lambda: edits.targets("a", "a " * 501 + "-> b"), "at most 1,000 characters"),
    "tokens": (lambda: aligned(2_000), "at most 2,000 tokens"),
    "phrase": (lambda: tokens.find(cats(1), "cat " * 251), "at most 1,000 characters"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_above_a_bound_is_refused_in_few_words(name: str) -> None:
    work, words = REFUSED[name]
    with pytest.raises(SpecError, match=words) as refused:
        work()
    assert len(str(refused.value)) < 700
    assert len(refused.value.line) < 700


def test_errors_show_where_in_a_long_text() -> None:
    with pytest.raises(SpecError) as refused:
        StepSpec.parse("1," * 500 + "x," + "1," * 400)
    _, line, caret = str(refused.value).split("\n")[:3]
    assert line[caret.index("^")] == "x"
    assert (line.strip()[0], line[-1]) == ("…", "…")
    with pytest.raises(SpecError) as refused:
        tokens.find(several(16_000), "cat")
    assert "and 15,900 more" in str(refused.value)


def test_steps_are_said_as_ranges() -> None:
    assert ranges(StepSpec.parse("1-99999").beyond(20)) == "21-99999"
    assert len(ranges(StepSpec.parse("1-99999(+2)").beyond(20))) < 100
