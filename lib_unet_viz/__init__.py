"""Shows what happens inside a diffusion U-Net, block by block, step by step and word by word.

The names below are the public interface. Each is imported when it is first asked for, so that
`import lib_unet_viz` alone imports neither torch nor a host.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
    from lib_unet_viz.capture.recorder import Recorder
    from lib_unet_viz.capture.request import BudgetError, Call, Capture, Row
    from lib_unet_viz.drawing.color import Colorizer
    from lib_unet_viz.drawing.render import render
    from lib_unet_viz.editing.contexts import Contexts
    from lib_unet_viz.editing.hooks import Editing
    from lib_unet_viz.maps.words import HeatMap, word_maps
    from lib_unet_viz.meta import Meta
    from lib_unet_viz.notation.layer_prompt import LayerPrompt
    from lib_unet_viz.notation.specs import BlockSpec, SpecError, StepSpec
    from lib_unet_viz.settings import Settings, SettingsError
    from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Selection, Trace
    from lib_unet_viz.unet import UNet, UnsupportedModelError

__version__ = "0.1.0"

_PLACES = {
    "capture.dump": ("DumpError", "load_trace", "save_trace"),
    "capture.recorder": ("Recorder",),
    "capture.request": ("BudgetError", "Call", "Capture", "Row"),
    "drawing.color": ("Colorizer",),
    "drawing.render": ("render",),
    "editing.contexts": ("Contexts",),
    "editing.hooks": ("Editing",),
    "maps.words": ("HeatMap", "word_maps"),
    "meta": ("Meta",),
    "notation.layer_prompt": ("LayerPrompt",),
    "notation.specs": ("BlockSpec", "SpecError", "StepSpec"),
    "settings": ("Settings", "SettingsError"),
    "trace": ("AttentionMap", "FeatureMap", "Key", "Selection", "Trace"),
    "unet": ("UNet", "UnsupportedModelError"),
}
_MODULES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "AttentionMap",
    "BlockSpec",
    "BudgetError",
    "Call",
    "Capture",
    "Colorizer",
    "Contexts",
    "DumpError",
    "Editing",
    "FeatureMap",
    "HeatMap",
    "Key",
    "LayerPrompt",
    "Meta",
    "Recorder",
    "Row",
    "Selection",
    "Settings",
    "SettingsError",
    "SpecError",
    "StepSpec",
    "Trace",
    "UNet",
    "UnsupportedModelError",
    "__version__",
    "load_trace",
    "render",
    "save_trace",
    "word_maps",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(__all__)}")
    value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
