"""The page's section on layer prompts: a run with and without them, and a word swept over the blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr
from PIL import Image

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import difference, sweep
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.settings import AttentionSettings, DifferenceSettings, Half, Settings
from lib_unet_viz.settings.entry import PAGE
from lib_unet_viz.trace import AttentionMaps, FeatureMaps, Trace, as_image
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.out_of_date import OutOfDate, named
from lib_unet_viz.ui.parts import SheetSection, heading, sheet, shown
from lib_unet_viz.ui.run_controls import RunOptions
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.working import Job, Updates, Worker

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib_unet_viz.app.facts import Facts
    from lib_unet_viz.drawing.render import Rendered
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

LABELS = ("without layers", "with layers")
TEXT = (
    "Give blocks texts of their own, as in a (~: IN00-OUT11: red ; OUT08-OUT11: blue :~) car, and see "
    "what they changed; or put one word into each block in turn."
)
COMPARE, SWEEP = "Compare with and without", "Sweep it over the blocks"  # the buttons
CANCELLED = "Cancelled. Pictures of a sweep are kept: the same sweep goes on there."


@dataclass(frozen=True)
class Comparison:
    """A prompt with layer prompts, to be compared with one without; as is the negative prompt."""

    prompt: str
    run: RunOptions
    settings: DifferenceSettings


@dataclass(frozen=True)
class WordSweep:
    """A word of a prompt that is put into one block after the other."""

    word: str
    prompt: str
    cases: sweep.Sweep
    run: RunOptions


class Compare:
    """Components and handlers of the section."""

    def __init__(self, model: Callable[[], Pipeline], facts: Facts, runs: Runs) -> None:
        self.model, self.facts, self.runs = model, facts, runs
        self.changes = SheetSection(runs, "Changes", maps=lambda trace: trace.features, draw=_sheets)

    def build(self) -> None:
        """Make the components, in reading order."""
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["uv-results"]):
                heading("Layer prompts", TEXT)
                with gr.Row():
                    self.compare = gr.Button(COMPARE, elem_id="compare")
                    self.word = gr.Textbox(
                        "", label="Word", placeholder="red", lines=1, max_lines=1, elem_id="sweep-word"
                    )
                    self.sweep = gr.Button(SWEEP, elem_id="sweep")
                    self.stop = gr.Button("Cancel", visible=False, elem_id="cancel-compare")
                self.status = gr.HTML(elem_id="compare-status")
                self.worker = Worker(self.runs, self.status, busy=self._busy, cancelled=CANCELLED)
                self.out_of_date = OutOfDate(COMPARE, "compare")
                self.pictures = sheet("Comparison", "comparison")
                self.chart = sheet("Chart", "chart")
                self.both = gr.State("")  # the id of both runs, to be explored
                self.explore = gr.Button("Explore both runs", visible=False, elem_id="explore-both")
                self.dump = gr.File(label="Differences (.safetensors)", interactive=False, visible=False)
                self.changes.build("What changed in each block: with layer prompts (b) less without (a).")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Changes: blocks, steps, colours", open=False),
            ):
                present = [
                    name for name in DifferenceSettings().blocks.split(",") if name in self.facts.blocks
                ]
                defaults = replace(DifferenceSettings(), blocks=",".join(present), enabled=True)
                fields = ui.controls(Settings(difference=defaults), "difference", PAGE)
        self.panel = ui.Panel(fields)

    def connect(self, inputs: Sequence[Any]) -> None:
        """inputs: the components of the prompt, negative prompt, steps, seed, cfg, width and height."""
        redraw = [*self.panel.under("difference.color"), self.panel.fields["difference.average"]]
        self.changes.connect(self.panel, self.worker.run, redraw)
        outputs = [*self.worker.outputs, *self.out_of_date.outputs]
        outputs += [self.pictures, self.chart, self.dump, self.compare, self.sweep, self.both, self.explore]
        outputs += [self.stop, self.changes.body, self.changes.note, self.changes.step]
        shaping = [component for component in self.panel.components if component not in redraw]
        self.out_of_date.connect({**named([*inputs, self.word]), **named(shaping, "Changes: ")})
        self.compared, self.swept = [*inputs, *self.panel.components], [self.word, *inputs]
        calm: dict[str, Any] = {"show_progress": "hidden"}
        owner, marked = self.worker.inputs, self.out_of_date.marked_after
        event = marked(self.compare.click(self.run_both, [*owner, *self.compared], outputs, **calm))
        event.then(self.changes.show, self.changes.inputs, self.changes.outputs)
        for start in (self.sweep.click, self.word.submit):
            marked(start(self.run_sweep, [*owner, *self.swept], outputs, **calm))
        self.stop.click(self.worker.cancel, [self.worker.running], [self.stop], queue=False)

    # Handlers.

    def run_both(self, owner: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: progress, then both pictures, their difference and the changes."""
        made = self.out_of_date.made(self.compared, values, again=COMPARE)
        yield from self.worker(owner, lambda: self._comparison(*values), self._compare, made)

    def run_sweep(self, owner: str, word: str, prompt: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: progress, then the sheet and the chart."""

        def asked() -> WordSweep:
            cases = sweep.Sweep.of(prompt, word, self.model().unet)
            return WordSweep(word, prompt, cases, RunOptions.of(*values))

        made = self.out_of_date.made(self.swept, [word, prompt, *values], again=SWEEP)
        yield from self.worker(owner, asked, self._sweep, made)

    def _comparison(self, prompt: str, negative: str, *values: Any) -> Comparison:
        settings = replace(self.panel.settings(values[5:]).difference, enabled=True)
        if all(LayerPrompt.parse(text).plain for text in (prompt, negative)):
            raise ValueError(
                "There are no layer prompts to compare: write (~: M00: a word :~) into the prompt."
            )
        return Comparison(prompt, RunOptions.of(negative, *values[:5]), settings)

    def _compare(self, job: Job, asked: Comparison) -> Updates:
        layout, settings = self.model().unet.layout, asked.settings
        given = (asked.prompt, asked.run.negative)
        plain = [difference.baseline(text, layout, settings.baseline) for text in given]
        recorded = Settings(features=settings, attention=AttentionSettings(enabled=False))
        without, with_layers = (
            self.model().generate(
                text,
                settings=recorded,
                progress=_stage(job, number, LABELS[number]),
                cancelled=job.cancelled,
                **{**asked.run.arguments, "negative": unwanted},
            )
            for number, (text, unwanted) in enumerate((plain, given))
        )
        return self._compared(job, without, with_layers, asked)

    def _compared(self, job: Job, without: Trace, given: Trace, asked: Comparison) -> Updates:
        runs = [replace(trace, attention=AttentionMaps()) for trace in (without, given)]
        changed = difference.difference(*runs)
        job.keep(changed)
        pictures = [trace.picture for trace in (without, given) if trace.picture is not None]
        both = job.keep_beside(_as_batch(without, given), list(zip(pictures, LABELS, strict=True)))
        file = str(save_trace(changed, job.folder / "difference")) if asked.settings.dump else None
        done = readout.note(f"Done. Seed {given.meta.seed}")
        return {
            self.status: done + readout.of_run(asked.prompt, asked.run.steps, asked.run.cfg),
            self.pictures: gr.update(
                value=difference.comparison(without, given, labels=LABELS), label="Comparison", visible=True
            ),
            self.chart: shown(False),
            self.both: both,
            self.explore: shown(True),
            self.dump: gr.update(value=file, visible=file is not None),
            **self.changes.filled(changed),
        }

    def _sweep(self, job: Job, asked: WordSweep) -> Updates:
        run = asked.run.arguments

        def drawn(case: sweep.Case) -> Image.Image:
            return self.model().picture(case.prompt, cancelled=job.cancelled, **run)

        def report(done: int, total: int, case: sweep.Case) -> None:
            job.report(f"{case.name}: picture {done + 1} of {total}", done / total)

        folder = self._folder({"prompt": asked.prompt, "word": asked.word, **run})
        found = sweep.run(asked.cases, drawn, folder=folder, made_with=run, progress=report)
        done = readout.note(f"Done. Seed {asked.run.seed}. Distances: {difference.DISTANCE}")
        shows = readout.of_run(asked.prompt, asked.run.steps, asked.run.cfg)
        return {
            self.status: done + readout.note(f"“{asked.word.strip()}” in each block") + shows,
            self.pictures: gr.update(value=found.sheet(), label="Sweep", visible=True),
            self.chart: gr.update(value=found.chart(), visible=True),
            self.explore: shown(False),
            self.dump: shown(False),
            **self.changes.emptied(),
        }

    def _folder(self, head: dict[str, Any]) -> Path:
        """Where a sweep's pictures are kept, so that the same one goes on where it stopped."""
        text = json.dumps([self.facts.name, head], sort_keys=True)
        return self.runs.folder / f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _busy(self, running: bool) -> Updates:
        return {
            self.compare: gr.update(interactive=not running),
            self.sweep: gr.update(interactive=not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
        }


def _as_batch(*runs: Trace) -> Trace:
    """Runs as the images of one."""
    return Trace(
        FeatureMaps(as_image(item, at) for at, trace in enumerate(runs) for item in trace.features),
        AttentionMaps(as_image(item, at) for at, trace in enumerate(runs) for item in trace.attention),
        replace(runs[0].meta, images=[dict(trace.meta) for trace in runs]),
        list(dict.fromkeys(note for trace in runs for note in trace.notes)),
    )


def _stage(job: Job, number: int, label: str) -> Callable[[int, int, Image.Image], None]:
    """Progress of the first or the second of two runs."""

    def step(done: int, total: int, _: Image.Image) -> None:
        job.report(f"{label}: step {done} of {total}", (number + done / total) / 2)

    return step


def _sheets(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    """Of all that was recorded at a step, in the panel's colours."""
    chosen = replace(settings.difference, enabled=True, blocks="", steps=str(step), halves=get_args(Half))
    return difference.feature_sheets(trace, chosen)
