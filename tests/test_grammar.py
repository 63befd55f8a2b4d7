from __future__ import annotations

import copy
import itertools
from dataclasses import dataclass

import pytest

from lib_unet_viz.notation.specs import BlockSpec, LateSteps, Layout, SpecError, StepSpec

SD1 = [f"IN{i:02d}" for i in range(12)] + ["M00"] + [f"OUT{i:02d}" for i in range(12)]
SDXL = Layout(
    tuple([f"IN{i:02d}" for i in range(9)] + ["M00"] + [f"OUT{i:02d}" for i in range(9)]),
    {"IN00": 0, "IN04": 2, "IN07": 10, "M00": 10, "OUT01": 10, "OUT05": 1},
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("IN00", ["IN00"]),
        ("IN00, IN01, M00", ["IN00", "IN01", "M00"]),
        ("IN00-OUT11", SD1),
        ("", SD1),
        ("  \t", SD1),
        ("IN10-OUT01", ["IN10", "IN11", "M00", "OUT00", "OUT01"]),
        ("IN00-OUT11(+1)", SD1),
        (
            "IN00-OUT11(+2)",
            [*(f"IN{i:02d}" for i in range(0, 12, 2)), "M00", *(f"OUT{i:02d}" for i in range(1, 12, 2))],
        ),
        ("OUT11 - IN00 ( + 12 )", ["IN00", "M00", "OUT11"]),
        ("in4,m0 , out 11", ["IN04", "M00", "OUT11"]),
        ("OUT01,IN03,IN02-IN04,in003", ["IN02", "IN03", "IN04", "OUT01"]),
        ("IN07.1, M00", ["IN07", "M00"]),
        ("M00-M00(+3)", ["M00"]),
        ("IN00-OUT11(+99)", ["IN00"]),
    ],
)
def test_names_of_a_block_spec(text: str, expected: list[str]) -> None:
    assert BlockSpec.parse(text).names(SD1) == expected


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("IN", 0),
        ("IN00,", 5),
        ("IN00,,M00", 5),
        ("IN00-", 5),
        ("IN04-08", 5),
        ("IN00 M00", 5),
        ("IN00(+2)", 4),
        ("IN00-M00(2)", 9),
        ("IN00-M00(+)", 10),
        ("IN00-M00(+0)", 10),
        ("IN00-M00(+2", 11),
        ("IN00-M00(+2) x", 13),
        ("IN07.1-M00", 0),
        ("IN07.", 4),
        ("mid", 0),
        ("IN-1", 0),
        ("IN" + "9" * 5000, 2),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text: str, position: int) -> None:
    with pytest.raises(SpecError) as caught:
        BlockSpec.parse(text)
    assert caught.value.position == position
    assert caught.value.text == text


def test_a_block_the_model_lacks_is_named_with_those_it_has() -> None:
    with pytest.raises(SpecError) as caught:
        BlockSpec.parse("IN00, IN09-M00").names(SDXL)
    assert caught.value.allowed == SDXL.names
    assert str(caught.value).splitlines()[:3] == [
        "this model has no block IN09",
        "  IN00, IN09-M00",
        "        ^^^^",
    ]
    assert str(caught.value).splitlines()[3].startswith("allowed: IN00, IN01, ")


def test_sites_name_transformer_layers() -> None:
    assert BlockSpec.parse("M00, IN07.9, IN07.1, IN04").sites(SDXL) == [
        ("IN04", None),
        ("IN07", 1),
        ("IN07", 9),
        ("M00", None),
    ]
    assert BlockSpec.parse("IN07.1, IN07").sites(SDXL) == [("IN07", None)]
    assert BlockSpec.parse("OUT05.0").sites(SDXL) == [("OUT05", 0)]
    assert len(BlockSpec.parse("").sites(SDXL)) == 19


@pytest.mark.parametrize("text", ["OUT05.1", "IN00.0", "IN07.10", "M00, IN04.2"])
def test_a_layer_the_block_lacks_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="is not there"):
        BlockSpec.parse(text).sites(SDXL)
    assert BlockSpec.parse(text).names(SDXL)


