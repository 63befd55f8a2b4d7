"""Stands in for the webui's modules/ui_components.py."""

from __future__ import annotations

import gradio as gr


class ToolButton(gr.Button):
    """A small button."""

    def __init__(self, *args, **kwargs):
        kwargs.pop("tooltip", None)
        super().__init__(*args, **kwargs)
