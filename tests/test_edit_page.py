"""Editing on the page: its components mean what they show, and its handlers answer as they should."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

from lib_unet_viz import ui, ui_edit  # noqa: E402
from lib_unet_viz.edit_plan import Request  # noqa: E402
from lib_unet_viz.settings import EditSettings, Settings, SettingsError  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
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
)


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


def made(defaults: EditSettings, **options: Any) -> dict[str, Any]:
    with gr.Blocks(analytics_enabled=False):
        return ui_edit.edit_controls(defaults, **options)


def test_every_setting_has_a_component() -> None:
    assert set(made(EditSettings())) == {f"edit.{field.name}" for field in fields(EditSettings)}
    assert "edit.enabled" not in made(EditSettings(), switch=False)


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
    read = ui.from_values({f"edit.{name}": value, "edit.edits": "cat -> dog"}).edit
    with pytest.raises(SettingsError, match=f"edit.{name}.*0.8"):
        Request.of("a cat", read)
