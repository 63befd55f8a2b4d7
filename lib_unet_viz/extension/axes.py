"""X/Y/Z axes of the webui's own plot script (scripts/xyz_grid.py in the webui)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from lib_unet_viz.hosts.webui.loaded import loaded_unet
from lib_unet_viz.notation.layer_prompt import CLOSE, OPEN, LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec, StepSpec
from lib_unet_viz.settings import Settings

ALWAYS_ON_OPTION = "unet_viz_always_on"  # of the Settings page
CHANGES = "unet_viz_changes"  # attribute of `p` that the axes set


def register() -> None:
    """Add the axes; to be called by `on_before_ui`. They act on the always-on script, so only with that."""
    from modules import scripts, shared

    if not getattr(shared.opts, ALWAYS_ON_OPTION, False):
        return
    for data in scripts.scripts_data:
        if data.path.endswith("xyz_grid.py") and hasattr(data.module, "axis_options"):
            _extend(data.module)


def word(p: Any) -> str | None:
    """The word that this cell of a plot is about."""
    return getattr(p, CHANGES, {}).get("word")


def varied(p: Any) -> bool:
    """Whether a plot varies something of ours: its cells then show our sheet, not the picture."""
    return bool(getattr(p, CHANGES, {}))


def applied(p: Any, settings: Settings) -> Settings:
    """The settings with what the axes chose for this cell; an axis switches on what it varies."""
    changes = getattr(p, CHANGES, {})
    features, attention = settings.features, settings.attention
    if {"blocks", "steps"} & changes.keys():
        values = {name: changes[name] for name in ("blocks", "steps") if name in changes}
        if settings.attention.enabled:
            attention = replace(attention, **values)
        if settings.features.enabled or not settings.attention.enabled:
            features = replace(features, enabled=True, **values)
    heatmaps = settings.heatmaps or "word" in changes
    return replace(settings, features=features, attention=attention, heatmaps=heatmaps)


def _extend(module: Any) -> None:
    axes = (
        ("Layers", _setter("blocks"), _check_blocks),
        ("Steps", _setter("steps"), _check_steps),
        ("Word", _setter("word"), None),
        ("Layer prompt", _add_group, _check_groups),
    )
    labels = {option.label for option in module.axis_options}
    for label, apply, check in axes:
        title = f"[U-Net Viz] {label}"
        if title not in labels:
            module.axis_options.append(module.AxisOption(title, str, apply, confirm=check))


def _add_group(p: Any, value: str, _: Any) -> None:
    """The prompt with a group such as "IN00-OUT05: red" after it; blank adds nothing."""
    if value.strip():
        p.prompt = f"{p.prompt} {_group(value)}"


def _group(value: str) -> str:
    return f"{OPEN} {value} {CLOSE}"


def _check_groups(p: Any, values: list[str]) -> None:
    for value in values:
        if value.strip():
            LayerPrompt.parse(_group(value)).per_block(loaded_unet(p.sd_model))


def _check_blocks(p: Any, values: list[str]) -> None:
    """Before a plot begins: it only logs what goes wrong in a cell. Raises SpecError."""
    for value in values:
        BlockSpec.parse(value).sites(loaded_unet(p.sd_model))


def _check_steps(_: Any, values: list[str]) -> None:
    for value in values:
        StepSpec.parse(value)


def _setter(name: str) -> Any:
    def apply(p: Any, value: str, _: Any) -> None:
        setattr(p, CHANGES, {**getattr(p, CHANGES, {}), name: value})

    return apply
