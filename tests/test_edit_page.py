"""Editing on the page: its components mean what they show, and its handlers answer as they should."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

import numpy as np  # noqa: E402
import standin  # noqa: E402
from PIL import Image  # noqa: E402

from lib_unet_viz.app.edit_tab import Edit  # noqa: E402
from lib_unet_viz.editing.plan import Request  # noqa: E402
from lib_unet_viz.extension import panel  # noqa: E402
from lib_unet_viz.hosts.diffusers.edit import edit  # noqa: E402
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline  # noqa: E402
from lib_unet_viz.settings import EditSettings, Settings, SettingsError  # noqa: E402
from lib_unet_viz.ui import components as ui  # noqa: E402
from lib_unet_viz.ui.mask_input import _put, mask_of  # noqa: E402
from lib_unet_viz.ui.runs import Runs  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
ME = ("me", 0, 0)  # whose run it is, and how often picture and mask were changed
CHANGED = EditSettings(
    enabled=True,
    edits="cat -> dog\nhat * 2",
    cross_steps={"default": [0.2, 0.8], "größe": 0.4},
    self_steps=[0.1, 0.5],
    self_size=8,
    blocks="OUT03",
    blend=False,
    blend_words="cat",
    subtract="hat",
    threshold=0.5,
    blend_start=0,
    blend_maps="mean",
    sweep="both",
)


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


def made(defaults: EditSettings) -> dict[str, Any]:
    """Of the webui's panel, which has all of them."""
    with gr.Blocks(analytics_enabled=False):
        found = panel.build(Settings(edit=defaults), name="panel").panel.fields
    return {path: component for path, component in found.items() if path.startswith("edit.")}


def test_every_setting_has_a_component() -> None:
    assert set(made(EditSettings())) == {f"edit.{field.name}" for field in fields(EditSettings)}


@pytest.mark.parametrize("edit", [EditSettings(), CHANGED], ids=["default", "changed"])
def test_values_come_back_as_they_were(edit: EditSettings) -> None:
    settings = Settings(edit=edit)
    found = made(edit)
    shown = {path: ui.shown_value(settings, path) for path in found}
    assert {path: component.value for path, component in found.items()} == shown
    assert ui.from_values(shown).edit == edit
    assert all(isinstance(shown[f"edit.{name}"], str) for name in ("cross_steps", "self_steps"))


@pytest.mark.parametrize("name", ["cross_steps", "self_steps"])
@pytest.mark.parametrize("value", ["", None, "0.8, 0.9", "often", "[0.5, 0.2]", "2"])
def test_steps_that_mean_nothing_are_errors_for_people(name: str, value: str | None) -> None:
    with pytest.raises(SettingsError, match=f"edit.{name}.*0.8"):
        Request.of("a cat", ui.from_values({f"edit.{name}": value, "edit.edits": "cat -> dog"}).edit)


SOURCE = "a red circle and a blue square"


@pytest.fixture(scope="module")
def tab() -> Edit:
    made = Edit(*standin.loaded(standin.StandIn()), Runs(), draw=standin.edit)
    with gr.Blocks(analytics_enabled=False):
        made.build()
    return made


def values(tab: Edit, edits: str, **changed: Any) -> list[Any]:
    """The panel's values as the page opens, some of them changed (`cross_steps`)."""
    fields = {path.removeprefix("edit."): part.value for path, part in tab.panel.fields.items()}
    return list({**fields, "edits": edits, **changed}.values())


def asked(tab: Edit, edits: str, seed: int = 1, **changed: Any) -> list[Any]:
    return [None, "direct", "", 4, seed, 7.5, 64, 64, *values(tab, edits, **changed), None]


def test_the_alignment_follows_what_is_written(tab: Edit) -> None:
    assert "side by side" in tab.show_alignment("", *values(tab, "red -> green"))
    assert "side by side" in tab.show_alignment(SOURCE, *values(tab, " "))
    shown = tab.show_alignment(SOURCE, *values(tab, "red -> green"))
    assert "a green circle and a blue square" in shown
    assert "blocks with attention" in shown
    assert "cross-replace steps: 0% to 30%" in tab.show_alignment(
        SOURCE, *values(tab, "red -> green", cross_steps="0.3")
    )


@pytest.mark.parametrize(
    ("edits", "changed", "said"),
    [
        ("green -> red", {}, "does not hold these words"),
        ("red -> green", {"cross_steps": "0,8"}, "edit.cross_steps"),
        ("red -> green", {"cross_steps": '{"hat": 0.1}'}, "neither prompt holds"),
        ("red -> green", {"blocks": "OUT99"}, "OUT99"),
        ("red -> green", {"self_size": None}, "self_size"),
        ("red -> green", {"blend_words": "moon"}, "neither prompt holds"),
    ],
)
def test_mistakes_become_messages(tab: Edit, edits: str, changed: dict[str, Any], said: str) -> None:
    shown = tab.show_alignment(SOURCE, *values(tab, edits, **changed))
    assert said in shown
    assert 'role="alert"' in shown
    for handler in (tab.run_edit, tab.run_sweep):
        last = list(handler(*ME, SOURCE, *asked(tab, edits, **changed)))[-1]
        assert said in last[tab.status]
        assert last[tab.go]["interactive"]


def test_an_empty_prompt_is_answered_in_place(tab: Edit) -> None:
    assert "prompt is empty" in list(tab.run_edit(*ME, " ", *asked(tab, "red -> green")))[-1][tab.status]


