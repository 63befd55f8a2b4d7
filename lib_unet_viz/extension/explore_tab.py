"""The webui's tab U-Net Explore: the run that was recorded last, or dumps; no model is needed."""

from __future__ import annotations

from typing import Any

import gradio as gr
from modules import script_callbacks

from lib_unet_viz.extension import last_runs
from lib_unet_viz.ui.explore_tab import Explore, Source
from lib_unet_viz.ui.style import PARTS_CSS

TITLE, NAME = "U-Net Explore", "unet_viz_explore"


def register() -> None:
    """Let the webui show the tab; to be called while it loads its scripts."""
    script_callbacks.on_ui_tabs(lambda: [(build(), TITLE, NAME)])


def build() -> Any:
    """The tab, a gr.Blocks."""
    kept = last_runs.here()
    tab = Explore(kept.runs, last=last)
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML(f"<style>{PARTS_CSS}</style>")
        tab.build()
    return blocks


def last(request: Any) -> Source | None:
    """The run that a visitor recorded last. Raises NotKeptError."""
    name = last_runs.here().last(getattr(request, "username", None))
    return Source(name, batch=True) if name else None
