"""The page's first tab: a prompt becomes a picture, a map of each word, and sheets of what blocks held."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from lib_unet_viz.app.compare import Compare
from lib_unet_viz.app.dump import DumpSection
from lib_unet_viz.app.recorded import attention_section, feature_section
from lib_unet_viz.app.words import WordSection
from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.entry import PAGE
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.attention_from import AttentionFrom
from lib_unet_viz.ui.out_of_date import OutOfDate, named
from lib_unet_viz.ui.parts import picture, recording_controls, shown
from lib_unet_viz.ui.run_controls import RunControls, RunOptions
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.working import Job, Updates, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.app.facts import Facts
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
    from lib_unet_viz.trace import Trace

EXAMPLES = (
    "a rabbit wearing sunglasses on the beach",
    "a squirrel with a burger",
    "a red car left of a tree",
    "a (~: IN00-OUT11: red ; OUT08-OUT11: blue :~) car",
)
EMPTY = """
<div class="uv-empty"><p>Write a prompt and press Enter. Here will be</p><ul>
<li>the picture, growing step by step,</li>
<li>one heat map for each word: the part of the picture that it drove,</li>
<li>and below, sheets of what the U-Net's blocks and attention held at each step.</li></ul></div>
"""
FEATURES = ("enabled", "blocks", "steps", "halves")  # the settings of what is recorded
ATTENTION = (*FEATURES, "parts", "kinds")
CANCELLED = "Cancelled; nothing was kept of this run."


@dataclass(frozen=True)
class Generation:
    """A picture that is asked for, and what is to be recorded."""

    prompt: str
    run: RunOptions
    settings: Settings


class Txt2Img:
    """Components and handlers of the tab. Handlers are generators or functions of plain values.

    model: gives the model, and waits for it where it is being loaded; facts: of it.
    """

    def __init__(self, model: Callable[[], Pipeline], facts: Facts, runs: Runs) -> None:
        self.model, self.facts, self.runs = model, facts, runs
        self.features, self.attention = feature_section(runs), attention_section(runs)
        self.attention_from, self.words, self.dump = (
            AttentionFrom(runs, "picture"),
            WordSection(runs),
            DumpSection(runs),
        )
        self.compare = Compare(model, facts, runs)

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self._build_prompt()
        defaults = self.facts.recorded
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420, elem_classes=["uv-results"]):
                self._build_results()
            with gr.Column(scale=3, min_width=320):
                self._build_settings()
                with gr.Accordion("Memory", open=False):
                    word_readout = gr.HTML(elem_classes=["uv-readout"])
                    memory = ui.controls(defaults, "", PAGE)
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                self.features.build("What each U-Net block put out: one sheet a block, one cell a channel.")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Features: blocks, steps, colours", open=False),
            ):
                features, feature_readout = recording_controls(defaults, "features", PAGE)
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                self.attention.build("One row a head, one column a token. Scroll sideways to see all tokens.")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Attention: blocks, steps, colours", open=False),
            ):
                attention, attention_readout = recording_controls(defaults, "attention", PAGE)
        self.dump.build()
        self.compare.build()
        fields = {**features, **attention, **memory}
        self.panel = ui.Panel(fields, feature_readout, attention_readout, word_readout)
        self._connect()

    def load(self, blocks: gr.Blocks) -> None:
        """Fill the read-outs when the page opens."""
        run = self.controls
        inputs = [run.steps, run.width, run.height, *self.panel.components]
        blocks.load(self._readout, inputs, self.panel.readouts)

    def _build_prompt(self) -> None:
        with gr.Row(elem_classes=["uv-prompt"], **ui.known(gr.Row, equal_height=True)):
            with gr.Column(scale=6, min_width=300):
                self.prompt = gr.Textbox(
                    "", label="Prompt", placeholder=EXAMPLES[0], lines=1, max_lines=4, elem_id="prompt"
                )
            with gr.Column(scale=1, min_width=150, elem_classes=["uv-buttons"]):
                self.go = gr.Button("Generate", variant="primary", elem_id="generate")
                self.stop = gr.Button("Cancel", visible=False, elem_id="cancel")
        self.layers = gr.HTML(elem_id="layer-prompts")
        gr.Examples([[text] for text in EXAMPLES], [self.prompt], label="For example")

    def _build_results(self) -> None:
        self.status = gr.HTML(EMPTY, elem_id="status")
        self.worker = Worker(self.runs, self.status, busy=self._busy, cancelled=CANCELLED)
        self.out_of_date = OutOfDate("Generate", "picture")
        with gr.Row(visible=False) as self.pictures:
            self.picture = picture("Picture", "picture")
            self.words.build_large()
        self.explore = gr.Button("Explore this run", visible=False, elem_id="explore-run")
        with gr.Column(visible=False) as self.attention_from_section:
            self.attention_from.build()
        self.words.build()

    def _build_settings(self) -> None:
        with gr.Accordion("Picture", open=True):
            self.controls = RunControls(self.facts.native_size)

    def _connect(self) -> None:
        panel, run = self.panel, self.controls
        self._readout = ui.live_readout(
            panel,
            lambda: self.model().unet,
            steps=run.steps,
            width=run.width,
            height=run.height,
            pixels=self.facts.factor,
            tokens=self.facts.tokens,
            halves=("cond", "uncond"),
        )
        for prompt in (self.prompt, run.negative):
            ui.on_edit(prompt, self.show_layers, [self.prompt, run.negative], [self.layers])
        colors = panel.under("features.color")
        worker, attention_from = self.worker, self.attention_from
        self.features.connect(panel, worker.run, [*colors, panel.fields["features.average"]])
        self.attention.connect(panel, worker.run, panel.under("attention.color"))
        attention_from.connect(worker.run, self.picture)
        self.words.connect(worker.run)
        self.dump.connect(worker.run)
        inputs = [self.prompt, *run.components]
        outputs = [*worker.outputs, *self.out_of_date.outputs]
        outputs += [self.go, self.stop, self.pictures, self.picture]
        outputs += [
            *self.words.outputs,
            *self.dump.outputs,
            self.explore,
            self.attention_from_section,
            attention_from.result,
            attention_from.note,
        ]
        for section in (self.features, self.attention):
            outputs += [section.body, section.note, section.step]
        self.asked = [*inputs, *panel.components]
        self.out_of_date.connect({**named(inputs), **_shaping(panel)})
        for start in (self.go.click, self.prompt.submit):
            event = start(self.generate, [*worker.inputs, *self.asked], outputs, show_progress="hidden")
            event = self.out_of_date.marked_after(event)
            for section in (self.features, self.attention):
                event = event.then(section.show, section.inputs, section.outputs)
            event.then(
                attention_from.fill,
                [worker.run, attention_from.site],
                [attention_from.site, attention_from.head, attention_from.step],
            )
        self.compare.connect(inputs)
        self.stop.click(worker.cancel, [worker.running], [self.stop], queue=False)

    # Handlers.

    def show_layers(self, prompt: str, negative: str) -> str:
        """What each block reads, where a prompt has layer prompts."""
        return readout.layer_prompts(self.model().unet, prompt, negative)

    def generate(self, owner: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: previews while the model works, then the results, or what was wrong."""
        made = self.out_of_date.made(self.asked, values)
        yield from self.worker(owner, lambda: self._asked(*values), self._generate, made)

    def _asked(self, prompt: str, *values: Any) -> Generation:
        """What the components say. Raises ValueError."""
        if not prompt.strip():
            raise ValueError(f"The prompt is empty. Write what to draw, for example: {EXAMPLES[0]}")
        count = len(self.controls.components)
        return Generation(prompt, RunOptions.of(*values[:count]), self.panel.settings(values[count:]))

    def _generate(self, job: Job, asked: Generation) -> Updates:
        def step(done: int, total: int, preview: Image.Image) -> None:
            seen = {self.picture: gr.update(value=preview, label="Preview")}
            job.report(f"Step {done} of {total}", done / total, seen | (self._emptied() if done == 1 else {}))

        trace = self.model().generate(
            asked.prompt,
            settings=asked.settings,
            progress=step,
            cancelled=job.cancelled,
            **asked.run.arguments,
        )
        return self._results(job, trace, asked)

    def _emptied(self) -> Updates:
        sections = (self.words, self.dump, self.features, self.attention, self.attention_from)
        hidden = (self.explore, self.attention_from_section)
        found = {self.pictures: shown(True), **{part: shown(False) for part in hidden}}
        for section in (self.out_of_date, *sections):
            found |= section.emptied()
        return found

    def _results(self, job: Job, trace: Trace, asked: Generation) -> Updates:
        size = f"{trace.picture.width} × {trace.picture.height}" if trace.picture else ""
        done = f"Done. Seed {asked.run.seed} · {size} · {trace.nbytes / 1e6:,.1f} MB recorded"
        shows = readout.of_run(asked.prompt, asked.run.steps, asked.run.cfg)
        return {
            self.status: readout.note(done) + shows + "".join(map(readout.note, trace.notes)),
            self.pictures: shown(True),
            self.picture: gr.update(value=trace.picture, label="Picture"),
            self.explore: shown(bool(trace.images)),
            self.attention_from_section: shown(bool(trace.attention.all(kind="self"))),
            **self.words.filled(job, trace),
            **self.dump.filled(),
            **self.features.filled(trace),
            **self.attention.filled(trace),
        }

    def _busy(self, running: bool) -> Updates:
        return {
            self.go: shown(not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
        }


def _shaping(panel: ui.Panel) -> dict[str, Any]:
    """The controls of what is recorded; colours and averages draw anew by themselves."""
    found: dict[str, Any] = {}
    for part, names in (("features", FEATURES), ("attention", ATTENTION)):
        fields = [panel.fields[f"{part}.{name}"] for name in names]
        found |= named(fields, f"{part.capitalize()}: ")
    return found
