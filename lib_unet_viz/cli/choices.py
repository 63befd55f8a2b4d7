"""From the options of a command to `Settings`."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import replace
from typing import Any, TypeVar

from lib_unet_viz.drawing import color
from lib_unet_viz.drawing.color import Colorizer
from lib_unet_viz.notation.specs import BlockSpec, SpecError, StepSpec
from lib_unet_viz.settings import ColorSettings, Settings, SettingsError

T = TypeVar("T")


def settings(options: Namespace, *, blocks: str, attention: str, steps: str) -> Settings:
    """What the options ask for; `blocks`, `attention` and `steps` where they say nothing.

    Whatever can be wrong without a model is found here: SpecError, ColorError, SettingsError.
    """
    base = _base(options, blocks=blocks, attention=attention, steps=steps)
    features = replace(
        _given(base.features, blocks=options.blocks, steps=options.at, halves=options.halves),
        color=_color(options, base.features.color),
    )
    attended = replace(
        _given(
            base.attention,
            blocks=options.attention,
            steps=options.at,
            halves=options.halves,
            parts=options.parts,
            kinds=options.kinds,
        ),
        color=_color(options, base.attention.color),
    )
    chosen = replace(
        base,
        features=_given(features, average=options.average, enabled=False if options.no_features else None),
        attention=_given(attended, enabled=False if options.no_attention else None),
        heatmaps=base.heatmaps and not options.no_heat,
        method=getattr(options, "method", None) or base.method,
        one_scale=getattr(options, "one_scale", False) or base.one_scale,
        explore=base.explore or getattr(options, "explore", False),
        budget_mb=getattr(options, "budget", None) or base.budget_mb,
    )
    _check(chosen)
    return chosen


def _base(options: Namespace, *, blocks: str, attention: str, steps: str) -> Settings:
    """The settings' file over the defaults."""
    defaults = {
        "features": {"blocks": blocks, "steps": steps},
        "attention": {"blocks": attention, "steps": steps},
    }
    base = Settings.from_dict(defaults)
    if options.settings is None:
        return base
    try:
        values = json.loads(options.settings.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SettingsError(f"{options.settings} is not JSON: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{options.settings} holds {type(values).__name__}; a JSON object is expected")
    merged = {name: _merged(defaults.get(name), value) for name, value in values.items()}
    return Settings.from_dict({**defaults, **merged})


def _merged(default: Any, value: Any) -> Any:
    return {**default, **value} if isinstance(default, dict) and isinstance(value, dict) else value


def _given(base: T, **changes: Any) -> T:
    """A copy with those changes that are not None."""
    return replace(base, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[type-var]


def _color(options: Namespace, base: ColorSettings) -> ColorSettings:
    method: dict[str, str] = {}
    if options.colors is not None:
        method = _method(options.colors)
    elif options.formulas is not None:
        method = {"method": "Custom"}
    return _given(
        base,
        **method,
        transform=options.transform,
        minimum=options.min,
        maximum=options.max,
        gain=options.gain,
        offset=options.offset,
        space=options.space,
        formulas=options.formulas,
        per_cell=False if options.whole_grid else None,
    )


def _method(name: str) -> dict[str, str]:
    methods = {method.lower(): method for method in color.METHODS}
    if name.lower() in methods:
        return {"method": methods[name.lower()]}
    return {"method": "Perceptual", "colormap": name}


def _check(chosen: Settings) -> None:
    for part in (chosen.features, chosen.attention):
        if part.enabled:
            BlockSpec.parse(part.blocks)
            StepSpec.parse(part.steps)
            Colorizer.from_settings(part.color)


def existing(spec: str, names: tuple[str, ...]) -> str:
    """Those of a default's blocks that a model has; defaults are of Stable Diffusion 1."""
    found = []
    for name in spec.split(","):
        try:
            found += BlockSpec.parse(name).names(names)
        except SpecError:
            continue
    return ",".join(found)
