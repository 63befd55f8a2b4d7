"""The page's first tab: a prompt becomes a picture, a map of each word, and sheets of what blocks held."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, get_args

import gradio as gr
from PIL import Image

from lib_unet_viz.app.compare import Compare
from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.capture.recorder import Cancelled
from lib_unet_viz.drawing import sheets
from lib_unet_viz.maps import vxa
from lib_unet_viz.settings import AttentionPart, Half, Kind, Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.attention_from import LookSection
from lib_unet_viz.ui.parts import SheetSection, gallery, heading, picture, shown
from lib_unet_viz.ui.run_controls import STEPS, RunControls, options
from lib_unet_viz.ui.runs import Runs, reports

if TYPE_CHECKING:
    from lib_unet_viz.drawing.render import Rendered
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

EXAMPLES = (
    "a big red circle and a small blue square",
    "a small yellow star left of a big green ring",
    "a purple triangle above an orange cross",
    "a (~: IN00-OUT11: red ; OUT09-OUT11: blue :~) circle",
)
EMPTY = """
<div class="uv-empty"><p>Write a prompt and press Enter. Here will be</p><ul>
<li>the picture, growing step by step,</li>
<li>one heat map for each word: the part of the picture that it drove,</li>
<li>and below, sheets of what the U-Net's blocks and attention held at each step.</li></ul></div>
"""
FEW_BYTES = 200_000_000  # up to this much, all blocks are recorded unless others are chosen


class Txt2Img:
    """Components and handlers of the tab. Handlers are generators or functions of plain values."""

    def __init__(self, pipeline: Pipeline, runs: Runs) -> None:
        self.pipeline, self.runs = pipeline, runs
        self.features = SheetSection(
            runs, "Features", maps=lambda trace: trace.features, draw=_feature_sheets
        )
        self.looks = LookSection(runs, "picture")
        self.attention = SheetSection(
            runs, "Attention", maps=lambda trace: trace.attention, draw=_attention_sheets
        )
        self.compare = Compare(pipeline, runs)

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self.run = gr.State("")
        self._build_prompt()
        defaults = self._defaults()
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                self._build_results()
            with gr.Column(scale=3, min_width=320):
                self._build_settings()
                with gr.Accordion("Memory", open=False):
                    word_readout = gr.HTML(elem_classes=["uv-readout"])
                    memory = ui.memory_controls(defaults)
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                self.features.build("What each U-Net block put out: one sheet a block, one cell a channel.")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Features: blocks, steps, colours", open=False),
            ):
                features, feature_readout = ui.feature_controls(defaults.features)
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=5, min_width=420):
                self.attention.build("One row a head, one column a token. Scroll sideways to see all tokens.")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Attention: blocks, steps, colours", open=False),
            ):
                attention, attention_readout = ui.attention_controls(defaults.attention)
        self._build_dump()
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
        with gr.Row(visible=False) as self.pictures:
            self.picture = picture("Picture", "picture")
            self.word = picture("Word map", "word")
        with gr.Column(visible=False) as self.looks_section:
            self.looks.build()
        with gr.Column(visible=False) as self.words_section:
            heading("One map for each word", "Click a word to see it large beside the picture.")
            self.words = gallery("Word maps", "words", enlarge=False)

    def _build_settings(self) -> None:
        with gr.Accordion("Picture", open=True):
            self.controls = RunControls(self.pipeline)

    def _build_dump(self) -> None:
        with gr.Column(visible=False) as self.dump_section:
            heading("Dump", "All recorded numbers in one file, to look at again without the model.")
            self.dump_problem = gr.HTML(visible=False)
            self.save = gr.Button("Write the dump", elem_id="write-dump")
            self.dump = gr.File(label="Dump (.safetensors)", interactive=False, visible=False, elem_id="dump")

    def _defaults(self) -> Settings:
        """For a small model all blocks, and a fine attention layer (its middle block has few positions).

        Else the usual choice, less what this model does not have.
        """
        usual, native = Settings(), self.pipeline.native_size
        fine = vxa.default_layers(self.pipeline).split(",")[-1]
        whole = replace(
            usual,
            features=replace(usual.features, blocks=""),
            attention=replace(usual.attention, blocks=fine),
        )
        if self.pipeline.estimate(whole, steps=STEPS, size=(native, native)) <= FEW_BYTES:
            return whole
        present = [name for name in usual.features.blocks.split(",") if name in self.pipeline.unet.blocks]
        return replace(usual, features=replace(usual.features, blocks=",".join(present)))

    def _connect(self) -> None:
        panel, run = self.panel, self.controls
        self._readout = ui.live_readout(
            panel,
            lambda: self.pipeline.unet,
            steps=run.steps,
            width=run.width,
            height=run.height,
            pixels=int(self.pipeline.pipe.vae_scale_factor),
            tokens=len(self.pipeline.tokens("")),
            halves=("cond", "uncond"),
        )
        for prompt in (self.prompt, run.negative):
            ui.on_edit(prompt, self.show_layers, [self.prompt, run.negative], [self.layers])
        colors = panel.under("features.color")
        self.features.connect(panel, self.run, [*colors, panel.fields["features.average"]])
        self.attention.connect(panel, self.run, panel.under("attention.color"))
        inputs = [self.run, self.prompt, *run.components]
        outputs = [self.status, self.pictures, self.picture, self.word, self.words_section, self.words]
        looks = self.looks
        looks.connect(self.run, self.picture)
        outputs += [self.looks_section, looks.result, looks.note]
        outputs += [self.dump_section, self.dump, self.dump_problem, self.go, self.stop, self.run]
        for section in (self.features, self.attention):
            outputs += [section.body, section.note, section.step]
        for start in (self.go.click, self.prompt.submit):
            event = start(self.generate, [*inputs, *panel.components], outputs, show_progress="hidden")
            for section in (self.features, self.attention):
                event = event.then(section.show, section.inputs, section.outputs)
            event.then(looks.fill, [self.run, looks.site], [looks.site, looks.head, looks.step])
        self.compare.connect(inputs[1:])
        self.stop.click(self.cancel, [self.run], [self.stop], queue=False)
        self.words.select(self.enlarge, [self.run], [self.word], show_progress="hidden")
        self.save.click(self.write_dump, [self.run], [self.dump, self.dump_problem])

    # Handlers.

    def show_layers(self, prompt: str, negative: str) -> str:
        """What each block reads, where a prompt has layer prompts."""
        return readout.layer_prompts(self.pipeline.unet, prompt, negative)

    def generate(
        self,
        before: str,
        prompt: str,
        negative: str,
        steps: float,
        seed: float | None,
        cfg: float,
        width: float,
        height: float,
        *values: Any,
    ) -> Generator[dict[Any, Any], None, None]:
        """Yield updates by component: previews while the model works, then the results, or what was wrong.

        before: id of the run that is shown, which stays where nothing comes of this one.
        """
        name = self.runs.start()
        yield {self.run: name, self.status: readout.progress("Starting …", 0), **self._busy(True)}
        try:
            if not prompt.strip():
                raise ValueError(f"The prompt is empty. Write what to draw, for example: {EXAMPLES[0]}")
            arguments = options(negative, steps, seed, cfg, width, height)
            arguments["settings"] = self.panel.settings(values)
            trace = yield from self._previews(name, prompt, arguments)
            yield self._results(name, trace, arguments["seed"])
        except Cancelled:
            yield {self.status: readout.note("Cancelled; nothing was kept of this run."), **self._busy(False)}
        except (ValueError, RuntimeError) as error:
            yield {self.run: before, self.status: readout.problem(error), **self._busy(False)}
        except Exception as error:
            yield {self.run: before, self.status: readout.problem(error), **self._busy(False)}
            raise  # what nobody foresaw goes to the server's log
        finally:
            self.runs.cancel(name)  # a visitor who leaves the page stops the run

    def _previews(
        self, name: str, prompt: str, arguments: dict[str, Any]
    ) -> Generator[dict[Any, Any], None, Trace]:
        def work(report: Callable[[tuple[int, int, Image.Image]], None]) -> Trace:
            with self.runs.lock:
                return self.pipeline.generate(
                    prompt,
                    **arguments,
                    progress=lambda step, total, preview: report((step, total, preview)),
                    cancelled=lambda: self.runs.cancelled(name),
                )

        emptied = {self.pictures: shown(True), self.word: shown(False), self.words_section: shown(False)}
        emptied |= {self.dump_section: shown(False), self.dump: shown(False), self.dump_problem: shown(False)}
        emptied |= {**self.features.emptied(), **self.attention.emptied(), **self.looks.emptied()}
        emptied |= {self.looks_section: shown(False)}
        running = reports(work)
        while True:
            try:
                step, total, preview = next(running)
            except StopIteration as done:
                trace: Trace = done.value
                return trace
            bar = readout.progress(f"Step {step} of {total}", step / total)
            yield {self.status: bar, self.picture: gr.update(value=preview, label="Preview"), **emptied}
            emptied = {}

    def _results(self, name: str, trace: Trace, seed: int) -> dict[Any, Any]:
        run = self.runs.of(name)
        drawn = sheets.heat_overlays(trace) if trace.attention else []
        overlays = [(image, sheets.word_label(heat)) for image, heat in drawn]
        first = max(range(len(drawn)), key=lambda at: drawn[at][1].strength, default=0)
        if run is not None:
            run.trace, run.words = trace, tuple(overlays)
        size = f"{trace.picture.width} × {trace.picture.height}" if trace.picture else ""
        done = f"Done. Seed {seed} · {size} · {trace.nbytes / 1e6:,.1f} MB recorded"
        return {
            **self._busy(False),
            self.status: readout.note(done) + "".join(readout.note(line) for line in trace.notes),
            self.pictures: shown(True),
            self.picture: gr.update(value=trace.picture, label="Picture"),
            self.word: _word(overlays, first) if overlays else shown(False),
            self.words_section: shown(bool(overlays)),
            self.words: gr.update(value=overlays, **({"selected_index": None} if _can_unselect() else {})),
            self.looks_section: shown(bool(trace.attention.all(kind="self"))),
            self.dump_section: shown(True),
            **self.features.filled(trace),
            **self.attention.filled(trace),
        }

    def _busy(self, running: bool) -> dict[Any, Any]:
        return {
            self.go: shown(not running),
            self.stop: gr.update(visible=running, interactive=True, value="Cancel"),
        }

    def cancel(self, name: str) -> Any:
        """Stop the run after its present step."""
        self.runs.cancel(name)
        return gr.update(value="Cancelling …", interactive=False)

    def enlarge(self, name: str, event: gr.SelectData) -> Any:
        """Show the word that was clicked."""
        run = self.runs.of(name)
        return _word(run.words, int(event.index)) if run and run.words else gr.update()

    def write_dump(self, name: str) -> tuple[Any, Any]:
        """Write the run's dump into the server's temporary folder and offer it, or say why not."""
        try:
            trace = self.runs.trace(name)
            path = save_trace(trace, self.runs.folder / name / f"unet-viz-seed-{trace.meta.get('seed', 0)}")
        except (ValueError, OSError) as error:
            return shown(False), gr.update(value=readout.problem(error), visible=True)
        return gr.update(value=str(path), visible=True), shown(False)


def _feature_sheets(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    """Of all that was recorded at a step, whatever the panel's spec says by now; in the panel's colours."""
    chosen = replace(settings.features, enabled=True, blocks="", steps=str(step), halves=get_args(Half))
    return sheets.feature_sheets(trace, chosen)


def _attention_sheets(trace: Trace, settings: Settings, step: int) -> list[Rendered]:
    everything: dict[str, Any] = {
        "halves": get_args(Half),
        "parts": get_args(AttentionPart),
        "kinds": get_args(Kind),
    }
    chosen = replace(settings.attention, enabled=True, blocks="", steps=str(step), **everything)
    return [item for item in sheets.attention_sheets(trace, chosen) if item.key.step is not None]


def _word(words: Sequence[tuple[Any, str]], index: int) -> Any:
    image, text = words[index]
    return gr.update(value=image, label=f"Word map: {text}", visible=True)


def _can_unselect() -> bool:
    return bool(ui.known(gr.Gallery, selected_index=None))
