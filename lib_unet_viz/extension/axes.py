"""X/Y/Z axes of the webui's own plot script (scripts/xyz_grid.py there), made from the table of settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from lib_unet_viz.hosts.webui.loaded import loaded_unet
from lib_unet_viz.notation.layer_prompt import CLOSE, OPEN, LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.settings import Settings, SettingsError
from lib_unet_viz.settings.entry import Entry, entries, nested, value_at
from lib_unet_viz.settings.values import EXPECTED, shown

ALWAYS_ON_OPTION = "unet_viz_always_on"  # of the Settings page
CHANGES = "unet_viz_changes"  # attribute of `p` that the axes set: values by the axis
WORD, GROUP = "Word", "Layer prompt"  # axes that no setting is behind
_BOTH = "+"  # between the entries of a list; a comma is between the values of an axis


def register(kind: type[Settings] = Settings) -> None:
    """Add the axes; to be called by `on_before_ui`. They act on the always-on script, so only with that."""
    from modules import scripts, shared

    if not getattr(shared.opts, ALWAYS_ON_OPTION, False):
        return
    for data in scripts.scripts_data:
        if data.path.endswith("xyz_grid.py") and hasattr(data.module, "axis_options"):
            _extend(data.module, kind)


def word(p: Any) -> str | None:
    """The word that this cell of a plot is about."""
    return getattr(p, CHANGES, {}).get(WORD)


def varied(p: Any) -> bool:
    """Whether a plot varies something of ours: its cells then show our sheet, not the picture."""
    return bool(getattr(p, CHANGES, {}))


def applied(p: Any, settings: Settings) -> Settings:
    """The settings with what the axes chose for this cell; an axis switches on what it varies."""
    for axis, value in getattr(p, CHANGES, {}).items():
        settings = replace(settings, heatmaps=True) if axis == WORD else _with(settings, axis, value)
    return settings


def _with(settings: Settings, axis: str, text: str) -> Settings:
    """A value of an axis in the sections that are on; if none is, in the first that has it, turned on."""
    there = _entries(settings, axis)
    on = [entry for entry in there if not _switch(entry) or value_at(settings, _switch(entry))] or there[:1]
    changes: dict[str, Any] = {_switch(entry): True for entry in on if _switch(entry)}
    for entry in on:
        if entry.about.only is not None:  # as a colour map is of one method only
            name, values = entry.about.only
            other = entry.path.removesuffix(entry.name) + name
            changes[other] = value_at(settings, other) if value_at(settings, other) in values else values[0]
        changes[entry.path] = _read(entry, text)
    return settings.filled(nested(changes))


def _entries(settings: Settings | type[Settings], axis: str) -> list[Entry]:
    return [entry for entry in entries(settings) if entry.about.axis == axis]


def _switch(entry: Entry) -> str:
    """The path of the setting that turns this one on; blank where there is none."""
    section, dot, _ = entry.path.partition(".")
    if dot:
        return f"{section}.enabled"
    return entry.about.switch if entry.about.switch != "enabled" else ""


def _read(entry: Entry, text: str) -> Any:
    """An axis's text as a setting's plain value."""
    text = text.strip()
    if entry.listed:
        return [piece.strip() for piece in text.split(_BOTH)]
    if entry.hint is bool:
        return {"true": True, "false": False}.get(text.lower(), text)
    try:
        return entry.hint(text) if entry.hint in (int, float) else text
    except (ValueError, OverflowError):
        raise SettingsError(f"{entry.path} is {shown(text)}; expected {EXPECTED[entry.hint]}") from None


def _extend(module: Any, kind: type[Settings]) -> None:
    labels = {option.label for option in module.axis_options}
    names = dict.fromkeys(entry.about.axis for entry in entries(kind) if entry.about.axis)
    axes: list[tuple[str, Callable[..., None], Callable[..., None] | None, list[str]]] = [
        (axis, _setter(axis), partial(_check, kind, axis), _choices(_entries(kind, axis)[0]))
        for axis in names
    ]
    axes += [(WORD, _setter(WORD), None, []), (GROUP, _add_group, _check_groups, [])]
    for label, apply, check, choices in axes:
        title = f"[U-Net Viz] {label}"
        if title not in labels:
            offered: dict[str, Any] = {"choices": partial(list, choices)} if choices else {}
            module.axis_options.append(module.AxisOption(title, str, apply, confirm=check, **offered))


def _choices(entry: Entry) -> list[str]:
    """What an axis offers: each value, and of a list also all of them."""
    if entry.hint is bool:
        return ["true", "false"]
    both = [_BOTH.join(entry.allowed)] if entry.listed and len(entry.allowed) > 1 else []
    return [*entry.allowed, *both] or list(entry.about.choices)


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


def _check(kind: type[Settings], axis: str, p: Any, values: list[str]) -> None:
    """Before a plot begins: it only logs what goes wrong in a cell. Raises SettingsError, SpecError."""
    for value in values:
        _with(kind.off(), axis, value)
        if any(entry.about.read == BlockSpec.parse for entry in _entries(kind, axis)):
            BlockSpec.parse(value).sites(loaded_unet(p.sd_model))


def _setter(axis: str) -> Callable[..., None]:
    def apply(p: Any, value: str, _: Any) -> None:
        setattr(p, CHANGES, {**getattr(p, CHANGES, {}), axis: value})

    return apply