def test_layout_of_names_of_a_layout_and_of_what_has_one() -> None:
    @dataclass
    class Model:
        layout: Layout

    assert Layout.of(SDXL) is SDXL
    assert Layout.of(Model(SDXL)) is SDXL
    assert Layout.of(["OUT00", "M00", "IN10", "IN02"]).names == ("IN02", "IN10", "M00", "OUT00")
    assert BlockSpec.parse("IN08-OUT00").names(Model(SDXL)) == ["IN08", "M00", "OUT00"]
    with pytest.raises(ValueError, match="'middle' is not a block name"):
        Layout.of(["middle"])


@pytest.mark.parametrize(
    ("text", "steps", "beyond"),
    [
        ("", list(range(1, 13)), []),
        ("1,5-20(+5)", [1, 5, 10], [15, 20]),
        ("20-5(+5), 1", [1, 5, 10], [15, 20]),
        (" 3 , 3,2 - 4 ", [2, 3, 4], []),
        ("12,13", [12], [13]),
        ("40", [], [40]),
    ],
)
def test_steps(text: str, steps: list[int], beyond: list[int]) -> None:
    spec = StepSpec.parse(text)
    assert spec.steps(total=12) == steps
    assert spec.beyond(12) == beyond
    assert [step for step in range(-1, 60) if spec.includes(step, 12)] == steps


@pytest.mark.parametrize(
    ("text", "position"),
    [("0", 0), ("1,-2", 2), ("3-0", 2), ("1;2", 1), ("5(+5)", 1), ("1-", 2), ("IN00", 0), ("999999", 0)],
)
def test_wrong_steps_are_refused_with_their_place(text: str, position: int) -> None:
    with pytest.raises(SpecError) as caught:
        StepSpec.parse(text)
    assert caught.value.position == position


def test_a_spec_keeps_its_text_and_is_a_value() -> None:
    assert BlockSpec.parse(" IN00 ").text == " IN00 "
    assert BlockSpec.parse("IN00") == BlockSpec.parse("IN00")
    assert {StepSpec.parse("1"), StepSpec.parse("1")} == {StepSpec.parse("1")}
    assert BlockSpec() == BlockSpec.parse("")


def test_the_caret_stands_under_the_place_even_after_wide_letters_and_lines() -> None:
    assert str(SpecError("no", "か x", 2)).splitlines()[2] == "     ^"
    assert str(SpecError("no", "a\nbc d", 3, 4)).splitlines()[1:] == ["  bc d", "   ^"]
    assert str(SpecError("no", "abc", 99)).splitlines()[2] == "     ^"


def test_an_error_can_be_copied() -> None:
    error = SpecError("no", "abc", 1, 2, ("x",))
    again = copy.deepcopy(error)
    assert str(again) == str(error)
    assert again.allowed == ("x",)


def test_an_error_can_be_told_in_one_line() -> None:
    """Where a page lets lines run into each other, a caret would point nowhere."""
    with pytest.raises(SpecError) as raised:
        BlockSpec.parse("M00, IN11").names(SDXL)
    line = raised.value.line
    assert line.startswith("this model has no block IN11 (at “IN11” in “M00, IN11”); allowed: IN00, IN01, ")
    assert "\n" not in line
    assert SpecError("there is no edit", "", 0).line == "there is no edit"
    assert SpecError("a group does not end", "a (~:", 5).line == "a group does not end (in “a (~:”)"


@pytest.mark.parametrize("count", [2, 4, 7])
@pytest.mark.parametrize("total", [*range(1, 25), 150])
def test_late_steps_are_as_many_as_asked_for_and_end_with_the_last(count: int, total: int) -> None:
    spec = LateSteps(count)
    found = spec.steps(total)
    assert found == sorted(set(found))
    assert (len(found), found[-1]) == (min(count, total), total)
    assert found[0] > total - max(count, round(total / 3))
    gaps = {after - before for before, after in itertools.pairwise(found)}
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert [step for step in range(total + 2) if spec.includes(step, total)] == found
    assert spec.beyond(total) == []


def test_late_steps_are_at_least_two() -> None:
    with pytest.raises(ValueError, match="1 late steps: at least 2 are needed"):
        LateSteps(1)
