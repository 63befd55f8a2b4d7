"""Studies: what is read and refused, what is measured, and that a table is the same however it was made."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_unet_viz.cli import main
from lib_unet_viz.drawing.difference import rms

pytest.importorskip("diffusers")
pytest.importorskip("pyarrow")
from lib_unet_viz.studies import report, table  # noqa: E402
from lib_unet_viz.studies.run import run  # noqa: E402
from lib_unet_viz.studies.study import Study  # noqa: E402
from lib_unet_viz.studies.templates import StudyError  # noqa: E402
from lib_unet_viz.studies.worker import Worker  # noqa: E402

HEAD = """
title = "colours"
steps = 2
seeds = [1, 5]
blocks = "M00,OUT11"
measures = [
  "distance", "features", {name = "found", words = "{old}, {new}"},
  {name = "strength", words = "circle", steps = "2"},
]
by = ["variant", "block"]
"""
BODY = """
[[prompts]]
text = "a big {word} circle"
old = "red"
new = "blue"

[[variants]]
name = "plain"
word = "{old}"

[[variants]]
name = "alone"
word = "(~:{block}: {new}; _: {old}:~)"
"""
TEXT = HEAD + BODY


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table of the study, made at once."""
    path = tmp_path_factory.mktemp("study") / "whole.parquet"
    assert run(Study.parse(TEXT), path) == 2
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return list(table.read(path)[1])


