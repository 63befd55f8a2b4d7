"""Pieces that the page's tabs are made of."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.sections import PARTS
from lib_unet_viz.trace import FeatureMap, Key, Trace
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.runs import Runs

if TYPE_CHECKING:
    from PIL import Image

    from lib_unet_viz.drawing.render import Rendered

LARGEST_SEED = 2**32 - 1
LATER = "The sheets appear here after a run."


PLASMA = ("#0d0887", "#7e03a8", "#cc4778", "#f89540", "#f0f921")  # from 0 to 1, matplotlib's


def heat_bar() -> Any:
    """The colours of heat and what they stand for, to be put under a picture with heat over it."""
    bar = f"height:0.6rem;flex:1;border-radius:3px;background:linear-gradient(to right,{','.join(PLASMA)})"
    text = "Heat: from the least, 0, to the word's strongest place, 1"
    around = (
        f'role="img" aria-label="{text}" title="{text}" style="display:flex;gap:0.5rem;align-items:center"'
    )
    return gr.HTML(f'<div {around}><span>0</span><span style="{bar}"></span><span>1</span></div>')


def heading(title: str, text: str) -> Any:
    """A section's title and a line that says what is seen."""
    return gr.HTML(f'<h3 class="uv-heading">{title}</h3><p class="uv-note">{text}</p>')


def picture(label: str, name: str, *, visible: bool = True) -> Any:
    """A result; small pictures are shown enlarged."""
    return _image(label, name, "uv-picture", visible=visible)


def sheet(label: str, name: str) -> Any:
    """A sheet as wide as its column, hidden until there is one; a label would stand on the sheet's title."""
    return _image(label, name, "uv-sheet", visible=False, show_label=False)


def _image(label: str, name: str, css_class: str, **options: Any) -> Any:
    options |= ui.known(gr.Image, format="png", buttons=["download", "fullscreen"])
    return gr.Image(label=label, interactive=False, elem_id=name, elem_classes=[css_class], **options)


def upload(label: str, name: str) -> Any:
    """A place for a picture of one's own, whose value `given` reads.

    Gradio up to 4 decodes whatever it is sent, as on the webui's own tabs; later ones can hand over the file.
    RGBA, so that transparent places are laid on white later.
    """
    options = ui.known(gr.Image, sources=["upload", "clipboard"])
    if int(gr.__version__.partition(".")[0]) > 4:
        options |= {"type": "filepath", "image_mode": None}
    else:
        options |= {"type": "pil", "image_mode": "RGBA"}
    return gr.Image(label=label, height=320, elem_id=name, **options)


def given(value: Image.Image | str | None) -> Image.Image | None:
    """The picture in an `upload`, if there is one. Raises PictureError for what is none, or too large."""
    from lib_unet_viz.drawing.pictures import opened

    return opened(Path(value)) if isinstance(value, str) else value


def gallery(label: str, name: str, *, items: Any = None, enlarge: bool = True) -> Any:
    """A gallery without decoration; CSS says how many columns fit. enlarge: a click shows one in large."""
    buttons = ["download", "fullscreen"] if enlarge else []
    options = ui.known(gr.Gallery, format="png", show_share_button=False, interactive=False, buttons=buttons)
    return gr.Gallery(
        items,
        label=label,
        show_label=False,
        columns=6,
        height="auto",
        object_fit="contain",
        allow_preview=enlarge,
        elem_id=name,
        elem_classes=["uv-gallery"],
        **options,
    )


def recording_controls(defaults: Settings, section: str, place: str) -> tuple[dict[str, Any], Any]:
    """Components of what is recorded, by path, and the one below its steps that shows the read-out."""
    fields = ui.controls(defaults, section, place, upto="steps")
    readout_html = gr.HTML(elem_classes=["uv-readout"])
    return fields | ui.controls(defaults, section, place, made=fields), readout_html


def shown(visible: bool) -> Any:
    """An update of nothing but the visibility."""
    return gr.update(visible=visible)


