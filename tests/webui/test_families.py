"""In a real webui: all that we do, with every family of checkpoints, in full and in half precision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import torch

from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.cli import main
from lib_unet_viz.editing.uploaded import LIMIT, PSNR, RMSE
from lib_unet_viz.sampling.inversion import Inversion
from webui.families import FAMILIES, PRECISIONS, STEPS, Family, Place, drawing, make
from webui.recording import BOTH, Plan, asking, assert_right_rows, assert_same_pictures, merged, probabilities
from webui.serving import Pixels, decoded_image, encoded_image
from webui.test_edit import apart, pictures
from webui.test_page import plot
from webui.test_vxa_tab import numbers

QUIET = {"show": False, "save": False}
SPLIT = "(~: IN00-OUT03: red ; OUT04-OUT08: blue :~)"
HIRES: dict[str, Any] = {
    "enable_hr": True,
    "hr_scale": 1.5,
    "denoising_strength": 0.8,
    "hr_second_pass_steps": 2,
}
# In half precision a batch of two differs in the last bit from two batches of one.
LEVELS = {"full": 1, "half": 12}
PLACES = [
    pytest.param((precision, family), id=f"{family.name}-{precision}")
    for precision in PRECISIONS
    for family in FAMILIES
    if family.half or precision == "full"
]


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, started: Any) -> Place:
    precision, family = request.param
    webui = started(*PRECISIONS[precision], also=make, sd_checkpoints_limit=len(FAMILIES) + 2)
    webui.options(sd_model_checkpoint=family.checkpoint)
    webui.loaded()
    found = Place(webui, family, precision)
    assert found.layers["model"] == family.checkpoint
    return found


@pytest.fixture(autouse=True)
def _nothing_is_left(place: Place) -> Any:
    before = place.webui.hooks()["hooks"]
    yield
    assert place.webui.hooks()["hooks"] == before


@pytest.fixture
def from_text(place: Place) -> Family:
    if place.family.from_picture:
        pytest.skip("the webui makes no picture from text alone with it")
    return place.family


def plan(place: Place, **more: Any) -> Plan:
    return Plan(firsts=range(STEPS), picture_rows=place.family.name == "pix2pix-guided", **more)


def rows(blocks: str = "IN05,M00") -> dict[str, Any]:
    """Settings with which each row of each step is recorded."""
    return {
        "features": {"blocks": blocks, "halves": BOTH, "dump": True},
        "attention": {"blocks": "M00.0", "halves": BOTH, "dump": True},
        "output": QUIET,
    }


def test_features_of_all_blocks(place: Place) -> None:
    recorded = place.record(rows(""))
    assert_same_pictures(recorded.answer, place.plain())
    assert_right_rows(recorded, plan(place), heads=place.heads)
    shapes = {block["name"]: tuple(block["output"]) for block in place.layers["blocks"]}
    assert tuple(shapes) == place.family.blocks
    found = {(item.key.block, item.key.step, item.key.half) for item in recorded.features}
    assert found == {(name, step, half) for name in shapes for step in range(STEPS) for half in BOTH}
    for item in recorded.features:
        assert item.shape == shapes[item.key.block]
        assert bool(item.data.isfinite().all())
        assert item.data.dtype == (torch.float16 if place.precision == "half" else torch.float32)


def test_attention_of_all_layers(place: Place) -> None:
    wanted = {"blocks": "", "parts": ["Q", "K", "QK", "VQK"], "kinds": ["cross", "self"], "steps": "2"}
    recorded = place.record({"attention": {**wanted, "dump": True}, "output": QUIET})
    assert_same_pictures(recorded.answer, place.plain())
    sizes = {
        (*layer["name"].split("."), layer["kind"]): (layer["heads"], layer["height"], layer["width"])
        for layer in place.layers["attention"]
    }
    found = [item for item in recorded.attention if item.key.sub == 0]
    for what in wanted["parts"]:
        assert {(i.key.block, str(i.key.layer), i.key.kind) for i in found if i.key.what == what} == set(
            sizes
        )
    for item in found:
        heads, *size = sizes[item.key.block, str(item.key.layer), item.key.kind]
        assert item.shape[0] == heads
        assert item.key.what == "K" or list(item.shape[2:]) == size
        if item.key.what == "QK":
            total = item.data.float().sum(1)
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-2)
    here = {"block": "M00", "layer": 0, "kind": "cross", "half": "cond", "step": 2}
    weights = probabilities(recorded.probed, 1, 0, heads=place.heads)
    values = recorded.probed.rows(1, "v")[0].unflatten(-1, (place.heads, -1)).transpose(0, 1)
    mixed = torch.einsum("htp,htc->hcp", weights, values)
    torch.testing.assert_close(recorded.map(what="QK", **here).flatten(2), weights, rtol=1e-2, atol=1e-3)
    torch.testing.assert_close(recorded.map(what="VQK", **here).flatten(2), mixed, rtol=1e-2, atol=1e-2)


def test_word_maps(place: Place) -> None:
    made = place.ask({"heatmaps": True}, prompt="a red circle, a blue square")
    assert_same_pictures(type(made)(made.images[:1], {}), place.plain(prompt="a red circle, a blue square"))
    assert len(made.images) == len(made.infotexts) == 2
    assert "no word heat maps" not in str(made.info)
    assert made.infotexts[1].endswith("U-Net Viz sheet: words")
    assert made.images[1].width > 3 * place.size  # the picture and at least four words
    assert len(np.unique(made.pixels()[1])) > 20


def test_one_text_for_all_blocks_is_the_plain_picture(place: Place) -> None:
    same = place.ask({"output": QUIET}, prompt="a big (~: _: red :~) circle")
    assert_same_pictures(same, place.plain(prompt="a big red circle"))


def test_each_block_reads_its_own_text(place: Place) -> None:
    wanted = {"blocks": "IN05,OUT05", "parts": ["K"], "steps": "1,3", "dump": True}
    settings = {"attention": wanted, "output": QUIET}
    texts = {text: f"a big {text} circle" for text in (SPLIT, "red", "blue")}
    found = {text: place.record(settings, prompt=prompt) for text, prompt in texts.items()}
    for item in found[SPLIT].attention:
        if (item.key.half, item.key.sub) == ("cond", 0):
            word = "red" if item.key.block == "IN05" else "blue"
            [same] = [each for each in found[word].attention if each.key == item.key]
            [other] = [
                each for each in found["blue" if word == "red" else "red"].attention if each.key == item.key
            ]
            torch.testing.assert_close(item.data, same.data, rtol=1e-2, atol=1e-2)
            assert (item.data - other.data).abs().max() > 2e-2
    assert found[SPLIT].attention
    with pytest.raises(AssertionError):
        assert_same_pictures(found[SPLIT].answer, found["red"].answer)


def test_a_difference(place: Place) -> None:
    before = place.webui.dump_paths()
    wanted = {"difference": {"blocks": "", "steps": "3", "dump": True}}
    made = place.ask(wanted, prompt=f"a {SPLIT} circle")
    place.ask({**wanted, "output": QUIET}, prompt=f"a {SPLIT} circle")
    changed, quietly = place.webui.traces_since(before)
    assert [item.key for item in quietly.features] == [item.key for item in changed.features]
    assert {item.key.block for item in changed.features} == set(place.family.blocks)
    assert {bool(item.data.any()) for item in changed.features if item.key.block == "OUT08"} == {True}
    assert len(made.images) > 2


@pytest.mark.parametrize("more", [{}, {"batch_size": 2, "n_iter": 2}], ids=["one", "batches"])
def test_an_edits_source_is_the_plain_picture(place: Place, more: dict[str, Any]) -> None:
    made = pictures(place.ask({"edit": {"edits": "circle -> star"}, "output": QUIET}, **more))
    plain = pictures(place.plain(**more))
    assert len(made) == 2 * len(plain)
    for source, target, wanted in zip(made[::2], made[1::2], plain, strict=True):
        assert apart(source, wanted) <= LEVELS[place.precision]
        assert apart(target, source) > 2


def test_hires_and_batches(place: Place, from_text: Family) -> None:
    upscaler = "Latent" if from_text.latent_hires else "Lanczos"
    fields = {**HIRES, "hr_upscaler": upscaler, "batch_size": 2, "n_iter": 2}
    recorded = place.record(rows(), **fields)
    assert_same_pictures(recorded.answer, place.plain(**fields))
    assert_right_rows(recorded, plan(place, hires=range(2), subs=(1, 1)), heads=place.heads)


def test_a_hires_pass_of_another_family(place: Place, from_text: Family) -> None:
    fields = {**HIRES, "hr_upscaler": "Latent", "hr_checkpoint_name": from_text.other}
    recorded = place.record(rows(""), **fields)
    assert_same_pictures(recorded.answer, place.plain(**fields))
    for pass_ in ("first", "hires"):
        blocks = {item.key.block for item in recorded.features if item.key.pass_ == pass_}
        assert {"IN00", "M00", "OUT08"} <= blocks, recorded.notes
    place.webui.options(sd_model_checkpoint=from_text.checkpoint)


def test_a_refiner(place: Place, from_text: Family) -> None:
    fields = {"refiner_checkpoint": from_text.refiner, "refiner_switch_at": 0.5, "steps": 4}
    recorded = place.record(rows(), **fields)
    assert_same_pictures(recorded.answer, place.plain(**fields))
    assert {item.key.step for item in recorded.features} == {0, 1, 2, 3}
    with pytest.raises(AssertionError):
        assert_same_pictures(recorded.answer, place.plain(steps=4))


def heat(place: Place, word: str, **more: Any) -> npt.NDArray[np.float32]:
    """What VXA says of a word of "a red circle" in a drawn picture, (y, x)."""
    body = {"image": encoded_image(drawing(place.size)), "prompt": "a red circle", "words": [word]}
    status, answer = place.webui.post("/unet-viz/v1/vxa", **body, draws=2, numbers=True, **more)
    assert status == 200, answer
    assert [token["text"] for token in answer["tokens"]] == [word]
    assert answer["model"] == place.family.checkpoint
    layers = [layer["name"] for layer in place.layers["attention"] if layer["kind"] == "cross"]
    assert set(answer["layers"]) == set(layers if more.get("layers") == "all" else ["M00.0"])
    image = decoded_image(answer["image"])
    assert image.width == image.height >= place.size
    return numbers(answer)


def test_looking_into_a_picture(place: Place) -> None:
    """Maps are of their words, and of the same numbers again."""
    red, circle, again = (heat(place, word, layers="all") for word in ("red", "circle", "red"))
    for values in (red, circle):
        assert np.isfinite(values).all()
        assert np.ptp(values) > 0
    assert np.abs(red - circle).max() > 0
    np.testing.assert_array_equal(red, again)
    one = heat(place, "red", layers="M00.0", method="daam")
    assert np.isfinite(one).all()


@pytest.mark.parametrize("inversion", get_args(Inversion))
def test_editing_a_picture(place: Place, inversion: Inversion) -> None:
    body = {"image": encoded_image(drawing(place.size)), "prompt": "a red circle", "steps": 2}
    fields = {**body, "inversion": inversion, "edit": {"edits": "red -> blue", "blend": False}}
    status, answer = place.webui.post("/unet-viz/v1/edit", **fields)
    assert status == 200, answer
    assert answer["prompts"] == ["a red circle", "a blue circle"]
    source, target = (np.asarray(decoded_image(text).convert("RGB")) for text in answer["pictures"])
    assert source.shape == target.shape
    assert apart(source, target) > 0
    assert all(np.isfinite(answer["errors"][name]) for name in (RMSE, PSNR, LIMIT))
    if inversion == "direct":
        assert answer["errors"][RMSE] == 0
        assert answer["errors"][PSNR] == answer["errors"][LIMIT]
    else:
        assert answer["errors"][RMSE] > 0


def cells(place: Place, axis: str, values: str, **more: Any) -> list[Pixels]:
    """Of an X/Y/Z plot over one axis of ours, what each value shows."""
    answer = plot(place.webui, (f"[U-Net Viz] {axis}", values), kind=place.kind, **place.fields(**more))
    return [np.asarray(image.convert("RGB")) for image in answer.images[1:]]


def sheet(place: Place, settings: dict[str, Any]) -> Pixels:
    """The first sheet of a run of its own."""
    made: Pixels = place.ask(settings).pixels()[1]
    return made


def test_plots_over_layers_and_steps(place: Place) -> None:
    """Each cell is the sheet of a run of its own; image-to-image encodes its picture anew for each."""
    for axis, values, name in (("Layers", ("M00", "OUT05"), "blocks"), ("Steps", ("1", "3"), "steps")):
        always = asking("always on", {"features": {"blocks": "M00", "steps": "2"}})
        found = cells(place, axis, ",".join(values), **always)
        assert len(found) == 2
        for cell, value in zip(found, values, strict=True):
            wanted = sheet(place, {"features": {"blocks": "M00", "steps": "2", name: value}})
            assert cell.shape == wanted.shape
            assert place.family.from_picture or apart(cell, wanted) == 0


def test_plots_over_words_and_layer_prompts(place: Place) -> None:
    circle, square = cells(place, "Word", "circle,square")
    assert circle.shape != square.shape or apart(circle, square) > 0
    whole = f"{place.family.blocks[0]}-{place.family.blocks[-1]}: red"
    one, same = cells(place, "Layer prompt", f"{whole},_: red", prompt="a circle")
    assert one.shape[0] == place.size
    assert apart(one, same) <= (2 if place.family.from_picture else 0)


@pytest.mark.parametrize("kind", ["batches and hires", "refiner"])
def test_every_dump_is_read_again(place: Place, tmp_path: Path, capsys: Any, kind: str) -> None:
    """Those of batches, AND, both halves, and the hires pass and the refiner where these are."""
    settings = merged(rows("M00,OUT05"), {})
    settings["attention"] |= {"blocks": "M00,OUT05", "parts": ["Q", "K", "QK"], "kinds": ["cross", "self"]}
    fields: dict[str, Any] = {"batch_size": 2, "n_iter": 2}
    if place.family.name != "pix2pix-guided":  # the webui refuses AND there (sd_samplers_cfg_denoiser.py:171)
        fields["prompt"] = "a red circle AND a blue square"
    hires: dict[str, Any] = {} if place.family.from_picture else {**HIRES, "hr_upscaler": "Lanczos"}
    if kind == "refiner":
        if place.family.from_picture:
            pytest.skip("the refiner is asked of pictures that are made from text")
        fields["n_iter"] = 1
        hires = {"refiner_checkpoint": place.family.refiner, "refiner_switch_at": 0.5}
    before = place.webui.dump_paths()
    place.record(settings, **fields, **hires)
    place.make()  # with the family's own checkpoint again, whose hooks are counted
    paths = [path for path in place.webui.dump_paths() if path not in before]
    assert len(paths) == fields["batch_size"] * fields["n_iter"]
    for path in paths:
        capsys.readouterr()
        assert main(["show", str(path), "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told
        for number, command in enumerate((["render"], ["maps", "--segments", "--components"])):
            out = tmp_path / f"{path.stem}-{number}"
            assert main([command[0], str(path), *command[1:], "--out", str(out)]) == 0, (
                capsys.readouterr().err
            )
            assert list(out.rglob("*.png"))
        assert load_trace(path).features
    out = tmp_path / "diff"
    assert main(["diff", *map(str, paths[:2]), "--out", str(out)]) == 0, capsys.readouterr().err
