"""Tabs on editing: targets of a source prompt that are made with the source's attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from lib_unet_viz.sampling.inversion import INVERSIONS
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.settings.entry import PAGE
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.mask_input import MaskInput, mask_of
from lib_unet_viz.ui.out_of_date import OutOfDate, named
from lib_unet_viz.ui.parts import gallery, heading, picture, sheet, shown
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.working import Job, Updates, Worker

if TYPE_CHECKING:
    from lib_unet_viz.drawing.edit_sheets import Case
    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.editing.hooks import Plan
    from lib_unet_viz.editing.plan import Request

EXAMPLES = (
    ("a squirrel with a burger", "squirrel -> lion"),
    ("a panda with a red balloon", "red -> blue"),
    ("a cat", "+ wearing sunglasses"),
    ("a big red circle and a small blue square", "red -> green\n---\ncircle -> star"),
)
EMPTY = """
<div class="uv-empty"><p>Write a prompt and what to change in it, and press Edit. Here will be</p><ul>
<li>the source and each target, with what differs between them,</li>
<li>the mask of each step: where the picture may change, elsewhere it stays the source's,</li>
<li>after a sweep, the target with the source's attention in none to all of the steps and blocks.</li>
</ul></div>
"""
FIRST = "Write a prompt, and below it what to change: both prompts stand here side by side then."
LATER = "Both prompts stand here side by side once a model is loaded."
INVERSION = "How the way back to noise is found; the source prompt says what the picture shows."
CANCELLED = "Cancelled; nothing was kept of this run."
EDIT, SWEEP = "Edit", "Sweep 0 … 100 %"  # the buttons


@dataclass(frozen=True)
class EditAsked:
    """What a click asks for; run: the other arguments of `draw`, by name."""

    prompt: str
    settings: EditSettings
    run: Mapping[str, Any]


class EditTab(ABC):
    """Components and handlers of a tab on editing.

    model: gives the model that is loaded at this moment, or raises ValueError saying why there is none. draw:
    makes an edit with it, as `diffusers_edit.edit`. alone: held while the model works; `runs.lock` unless
    given.
    """

    examples: Sequence[tuple[str, str]] = ()
    label, wanted, empty = "Source prompt", "what to draw", EMPTY

    def __init__(
        self,
        model: Callable[[], Any],
        runs: Runs,
        *,
        draw: Callable[..., Edited],
        alone: Callable[[], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self.model, self.runs, self._draw = model, runs, draw
        self._alone = None if alone is None else lambda _: alone()

    # What tabs differ in.

    uploaded: Any  # where a picture of one's own is given

    @abstractmethod
    def _build_first(self) -> None:
        """Make what stands before the prompt."""

    @abstractmethod
    def _build_run_settings(self) -> list[Any]:
        """Make what an edit needs besides prompt, edits and mask: the components whose values `_run_of` gets,
        and `uploaded`, where `_build_first` did not.
        """

    @abstractmethod
    def _run_of(self, *values: Any) -> dict[str, Any]:
        """Arguments of `draw` by name. Raises ValueError."""

    @abstractmethod
    def _planned(self, prompt: str, settings: EditSettings) -> tuple[Request, Plan]:
        """What an edit will do. Raises ValueError."""

    def _record(self, run: Mapping[str, Any]) -> Settings | None:
        """What to record of an edit with these arguments, so that its runs can be explored."""
        return None

    # All the rest.

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self.source = gr.State(None)  # of the last edit, to paint a mask on
        with gr.Row(elem_classes=["uv-prompt"], **ui.known(gr.Row, equal_height=True)):
            self._build_first()
            with gr.Column(scale=6, min_width=300):
                self.prompt = gr.Textbox(
                    "",
                    label=self.label,
                    placeholder=EXAMPLES[0][0],
                    lines=1,
                    max_lines=4,
                    elem_id="edit-prompt",
                )
                first = ui.controls(Settings(), "edit", PAGE, upto="edits")
                self.edits = first["edit.edits"]
                self.edits.elem_id = "edits"
            with gr.Column(scale=1, min_width=210, elem_classes=["uv-buttons"]):
                self.go = gr.Button(EDIT, variant="primary", elem_id="edit")
                self.sweep = gr.Button(SWEEP, elem_id="edit-sweep")
                self.stop = gr.Button("Cancel", visible=False, elem_id="cancel-edit")
        self.alignment = gr.HTML(readout.note(FIRST), elem_id="alignment")
        if self.examples:
            pairs = [list(pair) for pair in self.examples]
            gr.Examples(pairs, [self.prompt, self.edits], label="For example")
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["uv-results"]):
                self._build_results()
            with gr.Column(scale=3, min_width=320):
                self._build_settings()
        self._connect()

    def _build_results(self) -> None:
        self.status = gr.HTML(self.empty, elem_id="edit-status")
        self.worker = Worker(self.runs, self.status, busy=self._busy, cancelled=CANCELLED, alone=self._alone)
        self.preview = picture("Preview", "edit-preview", visible=False)
        self.out_of_date = OutOfDate(EDIT, "edit")
        self.comparison = sheet("Comparison", "edit-comparison")
        with gr.Column(visible=False) as self.pictures_section:
            heading("Pictures", "The source, then each target. Click one to see it large and to keep it.")
            self.pictures = gallery("Pictures", "edit-pictures")
            self.explore = gr.Button("Explore source and target", visible=False, elem_id="explore-edit")
        with gr.Column(visible=False) as self.masks_section:
            heading(
                "Local blend", "Bright: what may change at each step. Elsewhere the picture is the source's."
            )
            self.masks = gallery("Masks", "edit-masks")
        self.swept = sheet("Sweep", "edit-swept")

    def _build_settings(self) -> None:
        fields = {"edit.edits": self.edits}
        with gr.Accordion("When and where attention is the source's", open=False):
            fields |= ui.controls(Settings(), "edit", PAGE, made=fields, upto="blocks")
        with gr.Accordion("Local blend", open=False):
            fields |= ui.controls(Settings(), "edit", PAGE, made=fields)
        with gr.Accordion("Mask", open=False):
            self.mask = MaskInput("edit-mask")
        self.run_settings = self._build_run_settings()
        self.panel = ui.Panel(fields)

    def _connect(self) -> None:
        asked = [self.prompt, *self.panel.components]
        for component in asked:
            ui.on_edit(component, self.show_alignment, asked, [self.alignment])
        outputs = [*self.worker.outputs, *self.out_of_date.outputs, self.preview, self.comparison, self.swept]
        outputs += [self.pictures_section, self.pictures, self.masks_section, self.masks]
        outputs += [self.go, self.sweep, self.stop, self.source, self.explore]
        self.out_of_date.connect(self._watched())
        self.asked = [self.prompt, *self.run_settings, *self.panel.components, self.mask.component]
        inputs = [*self.worker.inputs, *self.out_of_date.counts, *self.asked]
        for button, handler in ((self.go, self.run_edit), (self.sweep, self.run_sweep)):
            self.out_of_date.marked_after(button.click(handler, inputs, outputs, show_progress="hidden"))
        self.stop.click(self.worker.cancel, [self.worker.running], [self.stop], queue=False)
        self.mask.connect(self.uploaded, self.source)

    def _watched(self) -> dict[str, Any]:
        """The controls that decide what a result is, by name."""
        counted = self.out_of_date.counted
        counts = {"Picture": counted(self.uploaded.change), "Mask": counted(*self.mask.changed)}
        settings = [part for part in self.run_settings if part is not self.uploaded]
        return {**named([self.prompt]), **counts, **named([*settings, *self.panel.components])}

    # Handlers.

    def show_alignment(self, prompt: str, *values: Any) -> str:
        """Both prompts token by token, or what is wrong with the edits."""
        try:
            settings = self.panel.settings(values).edit
            if not prompt.strip() or not settings.edits.strip():
                return readout.note(FIRST)
            if not self._loaded():
                return readout.note(LATER)
            return readout.edit(*self._planned(prompt, settings), self.model().unet)
        except ValueError as error:
            return readout.problem(error)

    def _loaded(self) -> bool:
        try:
            self.model()
        except ValueError:  # the button says so
            return False
        return True

    def run_edit(self, owner: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: previews of the first target, then the pictures.

        values: how often each picture was changed, then of `asked`.
        """
        yield from self._run(owner, values, self._edit, EDIT)

    def run_sweep(self, owner: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: progress, then the sheet of the sweep; values as of `run_edit`."""
        yield from self._run(owner, values, self._sweep, SWEEP)

    def _run(
        self, owner: str, values: Sequence[Any], work: Callable[[Job, EditAsked], Updates], button: str
    ) -> Generator[Updates, None, None]:
        counts = self.out_of_date.counts
        made = self.out_of_date.made([*counts, *self.asked], values, again=button)
        asked = values[len(counts) :]
        yield from self.worker(owner, lambda: self._asked(*asked), work, made)

    def _asked(self, prompt: str, *values: Any) -> EditAsked:
        """What the components say. Raises ValueError."""
        if not prompt.strip():
            raise ValueError(
                f"The source prompt is empty. Write {self.wanted}, for example: {EXAMPLES[0][0]}"
            )
        count = len(self.run_settings)
        settings = replace(self.panel.settings(values[count:-1]).edit, enabled=True)
        run = {**self._run_of(*values[:count]), "mask": mask_of(values[-1])}
        return EditAsked(prompt, settings, run)

    def _edit(self, job: Job, asked: EditAsked) -> Updates:
        def step(done: int, total: int, preview: Image.Image | None) -> None:
            seen = {} if preview is None else {self.preview: _visible(preview)}
            job.report(f"Step {done} of {total}", done / total, seen)

        more = {} if (record := self._record(asked.run)) is None else {"record": record}
        edited = self._edited(job, asked.prompt, asked.run, asked.settings, progress=step, **more)
        found = self._results(edited, asked)
        if edited.trace is not None and edited.trace.images:
            job.keep(edited.trace, found[self.pictures])
        return {**found, self.swept: shown(False), self.explore: shown(job.trace is not None)}

    def _sweep(self, job: Job, asked: EditAsked) -> Updates:
        from lib_unet_viz.drawing import edit_sheets

        def report(done: int, total: int, case: Case) -> None:
            job.report(f"{case.percent} % of the {case.along}: {done + 1} of {total}", done / total)

        self._planned(asked.prompt, asked.settings)
        own, run = "picture" in asked.run, dict(asked.run)
        if own:
            run["inverted"] = {}  # once for all cases
        cases = edit_sheets.cases(asked.settings, self.model().unet)
        _, drawn = edit_sheets.sweep(cases, partial(self._edited, job, asked.prompt, run), report)
        done = readout.note("Done" if own else f"Done. Seed {run['seed']}")
        return {**self._emptied(), self.status: done + _shows(asked), self.swept: _visible(drawn)}

    def _edited(
        self, job: Job, prompt: str, run: Mapping[str, Any], settings: EditSettings, **more: Any
    ) -> Edited:
        return self._draw(self.model(), prompt, settings, cancelled=job.cancelled, **run, **more)

    def _results(self, edited: Edited, asked: EditAsked) -> Updates:
        from lib_unet_viz.drawing import difference, edit_sheets
        from lib_unet_viz.drawing.norm import number
        from lib_unet_viz.editing import explanation

        names = [
            "source",
            *(f"target {at}: {one.summary}" for at, one in enumerate(edited.request.targets, 1)),
        ]
        masks = [edit_sheets.mask_sheet(edited, at) for at in range(1, len(edited.pictures))]
        drawn = [(mask, name) for mask, name in zip(masks, names[1:], strict=True) if mask is not None]
        changed = [number(edit_sheets.changed(edited, at)) for at in range(1, len(edited.pictures))]
        several = [f"{change} (target {at})" for at, change in enumerate(changed, 1)]
        changes = ", ".join(several if len(changed) > 1 else changed)
        errors = ", ".join(f"{name} {number(error)}" for name, error in edited.errors.items())
        made = f"Reconstruction: {errors}" if errors else f"Seed {asked.run['seed']}"
        done = readout.note(f"Done. {made}. Changed by {changes}: {difference.DISTANCE}")
        summary = list(edited.notes)
        if edited.request.mask is not None:
            summary += [
                f"{name}: {explanation.blended(edited.plan, at)}" for at, name in enumerate(names[1:], 1)
            ]
        return {
            self.status: done + _shows(asked) + "".join(map(readout.note, summary)),
            self.comparison: _visible(edit_sheets.comparison(edited)),
            self.pictures_section: shown(True),
            self.source: edited.pictures[0],
            self.pictures: list(zip(edited.pictures, names, strict=True)),
            self.masks_section: shown(bool(drawn)),
            self.masks: drawn,
        }

    def _emptied(self) -> Updates:
        hidden = (self.comparison, self.pictures_section, self.masks_section, self.swept)
        return {component: shown(False) for component in hidden}

    def _busy(self, running: bool) -> Updates:
        return {
            self.go: gr.update(interactive=not running),
            self.sweep: gr.update(interactive=not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
            **({} if running else {self.preview: shown(False)}),
        }


def inversions() -> Any:
    """The choice of how a picture of one's own is inverted."""
    return gr.Radio(list(INVERSIONS), value=INVERSIONS[0], label="Inversion", info=INVERSION)


def _shows(asked: EditAsked) -> str:
    run = asked.run
    return readout.of_run(asked.prompt, run["steps"], run["cfg"])


def _visible(value: Image.Image) -> Any:
    return gr.update(value=value, visible=True)
