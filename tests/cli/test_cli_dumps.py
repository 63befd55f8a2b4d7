"""Dumps through the commands that read them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cli.typed import refused, run
from lib_unet_viz.capture.dump import load_trace


def test_show(traced: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", traced / "trace.safetensors") == 0
    text = capsys.readouterr().out
    assert re.search(r"^prompt +a red circle$", text, re.MULTILINE)
    assert re.search(r"^OUT11 +features +cond +step 1,2,4 +channel 32, y 16, x 16$", text, re.MULTILINE)
    assert run("show", traced / "trace.safetensors", "--json") == 0
    values = json.loads(capsys.readouterr().out)
    assert values["picture"] == [128, 128]
    assert {"block", "step", "shape", "axes"} <= values["maps"][0].keys()


def test_render_in_other_colours(traced: Path, tmp_path: Path) -> None:
    out, dump = tmp_path / "again", traced / "trace.safetensors"
    custom = ["--colors", "custom", "--transform", "sigmoid", "--formulas", "(2+v)/3; 1.0; 0.5"]
    assert run("render", dump, "--blocks", "IN00-OUT11(+12)", "--no-attention", "--out", out) == 0
    names = {path.name for path in out.iterdir()}
    assert "heat-02-red.png" in names
    # Of every twelfth block, IN00 was not recorded.
    expected = {f"{block}-features-step00{step}.png" for block in ("M00", "OUT11") for step in (1, 2, 4)}
    assert {name for name in names if "features" in name} == expected
    plain = (out / "M00-features-step001.png").read_bytes()
    assert plain == (traced / "M00-features-step001.png").read_bytes()
    assert run("render", dump, "--blocks", "M00", "--no-attention", "--at", "1", *custom, "--out", out) == 0
    assert (out / "M00-features-step001.png").read_bytes() != plain


def test_nothing_that_fits_in_a_dump(
    traced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options: list[str | Path] = ["--blocks", "IN00", "--no-attention", "--no-heat", "--out", out]
    assert "OUT11" in refused(capsys, "render", traced / "trace.safetensors", *options)
    assert not out.exists()


def test_diff_of_two_dumps(
    model: str, traced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options: list[str | Path] = ["--steps", "4", "--seed", "4", "--model", model, "--out", tmp_path / "other"]
    assert run("trace", "a (~:_:red; M00:blue:~) circle", *options) == 0
    dumps, out = (traced / "trace.safetensors", tmp_path / "other" / "trace.safetensors"), tmp_path / "out"
    assert run("diff", *dumps, "--blocks", "OUT11", "--out", out) == 0
    assert "tokens are compared by their positions" in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    assert {"comparison.png", "difference.safetensors", "M00.0-cross-QK-step004.png"} <= names
    assert {f"OUT11-features-step{step:03}.png" for step in (1, 2, 4)} <= names
    found, one, other = (load_trace(path) for path in (out / "difference.safetensors", *dumps))
    place: dict[str, Any] = {"block": "OUT11", "step": 2}
    expected = other.features.one(**place).numpy() - one.features.one(**place).numpy()
    assert np.array_equal(found.features.one(**place).numpy(), expected)
    signed = (out / "OUT11-features-step001.png").read_bytes()
    assert run("diff", *dumps, "--blocks", "OUT11", "--absolute", "--no-attention", "--out", out) == 0
    assert (out / "OUT11-features-step001.png").read_bytes() != signed


@pytest.mark.heavy
def test_a_dump_of_a_later_picture_with_a_hires_pass(second: Path, tmp_path: Path) -> None:
    for number, command in enumerate(("render", "maps")):
        folder = tmp_path / str(number)
        assert run(command, second, "--out", folder) == 0
        assert len(list(folder.glob("heat-*-red.png"))) == 1
    assert run("maps", second, "--segments", "--components", "--out", tmp_path / "self") == 0
    assert run("diff", second, second, "--out", tmp_path / "diff") == 0
    assert run("show", second) == 0


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("name", "halves", "subs", "hires"),
    [
        ("batch", ("cond",), 1, False),
        ("negative", ("uncond",), 1, False),
        ("both", ("cond", "uncond"), 1, True),
        ("and", ("cond",), 2, True),
        ("refiner", ("cond", "uncond"), 1, False),
    ],
)
def test_every_kind_of_dump_through_every_command(
    any_dump: Callable[..., Path], tmp_path: Path, name: str, halves: Sequence[str], subs: int, hires: bool
) -> None:
    dump = any_dump(name, image=3, halves=halves, subs=subs, hires=hires, refiner=name == "refiner")
    assert run("show", dump) == 0
    assert run("maps", dump, "--out", tmp_path / "maps") == 0
    assert (tmp_path / "maps" / "labels.png").exists()
    assert run("render", dump, "--attention", "", "--out", tmp_path / "render") == 0
    assert run("diff", dump, dump, "--out", tmp_path / "diff") == 0
    chosen = ["--half", halves[-1], "--sub", str(subs), "--image", "3"]
    chosen += ["--pass", "hires" if hires else "first"]
    commands: list[list[str | Path]] = [["maps", dump], ["render", dump], ["diff", dump, dump]]
    for command in commands:
        assert run(*command, *chosen, "--out", tmp_path / f"{command[0]}-chosen") == 0
    assert {path.name for path in (tmp_path / "render-chosen").glob("*.png")} < {
        path.name for path in (tmp_path / "render").glob("*.png")
    } or not (hires or subs > 1 or len(halves) > 1)


def test_rows_that_a_dump_lacks(
    any_dump: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = any_dump("lacking", image=1, halves=("cond",), subs=1, hires=False)
    assert run("maps", dump, "--half", "uncond", "--out", tmp_path / "maps") == 2
    assert "no maps of half uncond; there are: cond" in capsys.readouterr().err
    assert run("render", dump, "--image", "0", "--out", tmp_path / "render") == 2
    assert "no map is of image 0" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
