"""The tab Explore: a finished run, an edit's source and target, or dumps, as a workspace; no model is needed.

The workspace is a page of its own (`workspace`) in a frame that may run its script and offer downloads, and
nothing else: it has neither this page's cookies nor its address.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.settings.sections import BLOCKS_HINT, HALVES, STEPS_HINT
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import heading, shown

if TYPE_CHECKING:
    from lib_unet_viz.trace import Pass, Selection, Trace
    from lib_unet_viz.ui.runs import Runs
    from lib_unet_viz.workspace.bundle import Bundle
    from lib_unet_viz.workspace.contents import Choice

EXPLORE = "explore"
MOST_DUMP = 1_000_000_000  # bytes of an uploaded one
FRAMED = 12_000_000  # bytes of a workspace within the page
TEXT = (
    "Every block, step, head and word of a run, by mouse or by keys: ? in the workspace lists them. Open the "
    "last run, a dump, or two dumps to compare."
)
EMPTY = "Nothing is open yet."
FIRST = "the first that is there"
PASSES: Mapping[str, Pass] = {"before hires fix": "first", "after hires fix": "hires"}


class ExploreError(ValueError):
    """Nothing can be shown; the message says why."""


@dataclass(frozen=True)
class Source:
    """Where a run comes from: its id among the runs, or an uploaded file.

    image: of an edit's run. batch: the run is of several images, any of which may be chosen. Of both, the
    run's words are its pictures.
    """

    run: str = ""
    image: int | None = None
    file: str = ""
    batch: bool = False


class Explore:
    """Components and handlers of the tab.

    last: the run that a visitor's request finished last, where the server knows; None: there is none yet. It
    raises ValueError saying why there can be none.
    """

    def __init__(self, runs: Runs, *, last: Callable[[gr.Request], Source | None] | None = None) -> None:
        self.runs, self._last = runs, last

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self.open = gr.State(())  # sources of what is shown
        self.saved = gr.State("")  # the folder of the file that is offered
        heading("Explore", TEXT)
        with gr.Accordion("Open", open=True) as self.opening:
            with gr.Row(elem_classes=["uv-columns"]):
                self.first = _dump("Dump (.safetensors)", "explore-a")
                self.second = _dump("Another dump, to compare", "explore-b")
                with gr.Column(scale=1, min_width=210, elem_classes=["uv-buttons"]):
                    self.show_dumps = gr.Button("Open the dumps", variant="primary", elem_id="explore-dumps")
                    self.last = gr.Button("Open the last run", elem_id="explore-last")
            self._build_choice()
        self.note = gr.HTML(readout.note(EMPTY), elem_id="explore-note")
        self.frame = gr.HTML(elem_id="explore-frame")
        with gr.Row(visible=False, elem_classes=["uv-columns"]) as self.take:
            with gr.Column(scale=3, min_width=300):
                self.kind = gr.Dropdown(list(KINDS), value=next(iter(KINDS)), label="Take it along")
            with gr.Column(scale=2, min_width=210, elem_classes=["uv-buttons"]):
                self.save = gr.Button("Save", elem_id="explore-save")
            with gr.Column(scale=3, min_width=300):
                self.file = gr.File(
                    label="Files",
                    file_count="multiple",
                    interactive=False,
                    visible=False,
                    elem_id="explore-file",
                )
        self._connect()

    def _build_choice(self) -> None:
        with gr.Row():
            image = gr.Textbox(
                "", label="Image", info="of a batch, from 0; blank: the first", lines=1, max_lines=1
            )
            half = gr.Dropdown([FIRST, *HALVES], value=FIRST, label="CFG branch")
            pass_ = gr.Dropdown([FIRST, *PASSES], value=FIRST, label="Pass")
            blocks = gr.Textbox("", label="Blocks", info=BLOCKS_HINT, lines=1, max_lines=1)
            steps = gr.Textbox("", label="Steps", info=STEPS_HINT, lines=1, max_lines=1)
        self.again = gr.Button("Show again with this choice", elem_id="explore-again")
        self.choice = [image, half, pass_, blocks, steps]

    def _connect(self) -> None:
        outputs = [self.open, self.note, self.frame, self.take, self.file, self.opening]
        self.show_dumps.click(self.open_dumps, [self.first, self.second, *self.choice], outputs)
        self.again.click(self.show, [self.open, *self.choice], outputs)
        self.save.click(
            self.write, [self.open, self.saved, self.kind, *self.choice], [self.saved, self.file, self.note]
        )
        if self._last is not None:
            self.last.click(self.open_last, self.choice, outputs)
        self.outputs = outputs

    def open_by(self, button: Any, run: Any, tabs: Any, *, images: Sequence[int] = ()) -> None:
        """Let a button open the run whose id a component holds, and this tab; images: of it, to compare."""

        def opened(name: str, *choice: Any) -> tuple[Any, ...]:
            sources = [Source(name, image) for image in images] if images else [Source(name)]
            return gr.update(selected=EXPLORE), *self.show(tuple(sources) if name else (), *choice)

        button.click(opened, [run, *self.choice], [tabs, *self.outputs])

    # Handlers.

    def open_dumps(self, first: Any, second: Any, *choice: Any) -> tuple[Any, ...]:
        """Show what was uploaded."""
        return self.show([Source(file=_path(value)) for value in (first, second) if value], *choice)

    def open_last(self, request: gr.Request, *choice: Any) -> tuple[Any, ...]:
        """Show the run that the server finished last for this visitor."""
        try:
            source = self._last(request) if self._last else None
        except ValueError as error:
            return _said(error)
        return self.show([source] if source else [], *choice)

    def show(self, sources: Sequence[Source], *choice: Any) -> tuple[Any, ...]:
        """Updates of the tab, for sources and the values of the choice; or what is wrong."""
        from lib_unet_viz.workspace import page

        try:
            bundle = self._bundle(sources, choice, page.room(FRAMED))
            text = page.text(bundle, most=FRAMED)
        except (ValueError, OSError) as error:
            return _said(error)
        return tuple(sources), shown(False), framed(text), shown(True), shown(False), gr.update(open=False)

    def write(self, sources: Sequence[Source], saved: str, kind: str, *choice: Any) -> tuple[Any, Any, Any]:
        """Write what is open as files and offer them; those before are gone."""
        folder = self.runs.folder / f"explore-{uuid.uuid4().hex}"
        try:
            made = KINDS[kind](self, sources, choice, folder)
        except (ValueError, OSError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            return gr.update(), shown(False), _problem(error)
        if saved:
            shutil.rmtree(saved, ignore_errors=True)
        return str(folder), gr.update(value=[str(path) for path in made], visible=True), shown(False)

    # What is open.

    def _views(self, sources: Sequence[Source], choice: Sequence[Any]) -> tuple[list[str], list[Trace]]:
        """Names, and the chosen rows. Raises ExploreError, GoneError, DumpError, MapLookupError."""
        if not sources:
            raise ExploreError("There is nothing to open: upload a dump, or make a picture first.")
        selection, _ = read(choice)
        pairs = [self._view(source, selection, name) for source, name in zip(sources, "AB", strict=False)]
        return [name for name, _ in pairs], [trace for _, trace in pairs]

    def _view(self, source: Source, selection: Selection, name: str) -> tuple[str, Trace]:
        if source.file:
            name, trace = _dumped(Path(source.file))
            return name, trace.view(selection)
        trace = self.runs.trace(source.run)
        image = source.image
        if source.batch:
            image = trace.images[0] if selection.image is None else selection.image
        if image is None:
            return name, trace.view(selection)
        view = trace.view(replace(selection, image=image))
        picture, label = self.runs.words(source.run)[image]
        return label, replace(view, picture=picture)

    def _bundle(self, sources: Sequence[Source], choice: Sequence[Any], most: int) -> Bundle:
        from lib_unet_viz.workspace.bundle import Bundle

        names, views = self._views(sources, choice)
        return Bundle.of(views, names=names, choice=read(choice)[1], most=most)

    def _chosen(self, sources: Sequence[Source], choice: Sequence[Any]) -> Iterator[tuple[str, Trace]]:
        """The runs with the maps that are chosen, under names for files."""
        from lib_unet_viz.drawing import naming

        for letter, name, view in zip("AB", *self._views(sources, choice), strict=False):
            yield f"{letter}-{naming.plain(name)}", read(choice)[1].trace(view)

    def _page(self, sources: Sequence[Source], choice: Sequence[Any], folder: Path) -> list[Path]:
        from lib_unet_viz.workspace import page
        from lib_unet_viz.writing import replacing

        text = page.text(self._bundle(sources, choice, page.room()), most=page.LARGEST)
        path = folder / "unet-viz.html"
        with replacing(path) as beside:
            beside.write_text(text, encoding="utf-8")
        return [path]

    def _files(
        self, sources: Sequence[Source], choice: Sequence[Any], folder: Path, *, ending: str
    ) -> list[Path]:
        """Arrays by their ending; of others a zip of sheets, or of their animations."""
        from lib_unet_viz.workspace import exports

        found = self._chosen(sources, choice)
        if ending in exports.KINDS:
            return [exports.save_arrays(trace, folder / f"{name}{ending}") for name, trace in found]
        return [exports.save_sheets(trace, folder / f"{name}.zip", ending) for name, trace in found]


# How what is open can be saved.
KINDS: Mapping[str, Callable[[Explore, Sequence[Source], Sequence[Any], Path], list[Path]]] = {
    "Page (HTML)": Explore._page,
    "Arrays (.npz)": partial(Explore._files, ending=".npz"),
    "Arrays (.safetensors)": partial(Explore._files, ending=".safetensors"),
    "Sheets (PNG)": partial(Explore._files, ending=".png"),
    "Animations (WebP)": partial(Explore._files, ending=".webp"),
    "Animations (GIF)": partial(Explore._files, ending=".gif"),
}


def framed(text: str) -> str:
    """A page within the page: what it may do is said by `sandbox`."""
    return (
        '<iframe class="uv-workspace" title="Workspace" sandbox="allow-scripts allow-downloads" '
        f'srcdoc="{escape(text)}"></iframe>'
    )


def read(choice: Sequence[Any]) -> tuple[Selection, Choice]:
    """What the components of the choice say. Raises ValueError."""
    from lib_unet_viz.trace import Selection
    from lib_unet_viz.workspace.contents import Choice

    image, half, pass_, blocks, steps = choice
    text = "" if image is None else str(image).strip()
    if text and not (text.isascii() and text.isdigit() and len(text) < 7):
        raise ExploreError(f"{text[:40]!r} is no image's number; allowed: 0, 1, 2, … of the batch, or blank")
    number = int(text) if text else None
    halves: Mapping[str, Any] = HALVES
    selection = Selection(number, halves.get(half), PASSES.get(pass_))
    return selection, Choice(blocks or "", steps or "")


def _dump(label: str, name: str) -> Any:
    return gr.File(label=label, file_types=[".safetensors"], height=140, elem_id=name)


def _path(value: Any) -> str:
    """Of an uploaded file: gradio up to 4 hands over an object with a name."""
    return str(getattr(value, "name", value))


def _dumped(path: Path) -> tuple[str, Trace]:
    """An uploaded dump, and its name. Raises DumpError, ExploreError."""
    from lib_unet_viz.capture.dump import DumpError, load_trace

    try:
        size = path.stat().st_size if path.is_file() else 0
        if size > MOST_DUMP:
            raise ExploreError(f"{path.name} has {size:,} bytes; allowed: {MOST_DUMP:,}")
        return path.stem, load_trace(path)
    except DumpError as error:
        raise ExploreError(str(error).replace(str(path), path.name)) from error


def _said(error: Exception) -> tuple[Any, ...]:
    """What is wrong; what was open stays."""
    return gr.update(), _problem(error), *[gr.update()] * 4


def _problem(error: Exception) -> Any:
    return gr.update(value=readout.problem(error), visible=True)
