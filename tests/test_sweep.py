"""A word in each block alone, and in all but that block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from lib_unet_viz.drawing.bars import bar_chart
from lib_unet_viz.drawing.difference import rms
from lib_unet_viz.drawing.sweep import Case, Sweep, SweepError, Swept, run
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import Layout, SpecError

NAMES = ("IN00", "IN01", "M00", "OUT00")
LAYOUT = Layout(NAMES, {"IN00": 0, "IN01": 1, "M00": 1, "OUT00": 2})


def draw(case: Case) -> Image.Image:
    """A picture whose red says how many blocks read the word."""
    read = LayerPrompt.parse(case.prompt).per_block(NAMES)
    return Image.new("RGB", (40, 30), (10 * sum("red" in text for text in read.values()), 0, 0))


def texts(sweep: Sweep) -> dict[str, dict[str, str]]:
    return {case.name: LayerPrompt.parse(case.prompt).per_block(NAMES) for case in sweep.cases}


def test_what_each_block_reads() -> None:
    sweep = Sweep.of("a red dog, Red, redder", "red", LAYOUT)
    assert sweep.blocks == ("IN01", "M00", "OUT00")
    found = texts(sweep)
    full, empty = "a red dog, Red, redder", "a  dog, , redder"
    assert list(found)[:3] == ["without", "with", "only-IN01"]
    assert len(found) == 2 + 2 * 3
    assert set(found["with"].values()) == {full}
    assert set(found["without"].values()) == {empty}
    assert found["only-M00"] == {name: full if name == "M00" else empty for name in NAMES}
    assert found["but-M00"] == {name: empty if name == "M00" else full for name in NAMES}


def test_a_word_that_the_prompt_lacks_comes_after_it() -> None:
    found = texts(Sweep.of("a dog", "bad; anatomy", LAYOUT))
    assert found["only-M00"]["M00"] == "a dog, bad; anatomy"
    assert found["only-M00"]["IN01"] == found["without"]["M00"] == "a dog, "
    assert texts(Sweep.of("", "red", LAYOUT))["but-M00"]["IN01"] == "red"


@pytest.mark.parametrize(
    ("prompt", "word", "error", "says"),
    [
        ("a dog", " ", SweepError, "word is empty"),
        ("a (~:M00:red:~)", "red", SweepError, "no groups"),
        ("a (~:M00", "red", SpecError, "not closed"),
        ("a dog", "x :~) y", SpecError, "no \\(~: is open"),
    ],
)
def test_what_cannot_be_swept(prompt: str, word: str, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Sweep.of(prompt, word, LAYOUT)


def test_distances_are_from_the_picture_without_and_from_that_with_it() -> None:
    swept = run(Sweep.of("a red dog", "red", LAYOUT), draw)
    # IN00 reads the prompt without seeing it, so that "with" has four blocks here.
    assert swept.alone == pytest.approx([10 / 3**0.5] * 3)
    assert swept.missing == pytest.approx([10 / 3**0.5] * 3)
    assert swept.report()["with_and_without"] == pytest.approx(40 / 3**0.5)
    assert swept.sheet().width > 3 * 40
    assert swept.chart().width > 500


def test_a_sweep_that_was_stopped_goes_on(tmp_path: Path) -> None:
    sweep, drawn = Sweep.of("a red dog", "red", LAYOUT), list[str]()

    def remembered(case: Case) -> Image.Image:
        drawn.append(case.name)
        return draw(case)

    def stop(done: int, total: int, case: Case) -> None:
        assert total == 8
        if done == 3:
            raise KeyboardInterrupt

    folder = tmp_path / "new" / "folder"
    with pytest.raises(KeyboardInterrupt):
        run(sweep, remembered, folder=folder, made_with={"seed": 1}, progress=stop)
    assert len(drawn) == 3
    assert not (folder / "sheet.png").exists()
    swept = run(sweep, remembered, folder=folder, made_with={"seed": 1})
    assert sorted(drawn) == sorted(case.name for case in sweep.cases)
    report = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    assert report["blocks"]["M00"]["alone"] == pytest.approx(swept.alone[1])
    assert report["sweep"]["seed"] == 1
    assert {"sheet.png", "chart.png"} <= {path.name for path in folder.iterdir()}
    for other, options in ((sweep, {"seed": 2}), (Sweep.of("a red cat", "red", LAYOUT), {"seed": 1})):
        with pytest.raises(SweepError, match="holds another sweep"):
            run(other, draw, folder=folder, made_with=options)
    (folder / "sweep.json").write_text("[]")
    with pytest.raises(SweepError, match="is not a sweep's"):
        run(sweep, draw, folder=folder)
    (folder / "sweep.json").unlink()
    with pytest.raises(SweepError, match="holds without.png, but not what it is of"):
        run(sweep, draw, folder=folder)


def test_the_sheet_of_many_blocks_has_bands() -> None:
    names = tuple(f"OUT{n:02}" for n in range(11))
    sweep = Sweep.of("a red dog", "red", names)
    pictures = {case.name: Image.new("RGB", (256, 128), (len(case.name), 0, 0)) for case in sweep.cases}
    sheet = Swept(sweep, pictures).sheet()
    assert 6 * 128 < sheet.width < 1400
    assert sheet.height > 2 * 4 * 64


def test_bars_are_as_long_as_their_values() -> None:
    chart = bar_chart(["IN01", "M00"], {"one": [1.0, 4.0], "two": [2.0, 0.0]}, caption="Title\nmore")
    count = {color: 0 for color in ((45, 178, 165), (236, 145, 62))}
    for amount, color in chart.getcolors(1 << 20) or ():
        if color in count:
            count[color] += amount
    legend = 16 * 16
    one, two = (amount - legend for amount in count.values())
    assert one / two == pytest.approx(5 / 2, rel=0.05)
    with pytest.raises(ValueError, match="2 values"):
        bar_chart(["IN01", "M00"], {"one": [1.0]}, caption="")
    assert rms(chart, chart) == 0
