"""Stands in for the webui's modules/ui_components.py."""

from __future__ import annotations

import gradio as gr


class ToolButton:
    """A small button. Not a subclass of gradio's: that would write a .pyi file beside this one."""

    def __new__(cls, *args, **kwargs):
        kwargs.pop("tooltip", None)
        return gr.Button(*args, **kwargs)
