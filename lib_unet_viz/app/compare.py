"""The page's section on layer prompts: a run with and without them, and a word swept over the blocks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr
from PIL import Image

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import difference, sweep
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.settings import AttentionSettings, DifferenceSettings, Half, Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import SheetSection, heading, sheet, shown
from lib_unet_viz.ui.run_controls import options
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.working import Report, Updates, working

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib_unet_viz.drawing.render import Rendered
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

LABELS = ("without layers", "with layers")
TEXT = (
    "Give blocks texts of their own, as in a (~: IN00-OUT11: red ; OUT09-OUT11: blue :~) circle, and see "
    "what they changed; or put one word into each block in turn."
)
CANCELLED = "Cancelled. Pictures of a sweep are kept: the same sweep goes on there."


class Compare:
    """Components and handlers of the section."""

    def __init__(self, pipeline: Pipeline, runs: Runs) -> None:
        self.pipeline, self.runs = pipeline, runs
        self.changes = SheetSection(runs, "Changes", maps=lambda trace: trace.features, draw=_sheets)

    def build(self) -> None:
        """Make the components, in reading order."""
        self.run = gr.State("")
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                heading("Layer prompts", TEXT)
                with gr.Row():
                    self.compare = gr.Button("Compare with and without", elem_id="compare")
                    self.word = gr.Textbox(
                        "", label="Word", placeholder="red", lines=1, max_lines=1, elem_id="sweep-word"
                    )
                    self.sweep = gr.Button("Sweep it over the blocks", elem_id="sweep")
                    self.stop = gr.Button("Cancel", visible=False, elem_id="cancel-compare")
                self.status = gr.HTML(elem_id="compare-status")
                self.pictures = sheet("Comparison", "comparison")
                self.chart = sheet("Chart", "chart")
                self.dump = gr.File(label="Differences (.safetensors)", interactive=False, visible=False)
                self.changes.build("What changed in each block: with layer prompts less without.")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Changes: blocks, steps, colours", open=False),
            ):
                present = [
                    name
                    for name in DifferenceSettings().blocks.split(",")
                    if name in self.pipeline.unet.blocks
                ]
                defaults = replace(DifferenceSettings(), blocks=",".join(present), enabled=True)
                fields = ui.difference_controls(defaults, switch=False)
        self.panel = ui.Panel(fields, None, None)

    def connect(self, inputs: Sequence[Any]) -> None:
        """inputs: the components of the prompt, negative prompt, steps, seed, cfg, width and height."""
        redraw = [*self.panel.under("difference.color"), self.panel.fields["difference.average"]]
        self.changes.connect(self.panel, self.run, redraw)
        outputs = [self.run, self.status, self.pictures, self.chart, self.dump, self.compare, self.sweep]
        outputs += [self.stop, self.changes.body, self.changes.note, self.changes.step]
        calm: dict[str, Any] = {"show_progress": "hidden"}
        event = self.compare.click(self.run_both, [*inputs, *self.panel.components], outputs, **calm)
        event.then(self.changes.show, self.changes.inputs, self.changes.outputs)
        for start in (self.sweep.click, self.word.submit):
            start(self.run_sweep, [self.word, *inputs], outputs, **calm)
        self.stop.click(self.cancel, [self.run], [self.stop], queue=False)

    # Handlers.

    def run_both(self, prompt: str, negative: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: progress, then both pictures, their difference and the changes."""

        def work(name: str, report: Report) -> Updates:
            settings = replace(self.panel.settings(values[5:]).difference, enabled=True)
            if all(LayerPrompt.parse(text).plain for text in (prompt, negative)):
                raise ValueError(
                    "There are no layer prompts to compare: write (~: M00: a word :~) into the prompt."
                )
            layout, run = self.pipeline.unet.layout, options(negative, *values[:5])
            plain = [difference.baseline(text, layout, settings.baseline) for text in (prompt, negative)]
            traces = [
                self._traced(
                    name,
                    text,
                    settings,
                    {**run, "negative": unwanted},
                    _stage(report, number, LABELS[number]),
                )
                for number, (text, unwanted) in enumerate((plain, (prompt, negative)))
            ]
            return self._compared(name, traces[0], traces[1], settings)

        yield from self._running(work)

    def run_sweep(
        self, word: str, prompt: str, negative: str, *values: Any
    ) -> Generator[Updates, None, None]:
        """Yield updates by component: progress, then the sheet and the chart."""

        def work(name: str, report: Report) -> Updates:
            chosen = sweep.Sweep.of(prompt, word, self.pipeline.unet)
            run = options(negative, *values)

            def drawn(case: sweep.Case) -> Image.Image:
                return self.pipeline.picture(case.prompt, cancelled=lambda: self.runs.cancelled(name), **run)

            def told(done: int, total: int, case: sweep.Case) -> None:
                report(f"{case.name}: picture {done + 1} of {total}", done / total)

            folder = self._folder({"prompt": prompt, "word": word, **run})
            found = sweep.run(chosen, drawn, folder=folder, made_with=run, progress=told)
            return {
                self.status: readout.note(f"Done. Seed {run['seed']}. Distances: {difference.DISTANCE}"),
                self.pictures: gr.update(value=found.sheet(), label="Sweep", visible=True),
                self.chart: gr.update(value=found.chart(), visible=True),
                self.dump: shown(False),
                **self.changes.emptied(),
            }

        yield from self._running(work)

    def cancel(self, name: str) -> Any:
        """Stop the work after its present step."""
        self.runs.cancel(name)
        return gr.update(value="Cancelling …", interactive=False)

    def _running(self, work: Callable[[str, Report], Updates]) -> Generator[Updates, None, None]:
        return working(
            self.runs, work, run=self.run, status=self.status, busy=self._busy, cancelled=CANCELLED
        )

    def _traced(
        self,
        name: str,
        prompt: str,
        settings: DifferenceSettings,
        run: dict[str, Any],
        progress: Callable[[int, int, Image.Image], None],
    ) -> Trace:
        recorded = Settings(features=settings, attention=AttentionSettings(enabled=False), heatmaps=False)
        return self.pipeline.generate(
            prompt,
            settings=recorded,
            progress=progress,
            cancelled=lambda: self.runs.cancelled(name),
            **run,
        )

    def _compared(self, name: str, without: Trace, given: Trace, settings: DifferenceSettings) -> Updates:
        changed = difference.difference(without, given)
        run, file = self.runs.of(name), None
        if run is not None:
            run.trace = changed
        if settings.dump:
            file = str(save_trace(changed, self.runs.folder / name / "difference"))
        return {
            self.status: readout.note(f"Done. Seed {given.meta.get('seed')}"),
            self.pictures: gr.update(
                value=difference.comparison(without, given, labels=LABELS), label="Comparison", visible=True
            ),
            self.chart: shown(False),
            self.dump: gr.update(value=file, visible=file is not None),
            **self.changes.filled(changed),
        }

    def _folder(self, head: dict[str, Any]) -> Path:
        """Where a sweep's pictures are kept, so that the same one goes on where it stopped."""
        text = json.dumps([self.pipeline.name, head], sort_keys=True)
        return self.runs.folder / f"sweep-{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _busy(self, running: bool) -> Updates:
        return {
            self.compare: gr.update(interactive=not running),
            self.sweep: gr.update(interactive=not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
        }


def _stage(report: Report, number: int, label: str) -> Callable[[int, int, Image.Image], None]:
    """Progress of the first or the second of two runs."""

    def step(done: int, total: int, _: Image.Image) -> None:
        report(f"{label}: step {done} of {total}", (number + done / total) / 2)

    return step


def _sheets(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    """Of all that was recorded at a step, in the panel's colours."""
    chosen = replace(settings.difference, enabled=True, blocks="", steps=str(step), halves=get_args(Half))
    return difference.feature_sheets(trace, chosen)
