"""The webui's tab for editing a picture of one's own."""

from __future__ import annotations

from functools import partial
from typing import Any

import gradio as gr
from modules import script_callbacks

from lib_unet_viz.extension.tab import alone
from lib_unet_viz.hosts.webui.model import loaded
from lib_unet_viz.hosts.webui.uploaded import edit, planned
from lib_unet_viz.ui.edit_uploaded_tab import EditUploaded
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.style import PARTS_CSS

TITLE, NAME = "Edit picture", "unet_viz_edit"
JOB = "unet-viz-edit"


def register() -> None:
    """Let the webui show the tab; to be called while it loads its scripts."""
    script_callbacks.on_ui_tabs(lambda: [(build(), TITLE, NAME)])


def build() -> Any:
    """The tab, a gr.Blocks. It is the same for every checkpoint, so that none is waited for."""
    tab = EditUploaded(loaded, Runs(), draw=edit, planned=planned, alone=partial(alone, 0, job=JOB))
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML(f"<style>{PARTS_CSS}</style>")
        tab.build()
    return blocks
