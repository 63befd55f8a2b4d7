"""A mask of one's own: what it may be, and that an edit changes nothing outside of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_edit import PROMPT, Places, hooks, plan_of
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from lib_unet_viz.drawing import edit_sheets
from lib_unet_viz.editing import explanation
from lib_unet_viz.editing.hooks import Editing
from lib_unet_viz.editing.own_mask import OwnMask, fitting
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.settings import EditSettings, SettingsError

LEFT = np.zeros((128, 128), np.float32)
LEFT[:, :40] = 1


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return Pipeline.load()


def edited(model: Pipeline, mask: Any = LEFT, edits: str = "circle -> star", **settings: Any) -> Any:
    return edit(model, PROMPT, EditSettings(edits=edits, **settings), steps=4, seed=3, mask=mask)


def picture(values: Any, mode: str = "L") -> Image.Image:
    return Image.fromarray((np.asarray(values) * 255).astype(np.uint8)).convert(mode)


# What it may be.


@pytest.mark.parametrize("mode", ["1", "L", "P", "LA", "RGB", "RGBA", "CMYK"])
def test_a_picture_of_any_mode_is_its_array(mode: str) -> None:
    own = OwnMask.of(picture(LEFT, mode))
    assert np.array_equal(own.values, LEFT)
    assert own == OwnMask.of(LEFT) == OwnMask.of(LEFT > 0) == OwnMask.of(own)


def test_transparent_is_black() -> None:
    layer = Image.new("RGBA", (128, 128), (255, 255, 255, 0))
    layer.paste((255, 255, 255, 255), (0, 0, 40, 128))
    assert np.array_equal(OwnMask.of(layer).values, LEFT)


def test_half_transparent_white_is_grey() -> None:
    layer = Image.new("RGBA", (2, 1), (255, 255, 255, 51))
    layer.putpixel((1, 0), (102, 102, 102, 255))
    np.testing.assert_allclose(OwnMask.of(layer).values, [[0.2, 0.4]], rtol=1e-6)


def test_digests_tell_masks_apart() -> None:
    digests = {OwnMask.of(mask).digest for mask in (LEFT, LEFT.T, 1 - LEFT, LEFT[:64])}
    assert len(digests) == 4
    assert {len(digest) for digest in digests} == {10}


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((8, 8)), "no white pixel"),
        (Image.new("L", (8, 8), 5), "no white pixel"),
        (Image.new("RGBA", (8, 8), (255, 255, 255, 0)), "no white pixel"),
        (Image.new("L", (8, 8), 255), "white everywhere"),
        (Image.new("RGB", (8, 8), "red"), "has colours"),
        (np.full((8, 8), 255), "from 255 to 255; allowed: 0 to 1"),
        (np.full((8, 8), np.nan), "from nan to nan"),
        (-np.ones((8, 8)), "allowed: 0 to 1"),
        (np.ones((8, 8, 3)), r"shape \(8, 8, 3\)"),
        (np.ones((0, 8)), r"shape \(0, 8\)"),
        ("mask.png", "shape .* expected numbers"),
    ],
)
def test_what_is_no_mask_is_said(mask: Any, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        OwnMask.of(mask)


def test_proportions_are_the_pictures() -> None:
    assert fitting(None, (8, 8)) is None
    assert fitting(LEFT, (64, 64)) == OwnMask.of(LEFT)
    with pytest.raises(SettingsError, match=r"mask has 128 x 128 .* picture 96 x 64"):
        fitting(LEFT, (64, 96))


def test_positions_are_means_of_their_area() -> None:
    values = np.zeros((4, 8))
    values[:2, :2], values[0, 4], values[2:, 6:] = 1, 1, 0.5
    own = OwnMask.of(values)
    means = torch.tensor([[1, 0, 0.25, 0], [0, 0, 0, 0.5]])
    for threshold in (0.0, 0.24, 0.25, 0.5, 1.0):
        assert torch.equal(own.allows((2, 4), threshold), means > threshold)
    half = OwnMask.of(values / 2)
    assert torch.equal(half.allows((2, 4), 0.3), own.allows((2, 4), 0.3))


# What it does.


def same_outside(found: Any, mask: Tensor) -> None:
    source, target = found.latents
    assert torch.equal(target[:, ~mask], source[:, ~mask])
    assert float((target - source)[:, mask].abs().max()) > 0.1
    before, after = (torch.from_numpy(np.array(each)) for each in found.pictures)
    factor = before.shape[0] // mask.shape[0]
    pixels = interpolate(mask[None, None].float(), scale_factor=factor)
    away = max_pool2d(pixels, factor + 1, stride=1, padding=factor // 2)[0, 0] == 0
    assert away.any()
    assert torch.equal(after[away], before[away])


@pytest.mark.heavy
def test_together_with_words_both_must_allow(model: Pipeline) -> None:
    words = edited(model, None)
    both = edited(model)
    # The maps of later steps follow from what was blended before.
    first, last = (both.masks[1][at][1] for at in (0, -1))
    left = torch.from_numpy(LEFT[::8, ::8] > 0)
    assert torch.equal(first, words.masks[1][0][1] & left)
    assert not (last & ~left).any()
    assert 0 < float(last.float().mean()) < float(left.float().mean())
    same_outside(both, last)
    assert torch.equal(both.latents[0], words.latents[0])


def test_alone_all_inside_may_change(model: Pipeline) -> None:
    found = edited(model, picture(LEFT), blend=False)
    left = torch.from_numpy(LEFT[::8, ::8] > 0)
    assert [step for step, _ in found.masks[1]] == [1, 2, 3, 4]
    assert all(torch.equal(mask, left) for _, mask in found.masks[1])
    same_outside(found, left)
    assert hooks(model.pipe.unet) == 0


def test_every_target_and_a_later_start(model: Pipeline) -> None:
    found = edited(model, edits="circle -> star\n---\nred -> green", blend=False, blend_start=0.5)
    left = torch.from_numpy(LEFT[::8, ::8] > 0)
    for target in (1, 2):
        assert [step for step, _ in found.masks[target]] == [3, 4]
        assert torch.equal(found.latents[target][:, ~left], found.latents[0][:, ~left])


def test_alone_it_looks_at_no_map(any_unet: nn.Module) -> None:
    def hooked(mask: Any, **settings: Any) -> int:
        with Editing(any_unet, plan_of("red -> blue", blocks="IN00", mask=mask, **settings), calls=Places()):
            return hooks(any_unet)

    assert hooked(LEFT, blend=False) == hooked(None, blend=False) < hooked(LEFT) == hooked(None)


def test_an_uploaded_picture_has_its_mask(tiny_pipe: Any) -> None:
    model = Pipeline(tiny_pipe, "tiny")
    rng = np.random.default_rng(1)
    own = Image.fromarray(rng.integers(0, 255, (150, 300, 3), np.uint8))
    mask = Image.new("L", own.size)
    mask.paste(255, (0, 0, 150, 150))
    settings = EditSettings(edits="red -> circle", blend=False)
    found = edit(model, "red", settings, picture=own, steps=2, mask=mask)
    allowed = found.masks[1][-1][1]
    height, width = allowed.shape
    assert allowed[:, : width // 2].all()
    assert not allowed[:, width // 2 + 1 :].any()
    assert found.latents is not None
    assert torch.equal(found.latents[1][:, ~allowed], found.latents[0][:, ~allowed])
    with pytest.raises(SettingsError, match="proportions"):
        edit(model, "red", settings, picture=own, steps=2, mask=LEFT)


# What is said and shown of it.


def test_words_say_what_it_does() -> None:
    def said(**settings: Any) -> str:
        return explanation.blended(plan_of("red -> blue", mask=LEFT, **settings), 1)

    assert said() == (
        "local blend from 20% of the steps on: only where red, blue shows more than the other words "
        "and inside the given mask (31% of the picture) may change"
    )
    assert said(blend=False, blend_start=0) == (
        "mask: only what is inside the given mask (31% of the picture) may change"
    )


def test_sheets_show_it(model: Pipeline) -> None:
    found, without = edited(model, blend=False), edited(model, None, blend=False)
    words = edited(model, None)
    heights = [edit_sheets.comparison(each).height for each in (without, words, found)]
    assert heights[0] < heights[1] < heights[2]
    assert edit_sheets.mask_sheet(without, 1) is None
    assert edit_sheets.mask_sheet(found, 1) is not None
