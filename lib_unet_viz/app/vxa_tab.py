"""The page's second tab, VXA: which parts of an uploaded picture the words of a prompt attend to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from PIL import Image

from lib_unet_viz import asking, heatmap, readout, render, segmentation, sheets, tokens, ui, vxa
from lib_unet_viz.app.looks import LookSection
from lib_unet_viz.app.parts import gallery, picture, shown
from lib_unet_viz.app.runs import Runs
from lib_unet_viz.demo import scenes
from lib_unet_viz.heatmap import MIDDLE, HeatMap
from lib_unet_viz.trace import Trace

if TYPE_CHECKING:
    from lib_unet_viz.hosts.pipeline import Pipeline

MODES = ("masked", "greyscale", "heat overlay", "mask", "label map")
ALL_LAYERS = "all"
SHOWN_SIZE = 768  # the result has at most this many pixels squared; the model looks at a smaller copy
EXAMPLE_SEEDS = (3, 8, 14, 21)
HINT = "Drop or paste a picture, or take one of the examples, write what to look for, and press the button."


class VXA:
    """Components and handlers of the tab."""

    def __init__(self, pipeline: Pipeline, runs: Runs) -> None:
        self.pipeline, self.runs = pipeline, runs
        self.layers = _layer_choices(pipeline)
        self.looks = LookSection(runs, "vxa")

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self.run = gr.State("")
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=1, min_width=320):
                self._build_question()
                self._build_settings()
            with gr.Column(scale=1, min_width=320):
                self.status = gr.HTML(readout.note(HINT), elem_id="vxa-status")
                self.result = picture("Result", "result")
                self.mode = gr.Radio(list(MODES), value=MODES[2], label="Output mode", elem_id="mode")
                self.looks.build()
        self._connect()

    def _build_question(self) -> None:
        # RGBA, so that transparent places are laid on white by `vxa.prepare` instead of turning black.
        options = ui.known(gr.Image, sources=["upload", "clipboard"])
        self.image = gr.Image(
            label="Picture, of any size",
            type="pil",
            image_mode="RGBA",
            height=320,
            elem_id="upload",
            **options,
        )
        self.prompt = gr.Textbox(
            label="Prompt", placeholder="hat, neck", lines=1, max_lines=4, elem_id="vxa-prompt"
        )
        gr.HTML(readout.note("Drawn scenes to try:"))
        self.examples = gallery("Drawn scenes", "examples", items=_examples(), enlarge=False)
        self.tokens = gr.CheckboxGroup(
            [], label="Tokens", info="Click the words to look for; none: all of them.", elem_id="tokens"
        )
        self.indices = gr.Textbox(
            label="Indices of token",
            info="Such as 1, 3. The first token is 1, a comma is a token too; blank: all tokens.",
            lines=1,
            max_lines=1,
            elem_id="indices",
        )
        self.index_problem = gr.HTML(visible=False, elem_id="index-problem")
        self.other = gr.Textbox(
            label="Other words",
            info="Not in the prompt; asked of the same look, without running the U-Net again.",
            lines=1,
            max_lines=1,
            elem_id="other-words",
        )
        self.go = gr.Button("Visualize Cross-Attention", variant="primary", elem_id="visualize")

    def _build_settings(self) -> None:
        with gr.Accordion("Layers and noise", open=False):
            self.layer = gr.Dropdown(
                list(self.layers),
                value=[next(iter(self.layers))],
                multiselect=True,
                label="Cross-attention layer",
                info="One, several or all; several are averaged.",
            )
            last = self.pipeline.timesteps - 1
            levels = vxa.default_timesteps(self.pipeline)
            self.timesteps = gr.Textbox(
                ", ".join(map(str, levels)),
                label="Timesteps",
                info=f"How much noise is added; 0: none, up to {last}. Several are averaged.",
                lines=1,
                max_lines=1,
                elem_id="timesteps",
            )
            self.seed = gr.Number(0, label="Noise seed", precision=0)
            self.method = gr.Dropdown(
                list(heatmap.METHODS),
                value=heatmap.DEFAULT,
                label="Method",
                info="How layers and heads become one map; the first is measured to be the best.",
            )
            self.original = gr.Checkbox(
                False,
                label="As the original did",
                info="Blank indices then sum the sentence's end and the padding too; maps stay unscaled.",
            )

    def _connect(self) -> None:
        self.examples.select(self.example, None, [self.image, self.prompt], show_progress="hidden")
        chosen = [self.indices, self.other, self.method, self.original, self.mode]
        looked = [self.run, self.prompt, *chosen]
        drawn = [self.result, self.status]
        self.prompt.change(
            self.tokenise,
            [self.prompt, self.tokens],
            [self.tokens, self.indices],
            queue=False,
            show_progress="hidden",
        )
        ui.on_edit(self.tokens, self.pick, [self.tokens], [self.indices]).then(
            self.redraw, looked, drawn, show_progress="hidden"
        )
        typed = [self.indices, self.prompt, self.tokens]
        ui.on_edit(self.indices, self.type_indices, typed, [self.tokens, self.index_problem])
        for part in (self.original, self.mode, self.method):
            part.input(self.redraw, looked, drawn, show_progress="hidden")
        self.other.submit(self.redraw, looked, drawn)
        inputs = [self.image, self.prompt, self.layer, self.timesteps, self.seed, *chosen]
        looks = self.looks
        for start in (self.go.click, self.prompt.submit, self.indices.submit):
            start(self.visualize, inputs, [*drawn, self.run]).then(
                looks.fill, [self.run, looks.site], [looks.site, looks.head, looks.step]
            )
        looks.connect(self.run, self.result)

    # Handlers.

    def example(self, event: gr.SelectData) -> tuple[Image.Image, str]:
        """The drawn scene that was clicked, and its caption as the prompt."""
        return _examples()[int(event.index)]

    def tokenise(self, prompt: str, chosen: Sequence[str] | None) -> tuple[Any, str]:
        """The prompt's tokens as choices; what was chosen and is still there stays chosen."""
        choices = self._choices(prompt)
        kept = [choice for choice in choices if choice in (chosen or ())]
        return gr.update(choices=choices, value=kept), self.pick(kept)

    def pick(self, chosen: Sequence[str]) -> str:
        """Indices of the tokens chosen."""
        return ", ".join(sorted((choice.partition(" ")[0] for choice in chosen), key=int))

    def type_indices(self, text: str, prompt: str, chosen: Sequence[str]) -> tuple[Any, Any]:
        """The tokens whose indices were typed, and what is wrong with these if anything is."""
        try:
            found = tokens.indices(text, self.pipeline.tokens(prompt)) if text.strip() else ()
        except ValueError as error:
            return gr.update(), gr.update(value=readout.problem(error), visible=True)
        wanted = {str(index) for index in found}
        named = [choice for choice in self._choices(prompt) if choice.partition(" ")[0] in wanted]
        return gr.update() if set(named) == set(chosen) else named, shown(False)

    def visualize(
        self,
        image: Image.Image | None,
        prompt: str,
        layers: Sequence[str],
        timesteps: str,
        seed: float | None,
        indices: str,
        other: str,
        method: heatmap.Method,
        original: bool,
        mode: str,
    ) -> tuple[Any, str, str]:
        """Look at the picture with the model; the result, a line about it, and the run's id."""
        try:
            if image is None:
                raise ValueError("There is no picture. Drop or paste one, or take one of the examples.")
            text = self.pipeline.tokens(prompt)
            tokens.indices(indices, text)
            with self.runs.lock:
                trace = vxa.trace_picture(
                    self.pipeline,
                    image,
                    prompt,
                    blocks=self._spec(layers),
                    timestep=_timesteps(timesteps),
                    noise_seed=int(seed or 0),
                )
            # Shown larger than the model sees it; the map is stretched over it.
            trace.picture = vxa.prepare(image, max(SHOWN_SIZE, self.pipeline.native_size))
            name = self.runs.start()
            run = self.runs.of(name)
            if run is not None:
                run.trace = trace
            return *self._draw(trace, indices, other, method, original, mode), name
        except (ValueError, RuntimeError) as error:
            return gr.update(), readout.problem(error), ""

    def redraw(
        self,
        name: str,
        prompt: str,
        indices: str,
        other: str,
        method: heatmap.Method,
        original: bool,
        mode: str,
    ) -> tuple[Any, Any]:
        """Another word or mode of the same look; nothing where the prompt has changed since."""
        run = self.runs.of(name)
        if run is None or run.trace is None or run.trace.meta.get("prompt") != prompt:
            return gr.update(), gr.update()
        try:
            return self._draw(run.trace, indices, other, method, original, mode)
        except ValueError as error:
            return gr.update(), readout.problem(error)

    def _draw(
        self, trace: Trace, indices: str, other: str, method: heatmap.Method, original: bool, mode: str
    ) -> tuple[Image.Image, str]:
        if other.strip():
            with self.runs.lock:
                trace, indices = asking.ask(trace, self.pipeline, other), ""
        base = trace.picture
        if base is None:
            raise ValueError("this look has no picture")
        if original:
            method = "vxa"
        if mode == "label map":
            found = heatmap.word_maps(trace, method=method)
            return sheets.label_picture(trace, found, threshold=segmentation.OTSU), _line(trace, "all words")
        heat, text = _heat(trace, indices, method=method, original=original)
        size = (base.height, base.width)
        values = heat.resized(size)
        draw = {
            "masked": lambda: render.mask(base, values),
            "greyscale": lambda: render.grey(values, size),
            "heat overlay": lambda: render.overlay(base, values),
            "mask": lambda: segmentation.mask_picture(segmentation.mask(heat, size)),
        }
        return draw[mode](), _line(trace, text)

    def _choices(self, prompt: str) -> list[str]:
        """Such as "1 hat", "2 ,", "3 neck"."""
        text = self.pipeline.tokens(prompt)
        return [f"{index} {tokens.readable(text[index])}" for index in tokens.content(text)]

    def _spec(self, layers: Sequence[str]) -> str:
        """Block spec of the layers chosen; blank is all."""
        specs = [self.layers[choice] for choice in layers]
        return "" if "" in specs else ",".join(specs)


