"""The page's word maps: a gallery of all words, and the one that was clicked in large."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.drawing import sheets
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui.parts import gallery, heading, picture, shown
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
            self.words = gallery("Word maps", "words", enlarge=False)

    @property
    def outputs(self) -> list[Any]:
        """What `emptied` and `filled` update."""
        return [self.word, self.body, self.words]

    def connect(self, run: Any) -> None:
        """run: holds the run's id."""
        self.words.select(self.enlarge, [run], [self.word], show_progress="hidden")

    def emptied(self) -> Updates:
        """Updates for the time of a run."""
        return {self.word: shown(False), self.body: shown(False)}

    def filled(self, job: Job, trace: Trace) -> Updates:
        """Updates after a run, whose trace and pictures of words are kept; the strongest word is in large."""
        drawn = sheets.heat_overlays(trace) if trace.attention else []
        overlays = [(image, sheets.word_label(heat)) for image, heat in drawn]
        first = max(range(len(drawn)), key=lambda at: drawn[at][1].strength, default=0)
        job.keep(trace, overlays)
        none_chosen = ui.known(gr.Gallery, selected_index=None)
        return {
            self.word: _large(overlays, first) if overlays else shown(False),
            self.body: shown(bool(overlays)),
            self.words: gr.update(value=overlays, **none_chosen),
        }

    # Handlers.

    def enlarge(self, name: str, event: gr.SelectData) -> Any:
        """Show the word that was clicked."""
        try:
            return _large(self.runs.words(name), int(event.index))
        except GoneError as error:
            raise gr.Error(str(error)) from error


def _large(words: Sequence[tuple[Image.Image, str]], index: int) -> Any:
    image, text = words[index]
    return gr.update(value=image, label=f"Word map: {text}", visible=True)
