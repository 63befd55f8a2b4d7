"""`unet-viz trace` and `unet-viz sweep`, as a person types them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cli.typed import PROMPT, refused, run
from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.cli import choices
from lib_unet_viz.cli.parser import parse
from lib_unet_viz.settings.entry import TRACE


def test_trace_fills_a_folder(traced: Path) -> None:
    names = {path.name for path in traced.iterdir()}
    assert {"picture.png", "trace.safetensors", "heat-01-a.png", "heat-02-red.png"} <= names
    assert {f"OUT11-features-step{step:03}.png" for step in (1, 2, 4)} <= names
    assert {"M00.0-cross-QK-step004.png", "M00.0-cross-QK.webp", "OUT11-features.webp"} <= names
    with Image.open(traced / "OUT11-features.webp") as animated:
        assert getattr(animated, "n_frames", 1) == 3
    dump = load_trace(traced / "trace.safetensors")
    assert (dump.meta["prompt"], dump.meta["seed"], dump.meta["steps"]) == (PROMPT, 3, 4)
    with Image.open(traced / "picture.png") as picture:
        assert dump.picture is not None
        assert picture.tobytes() == dump.picture.tobytes()


def test_trace_takes_specs_and_settings(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"heatmaps": False, "attention": {"parts": ["Q", "VQK"], "kinds": ["self"]}}))
    given = ["--blocks", "IN01-IN02", "--at", "1-9(+2)", "--attention", "M00", "--average", "mean"]
    out = tmp_path / "out"
    options: list[str | Path] = ["--steps", "2", "--settings", file, "--model", model, "--out", out]
    assert run("trace", PROMPT, *given, *options) == 0
    assert {path.name for path in out.iterdir()} == {
        "picture.png",
        "trace.safetensors",
        *(f"IN0{block}-features-step001.png" for block in (1, 2)),
        *(f"M00.0-self-{part}-step001.png" for part in ("Q", "VQK")),
    }
    notes = [line for line in capsys.readouterr().out.splitlines() if line.startswith("note: ")]
    assert any("3, 5, 7, 9" in note for note in notes)


def test_default_blocks_are_those_a_model_has(
    tiny_xl_pipe: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_xl_pipe.save_pretrained(tmp_path / "xl")
    options: list[str | Path] = [
        "--steps",
        "1",
        "--no-heat",
        "--model",
        tmp_path / "xl",
        "--out",
        tmp_path / "out",
    ]
    assert run("trace", PROMPT, *options) == 0, capsys.readouterr().err
    assert (tmp_path / "out" / "OUT05-features-step001.png").is_file()
    assert "OUT11" not in str(sorted((tmp_path / "out").iterdir()))


def test_trace_understands_layer_prompts(model: str, tmp_path: Path) -> None:
    def pixels(prompt: str) -> bytes:
        options = ["--steps", "1", "--size", "64", "--no-features", "--attention", "M00", "--model", model]
        assert run("trace", prompt, *options, "--out", tmp_path / "out") == 0
        with Image.open(tmp_path / "out" / "picture.png") as picture:
            return picture.tobytes()

    assert pixels("a (~: IN00-OUT11:red:~) circle") == pixels("a red circle")
    assert pixels("a (~: _:red; M00:circle:~) circle") != pixels("a red circle")
    heat = {path.name for path in (tmp_path / "out").glob("heat-*")}
    assert "heat-02-red.png" in heat


def test_a_file_of_settings_leaves_the_rest_at_the_commands_own_defaults(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    file.write_text(json.dumps({"attention": {"kinds": ["self"]}, "method": "daam"}), encoding="utf-8")
    options = parse(["trace", "a circle", "--settings", str(file)])
    own = {"features": {"blocks": "IN01", "steps": "1,3"}, "attention": {"blocks": "M00", "steps": "1,3"}}
    found = choices.settings(options, TRACE, own)
    assert (found.features.blocks, found.features.steps) == ("IN01", "1,3")
    assert (found.attention.blocks, found.attention.steps, found.attention.kinds) == ("M00", "1,3", ("self",))
    assert found.method == "daam"
    options.method = "vxa"
    assert choices.settings(options, TRACE, {}).method == "vxa"


@pytest.mark.heavy
def test_a_sweep_can_be_gone_on_with(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    made = ["--steps", "1", "--size", "64", "--model", model]
    options: list[str | Path] = ["--word", "red", *made, "--out", out]
    assert run("sweep", PROMPT, *options) == 0
    assert re.search(r"^OUT11 +\d", capsys.readouterr().out, re.MULTILINE)
    report = json.loads((out / "sweep.json").read_text(encoding="utf-8"))
    assert len(report["blocks"]) == 16
    kept = (out / "only-M00.png").stat().st_mtime_ns
    (out / "but-OUT11.png").unlink()
    assert run("sweep", PROMPT, *options) == 0
    assert (out / "only-M00.png").stat().st_mtime_ns == kept
    assert (out / "but-OUT11.png").is_file()
    assert json.loads((out / "sweep.json").read_text(encoding="utf-8")) == report
    capsys.readouterr()
    assert "seed 0, not 7" in refused(capsys, "sweep", PROMPT, *options, "--seed", "7")