def _examples() -> list[tuple[Image.Image, str]]:
    """Drawn scenes with their captions."""
    found = []
    for seed in EXAMPLE_SEEDS:
        scene = scenes.draw_scene(np.random.default_rng(seed), count=2, distinct=True)
        found.append((Image.fromarray(scene.picture), scenes.caption(scene, np.random.default_rng(seed))))
    return found


def _line(trace: Trace, text: str) -> str:
    """What is seen, of how many layers, at which noise."""
    count = len({(item.key.block, item.key.layer) for item in heatmap.cross_maps(trace)})
    layers = f"{count} layer{'s' * (count != 1)}"
    return readout.note(f"{text} · {layers} · timestep {_listed(trace.meta['timestep'])}")


def _heat(trace: Trace, indices: str, *, method: heatmap.Method, original: bool) -> tuple[HeatMap, str]:
    """The summed map of the tokens asked for, and their names."""
    texts = trace.meta["tokens"]["cond"]
    blank = not indices.strip()
    positions = tuple(range(1, len(texts))) if blank and original else tokens.indices(indices, texts)
    if not positions:
        raise ValueError("the prompt has no tokens")
    names = ["all tokens, with end and padding" if original else "all tokens"]
    if trace.meta.get("asked_of"):
        names = [trace.meta["prompt"]]
    elif not blank:
        names = [f"{index} {tokens.readable(texts[index])}" for index in positions]
    found = heatmap.word_maps(trace, {"": positions}, method=method)
    return found[0], " + ".join(names)


def _timesteps(text: str) -> tuple[int, ...] | None:
    """Those that were typed; blank is the default. Raises ValueError."""
    pieces = text.replace(",", " ").split()
    wrong = [piece for piece in pieces if not (piece.isascii() and piece.isdigit())]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no timestep; write whole numbers, such as 150, 350")
    return tuple(map(int, pieces)) or None


def _listed(numbers: int | Sequence[int]) -> str:
    return ", ".join(map(str, [numbers] if isinstance(numbers, int) else numbers))


def _layer_choices(pipeline: Pipeline) -> dict[str, str]:
    """What the list of layers offers, to block specs: all, and each one."""
    unet = pipeline.unet
    count = len([site for site in unet.sites if site.kind == "cross"])
    choices = {f"{ALL_LAYERS} ({count} layers)": ""}
    for block in unet.blocks.values():
        layers = [site.layer for site in block.sites if site.kind == "cross"]
        for layer in layers:
            spec = block.name if len(layers) == 1 else f"{block.name}.{layer}"
            origin = " (the original's default)" if block.name == MIDDLE else ""
            choices[spec + origin] = spec
    return choices
