"""How an edit is shown, and the cases of a sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib_unet_viz.drawing import edit_sheets
from lib_unet_viz.drawing.edit_sheets import BLOCKS, PERCENTS, STEPS
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.notation.specs import Layout
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.notation.windows import window
from lib_unet_viz.settings import EditSettings

LAYOUT = Layout(("IN00", "IN01", "IN02", "M00", "OUT00"), {"IN00": 0})


def edited(text: str, *, colors: tuple[int, ...] = (200, 100), masks: bool = True) -> Edited:
    def tokens(prompt: str) -> list[str]:
        return [BOS, *(f"{word}</w>" for word in prompt.split()), EOS, EOS]

    request = Request.of("a cat", EditSettings(edits=text))
    half = torch.zeros(8, 8, dtype=torch.bool)
    half[:, :4] = True
    found: dict[int, Any] = {1: [(step, half) for step in range(3, 13)]} if masks else {}
    pictures = [Image.new("RGB", (64, 64), (color,) * 3) for color in colors]
    return Edited(request, request.plan(tokens), pictures, found)


def test_outside_of_the_mask_the_picture_is_dark() -> None:
    mask = torch.zeros(2, 2, dtype=torch.bool)
    mask[0, 1] = True
    shown = np.asarray(edit_sheets.dimmed(Image.new("RGB", (4, 4), (200, 100, 40)), mask))
    assert shown[0, 3].tolist() == [200, 100, 40]
    assert shown[3, 3].tolist() == shown[0, 0].tolist() == [50, 25, 10]


def test_the_comparison_has_a_row_for_masks_only_where_there_are_some() -> None:
    blended, plain = edited("cat -> dog"), edited("cat -> dog", masks=False)
    assert edit_sheets.comparison(blended).height > edit_sheets.comparison(plain).height
    assert edit_sheets.mask_sheet(plain, 1) is None
    assert edit_sheets.changed(blended, 1) == 100


def test_the_mask_sheet_shows_each_step() -> None:
    few, many = edited("cat -> dog"), edited("cat -> dog")
    few.masks[1][3:] = []  # type: ignore[index]
    sheets = [edit_sheets.mask_sheet(each, 1) for each in (few, many)]
    assert sheets[0] is not None
    assert sheets[1] is not None
    assert sheets[0].height < sheets[1].height


def test_a_sweep_goes_from_none_to_all() -> None:
    settings = EditSettings(edits="cat -> dog\n---\ncat -> cow", self_steps=[0.1, 0.5])
    found = edit_sheets.cases(settings, LAYOUT)
    assert [(case.along, case.percent) for case in found] == [
        (along, percent) for along in (STEPS, BLOCKS) for percent in PERCENTS
    ]
    assert {case.settings.edits for case in found} == {"cat -> dog"}
    steps = {case.percent: case.settings for case in found if case.along == STEPS}
    assert [window(steps[percent].cross_steps)[1] for percent in PERCENTS] == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert [window(steps[percent].self_steps) for percent in (0, 20, 100)] == [(0, 0), (0.1, 0.2), (0.1, 0.5)]
    blocks = {case.percent: case.settings for case in found if case.along == BLOCKS}
    assert (blocks[0].cross_steps, blocks[0].self_steps) == (0, 0)
    assert [blocks[percent].blocks for percent in (20, 60, 100)] == [
        "IN01",
        "IN01,IN02",
        "IN01,IN02,M00,OUT00",
    ]


@pytest.mark.parametrize("along", [(STEPS,), (BLOCKS, STEPS)])
def test_a_sweep_draws_each_case_once(along: tuple[str, ...]) -> None:
    cases = edit_sheets.cases(EditSettings(edits="cat -> dog", self_steps=[0, 0.5]), LAYOUT, along)
    drawn: list[EditSettings] = []
    told: list[tuple[int, int]] = []

    def draw(settings: EditSettings) -> Edited:
        drawn.append(settings)
        return edited("cat -> dog")

    def now(done: int, total: int, _: object) -> None:
        told.append((done, total))

    _, sheet = edit_sheets.sweep(cases, draw, now)
    assert drawn == [case.settings for case in cases]
    assert told == [(done, len(cases)) for done in range(len(cases))]
    assert sheet.width > 7 * 64
