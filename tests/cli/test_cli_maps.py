"""`unet-viz vxa`, `maps` and the table of `score`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cli.typed import PROMPT, refused, run
from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import report


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


@pytest.mark.heavy
def test_vxa_words_and_tokens_name_the_same(model: str, photo: Path, tmp_path: Path) -> None:
    def drawn(*options: str | Path) -> bytes:
        out = tmp_path / "out.png"
        assert run("vxa", photo, PROMPT, *options, "--model", model, "--layer", "M00", "--out", out) == 0
        return out.read_bytes()

    assert drawn("--words", "red") == drawn("--tokens", "2")
    assert drawn() == drawn("--tokens", "1,2,3")
    assert drawn("--original") != drawn()


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


def test_scores_as_a_table() -> None:
    marks = {"pointing": 0.81, "miou": 0.4, "miou_mean": 0.3, "map": 0.7}
    others = {"intervals": {"miou": [0.35, 0.45]}, "colors": {"miou": 0.2}, "phrases": {"miou": 0.1}}
    cases = ("one_object", "two_objects", "three_objects", "generated")
    maps = {case: {"daam": {**marks, **others}} for case in cases}
    of_things = {case: {"daam": marks} for case in ("things", "attached", "parts", "asked")}
    found = {
        "pictures": {"scorer_on_drawn": 0.99, "one_object": 0.925, "two_objects": 0.7, "unseen_pair": 0.5},
        "autoencoder": {"psnr_db": 24.31, "things_psnr_db": 19.58, "unseen_pair": 0.7},
        "maps": {"default": "daam", "winner": "vxa", "best_layer": "OUT07", **maps, **of_things},
    }
    text = report.scores(found, count=40)
    assert re.search(r"^worn or eaten, pairs not trained on +50\.0% +70\.0%$", text, re.MULTILINE)
    assert re.search(r"^the pixels of things +19\.6 dB$", text, re.MULTILINE)
    row = r"^daam \(default\) +81\.0% +0\.400 +0\.300 +0\.700$"
    assert len(re.findall(row, text, re.MULTILINE)) == 4
    assert re.search(r"^one object +92\.5%$", text, re.MULTILINE)
    row = r"^daam \(default\) +81\.0% +0\.400 +0\.050 +0\.300 +0\.700 +0\.200 +0\.100$"
    assert len(re.findall(row, text, re.MULTILINE)) == 4
    assert "the layer OUT07; the winner is vxa" in text
