"""Commands as a person types them, on a small pipeline with random weights."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import lib_unet_viz
from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import choices, main, report
from lib_unet_viz.cli.parser import parse
from lib_unet_viz.settings.entry import TRACE
from lib_unet_viz.trace import AttentionMap, FeatureMap, Trace

ROOT = Path(__file__).parents[1]
COMMANDS = (
    "app",
    "trace",
    "vxa",
    "blocks",
    "show",
    "render",
    "maps",
    "page",
    "export",
    "diff",
    "sweep",
    "edit",
    "score",
    "study",
    "study-report",
)
PROMPT = "a red circle"


@pytest.fixture(scope="session")
def model(tiny_pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_pipe.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def traced(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `trace` filled, with its defaults but for the steps."""
    folder = tmp_path_factory.mktemp("traces") / "new" / "red"
    options = ["--steps", "4", "--seed", "3", "--model", model, "--out", str(folder), "--animate"]
    assert main(["trace", PROMPT, *options]) == 0
    return folder


def twice_as_large(item: FeatureMap) -> torch.Tensor:
    """Its data, each position four times; of self-attention, those that are looked at as well."""
    data = item.data
    if item.key.kind == "self" and item.key.what == "QK":
        sides = data.unflatten(1, item.shape[2:])
        data = sides.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1, 2)
    return data.repeat_interleave(2, -1).repeat_interleave(2, -2)


