"""`unet-viz edit`, as a person types it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from cli.typed import PROMPT, run

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
    said = " ".join(capsys.readouterr().out.split())
    assert (
        "where red, blue shows more than the other words and inside the given mask (25% of the picture)"
        in said
    )


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
