"""`EditSettings` as gradio components, for the page and for a panel in a webui; see `ui`."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from lib_unet_viz.notation import edits
from lib_unet_viz.settings import BlendMaps, EditSettings, Settings, Sweep
from lib_unet_viz.ui import components as ui

STEPS_HINT = '0.8 · [0.2, 0.8] · {"default": 0.8, "cat": [0, 0.4]}'


def edits_box(text: str, **options: Any) -> Any:
    """Where edits are written, one a line."""
    return gr.Textbox(
        text, label="Edits, one a line", placeholder="\n".join(edits.SYNTAX), lines=4, max_lines=12, **options
    )


def control_controls(defaults: EditSettings) -> dict[str, Any]:
    """When and where attention is the source's."""
    return {
        "edit.cross_steps": _line(
            defaults, "cross_steps", "Cross-replace steps", f"A fraction of the steps: {STEPS_HINT}"
        ),
        "edit.self_steps": _line(defaults, "self_steps", "Self-replace steps", "0.4 · [0.2, 0.8]"),
        "edit.self_size": gr.Number(
            defaults.self_size,
            label="Max. self-attention map size (0 = automatic)",
            info="16: up to 16 × 16 positions; 0: as many as 16 × 16 at 512 × 512 pixels",
            precision=0,
        ),
        "edit.blocks": _line(defaults, "blocks", "Edit these layers", ui.BLOCKS_HINT),
    }


def blend_controls(defaults: EditSettings) -> dict[str, Any]:
    """What of the picture may change."""
    told = "Outside of the words' maps the picture stays the source's."
    several = "cat, red hat; blank: "
    return {
        "edit.blend": gr.Checkbox(defaults.blend, label="Local blend", info=told),
        "edit.blend_words": _line(
            defaults, "blend_words", "Blend words", f"{several}those that the edits change"
        ),
        "edit.subtract": _line(defaults, "subtract", "Words to subtract", f"{several}none"),
        "edit.threshold": gr.Slider(
            0, 1, value=defaults.threshold, step=0.01, label="Blend threshold", info="of the maps' maximum"
        ),
        "edit.blend_start": gr.Slider(
            0,
            1,
            value=defaults.blend_start,
            step=0.05,
            label="Blend start",
            info="after this fraction of the steps",
        ),
        "edit.blend_maps": gr.Radio(
            list(get_args(BlendMaps)),
            value=defaults.blend_maps,
            label="Blend maps",
            info="informed: informative heads count more; mean: all alike, as in the paper",
        ),
    }


def sweep_controls(defaults: EditSettings) -> dict[str, Any]:
    """Whether a run also makes a sweep; a page with a button for it needs none of them."""
    info = "Also draw the first target with the source's attention in 0 % to 100 % of them."
    names = list(get_args(Sweep))
    return {"edit.sweep": gr.Radio(names, value=defaults.sweep, label="Sweep", info=info)}


def _line(defaults: EditSettings, name: str, label: str, info: str) -> Any:
    """A text box of one line for a setting."""
    shown = ui.shown_value(Settings(edit=defaults), f"edit.{name}")
    return gr.Textbox(shown, label=label, info=info, lines=1, max_lines=1)
