"""In a real Forge with a checkpoint of SDXL's true shapes: all that is done with one of SD 1.5's, once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lib_unet_viz.cli import main
from webui.families import XL_BLOCKS, drawing
from webui.forge import checkpoints, forge, generate, look
from webui.recording import BOTH, asking, assert_same_pictures
from webui.serving import Generated, Webui, encoded_image
from webui.test_forge import CAT, HIRES, apart

QUIET = {"show": False, "save": False}
ROWS: dict[str, Any] = {
    "features": {"blocks": "", "halves": BOTH, "dump": True},
    "attention": {
        "blocks": "IN04.0,IN07.0,M00,OUT00.9",
        "halves": BOTH,
        "parts": ["Q", "K", "QK", "VQK"],
        "kinds": ["cross", "self"],
        "dump": True,
    },
    "output": QUIET,
}
DOG = "a blue dog"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webui]:
    folder = os.environ.get("FORGE_DIR")
    if not folder or not checkpoints(Path(folder), xl=True):
        pytest.skip("no sdxl*.safetensors among the checkpoints of FORGE_DIR")
    with forge(tmp_path_factory.mktemp("forge-xl-data"), xl=True) as webui:
        yield webui


@pytest.fixture(scope="module")
def plain(running: Webui) -> Generated:
    return generate(running)


@pytest.fixture(autouse=True)
def _nothing_is_left(running: Webui, plain: Generated) -> Iterator[None]:
    yield
    assert_same_pictures(generate(running), plain)


def test_it_is_recorded(running: Webui, plain: Generated) -> None:
    recorded = look(running, ROWS)
    assert_same_pictures(recorded.answer, plain)
    assert {item.key.block for item in recorded.features} == set(XL_BLOCKS)
    assert {(item.key.step, item.key.half) for item in recorded.features} == {
        (s, h) for s in (0, 1) for h in BOTH
    }
    layers = [("IN04", 0), ("IN07", 0), *(("M00", layer) for layer in range(10)), ("OUT00", 9)]
    assert {(item.key.block, item.key.layer, item.key.kind) for item in recorded.attention} == {
        (*layer, kind) for layer in layers for kind in ("cross", "self")
    }
    for item in recorded.attention:
        assert bool(item.data.isfinite().all())
        if item.key.what == "QK":
            total = item.data.float().sum(1)
            torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=2e-2)


def test_a_batch_and_its_halves_are_those_alone(running: Webui) -> None:
    wanted = {**ROWS, "features": {**ROWS["features"], "blocks": "M00"}}
    both = look(running, wanted, batch_size=2, negative_prompt=DOG)
    for image in range(2):
        single = look(running, wanted, seed=1 + image, negative_prompt=DOG)
        for half in BOTH:
            asked: dict[str, Any] = {"what": "K", "block": "M00", "layer": 0, "step": 1, "half": half}
            asked["kind"] = "cross"
            one, other = both.map(image=image, **asked), single.map(**asked)
            torch.testing.assert_close(one, other, rtol=2e-2, atol=2e-2)


def test_word_maps(running: Webui, plain: Generated) -> None:
    made = generate(running, **asking("dropdown", {"heatmaps": True}))
    np.testing.assert_array_equal(made.pixels()[0], plain.pixels()[0])
    assert len(made.images) == 2


@pytest.mark.parametrize("fields", [{}, HIRES], ids=["one", "hires"])
def test_one_text_for_all_blocks_is_that_text(running: Webui, fields: dict[str, Any]) -> None:
    layered = look(running, {}, prompt="a (~: _: red :~) cat", **fields)
    assert_same_pictures(layered.answer, generate(running, **fields))


def test_a_block_reads_its_own_text(running: Webui) -> None:
    wanted = {
        "attention": {"blocks": "IN05.0,OUT05.0", "parts": ["K"], "steps": "1", "dump": True},
        "output": QUIET,
    }
    layered = look(running, wanted, prompt="a (~: IN00-OUT02: red; OUT03-OUT08: blue :~) cat")
    for block, text in (("IN05", CAT), ("OUT05", "a blue cat")):
        alone = look(running, wanted, prompt=text)
        torch.testing.assert_close(layered.map(block=block), alone.map(block=block), rtol=2e-2, atol=2e-2)


def test_a_dump_is_read_again(running: Webui, tmp_path: Path, capsys: Any) -> None:
    wanted = {**ROWS, "features": {**ROWS["features"], "blocks": "M00"}}
    made = look(running, {**wanted, "attention": {**ROWS["attention"], "blocks": "M00.0,OUT05.0"}}, **HIRES)
    notes = made.answer.info["extra_generation_params"]["U-Net Viz notes"]
    [path] = re.findall(r"wrote (.+\.safetensors)", notes)
    for number, command in enumerate((["show"], ["render"], ["maps", "--segments", "--components"])):
        out = [] if command == ["show"] else ["--out", str(tmp_path / str(number))]
        assert main([command[0], path, *command[1:], *out]) == 0, capsys.readouterr().err
        assert not out or list((tmp_path / str(number)).rglob("*.png"))


def test_a_difference(running: Webui) -> None:
    wanted = {"difference": {"blocks": "OUT08", "steps": "2", "dump": True}, "output": QUIET}
    recorded = look(running, wanted, prompt="a (~: IN00-OUT02: red; OUT03-OUT08: blue :~) cat")
    assert {item.key.block for item in recorded.features} == {"OUT08"}
    assert bool(recorded.features[0].data.any())


def test_an_edits_source_is_its_plain_picture(running: Webui, plain: Generated) -> None:
    settings = {"edit": {"edits": "cat -> dog"}, "output": QUIET}
    made = generate(running, prompt=CAT, **asking("dropdown", settings))
    source, target = made.pixels()[int(made.info["index_of_first_image"]) :]
    assert apart(source, plain.pixels()[0]) <= 12  # a batch of two is rounded otherwise in bfloat16
    assert apart(target, source) > 1


def test_a_picture_of_ones_own(running: Webui) -> None:
    body = {"image": encoded_image(drawing(64)), "prompt": "a red circle"}
    status, answer = running.post("/unet-viz/v1/vxa", **body, words=["circle"], draws=1)
    assert status == 200, answer
    for inversion in ("direct", "negative", "ddim"):
        edit = {"inversion": inversion, "steps": 2, "edit": {"edits": "red -> blue"}}
        status, answer = running.post("/unet-viz/v1/edit", **body, **edit)
        assert status == 200, answer
        assert len(answer["pictures"]) == 2
    status, answer = running.post("/unet-viz/v1/edit", **{**body, **edit, "inversion": "null-text"})
    assert status == 422
    assert "needs gradients" in str(answer)
