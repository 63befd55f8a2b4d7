"""Where a mask of one's own is painted or given: with gradio's ImageEditor, before gradio 4 with a sketch.

The ImageEditor of gradio 4 keeps a page's other events from arriving, so there a mask is only given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from lib_unet_viz.settings import SettingsError
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import given

if TYPE_CHECKING:
    from lib_unet_viz.editing.own_mask import OwnMask

INFO = (
    "Paint where the picture may change, or give a picture in black and white: white may change. "
    "The words' maps must allow it, too; without local blend, the mask alone counts."
)
NO_PICTURE = "There is no picture yet: make an edit, or give a picture of yours."
NOT_PAINTED = "Nothing was painted, so the picture itself was read as the mask"
_BRUSH = "#ff3b30"  # seen on most pictures; where is painted counts, not the colour


class MaskInput:
    """A place to paint on or to drop a mask, whose value `mask_of` reads, and a button to paint on a picture.

    name: of the element in the page.
    """

    def __init__(self, name: str) -> None:
        gr.HTML(readout.note(INFO))
        self._on_picture = gr.Button(
            "Paint on the picture", size="sm", elem_id=f"{name}-on-picture", visible=_paints()
        )
        self._problem = gr.HTML(visible=False)
        self.component = _canvas(name)

    @property
    def changed(self) -> list[Any]:
        """The events that say so. A sketch of gradio 3 says `change` again and again while it is seen."""
        canvas = self.component
        if hasattr(canvas, "edit"):
            return [canvas.edit, canvas.upload, canvas.clear]
        return [canvas.change, *([canvas.input] if hasattr(canvas, "apply") else [])]  # strokes

    def connect(self, uploaded: Any, source: Any) -> None:
        """Let the button paint on the picture of one's own, else on what the last edit was made of."""
        self._on_picture.click(_put, [uploaded, source], [self.component, self._problem])


def _paints() -> bool:
    """Whether this gradio has something to paint with."""
    editor = getattr(gr, "ImageEditor", None)
    return editor is None or bool(ui.known(editor, fixed_canvas=False))


def _canvas(name: str) -> Any:
    options: dict[str, Any] = {"type": "pil", "image_mode": "RGBA", "label": "Mask", "elem_id": name}
    options["height"] = 420
    editor = getattr(gr, "ImageEditor", None)
    if not _paints():
        return gr.Image(sources=["upload", "clipboard"], **options)
    if editor is None:
        options |= {"source": "upload", "tool": "sketch", "brush_color": _BRUSH}
        return gr.Image(**options)
    options |= ui.known(editor, sources=["upload", "clipboard"], transforms=None, layers=False, format="png")
    return editor(brush=gr.Brush(colors=[_BRUSH], color_mode="fixed"), **options)


def _put(uploaded: Image.Image | str | None, source: Image.Image | None) -> tuple[Any, Any]:
    from lib_unet_viz.maps.vxa import upright

    try:
        picture = given(uploaded) or source
        if picture is None:
            raise ValueError(NO_PICTURE)
    except ValueError as error:
        return gr.update(), gr.update(value=readout.problem(error), visible=True)
    return upright(picture), gr.update(visible=False)


def mask_of(value: Mapping[str, Any] | Image.Image | None) -> OwnMask | None:
    """The mask that was painted, or else given as a picture; None where there is neither.

    Raises SettingsError where it is none, as where nothing was painted on a picture.
    """
    from lib_unet_viz.editing.own_mask import OwnMask

    if not value:
        return None
    if isinstance(value, Image.Image):
        return OwnMask.of(value)
    for layer in value.get("layers", [value.get("mask")]):
        painted = None if layer is None else _painted(layer)
        if painted is not None and painted.any():
            return OwnMask.of(painted)
    below = value.get("background", value.get("image"))
    if below is None or not below.convert("RGBA").getchannel("A").getbbox():
        return None  # gradio 4 gives an empty canvas for nothing
    try:
        return OwnMask.of(below)
    except SettingsError as error:
        raise SettingsError(f"{error}. {NOT_PAINTED}") from None


def _painted(layer: Image.Image) -> Any:
    """Where something is, (y, x) in [0, 1]: what is not transparent; of a sketch, which has no such places,
    what is not black.
    """
    alpha = np.asarray(layer.convert("RGBA").getchannel("A"), dtype=np.float32)
    return (np.asarray(layer.convert("L"), dtype=np.float32) if alpha.min() == 255 else alpha) / 255
