"""The page's section on self-attention: where a place that is clicked looks to, components, segments."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import picture
from lib_unet_viz.ui.runs import GoneError

if TYPE_CHECKING:
    from PIL import Image

    from lib_unet_viz.trace import Trace
    from lib_unet_viz.ui.runs import Runs

PLACE, COMPONENTS, SEGMENTS = VIEWS = ("a place's looks", "components", "segments")
TOGETHER, MEAN = "all together", "mean"
HINT = "Click a place in the picture: here will be where it looks to."


class AttentionFrom:
    """Components and handlers; `connect` says which run it is about and which picture is clicked."""

    def __init__(self, runs: Runs, name: str) -> None:
        self.runs, self.name = runs, name

    def build(self) -> None:
        """Make the components."""
        with gr.Accordion("Self-attention: click the picture", open=False):
            self.at = gr.State((0.5, 0.5))
            self.note = gr.HTML(readout.note(HINT), elem_id=f"{self.name}-look-note")
            self.result = picture("Self-attention", f"{self.name}-look")
            self.view = gr.Radio(list(VIEWS), value=PLACE, label="Show")
            with gr.Row():
                self.site = gr.Dropdown([TOGETHER], value=TOGETHER, label="Self-attention layer")
                self.head = gr.Dropdown([MEAN], value=MEAN, label="Head")
                self.step = gr.Dropdown([MEAN], value=MEAN, label="Step or run")
            gr.HTML(readout.note("Heads and steps are there of layers whose self-attention was recorded."))

    def connect(self, run: Any, clicked: Any) -> None:
        """run: holds the run's id. clicked: the picture whose places are asked about."""
        asked = [run, self.view, self.site, self.head, self.step]
        drawn = [self.result, self.note]
        clicked.select(self.click, asked, [self.at, *drawn], show_progress="hidden")
        ui.on_edit(self.site, self.fill, [run, self.site], [self.site, self.head, self.step]).then(
            self.show, [self.at, *asked], drawn, show_progress="hidden"
        )
        for part in (self.view, self.head, self.step):
            ui.on_edit(part, self.show, [self.at, *asked], drawn)

    # Handlers.

    def click(
        self, name: str, view: str, site: str, head: str, step: str, event: gr.SelectData
    ) -> tuple[Any, ...]:
        """The clicked place as fractions (y, x) of the picture, and what is seen of it."""
        if not name:
            return gr.update(), gr.update(), gr.update()
        try:
            picture = self.runs.trace(name).picture
        except ValueError as error:
            return gr.update(), gr.update(), readout.problem(error)
        if picture is None:
            return gr.update(), gr.update(), gr.update()
        x, y = event.index
        at = (y / picture.height, x / picture.width)
        return at, *self.show(at, name, view, site, head, step)

    def show(
        self, at: tuple[float, float], name: str, view: str, site: str, head: str, step: str
    ) -> tuple[Any, Any]:
        """The picture, and a line about it or what was wrong."""
        from lib_unet_viz.drawing import sheets

        try:
            trace = self.runs.trace(name)
            if view == PLACE:
                image, line = _look(trace, at, site, head, step), _said(at, site, head, step)
            elif view == COMPONENTS:
                image, line = sheets.components_picture(trace), "Places of like colours look alike."
            else:
                image, line = sheets.segments_picture(trace), "Places that look alike, merged."
        except ValueError as error:
            return gr.update(), readout.problem(error)
        return image, readout.note(line)

    def fill(self, name: str, site: str) -> tuple[Any, Any, Any]:
        """The layers, heads and steps that a run offers; what was chosen stays where it is still there."""
        from lib_unet_viz.maps import self_attention

        there: dict[str, self_attention.Site] = {}
        with suppress(GoneError):  # a click says so
            there = {each.name: each for each in self_attention.sites(self.runs.trace(name))}
        chosen = there.get(site)
        heads = [str(number) for number in range(chosen.heads)] if chosen else []
        steps = [str(number) for number in chosen.steps] if chosen else []
        return (
            gr.update(choices=[TOGETHER, *there], value=site if chosen else TOGETHER),
            gr.update(choices=[MEAN, *heads], value=MEAN),
            gr.update(choices=[MEAN, *steps], value=MEAN),
        )

    def emptied(self) -> dict[Any, Any]:
        """Updates for a new run."""
        return {self.result: gr.update(value=None), self.note: readout.note(HINT)}


def _look(trace: Trace, at: tuple[float, float], site: str, head: str, step: str) -> Image.Image:
    from lib_unet_viz.drawing import sheets

    if site == TOGETHER:
        return sheets.look_picture(trace, at)
    number, when = (None if text == MEAN else int(text) for text in (head, step))
    return sheets.look_picture(trace, at, site=site, head=number, step=when)


def _said(at: tuple[float, float], site: str, head: str, step: str) -> str:
    place = f"From {at[0]:.0%} down, {at[1]:.0%} right"
    if site == TOGETHER:
        return f"{place} · all layers together"
    return f"{place} · {site} · head {head} · step {step}"