def test_the_runs_of_a_group() -> None:
    study = Study.parse(TEXT)
    assert [(group.prompt, group.seed) for group in study.groups()] == [(0, 1), (0, 5)]
    runs = study.runs(study.groups()[0], ["M00", "OUT11"])
    found = [(variant.name, block, values["text"]) for variant, block, values in runs]
    assert found == [
        ("plain", "", "a big red circle"),
        ("alone", "M00", "a big (~:M00: blue; _: red:~) circle"),
        ("alone", "OUT11", "a big (~:OUT11: blue; _: red:~) circle"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("title = ", "no TOML"),
        ("[" * 20000, "no TOML"),
        ('title = "x"', "lacks prompts, variants, measures"),
        (TEXT.replace("steps", "stepps", 1), "knows no 'stepps'.*steps"),
        (TEXT.replace('"distance"', '"distanse"'), "no measure 'distanse'.*distance"),
        (TEXT.replace('words = "{old}', 'wrds = "{old}'), "knows no 'wrds'.*words"),
        (TEXT.replace("{word}", "{wort}"), r"names \{wort\}; there are .*word"),
        (TEXT.replace('old = "red"', 'old = "mauve"'), "the judge knows no 'mauve'.*red"),
        (TEXT.replace('old = "red"', "old = 3"), "prompts.old is 3"),
        (TEXT.replace('old = "red"', 'old = "red"\nvalue = "x"'), "other names than"),
        (TEXT.replace("seeds = [1, 5]", "seeds = [-1]"), "seeds are"),
        (TEXT.replace("steps = 2", "steps = 0", 1), "steps are 0"),
        (TEXT.replace('name = "alone"', 'name = "plain"'), "two variants"),
        (TEXT.replace("steps = 2", 'steps = 2\nreference = "alone"', 1), "the reference is 'alone'"),
        (TEXT.replace('by = ["variant"', 'by = ["varient"'), "by knows no 'varient'"),
        (TEXT.replace('blocks = "M00,OUT11"', 'blocks = "M0x"'), "M0x"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Study.parse(text)


def test_a_study_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"there is no study nothing; shipped .*blocks"):
        Study.load("nothing")
    with pytest.raises(StudyError, match="shipped"):
        Study.load(tmp_path)
    assert len(Study.load("blocks").prompts) == 24


@pytest.mark.heavy
def test_what_is_measured(whole: Path) -> None:
    rows = rows_of(whole)
    study = Study.parse(TEXT)
    worker = Worker(study)
    group = study.groups()[0]
    pictures = [
        worker.model.picture(values["text"], steps=2, seed=1, cfg=study.cfg)
        for _, _, values in study.runs(group, worker.blocks)
    ]
    found = [row["value"] for row in rows if row["seed"] == 1 and row["of"] == "rms"]
    assert found == [rms(pictures[0], picture) for picture in pictures[1:]]
    changes = {
        (row["block"], row["at_block"]): row["value"]
        for row in rows
        if row["measure"] == "features" and row["seed"] == 1
    }
    assert changes[("OUT11", "OUT11")] > 0
    assert len({at for _, at in changes}) == 25
    shares = [row for row in rows if row["measure"] == "strength"]
    heads = max(site.heads for block in worker.model.unet.blocks.values() for site in block.sites)
    assert {(row["head"], row["step"]) for row in shares} == {(head, 2) for head in range(heads)}
    assert all(0 <= row["value"] <= 1 for row in shares)
    found_rows = [row for row in rows if row["measure"] == "found"]
    assert {row["of"] for row in found_rows} == {"red", "blue"}
    assert {row["value"] for row in found_rows} <= {0.0, 1.0}


@pytest.mark.heavy
def test_interrupted_anywhere_it_goes_on_to_the_same_bytes(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, study = tmp_path / "parts.parquet", Study.parse(TEXT)
    assert run(study, path, limit=1) == 1
    assert {row["seed"] for row in rows_of(path)} == {1}

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Worker, "_head", stop)
    with pytest.raises(KeyboardInterrupt):
        run(study, path)
    monkeypatch.undo()
    left = path.with_name(f"{path.name}.parts") / ".000001.json.0.part"
    left.write_text("[{", encoding="utf-8")
    asked: list[Any] = []
    original = Worker.rows

    def rows(self: Worker, group: Any) -> list[dict[str, Any]]:
        asked.append(group)
        return original(self, group)

    monkeypatch.setattr(Worker, "rows", rows)
    assert run(study, path) == 2
    assert [group.seed for group in asked] == [5]
    assert path.read_bytes() == whole.read_bytes()
    assert list(tmp_path.iterdir()) == [path]
    assert run(study, path) == 2
    assert [group.seed for group in asked] == [5]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.heavy
def test_a_part_that_cannot_go_on_is_refused(tmp_path: Path) -> None:
    path, study = tmp_path / "part.parquet", Study.parse(TEXT)
    run(study, path, limit=1)
    content = path.read_bytes()
    shutil.rmtree(path.with_name(f"{path.name}.parts"))
    with pytest.raises(StudyError, match="holds 1 of 2 groups"):
        run(study, path)
    assert path.read_bytes() == content


@pytest.mark.heavy
def test_another_studys_table_is_left_alone(whole: Path, tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    shutil.copy(whole, path)
    with pytest.raises(StudyError, match="not a table of this study"):
        run(Study.parse(TEXT.replace("colours", "shapes")), path)
    assert path.read_bytes() == whole.read_bytes()
    path.write_bytes(b"PAR1")
    with pytest.raises(StudyError, match="not a table of this study"):
        run(Study.parse(TEXT), path)


@pytest.mark.heavy
def test_edits_and_places(tmp_path: Path) -> None:
    study = Study.parse(
        'title = "edits"\nsteps = 3\nmeasures = ["distance", "outside", "place"]\n'
        '[[prompts]]\ntext = "a red circle and a blue square"\nnew = "green"\n'
        'first = "red"\nsecond = "blue"\n'
        'relation = "left of"\n[[variants]]\nname = "plain"\n'
        '[[variants]]\nname = "edit"\nedits = "red -> {new}"\n'
    )
    path = tmp_path / "edits.parquet"
    run(study, path)
    rows = rows_of(path)
    assert {row["variant"] for row in rows if row["measure"] == "outside"} == {"edit"}
    assert [row["of"] for row in rows if row["variant"] == "edit" and row["measure"] == "distance"] == [
        "rms",
        "ssim",
    ]


@pytest.mark.heavy
def test_the_report(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    study, rows = table.read(whole)
    found = {(each.measure, each.of, each.by): each for each in report.means(study, rows)}
    mean = found["distance", "rms", ("alone", "M00")]
    values = [row["value"] for row in rows_of(whole) if row["of"] == "rms" and row["block"] == "M00"]
    assert mean.mean == pytest.approx(np.mean(values))
    assert min(values) <= mean.low <= mean.mean <= mean.high <= max(values)
    page = tmp_path / "page.html"
    assert main(["study-report", str(whole), "--out", str(page)]) == 0
    assert "distance: rms" in capsys.readouterr().out
    assert page.read_text(encoding="utf-8").count("data:image/png") == 5
    not_one = tmp_path / "x.png"
    Image.new("RGB", (2, 2)).save(not_one)
    assert main(["study-report", str(not_one)]) == 2
    assert "not a table of a study" in capsys.readouterr().err


@pytest.mark.heavy
def test_a_measure_of_ones_own(tmp_path: Path) -> None:
    """Another package's entry point is found, in a process that has it on its path."""
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\nfrom lib_unet_viz.studies.measures import Measure, Value\n"
        "@dataclass(frozen=True)\nclass Redness(Measure):\n    name = 'redness'\n"
        "    def values(self, run):\n        yield Value(run.picture.getpixel((0, 0))[0] / 255)\n",
        encoding="utf-8",
    )
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: mine\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(
        "[lib_unet_viz.measures]\nredness = mine:Redness\n", encoding="utf-8"
    )
    code = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n"
        "from lib_unet_viz.studies.study import Study\n"
        f"study = Study.parse({TEXT!r}.replace('\"distance\"', '\"redness\"'))\n"
        "print([measure.name for measure in study.measures][0])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "redness\n"


@pytest.mark.heavy
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    notebook = nbformat.read(Path(__file__).parents[1] / "docs" / "study.ipynb", as_version=4)
    folder = {"metadata": {"path": str(tmp_path)}}
    done = nbclient.NotebookClient(notebook, timeout=600, resources=folder).execute()
    *_, shown, figure = [cell for cell in done.cells if cell.cell_type == "code"]
    assert "in this block alone" in str(shown.outputs[0]["data"])
    assert "image/png" in figure.outputs[0]["data"]
