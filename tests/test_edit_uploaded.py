"""Editing a picture that the model did not make."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_edit import hooks

from lib_unet_viz.demo.scenes import COLORS, draw_scene
from lib_unet_viz.editing.uploaded import LIMIT, PSNR, RMSE
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Cancelled, Pipeline
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.sampling import inversion
from lib_unet_viz.settings import EditSettings

SWAP = EditSettings(edits="red -> blue")


@pytest.fixture(scope="module")
def model(tiny_pipe: Any) -> Pipeline:
    return Pipeline(tiny_pipe, "tiny")


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.fromarray(draw_scene(np.random.default_rng(5), count=2, pattern="plain").picture)


def test_the_source_is_the_picture_and_the_rest_of_a_target_is_it(
    model: Pipeline, picture: Image.Image
) -> None:
    told: list[tuple[int, int]] = []
    settings = EditSettings(edits="red -> circle", threshold=0.9)
    found = edit(
        model,
        "red circle",
        settings,
        picture=picture,
        steps=3,
        progress=lambda done, total, _: told.append((done, total)),
    )
    assert [image.size for image in found.pictures] == [(128, 128)] * 2
    assert told == [(done, 6) for done in range(1, 7)]
    assert found.errors[RMSE] == 0
    assert found.errors[PSNR] == found.errors[LIMIT]
    mask = found.masks[1][-1][1]
    assert found.latents is not None
    assert torch.equal(found.latents[1][:, ~mask], found.latents[0][:, ~mask])
    assert hooks(model.pipe.unet) == 0


@pytest.mark.heavy
def test_each_method_says_how_far_the_source_went_away(
    model: Pipeline, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "INNER_STEPS", 2)
    errors = {
        method: edit(model, "red", SWAP, picture=picture, steps=3, inversion=method).errors
        for method in ("negative", "ddim", "null-text")
    }
    assert all(error[RMSE] > 0 for error in errors.values())
    assert errors["negative"][RMSE] < errors["ddim"][RMSE]


def test_a_large_picture_is_made_as_small_as_the_model_likes(model: Pipeline, picture: Image.Image) -> None:
    found = edit(model, "red", SWAP, picture=picture.resize((300, 150)).convert("L"), steps=1)
    assert found.pictures[1].size == (184, 88)


def test_what_is_wrong_is_said_before_anything_runs(model: Pipeline, picture: Image.Image) -> None:
    told: list[int] = []
    with pytest.raises(SpecError, match="does not hold these words"):
        edit(model, "circle", SWAP, picture=picture, progress=lambda done, *_: told.append(done))
    with pytest.raises(ValueError, match="no method 'null'"):
        edit(model, "red", SWAP, picture=picture, steps=1, inversion="null")  # type: ignore[arg-type]
    with pytest.raises(Cancelled):
        edit(model, "red", SWAP, picture=picture, steps=2, cancelled=lambda: True)
    assert not told
    assert hooks(model.pipe.unet) == 0


@pytest.mark.heavy
def test_a_drawn_object_gets_another_colour_and_the_other_one_stays() -> None:
    scene = draw_scene(np.random.default_rng(12), count=2, pattern="plain", distinct=True)
    first, second = scene.things
    prompt = f"a {first.phrase} and a {second.phrase} on a {scene.background} background"
    new = next(color for color in COLORS if color not in (first.color, second.color))
    settings = EditSettings(edits=f"{first.color} -> {new}")
    found = edit(Pipeline.load(), prompt, settings, picture=Image.fromarray(scene.picture))
    pictures = [np.asarray(image).astype(float) for image in found.pictures]
    assert [nearest(each, scene.masks[0]) for each in pictures] == [first.color, new]
    assert [nearest(each, scene.masks[1]) for each in pictures] == [second.color] * 2
    assert np.abs(pictures[1] - pictures[0])[scene.masks[1]].mean() < 10


def nearest(picture: Any, mask: Any) -> str:
    """The name of the colour that an object of a picture has."""
    middle = np.median(picture[mask], axis=0)
    return min(COLORS, key=lambda name: float(np.square(middle - COLORS[name]).sum()))


def test_edits_of_one_picture_invert_it_once(model: Pipeline, picture: Image.Image) -> None:
    kept: dict[str, Any] = {}
    first, again = (
        edit(model, "red circle", settings, picture=picture, steps=2, inverted=kept)
        for settings in (SWAP, EditSettings(edits="red -> blue", cross_steps=0.0))
    )
    [trajectory] = kept.values()
    edit(model, "red circle", SWAP, picture=picture, steps=2, inverted=kept)
    assert kept["red circle"] is trajectory
    alone = edit(
        model, "red circle", EditSettings(edits="red -> blue", cross_steps=0.0), picture=picture, steps=2
    )
    assert again.pictures[1].tobytes() == alone.pictures[1].tobytes()
    assert first.pictures[0].tobytes() == alone.pictures[0].tobytes()
