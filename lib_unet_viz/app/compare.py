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

from lib_unet_viz import difference, readout, sweep, ui
from lib_unet_viz.app.parts import SheetSection, chosen_seed, heading, shown
from lib_unet_viz.app.runs import Runs, reports
from lib_unet_viz.dump import save_trace
from lib_unet_viz.hosts.pipeline import Cancelled
from lib_unet_viz.layer_prompt import LayerPrompt
from lib_unet_viz.settings import AttentionSettings, DifferenceSettings, Half, Settings
from lib_unet_viz.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib_unet_viz.hosts.pipeline import Pipeline
    from lib_unet_viz.render import Rendered

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
                self.pictures = _sheet("Comparison", "comparison")
                self.chart = _sheet("Chart", "chart")
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

    def run_both(self, prompt: str, negative: str, *values: Any) -> Generator[dict[Any, Any], None, None]:
        """Yield updates by component: progress, then both pictures, their difference and the changes."""

        def work(name: str, report: Callable[[tuple[str, float]], None]) -> dict[Any, Any]:
            settings = replace(self.panel.settings(values[5:]).difference, enabled=True)
            if all(LayerPrompt.parse(text).plain for text in (prompt, negative)):
                raise ValueError(
                    "There are no layer prompts to compare: write (~: M00: a word :~) into the prompt."
                )
            layout, options = self.pipeline.unet.layout, _options(*values[:5])
            plain = [difference.baseline(text, layout, settings.baseline) for text in (prompt, negative)]
            traces = [
                self._traced(name, text, unwanted, settings, options, _stage(report, number, LABELS[number]))
                for number, (text, unwanted) in enumerate((plain, (prompt, negative)))
            ]
            return self._compared(name, traces[0], traces[1], settings)

        yield from self._running(work)

    def run_sweep(
        self, word: str, prompt: str, negative: str, *values: Any
    ) -> Generator[dict[Any, Any], None, None]:
        """Yield updates by component: progress, then the sheet and the chart."""

        def work(name: str, report: Callable[[tuple[str, float]], None]) -> dict[Any, Any]:
            chosen = sweep.Sweep.of(prompt, word, self.pipeline.unet)
            options = {"negative": negative, **_options(*values)}

            def drawn(case: sweep.Case) -> Image.Image:
                return self.pipeline.picture(
                    case.prompt, cancelled=lambda: self.runs.cancelled(name), **options
                )

            def told(done: int, total: int, case: sweep.Case) -> None:
                report((f"{case.name}: picture {done + 1} of {total}", done / total))

            folder = self._folder({"prompt": prompt, "word": word, **options})
            found = sweep.run(chosen, drawn, folder=folder, made_with=options, progress=told)
            return {
                self.status: readout.note(f"Done. Seed {options['seed']}. Distances: {difference.DISTANCE}"),
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

    def _running(self, work: Callable[[str, Any], dict[Any, Any]]) -> Generator[dict[Any, Any], None, None]:
        """Yield the work's progress, then its updates or what was wrong."""
        name = self.runs.start()
        yield {self.run: name, self.status: readout.progress("Starting …", 0), **self._busy(True)}

        def locked(report: Any) -> dict[Any, Any]:
            with self.runs.lock:
                return work(name, report)

        try:
            running = reports(locked)
            while True:
                try:
                    text, done = next(running)
                except StopIteration as end:
                    yield {**end.value, **self._busy(False)}
                    return
                yield {self.status: readout.progress(text, done)}
        except Cancelled:
            yield {self.status: readout.note(CANCELLED), **self._busy(False)}
        except (ValueError, RuntimeError) as error:
            yield {self.status: readout.problem(error), **self._busy(False)}
        except Exception as error:
            yield {self.status: readout.problem(error), **self._busy(False)}
            raise  # what nobody foresaw goes to the server's log
        finally:
            self.runs.cancel(name)  # a visitor who leaves the page stops the work

    def _traced(
        self,
        name: str,
        prompt: str,
        negative: str,
        settings: DifferenceSettings,
        options: dict[str, Any],
        progress: Callable[[int, int, Image.Image], None],
    ) -> Trace:
        recorded = Settings(features=settings, attention=AttentionSettings(enabled=False), heatmaps=False)
        return self.pipeline.generate(
            prompt,
            negative=negative,
            settings=recorded,
            progress=progress,
            cancelled=lambda: self.runs.cancelled(name),
            **options,
        )

    def _compared(
        self, name: str, without: Trace, given: Trace, settings: DifferenceSettings
    ) -> dict[Any, Any]:
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

    def _busy(self, running: bool) -> dict[Any, Any]:
        return {
            self.compare: gr.update(interactive=not running),
            self.sweep: gr.update(interactive=not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
        }


def _options(steps: float, seed: float | None, cfg: float, width: float, height: float) -> dict[str, Any]:
    """What the page's components say of a run."""
    size = (int(height), int(width))
    return {"steps": int(steps), "seed": chosen_seed(seed), "cfg": float(cfg), "size": size}


def _stage(
    report: Callable[[tuple[str, float]], None], number: int, label: str
) -> Callable[[int, int, Image.Image], None]:
    """Progress of the first or the second of two runs."""

    def step(done: int, total: int, _: Image.Image) -> None:
        report((f"{label}: step {done} of {total}", (number + done / total) / 2))

    return step


def _sheets(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    """Of all that was recorded at a step, in the panel's colours."""
    chosen = replace(settings.difference, enabled=True, blocks="", steps=str(step), halves=get_args(Half))
    return difference.feature_sheets(trace, chosen)


def _sheet(label: str, name: str) -> Any:
    options = ui.known(gr.Image, format="png", buttons=["download", "fullscreen"])
    return gr.Image(
        label=label,
        show_label=False,  # it would stand on the sheet's title
        interactive=False,
        visible=False,
        elem_id=name,
        elem_classes=["uv-sheet"],
        **options,
    )
