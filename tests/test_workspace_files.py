"""The commands `page` and `export`, and animations as GIF: files that are whole, and refusals in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_workspace import SHELL, features, recorded

from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.drawing.render import animation
from lib_unet_viz.trace import Key
from lib_unet_viz.workspace import exports, page
from lib_unet_viz.workspace.exports import ExportError


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_static", {"html": SHELL, "css": "", "js": ""}.__getitem__)


@pytest.fixture
def dumps(tmp_path: Path) -> list[Path]:
    """Two runs, in folders of their own under the name that `unet-viz trace` gives."""
    return [save_trace(recorded(seed), tmp_path / name / "trace") for seed, name in ((0, "old"), (5, "new"))]


def run(*arguments: str | Path) -> int:
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def manifest(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text.split('id="uv-manifest">')[1].split("</script>")[0])


def test_a_page_of_one_dump_and_of_two(
    dumps: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made" / "one.html"
    assert run("page", dumps[0], "--out", out) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert [each["name"] for each in manifest(out)["runs"]] == ["trace"]
    assert run("page", *dumps, "--out", out) == 0
    assert [each["name"] for each in manifest(out)["runs"]] == ["old", "new"]
    assert [path.name for path in out.parent.iterdir()] == ["one.html"]


def test_a_page_of_some_blocks_and_steps(dumps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "one.html"
    assert run("page", dumps[0], "--blocks", "OUT01", "--at", "5", "--out", out) == 0
    [found] = manifest(out)["runs"][0]["maps"]
    assert (found["block"], found["step"]) == ("OUT01", 5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "star.png"], "does not end in .html or .htm"),
        (["--out", "folder.html"], "is a folder"),
        (["--out", "x.html", "--image", "3"], "no maps of image 3; there are: 0"),
        (["--out", "x.html", "--pass", "hires"], "no maps of pass hires; there are: first"),
        (["--out", "x.html", "--blocks", "IN99"], "no block IN99"),
        (["--out", "file/x.html"], "not a folder"),
    ],
)
def test_what_cannot_be_made_is_said(
    dumps: list[Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "here" / "folder.html").mkdir(parents=True)
    (tmp_path / "here" / "file").touch()
    monkeypatch.chdir(tmp_path / "here")
    assert run("page", dumps[0], *arguments) == 2
    out, err = capsys.readouterr()
    assert (out, message in err) == ("", True)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "folder.html"]


def test_what_is_no_dump_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("no dump")
    assert run("page", tmp_path / "text", "--out", tmp_path / "x.html") == 2
    assert "is no dump" in capsys.readouterr().err
    assert not (tmp_path / "x.html").exists()


def test_arrays_are_read_without_pickle(dumps: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "made" / "arrays.npz"
    assert run("export", dumps[0], "--out", out) == 0
    with np.load(out, allow_pickle=False) as found:
        about = json.loads(str(found["unet_viz"]))
        trace = load_trace(dumps[0])
        assert (found["OUT01-features-step005"] == trace.features.one(step=5).numpy()).all()
        assert found["OUT01-features-step005"].dtype == np.float32
        assert found["picture"].shape == (6, 8, 3)
        assert set(about["maps"]) == set(found.files) - {"unet_viz", "picture"}
    assert about["meta"]["prompt"] == "red circle"
    assert about["maps"]["M00.0-cross-QK-mean"]["axes"] == ["head", "token", "y", "x"]
    assert about["maps"]["OUT01-features-step005"]["step"] == 5


def test_half_precision_stays(tmp_path: Path) -> None:
    trace = recorded()
    item = features("IN00", 0)
    item.data = item.data.half()
    trace.features.add(item)
    with np.load(exports.save_arrays(trace, tmp_path / "a.npz"), allow_pickle=False) as found:
        assert found["IN00-features-step001"].dtype == np.float16


def test_a_smaller_dump(dumps: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "small.safetensors"
    assert run("export", dumps[0], "--blocks", "OUT01", "--at", "1", "--out", out) == 0
    found = load_trace(out)
    assert [str(item.key) for item in (*found.features, *found.attention)] == ["OUT01 step 1 image 0 cond"]
    assert torch.equal(found.features[0].data, load_trace(dumps[0]).features.one(step=1).data)
    assert run("export", dumps[0], "--at", "3", "--blocks", "IN00", "--out", out) == 2
    assert "nothing fits" in capsys.readouterr().err


def test_only_one_image_goes_into_a_file(tmp_path: Path) -> None:
    trace = recorded()
    other = features("OUT01", 0)
    other.key = Key("OUT01", "features", step=0, image=1)
    trace.features.add(other)
    for kind, error in ((".npz", ExportError), (".safetensors", DumpError)):
        with pytest.raises(error, match="say which"):
            exports.save_arrays(trace, tmp_path / f"a{kind}")
    with pytest.raises(ExportError, match="does not end in"):
        exports.save_arrays(trace, tmp_path / "a.csv")
    assert list(tmp_path.iterdir()) == []


def test_animations_as_gif(tmp_path: Path, dumps: list[Path]) -> None:
    frames = [Image.new("RGB", (30, 20 + at), color) for at, color in enumerate(("red", "lime", "blue"))]
    with Image.open(animation(frames, tmp_path / "moving.gif", ms=300)) as found:
        assert (found.format, getattr(found, "n_frames", 1), found.size) == ("GIF", 3, (30, 22))
        assert (found.info["duration"], found.info["loop"]) == (300, 0)
        found.seek(2)
        assert found.convert("RGB").getpixel((5, 5)) == (0, 0, 255)
    assert run("render", dumps[0], "--no-attention", "--gif", "--out", tmp_path / "sheets") == 0
    with Image.open(tmp_path / "sheets" / "OUT01-features.gif") as found:
        assert getattr(found, "n_frames", 1) == 3
