from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import open_vocabulary as asking
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.trace import Selection, Trace


@pytest.fixture(scope="module")
def model(tiny_pipe: Any) -> Pipeline:
    return Pipeline(tiny_pipe, "tiny")


@pytest.fixture(scope="module")
def looked(model: Pipeline) -> Trace:
    picture = Image.effect_noise((128, 96), 90)
    return vxa.trace_picture(model, picture, "red circle", blocks="IN01,OUT07", draws=1)


def test_asking_for_the_prompt_itself_gives_its_own_maps(model: Pipeline, looked: Trace) -> None:
    again = asking.ask(looked, model, "red circle")
    for found, recorded in zip(heatmap.cross_maps(again), heatmap.cross_maps(looked), strict=True):
        assert found.key == recorded.key
        np.testing.assert_allclose(found.numpy(), recorded.numpy(), atol=1e-5)
    for word, known in zip(heatmap.word_maps(again), heatmap.word_maps(looked), strict=True):
        np.testing.assert_allclose(word.values, known.values, rtol=1e-3, atol=1e-6)


def test_a_new_word_is_answered_without_the_unet_and_from_a_file(
    model: Pipeline, looked: Trace, tmp_path: Path
) -> None:
    runs: list[int] = []
    handle = model.pipe.unet.register_forward_hook(lambda *_: runs.append(1))
    read = load_trace(save_trace(looked, tmp_path / "looked"))
    found = heatmap.word_maps(asking.ask(read, model, "blue square"))
    handle.remove()
    assert [item.word for item in found] == ["blue", "square"]
    assert not np.allclose(found[0].values, heatmap.word_maps(looked)[0].values)
    assert runs == []


def test_what_cannot_be_asked_is_said(model: Pipeline, looked: Trace) -> None:
    with pytest.raises(ValueError, match="write a word"):
        asking.ask(looked, model, " ")
    with pytest.raises(ValueError, match="half uncond"):
        asking.ask(looked, model, "red", selection=Selection(half="uncond"))
