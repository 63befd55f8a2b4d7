"""Stands in for the webui's modules/ui_components.py."""

from __future__ import annotations

import gradio as gr

class ToolButton(gr.Button):
    """A small button."""

    def __init__(self, *args, **kwargs):
        kwargs.pop("tooltip", None)
        super().__init__(*args, **kwargs)
    from collections.abc import Callable, Sequence
    from typing import TYPE_CHECKING, Any, Literal

    from gradio.blocks import Block

    if TYPE_CHECKING:
        from gradio.components import Timer
        from gradio.components.base import Component
