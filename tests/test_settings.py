from __future__ import annotations

import argparse
import gc
import importlib
import json
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from lib_unet_viz.cli import arguments, choices
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings import AttentionSettings, FeatureSettings, Settings, SettingsError
from lib_unet_viz.settings.entry import (
    EDIT_ROUTE,
    EVERYWHERE,
    RENDER,
    SCRIPT,
    TRACE,
    TRACE_ROUTE,
    entries,
    setting,
)
from lib_unet_viz.settings.schema import schema
from lib_unet_viz.settings.values import read_json


def test_settings_survive_json() -> None:
    settings = Settings.from_dict(
        {"features": {"blocks": "M00", "color": {"gain": 2}}, "attention": {"parts": ["K"]}}
    )
    assert settings.features.blocks == "M00"
    assert settings.features.color.gain == 2.0
    assert settings.attention.parts == ("K",)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feature": {}}, "settings has no 'feature'; allowed: features, attention"),
        (
            {"features": {"color": {"method": "Blue"}}},
            "settings.features.color.method is 'Blue'; allowed: White/Black",
        ),
        ({"features": {"enabled": "yes"}}, "expected true or false"),
        ({"budget_mb": True}, "expected a whole number"),
        ({"attention": {"parts": "QK"}}, "expected a list"),
        ({"attention": {"parts": ["QQ"]}}, "allowed: Q, K, QK, VQK"),
        ({"features": 3}, "settings.features is 3"),
    ],
)
def test_what_is_unknown_or_ill_typed_is_refused_with_what_is_allowed(
    values: dict[str, object], message: str
) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict(values)
    assert message in str(error.value)


@dataclass(frozen=True)
class Grown(Settings):
    """The settings with one more: all that adding one takes, besides its consumer."""

    depth: int = setting(
        3,
        "Depth",
        "how deep it goes",
        low=1,
        high=9,
        flag="--depth",
        metavar="N",
        axis="Depth",
        places=EVERYWHERE,
    )


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_a_setting_that_is_added_is_everywhere() -> None:
    gr = pytest.importorskip("gradio")
    controls = importlib.import_module("lib_unet_viz.ui.controls")
    with gr.Blocks(analytics_enabled=False):
        component = controls.controls(Grown(), "", SCRIPT)["depth"]
    assert (component.label, component.value, component.info) == ("Depth", 3, "How deep it goes.")
    assert controls.from_values({"depth": 5.0}, Grown) == Grown(depth=5)

    parser = argparse.ArgumentParser()
    arguments.settings(parser, TRACE, kind=Grown)
    options = parser.parse_args(["--depth", "5"])
    assert choices.settings(options, TRACE, {}, kind=Grown) == Grown(depth=5)
    assert "how deep it goes (default: 3)" in parser.format_help()

    assert Grown.asked({"depth": 4}, TRACE_ROUTE).depth == 4
    described = {"type": "integer", "title": "Depth", "description": "how deep it goes", "minimum": 1}
    assert schema(Grown, TRACE_ROUTE)["properties"]["depth"] == {**described, "maximum": 9, "default": 3}
    assert Grown.off().changes() == {}
    assert Grown.restored(json.loads(json.dumps(Grown(depth=5).changes()))).depth == 5
    for wrong in (0, 10, 2.5, "5", True, None):
        with pytest.raises(SettingsError, match="depth"):
            Grown(depth=wrong)  # type: ignore[arg-type]
    gc.collect()  # gradio leaves event loops, which pytest would find in a later test


def test_a_setting_that_is_added_is_an_axis() -> None:
    axes = importlib.import_module("lib_unet_viz.extension.axes")
    plot = SimpleNamespace(
        axis_options=[],
        AxisOption=lambda label, *rest, **more: SimpleNamespace(label=label, apply=rest[1], **more),
    )
    axes._extend(plot, Grown)
    [depth] = [option for option in plot.axis_options if option.label == "[U-Net Viz] Depth"]
    depth.confirm(None, ["1", "9"])
    with pytest.raises(SettingsError, match="depth is 10; expected 1 to 9"):
        depth.confirm(None, ["10"])
    p = SimpleNamespace()
    depth.apply(p, "7", [])
    assert axes.applied(p, Grown.off()).depth == 7


@pytest.mark.parametrize(
    "axis", sorted({entry.about.axis for entry in entries(Settings) if entry.about.axis})
)
def test_an_axis_changes_what_is_on_and_turns_on_what_it_needs(axis: str) -> None:
    axes = importlib.import_module("lib_unet_viz.extension.axes")
    there = axes._entries(Settings, axis)
    value = {"Layers": "IN01", "Steps": "2"}.get(axis) or axes._choices(there[0])[-1]
    p = SimpleNamespace()
    axes._setter(axis)(p, value, [])
    changed = axes.applied(p, Settings.off())
    assert changed.enabled
    assert axes.applied(p, changed) == changed


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 10**400, -(10**400), "1", None, True])
@pytest.mark.parametrize("path", ["gain", "minimum", "budget_mb"])
def test_ill_numbers_are_refused_in_words(path: str, number: Any) -> None:
    values = {"budget_mb": number} if path == "budget_mb" else {"features": {"color": {path: number}}}
    with pytest.raises(SettingsError, match=f"{path} is .*; expected"):
        Settings.from_dict(values)


@pytest.mark.parametrize(
    "text", ["[" * 5000, '{"budget_mb": ' + "9" * 5000 + "}", "{", '{"budget_mb": 1e400}']
)
def test_ill_json_is_refused_in_words(text: str) -> None:
    with pytest.raises(SettingsError) as error:
        Settings.from_dict(read_json(text, "settings"))
    assert len(str(error.value)) < 300


def test_settings_are_right_whoever_makes_them() -> None:
    with pytest.raises(SpecError):
        FeatureSettings(blocks="IN99x")
    with pytest.raises(SettingsError, match="at least one of Q, K, QK, VQK"):
        AttentionSettings(parts=())
    assert FeatureSettings(blocks="IN99x", enabled=False).blocks == "IN99x"  # not in use, so not read


@pytest.mark.parametrize(
    ("place", "values", "allowed"),
    [
        (TRACE_ROUTE, {"edit": {"edits": "a -> b"}}, "features, attention"),
        (TRACE_ROUTE, {"features": {"average": "mean"}}, "blocks"),
        (EDIT_ROUTE, {"edit": {"sweep": "steps"}}, "cross_steps"),
        (RENDER, {"explore": True}, "features"),
        (RENDER, {"budget_mb": 10}, "features"),
    ],
)
def test_what_a_place_has_no_use_for_is_refused(place: str, values: dict[str, Any], allowed: str) -> None:
    with pytest.raises(SettingsError, match=f"{place} has no use for.*; allowed:.*{allowed}"):
        Settings.asked(values, place)