@pytest.fixture(scope="session")
def second(traced: Path) -> Path:
    """The same as a webui dumps the second picture of a batch, with a hires pass of another size."""
    dump = load_trace(traced / "trace.safetensors")
    hires = load_trace(traced / "trace.safetensors")
    for item in (*dump.features, *dump.attention):
        item.key = replace(item.key, image=1)
    for item in (*hires.features, *hires.attention):
        maps: Any = dump.attention if isinstance(item, AttentionMap) else dump.features
        key = replace(item.key, image=1, pass_="hires")
        maps.add(type(item)(key, twice_as_large(item), item.sigma))
    return save_trace(dump, traced / "second", image=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (90, 131, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise).save(path)
    return path


def run(*arguments: str | Path) -> int:
    """The exit code, also where argparse leaves."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The message of a command that fails as the user's mistake."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 2
    assert "Traceback" not in err
    return err


def test_the_module_runs_as_the_script_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"unet-viz {lib_unet_viz.__version__}\n"
    command = [sys.executable, "-m", "lib_unet_viz", "blocks", "IN0x"]
    wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    examples = re.findall(r"^  (unet-viz .*)", text, re.MULTILINE)
    assert len(examples) >= 2
    assert {parse(shlex.split(example)[1:]).command for example in examples} == {command}


def test_the_examples_of_the_documents_can_be_read() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))]
    examples = re.findall(r"^    (unet-viz .*)", "\n".join(texts), re.MULTILINE)
    assert len(examples) > 10
    assert all(parse(shlex.split(example)[1:]).run for example in examples)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{command}( |$)", text, re.MULTILINE) for command in COMMANDS)


def test_blocks_one_name_a_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("blocks", "IN10-OUT01(+2)", "--model", model) == 0
    assert capsys.readouterr().out == "IN10\nM00\nOUT01\n"
    assert run("blocks", "--model", model) == 0
    assert len(capsys.readouterr().out.splitlines()) == 25


def test_blocks_with_shapes(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("blocks", "IN00,M00", "--json", "--size", "192x128", "--model", model) == 0
    first, middle = json.loads(capsys.readouterr().out)
    assert first == {
        "name": "IN00",
        "input": [4, 16, 24],
        "output": [32, 16, 24],
        "prompt": False,
        "cross": 0,
        "heads": 0,
        "depth": 0,
    }
    assert (middle["output"], middle["prompt"], middle["heads"]) == ([128, 2, 3], True, 2)


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


EDITS = ["--edit", "red -> blue", "--edit", "---", "--edit", "+ on a square", "--edit", "square * 2"]


def test_edit_fills_a_folder(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_options = ["--steps", "3", "--seed", "3", "--size", "64x64", "--model", model]
    controls = [
        "--cross-steps",
        '{"default": 0.8, "blue": [0, 0.4]}',
        "--blend-start",
        "0",
        "--subtract",
        "a",
    ]
    out = tmp_path / "new"
    assert run("edit", PROMPT, *EDITS, *run_options, *controls, "--sweep", "steps", "--out", out) == 0
    pictures = ["source", "target-1", "target-2", "mask-1", "mask-2", "comparison", "sweep"]
    assert {path.name for path in out.iterdir()} == {"edit.json", *(f"{name}.png" for name in pictures)}
    with Image.open(out / "target-2.png") as target:
        assert target.size == (64, 64)
    told = json.loads((out / "edit.json").read_text(encoding="utf-8"))
    assert (told["prompt"], told["seed"], told["steps"], told["size"]) == (PROMPT, 3, 3, [64, 64])
    assert [target["prompt"] for target in told["targets"]] == ["a blue circle", "a red circle on a square"]
    assert [list(target["mask"]) for target in told["targets"]] == [["1", "2", "3"]] * 2
    assert json.loads(told["settings"]["cross_steps"])["blue"] == [0, 0.4]
    said = capsys.readouterr().out
    for number, target in enumerate(told["targets"], start=1):
        shares = list(target["mask"].values())
        assert f"by {target['changed']:.1f}, in {shares[-1]:.0%} of it" in said
        assert f"target {number}: {target['edits']}" in said


def test_an_edit_is_that_of_python(model: str, tmp_path: Path) -> None:
    from lib_unet_viz.hosts.diffusers.edit import edit
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
    from lib_unet_viz.settings import EditSettings

    options = ["--steps", "2", "--size", "64", "--model", model, "--no-blend", "--blocks", "OUT03-OUT11"]
    assert run("edit", PROMPT, "--edit", "red -> blue", *options, "--out", tmp_path) == 0
    settings = EditSettings(edits="red -> blue", blend=False, blocks="OUT03-OUT11")
    edited = edit(Pipeline.load(model), PROMPT, settings, steps=2, size=(64, 64))
    for name, picture in zip(("source", "target-1"), edited.pictures, strict=True):
        with Image.open(tmp_path / f"{name}.png") as image:
            assert image.tobytes() == picture.tobytes()
    assert not list(tmp_path.glob("mask*"))


def test_an_edit_of_a_picture_says_how_well_it_was_reconstructed(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "own.png")
    options = ["--image", str(tmp_path / "own.png"), "--model", model, "--steps", "2"]
    options += ["--out", str(tmp_path / "out")]
    assert run("edit", PROMPT, "--edit", "red -> blue", *options) == 0
    told = json.loads((tmp_path / "out" / "edit.json").read_text(encoding="utf-8"))
    assert (told["inversion"], told["size"], "seed" in told) == ("direct", [64, 64], False)
    assert told["errors"]["latent RMSE"] == 0
    assert "reconstruction, PSNR (dB): " in capsys.readouterr().out
    assert {"source.png", "target-1.png"} <= {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("image", [False, True], ids=["made", "uploaded"])
def test_an_edit_keeps_to_a_mask(model: str, image: bool, tmp_path: Path) -> None:
    mask = Image.new("LA", (64, 64))  # all of it transparent
    mask.paste((255, 255), (0, 0, 24, 64))
    mask.save(tmp_path / "mask.png")
    Image.new("RGB", (64, 64), "red").save(tmp_path / "own.png")
    options = ["--image", str(tmp_path / "own.png")] if image else ["--size", "64"]
    options += ["--model", model, "--steps", "2", "--no-blend", "--mask", str(tmp_path / "mask.png")]
    assert run("edit", PROMPT, "--edit", "red -> blue", *options, "--out", tmp_path / "out") == 0
    told = json.loads((tmp_path / "out" / "edit.json").read_text(encoding="utf-8"))
    assert told["targets"][0]["mask"] == {"1": 0.375, "2": 0.375}
    assert (told["mask"], len(told["mask_digest"])) == (str(tmp_path / "mask.png"), 10)
    assert (tmp_path / "out" / "mask-1.png").is_file()


def test_an_alignment_says_what_a_mask_allows(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 16, 64))
    mask.save(tmp_path / "mask.png")
    options = ["--edit", "red -> blue", "--model", model, "--mask", str(tmp_path / "mask.png"), "--align"]
    assert run("edit", PROMPT, *options) == 0
    assert "where red, blue shows and inside the given mask (25% of the" in capsys.readouterr().out


def test_an_alignment_needs_no_picture(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("edit", PROMPT, *EDITS, "--model", model, "--align", "--out", tmp_path / "none") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["target 1: a blue circle", "“red” becomes “blue”"]
    assert lines[3].index("b·l·u·e") == lines[2].index("red") == lines[4].index("swapped")
    assert "target 2: a red circle on a square" in lines
    assert "in 16 of 16 blocks with attention" in lines
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("mode", ["masked", "grey", "overlay"])
def test_vxa_draws_on_the_picture(mode: str, model: str, photo: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "red.png"
    words = ["--words", "red, circle", "--mode", mode, "--noise-seed", "2"]
    assert run("vxa", photo, PROMPT, *words, "--model", model, "--out", out) == 0
    with Image.open(out) as image:
        assert image.size == (131, 90)
        red, _, blue = (np.asarray(band) for band in image.convert("RGB").split())
    assert (red == blue).all() == (mode == "grey")
    assert red.std() > 0


def test_vxa_words_and_tokens_name_the_same(model: str, photo: Path, tmp_path: Path) -> None:
    def drawn(*options: str | Path) -> bytes:
        out = tmp_path / "out.png"
        assert run("vxa", photo, PROMPT, *options, "--model", model, "--layer", "M00", "--out", out) == 0
        return out.read_bytes()

    assert drawn("--words", "red") == drawn("--tokens", "2")
    assert drawn() == drawn("--tokens", "1,2,3")
    assert drawn("--original") != drawn()


BAD: dict[str, tuple[list[str], str]] = {
    "no command": ([], "required"),
    "unknown command": (["dance"], "invalid choice"),
    "unknown option": (["blocks", "--dance"], "--dance"),
    "no such block": (["blocks", "IN99", "--model", "MODEL"], "IN99"),
    "no such model": (["blocks", "--model", "nowhere"], "nowhere"),
    "bad seed": (["trace", "x", "--seed", "-1"], "whole number"),
    "bad steps": (["trace", "x", "--steps", "0"], "1 or more"),
    "bad size": (["trace", "x", "--size", "100x100"], "multiples of 8"),
    "bad part": (["trace", "x", "--parts", "QKV"], "VQK"),
    "bad step spec": (["trace", "x", "--at", "1-"], "step"),
    "bad formula": (["trace", "x", "--formulas", "v; open(1); 1"], "^"),
    "two formulas": (["trace", "x", "--formulas", "v; v"], "three"),
    "bad colour map": (["trace", "x", "--colors", "nocolour"], "viridis"),
    "bad range": (["trace", "x", "--transform", "linear", "--min", "2"], "minimum"),
    "unclosed layer prompt": (["trace", "a (~: M00: x", "--model", "nowhere"], "not closed"),
    "layer prompt without a colon": (["trace", "x", "--negative", "(~: M00 :~)"], "colon"),
    "layer prompt for no block": (["trace", "a (~: IN99: x :~)", "--model", "MODEL"], "IN99"),
    "no settings file": (["trace", "x", "--settings", "nowhere.json"], "nowhere.json"),
    "folder is a file": (["trace", "x", "--out", "PHOTO/out"], "is a file"),
    "too much": (["trace", "x", "--blocks", "", "--budget", "1", "--at", "", "--model", "MODEL"], "budget"),
    "no picture": (["vxa", "nowhere.png", "x"], "nowhere.png"),
    "not a picture": (["vxa", "FOREIGN", "x"], "no picture of a known kind"),
    "no such word": (["vxa", "PHOTO", PROMPT, "--words", "red,blue", "--model", "MODEL"], "circle"),
    "no word": (["vxa", "PHOTO", PROMPT, "--words", ",", "--model", "MODEL"], "no word"),
    "no such token": (["vxa", "PHOTO", PROMPT, "--tokens", "1,99", "--model", "MODEL"], "99"),
    "words and tokens": (["vxa", "PHOTO", PROMPT, "--words", "a", "--tokens", "1"], "not allowed with"),
    "no prompt": (["vxa", "PHOTO", " ", "--model", "MODEL"], "prompt"),
    "no such timestep": (["vxa", "PHOTO", PROMPT, "--timestep", "1000", "--model", "MODEL"], "999"),
    "layer without prompt": (["vxa", "PHOTO", PROMPT, "--layer", "IN00", "--model", "MODEL"], "IN00"),
    "no png": (["vxa", "PHOTO", PROMPT, "--out", "out.gif"], ".png"),
    "no dump": (["show", "nowhere.safetensors"], "nowhere"),
    "no dump to compare": (["diff", "nowhere.safetensors", "FOREIGN"], "nowhere"),
    "a sweep of nothing": (["sweep", "x", "--word", " ", "--model", "MODEL"], "word is empty"),
    "a sweep of groups": (["sweep", "(~:M00:x:~)", "--word", "x", "--model", "MODEL"], "no groups"),
    "a sweep into a file": (["sweep", "x", "--word", "x", "--out", "PHOTO"], "is a file"),
    "an edit of a word that is not there": (["edit", PROMPT, "--edit", "hat -> cap"], "red, circle"),
    "a wrong second edit": (["edit", PROMPT, "--edit", "red -> blue", "--edit", "cirle * 2"], "^^^^^"),
    "no edit": (["edit", PROMPT], "--edit"),
    "an empty edit": (["edit", PROMPT, "--edit", " "], "no edit"),
    "no such picture to edit": (["edit", PROMPT, "--edit", "red -> blue", "--image", "none.png"], "none.png"),
    "a method without a picture": (["edit", PROMPT, "--edit", "red ->", "--inversion", "ddim"], "--image"),
    "no such mask": (["edit", PROMPT, "--edit", "red -> blue", "--mask", "none.png"], "none.png"),
    "a mask with colours": (["edit", PROMPT, "--edit", "red -> blue", "--mask", "PHOTO"], "has colours"),
    "a size for a picture": (
        ["edit", PROMPT, "--edit", "red ->", "--image", "none.png", "--size", "64"],
        "--size",
    ),
    "wrong steps of an edit": (
        ["edit", PROMPT, "--edit", "red -> blue", "--cross-steps", "0,8"],
        "cross_steps",
    ),
    "no such threshold": (["edit", PROMPT, "--edit", "red -> blue", "--threshold", "2"], "0 to 1"),
    "an edit of no block": (
        ["edit", PROMPT, "--edit", "red -> x", "--blocks", "IN99", "--model", "MODEL"],
        "IN99",
    ),
    "an edit into a file": (["edit", PROMPT, "--edit", "red -> blue", "--out", "PHOTO"], "is a file"),
    "foreign dump": (["render", "FOREIGN"], "no dump"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_what_is_wrong_takes_two_lines_and_leaves_nothing(
    arguments: list[str],
    says: str,
    model: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_text("this is not what its name says")
    before = sorted(tmp_path.rglob("*"))
    places = {"MODEL": model, "PHOTO": str(photo), "FOREIGN": str(foreign)}
    pattern = re.compile("|".join(places))
    given = [pattern.sub(lambda found: places[found[0]], argument) for argument in arguments]
    assert says in refused(capsys, *given)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_caret_stands_under_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = refused(capsys, "blocks", "IN00, XY01").splitlines()
    assert first.index("XY01") == second.index("^")


def test_nothing_that_fits_in_a_dump(
    traced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    options: list[str | Path] = ["--blocks", "IN00", "--no-attention", "--no-heat", "--out", out]
    assert "OUT11" in refused(capsys, "render", traced / "trace.safetensors", *options)
    assert not out.exists()


def test_maps_of_a_dump(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--steps", "2", "--model", model, "--no-features", "--no-attention", "--explore"]
    assert run("trace", PROMPT, *options, "--negative", "red", "--out", tmp_path) == 0
    dump = tmp_path / "trace.safetensors"
    views = ["--segments", "--components", "--look", "0.5,0.2"]
    assert run("maps", dump, *views, "--out", tmp_path / "all") == 0
    words = {f"{kind}-{name}.png" for kind in ("heat", "mask") for name in ("01-a", "02-red", "03-circle")}
    others = {"labels.png", "look.png", "components.png", "segments.png"}
    assert {path.name for path in (tmp_path / "all").iterdir()} == words | others
    one = ["--look", "0.5,0.2", "--layer", "OUT09.0", "--head", "1", "--step", "2"]
    asked = ["--ask", "blue", "--model", model, "--threshold", "0.5"]
    assert run("maps", dump, *one, *asked, "--out", tmp_path / "asked") == 0
    assert (tmp_path / "asked" / "heat-01-blue.png").exists()
    assert run("maps", dump, "--half", "uncond", "--out", tmp_path / "negative") == 0
    assert (tmp_path / "negative" / "mask-01-red.png").exists()
    capsys.readouterr()
    for wrong, said in (
        (["--words", "dog"], "'dog' nowhere"),
        (["--threshold", "much"], "0 to 1, or otsu"),
        (["--look", "2,0"], "between 0 and 1"),
        (["--look", "1"], "two numbers"),
        (["--look", "0,0", "--layer", "IN00.0"], "no self-attention of IN00.0"),
    ):
        assert said in refused(capsys, "maps", dump, *wrong, "--out", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_scores_as_a_table() -> None:
    marks = {"pointing": 0.81, "miou": 0.4, "miou_mean": 0.3, "map": 0.7}
    others = {"intervals": {"miou": [0.35, 0.45]}, "colors": {"miou": 0.2}, "phrases": {"miou": 0.1}}
    cases = ("one_object", "two_objects", "three_objects", "generated")
    maps = {case: {"daam": {**marks, **others}} for case in cases}
    of_things = {case: {"daam": marks} for case in ("things", "attached", "parts", "asked")}
    found = {
        "pictures": {"scorer_on_drawn": 0.99, "one_object": 0.925, "two_objects": 0.7, "unseen_pair": 0.5},
        "autoencoder": {"psnr_db": 24.31, "things_psnr_db": 19.58},
        "maps": {"default": "daam", "winner": "vxa", "best_layer": "OUT07", **maps, **of_things},
    }
    text = report.scores(found, count=40)
    assert re.search(r"^worn or eaten, pairs not trained on +50\.0%$", text, re.MULTILINE)
    assert re.search(r"^the pixels of things +19\.6 dB$", text, re.MULTILINE)
    row = r"^daam \(default\) +81\.0% +0\.400 +0\.300 +0\.700$"
    assert len(re.findall(row, text, re.MULTILINE)) == 4
    assert re.search(r"^one object +92\.5%$", text, re.MULTILINE)
    row = r"^daam \(default\) +81\.0% +0\.400 +0\.050 +0\.300 +0\.700 +0\.200 +0\.100$"
    assert len(re.findall(row, text, re.MULTILINE)) == 4
    assert "the layer OUT07; the winner is vxa" in text


def test_a_dump_of_a_later_picture_with_a_hires_pass(second: Path, tmp_path: Path) -> None:
    for number, command in enumerate(("render", "maps")):
        folder = tmp_path / str(number)
        assert run(command, second, "--out", folder) == 0
        assert len(list(folder.glob("heat-*-red.png"))) == 1
    assert run("maps", second, "--segments", "--components", "--out", tmp_path / "self") == 0
    assert run("diff", second, second, "--out", tmp_path / "diff") == 0
    assert run("show", second) == 0


@pytest.fixture(scope="session")
def any_dump(traced: Path) -> Callable[..., Path]:
    """A dump as the webui writes it of one of its pictures: of a batch, with a negative half, AND, hires."""
    source = load_trace(traced / "trace.safetensors")

    def write(
        name: str, *, image: int, halves: Sequence[str], subs: int, hires: bool, refiner: bool = False
    ) -> Path:
        trace = Trace(meta=source.meta, picture=source.picture)
        tokens = source.meta["tokens"]["cond"]
        texts = {half: [tokens] * subs if subs > 1 else tokens for half in halves}
        trace.meta = replace(trace.meta, tokens=texts)
        rows: Any = itertools.product(halves, range(subs), ("first", "hires") if hires else ("first",))
        for half, sub, pass_ in rows:
            for item in (*source.features.all(half="cond"), *source.attention.all(half="cond")):
                key = replace(item.key, image=image, half=half, sub=sub, pass_=pass_)
                maps: Any = trace.attention if isinstance(item, AttentionMap) else trace.features
                refined = refiner and (item.key.step or 0) >= 2  # of four
                data = twice_as_large(item) if refined or pass_ == "hires" else item.data.clone()
                maps.add(type(item)(key, data, item.sigma))
        return save_trace(trace, traced / name, image=image)

    return write


@pytest.mark.parametrize(
    ("name", "halves", "subs", "hires"),
    [
        ("batch", ("cond",), 1, False),
        pytest.param("negative", ("uncond",), 1, False, marks=pytest.mark.heavy),
        pytest.param("both", ("cond", "uncond"), 1, True, marks=pytest.mark.heavy),
        pytest.param("and", ("cond",), 2, True, marks=pytest.mark.heavy),
        pytest.param("refiner", ("cond", "uncond"), 1, False, marks=pytest.mark.heavy),
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


def test_maps_say_how_strong_words_are(
    traced: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = traced / "trace.safetensors"
    assert run("maps", dump, "--json", "--out", tmp_path / "own") == 0
    words = json.loads(capsys.readouterr().out)["words"]
    assert [set(word) for word in words] == [{"word", "strength"}] * len(words)
    assert len(words) > 1
    assert run("maps", dump, "--one-scale", "--mode", "grey", "--out", tmp_path / "same") == 0
    strongest = max(word["strength"] for word in words)
    for number, word in enumerate(words, start=1):
        [own], [same] = (list((tmp_path / name).glob(f"heat-{number:02}-*")) for name in ("own", "same"))
        largest = np.asarray(Image.open(same).convert("L")).max()
        assert largest == pytest.approx(255 * word["strength"] / strongest, abs=3), own


def test_maps_of_a_dump_without_words(traced: Path, tmp_path: Path) -> None:
    dump = load_trace(traced / "trace.safetensors")
    dump.meta["tokens"]["cond"] = ["<|startoftext|>", *["<|endoftext|>"] * 76]
    path = save_trace(dump, traced / "empty")
    assert run("maps", path, "--components", "--out", tmp_path) == 0
    assert [file.name for file in tmp_path.iterdir()] == ["components.png"]
