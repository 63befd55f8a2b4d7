"""The webui's tab for editing a picture of one's own; what that needs is imported for the first one."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from modules import script_callbacks

from lib_unet_viz.extension.tab import alone, present
from lib_unet_viz.ui.edit_uploaded_tab import EditUploaded
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.style import PARTS_CSS

if TYPE_CHECKING:
    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.editing.hooks import Plan
    from lib_unet_viz.editing.plan import Request
    from lib_unet_viz.settings import EditSettings

TITLE, NAME = "Edit picture", "unet_viz_edit"
JOB = "unet-viz-edit"


def register() -> None:
    """Let the webui show the tab; to be called while it loads its scripts."""
    script_callbacks.on_ui_tabs(lambda: [(build(), TITLE, NAME)])


def build() -> Any:
    """The tab, a gr.Blocks. It is the same for every checkpoint, so that none is waited for."""
    tab = EditUploaded(present, Runs(), draw=edit, planned=planned, alone=partial(alone, 0, job=JOB))
    with gr.Blocks(analytics_enabled=False) as blocks:
        gr.HTML(f"<style>{PARTS_CSS}</style>")
        tab.build()
    return blocks


def edit(*asked: Any, **more: Any) -> Edited:
    """As `hosts.webui.uploaded.edit`."""
    from lib_unet_viz.hosts.webui import uploaded

    return uploaded.edit(*asked, **more)


def planned(model: Any, prompt: str, settings: EditSettings) -> tuple[Request, Plan]:
    """As `hosts.webui.uploaded.planned`."""
    from lib_unet_viz.hosts.webui import uploaded

    return uploaded.planned(model, prompt, settings)