def test_an_edit_shows_progress_then_pictures_and_masks(tab: Edit) -> None:
    first, *steps, last = tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green\n---\n+ outside"))
    assert not first[tab.go]["interactive"]
    assert ["Step 4 of 4" in update[tab.status] for update in steps] == [False, False, False, True]
    pictures, masks = last[tab.pictures], last[tab.masks]
    assert [name for _, name in pictures] == ["source", "target 1: red -> green", "target 2: + outside"]
    assert [name for _, name in masks] == ["target 1: red -> green", "target 2: + outside"]
    assert last[tab.comparison]["value"].width > 3 * 64
    assert "Seed 1" in last[tab.status]
    assert re.search(r"Changed by [\d.]+ \(target 1\), [\d.]+ \(target 2\): RMS", last[tab.status])
    assert last[tab.masks_section]["visible"]
    plain = list(tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green", blend=False)))[-1]
    assert not plain[tab.masks_section]["visible"]
    assert plain[tab.masks] == []
    assert plain[tab.pictures][0][0].tobytes() == pictures[0][0].tobytes()


PHOTO = (
    Image.linear_gradient("L").resize((64, 64)).convert("RGB").point([*range(256), *[0] * 256, *[9] * 256])
)


def strokes(box: tuple[int, int, int, int], color: str = "#ff3b30") -> Image.Image:
    layer = Image.new("RGBA", (64, 64))
    layer.paste(color, box)
    return layer


def given(*layers: Image.Image, on: Image.Image | None = None) -> dict[str, Any]:
    return {"background": on, "layers": list(layers), "composite": None}


@pytest.mark.parametrize(
    "value",
    [
        given(strokes((0, 0, 16, 64))),
        given(strokes((0, 0, 16, 64), "black"), on=PHOTO),
        given(strokes((0, 0, 0, 0)), strokes((0, 0, 16, 64)), on=PHOTO),
        given(strokes((0, 0, 0, 0)), on=strokes((0, 0, 16, 64), "white")),
        {"image": PHOTO, "mask": strokes((0, 0, 16, 64), "white").convert("RGB")},
        {"image": strokes((0, 0, 16, 64), "white").convert("RGB"), "mask": Image.new("RGB", (64, 64))},
    ],
)
def test_a_mask_is_painted_or_given(tab: Edit, value: dict[str, Any]) -> None:
    left = np.zeros((64, 64))
    left[:, :16] = 1
    read = mask_of(value)
    assert read is not None
    assert np.array_equal(read.values > 0, left > 0)
    last = list(tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green", blend=False)[:-1], value))[-1]
    assert "only what is inside the given mask" in last[tab.status]
    assert last[tab.masks_section]["visible"]
    source, target = (np.asarray(image) for image, _ in last[tab.pictures])
    assert np.array_equal(source[:, 32:], target[:, 32:])  # the decoder smooths
    assert not np.array_equal(source[:, :16], target[:, :16])
    assert last[tab.source] is last[tab.pictures][0][0]


def test_no_mask_is_none_and_a_wrong_one_is_a_message(tab: Edit) -> None:
    empty = strokes((0, 0, 0, 0))
    assert mask_of(None) is mask_of(given()) is mask_of(given(empty)) is mask_of(given(on=empty)) is None
    for value, said in (
        (given(strokes((0, 0, 0, 0)), on=PHOTO), "white may change. Nothing was painted"),
        (given(on=Image.new("RGB", (64, 64))), "no white pixel"),
        (given(strokes((0, 0, 16, 64)).resize((64, 32))), "64 x 32 pixels"),
    ):
        last = list(tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green")[:-1], value))[-1]
        assert said in last[tab.status]
        assert last[tab.go]["interactive"]


def test_a_mask_is_painted_on_the_picture() -> None:
    first, second = Image.new("RGBA", (8, 8)), Image.new("RGB", (8, 8), "red")
    assert _put(first, second)[0].getpixel((0, 0)) == (255, 255, 255)
    assert _put(None, second)[0].getpixel((0, 0)) == (255, 0, 0)
    assert "no picture yet" in _put(None, None)[1]["value"]


def test_controls_reach_the_edit(tab: Edit) -> None:
    def made(**changed: Any) -> bytes:
        last = list(tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green", blend=False, **changed)))[-1]
        return bytes(last[tab.pictures][1][0].tobytes())

    assert made() == made(cross_steps="0.8")
    assert made() != made(cross_steps="0", self_steps="0")
    assert made() != made(blocks="IN00")


def test_a_sweep_shows_its_sheet(tab: Edit) -> None:
    first, *steps, last = tab.run_sweep(*ME, SOURCE, *asked(tab, "red -> green"))
    assert len(steps) == 12
    assert "of the blocks" in steps[-1][tab.status]
    assert last[tab.swept]["value"].width > 7 * 64
    assert not last[tab.comparison]["visible"]


def test_cancelling_ends_the_run(tab: Edit) -> None:
    running = tab.run_edit(*ME, SOURCE, *asked(tab, "red -> green"))
    tab.worker.cancel(next(running)[tab.worker.running])
    last = list(running)[-1]
    assert "Cancelled" in last[tab.status]
    assert last[tab.go]["interactive"]


def test_a_picture_of_ones_own_is_edited_and_its_reconstruction_judged(tiny_pipe: Any) -> None:
    own = Edit(*standin.loaded(Pipeline(tiny_pipe, "tiny")), Runs(), draw=edit)
    with gr.Blocks(analytics_enabled=False):
        own.build()
    picture = Image.new("RGBA", (200, 100), (200, 30, 30, 255))
    given = [picture, "negative", "", 2, 1, 7.5, 64, 64, *values(own, "red -> circle"), None]
    *steps, last = own.run_edit(*ME, "red", *given)
    assert "Step 4 of 4" in steps[-1][own.status]
    assert "Reconstruction: latent RMSE" in last[own.status]
    assert "Seed" not in last[own.status]
    assert {image.size for image, _ in last[own.pictures]} == {(184, 88)}
