"""Everything that a person can choose about a run: one table, from which all else is made.

`sections` holds the table, one line a setting; `run` is a whole run's `Settings`; `entry` says what a line
may say, `section` and `values` check what people give; `schema` is the table as a JSON schema. Panels, the
command line, the axes of plots, the routes' schemas and the table in docs/webui.md are made of it. Imports
`capture` and what is below it.
"""

from lib_unet_viz.settings.run import Settings
from lib_unet_viz.settings.sections import (
    AttentionPart,
    AttentionSettings,
    Average,
    Baseline,
    BlendMaps,
    ColorMethod,
    ColorSettings,
    DifferenceSettings,
    EditSettings,
    FeatureSettings,
    Half,
    Kind,
    Method,
    OutputSettings,
    Space,
    Sweep,
    Transform,
)
from lib_unet_viz.settings.values import SettingsError

__all__ = [
    "AttentionPart",
    "AttentionSettings",
    "Average",
    "Baseline",
    "BlendMaps",
    "ColorMethod",
    "ColorSettings",
    "DifferenceSettings",
    "EditSettings",
    "FeatureSettings",
    "Half",
    "Kind",
    "Method",
    "OutputSettings",
    "Settings",
    "SettingsError",
    "Space",
    "Sweep",
    "Transform",
]
