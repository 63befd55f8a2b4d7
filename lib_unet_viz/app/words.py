"""The page's word maps: a gallery of all words, and the one that was clicked in large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.drawing import sheets
from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.entry import entry_at
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui.controls import component
from lib_unet_viz.ui.parts import gallery, heading, heat_bar, picture, shown
from lib_unet_viz.ui.runs import GoneError

if TYPE_CHECKING:
    from PIL import Image

    from lib_unet_viz.trace import Trace
    from lib_unet_viz.ui.runs import Runs
    from lib_unet_viz.ui.working import Job, Updates


class WordSection:
    """Components and handlers; `build_large` and `build` stand in two places of the page."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def build_large(self) -> None:
        """Make the place for one word's map."""
        self.word = picture("Word map", "word")

    def build(self) -> None:
        """Make the gallery, hidden."""
        with gr.Column(visible=False) as self.body:
            heading("One map for each word", "Click a word to see it large beside the picture.")
            self.one_scale = component(entry_at(Settings, "one_scale"))["one_scale"]
            self.words = gallery("Word maps", "words", enlarge=False)
            heat_bar()

    @property
    def outputs(self) -> list[Any]:
        """What `emptied` and `filled` update."""
        return [self.word, self.body, self.words, self.one_scale]

    def connect(self, run: Any) -> None:
        """run: holds the run's id."""
        chosen = [run, self.one_scale]
        self.words.select(self.enlarge, chosen, [self.word], show_progress="hidden")
        ui.on_edit(self.one_scale, self.redraw, chosen, [self.word, self.words])

    def emptied(self) -> Updates:
        """Updates for the time of a run."""
        return {self.word: shown(False), self.body: shown(False)}

    def filled(self, job: Job, trace: Trace) -> Updates:
        """Updates after a run, whose trace and pictures of words are kept; the strongest word is in large."""
        overlays, first = _overlays(trace)
        job.keep(trace, overlays)
        none_chosen = ui.known(gr.Gallery, selected_index=None)
        return {
            self.word: _large(overlays, first) if overlays else shown(False),
            self.body: shown(bool(overlays)),
            self.words: gr.update(value=overlays, **none_chosen),
            self.one_scale: False,
        }

    # Handlers.

    def enlarge(self, name: str, one_scale: bool, event: gr.SelectData) -> Any:
        """Show the word that was clicked."""
        try:
            shown = (
                _overlays(self.runs.trace(name), one_scale=True)[0] if one_scale else self.runs.words(name)
            )
            return _large(shown, int(event.index))
        except GoneError as error:
            raise gr.Error(str(error)) from error

    def redraw(self, name: str, one_scale: bool) -> tuple[Any, Any]:
        """All words on one scale, or each on its own."""
        if not name:
            return gr.update(), gr.update()
        try:
            overlays, first = _overlays(self.runs.trace(name), one_scale=one_scale)
        except GoneError as error:
            raise gr.Error(str(error)) from error
        return _large(overlays, first) if overlays else gr.update(), gr.update(value=overlays)


def _overlays(trace: Trace, *, one_scale: bool = False) -> tuple[list[tuple[Image.Image, str]], int]:
    """Each word's heat over the picture, with its label, and which word is the strongest."""
    drawn = sheets.heat_overlays(trace, one_scale=one_scale) if trace.attention else []
    first = max(range(len(drawn)), key=lambda at: drawn[at][1].strength, default=0)
    return [(image, sheets.word_label(heat)) for image, heat in drawn], first


def _large(words: Sequence[tuple[Image.Image, str]], index: int) -> Any:
    image, text = words[index]
    return gr.update(value=image, label=f"Word map: {text}", visible=True)
