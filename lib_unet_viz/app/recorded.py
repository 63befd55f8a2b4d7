"""The page's sheets of what was recorded: all that a trace has of a step, in the panel's colours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

from lib_unet_viz.drawing import sheets
from lib_unet_viz.settings import AttentionPart, Half, Kind, Settings
from lib_unet_viz.ui.parts import SheetSection

if TYPE_CHECKING:
    from lib_unet_viz.drawing.render import Rendered
    from lib_unet_viz.trace import Trace
    from lib_unet_viz.ui.runs import Runs


def feature_section(runs: Runs) -> SheetSection:
    """Sheets of what blocks put out."""
    return SheetSection(runs, "Features", maps=lambda trace: trace.features, draw=_features)


def attention_section(runs: Runs) -> SheetSection:
    """Sheets of attention."""
    return SheetSection(runs, "Attention", maps=lambda trace: trace.attention, draw=_attention)


def _features(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    """Whatever the panel's spec says by now."""
    chosen = replace(settings.features, enabled=True, blocks="", steps=str(step), halves=get_args(Half))
    return sheets.feature_sheets(trace, chosen)


def _attention(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    everything: dict[str, Any] = {
        "halves": get_args(Half),
        "parts": get_args(AttentionPart),
        "kinds": get_args(Kind),
    }
    chosen = replace(settings.attention, enabled=True, blocks="", steps=str(step), **everything)
    return [item for item in sheets.attention_sheets(trace, chosen) if item.key.step is not None]
