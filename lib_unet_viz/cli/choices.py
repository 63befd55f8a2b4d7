"""From the options of a command to `Settings`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lib_unet_viz.drawing import color
from lib_unet_viz.drawing.color import Colorizer
from lib_unet_viz.notation.specs import BlockSpec, SpecError
from lib_unet_viz.settings import Settings, SettingsError
from lib_unet_viz.settings.entry import entries, nested
from lib_unet_viz.settings.values import read_json

COLORED = ("features", "attention")


def settings(
    options: Namespace, place: str, defaults: Mapping[str, Any], *, kind: type[Settings] = Settings
) -> Settings:
    """What the options of a command ask for; then its settings' file; then the command's own defaults.

    Whatever can be wrong without a model is found here: SpecError, ColorError, SettingsError.
    """
    chosen = kind.from_dict(defaults)
    if options.settings is not None:
        values = _file(options.settings)
        chosen = chosen.filled(values)
        kind.refuse(values, place)
    chosen = chosen.filled(nested({**given(options, place, kind=kind), **_colors(options)}))
    for part in (chosen.features, chosen.attention):
        if part.enabled:
            Colorizer.from_settings(part.color)
    return chosen


def given(options: Namespace, place: str, *, kind: type[Settings] = Settings) -> dict[str, Any]:
    """The values of the flags that were given, by the paths of their settings."""
    found = {}
    for entry in entries(kind):
        value = getattr(options, entry.dest, None) if entry.about.flag and place in entry.places else None
        if value is not None:
            found[entry.path] = "\n".join(value) if isinstance(value, list) else value
    return found


def _file(path: Path) -> dict[str, Any]:
    values = read_json(path.read_text(encoding="utf-8"), str(path))
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds {type(values).__name__}; a JSON object is expected")
    return values


def _colors(options: Namespace) -> dict[str, Any]:
    """What --colors says: a method, or a colour map; formulas alone mean themselves."""
    methods, name = {method.lower(): method for method in color.METHODS}, options.colors
    if name is None:
        chosen = {} if options.formulas is None else {"method": "Custom"}
    elif name.lower() in methods:
        chosen = {"method": methods[name.lower()]}
    else:
        chosen = {"method": "Perceptual", "colormap": name}
    return {f"{part}.color.{key}": value for part in COLORED for key, value in chosen.items()}


def existing(spec: str, names: tuple[str, ...]) -> str:
    """Those of a default's blocks that a model has; defaults are of Stable Diffusion 1."""
    found = []
    for name in spec.split(","):
        try:
            found += BlockSpec.parse(name).names(names)
        except SpecError:
            continue
    return ",".join(found)