class SheetSection:
    """Sheets of one step, drawn again when another step or other colours are chosen; no model is needed.

    maps: those of a trace that the section is about. draw: their sheets at a step (from 1).
    """

    def __init__(
        self,
        runs: Runs,
        name: str,
        *,
        maps: Callable[[Trace], Sequence[FeatureMap]],
        draw: Callable[[Trace, Settings, int], list[Rendered]],
    ) -> None:
        self.runs, self.name = runs, name
        self._maps, self._draw = maps, draw
        self._panel: ui.Panel | None = None

    def build(self, text: str) -> None:
        """Make the components, empty."""
        heading(self.name, text)
        self.note = gr.HTML(readout.note(LATER))
        with gr.Column(visible=False) as self.body:
            self.step = gr.Slider(1, 2, value=1, step=1, label="Step", elem_id=f"{self.name.lower()}-step")
            self.problem = gr.HTML(visible=False)
            self.sheets = gallery(self.name, self.name.lower())

    def connect(self, panel: ui.Panel, run: Any, redraw: Sequence[Any]) -> None:
        """Draw again when the step or one of the components `redraw` is changed; run: holds the run's id."""
        self._panel = panel
        self.inputs = [run, self.step, *panel.components]
        self.outputs = [self.sheets, self.problem]
        for component in (self.step, *redraw):
            ui.on_edit(component, self.show, self.inputs, self.outputs)

    def emptied(self) -> dict[Any, Any]:
        """Updates for the time of a run."""
        return {self.body: shown(False), self.note: shown(True)}

    def filled(self, trace: Trace) -> dict[Any, Any]:
        """Updates after a run: the slider goes over the recorded steps, at the last one."""
        there = _steps(self._maps(trace))
        if not there:
            return {**self.emptied(), self.step: gr.update()}
        strides = {after - before for before, after in zip(there, there[1:], strict=False)}
        stride = strides.pop() if len(strides) == 1 else 1
        last = max(there[-1], there[0] + 1)  # a slider needs two ends, even where it is hidden
        step = gr.update(minimum=there[0], maximum=last, step=stride, value=there[-1], visible=len(there) > 1)
        return {self.body: shown(True), self.note: shown(False), self.step: step}

    def show(self, name: str, step: float, *values: Any) -> tuple[Any, Any]:
        """The sheets of the recorded step that is nearest."""
        if not name or self._panel is None:
            return gr.update(), shown(False)
        try:
            trace = self.runs.trace(name)
            there = _steps(self._maps(trace))
            if not there:
                return gr.update(value=[]), shown(False)
            nearest = min(there, key=lambda other: abs(other - step))
            drawn = self._draw(trace, self._panel.settings(values), nearest)
        except ValueError as error:
            return gr.update(), gr.update(value=readout.problem(error), visible=True)
        return [(item.image, _caption(item.key)) for item in drawn], shown(False)


def _steps(maps: Sequence[FeatureMap]) -> list[int]:
    """The steps, from 1, that there are maps of; means over steps have none."""
    return sorted({item.key.step + 1 for item in maps if item.key.step is not None})


def _caption(key: Key) -> str:
    """Short, as the sheet itself says all."""
    words = {value: word for word, value in PARTS.items()}
    site = key.block if key.layer is None else f"{key.block}.{key.layer} {key.kind} {words[key.what]}"
    return site if key.half == "cond" else f"{site} (unconditional)"


def chosen_seed(seed: float | None) -> int:
    """The seed typed, or a new one for -1 and nothing. Raises ValueError for what is no seed."""
    if seed is None or seed == -1:
        return random.randrange(LARGEST_SEED)
    if not 0 <= seed <= LARGEST_SEED:
        raise ValueError(
            f"Seed {int(seed)} is not possible; allowed: 0 to {LARGEST_SEED}, or -1 for a new one"
        )
    return int(seed)
