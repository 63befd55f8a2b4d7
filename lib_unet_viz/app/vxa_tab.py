"""The tab VXA: which parts of an uploaded picture the words of a prompt attend to.

The stand-alone page and the webui show the same tab; what differs is where the model comes from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import gradio as gr
from PIL import Image

from lib_unet_viz import readout, render, tokens, ui, vxa
from lib_unet_viz.app.parts import gallery, picture, shown
from lib_unet_viz.app.runs import Runs
from lib_unet_viz.heatmap import DEFAULT, MIDDLE, HeatMap, Method, word_maps
from lib_unet_viz.trace import Trace

MODES = ("masked", "greyscale", "heat overlay")
DEFAULT_LAYERS, ALL_LAYERS = "default", "all"
TIMESTEPS = 1000  # of every Stable Diffusion; what the slider has until a model says otherwise
SHOWN_SIZE = 768  # the result has at most this many pixels squared; the model looks at a smaller copy
HINT = "Drop or paste a picture, write what to look for in it, and press the button."


class VXA:
    """Components and handlers of the tab.

    model: gives the model that is loaded at this moment, or raises ValueError saying why there is none; never
    waits. It is asked at each click, as a webui's model changes. examples: pictures and prompts to try.
    alone: held while the model works, as hooks of two runs must not meet; `runs.lock` unless given.
    interrupt: ends the run that is going on; where given, there is a button for it.
    """

    def __init__(
        self,
        model: Callable[[], vxa.Model],
        runs: Runs,
        *,
        alone: Callable[[], AbstractContextManager[Any]] | None = None,
        examples: Sequence[tuple[Image.Image, str]] = (),
        interrupt: Callable[[], None] | None = None,
    ) -> None:
        self.model, self.runs, self.examples, self.interrupt = model, runs, examples, interrupt
        self._alone = alone or (lambda: runs.lock)

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        self.run = gr.State("")
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=1, min_width=320):
                self._build_question()
                self._build_settings()
            with gr.Column(scale=1, min_width=320):
                self.status = gr.HTML(readout.note(HINT), elem_id="vxa-status")
                self.result = picture("Result", "vxa-result")
                self.mode = gr.Radio(list(MODES), value=MODES[2], label="Output mode", elem_id="vxa-mode")
        self._connect()

    def _build_question(self) -> None:
        # RGBA, so that transparent places are laid on white by `vxa.prepare` instead of turning black.
        options = ui.known(gr.Image, sources=["upload", "clipboard"])
        self.image = gr.Image(
            label="Picture, of any size",
            type="pil",
            image_mode="RGBA",
            height=320,
            elem_id="vxa-upload",
            **options,
        )
        self.prompt = gr.Textbox(
            label="Prompt", placeholder="hat, neck", lines=1, max_lines=4, elem_id="vxa-prompt"
        )
        if self.examples:
            self._build_examples()
        self.tokens = gr.CheckboxGroup(
            [], label="Tokens", info="Click the words to look for; none: all of them.", elem_id="vxa-tokens"
        )
        self.indices = gr.Textbox(
            label="Indices of token",
            info="Such as 1, 3. The first token is 1, a comma is a token too; blank: all tokens.",
            lines=1,
            max_lines=1,
            elem_id="vxa-indices",
        )
        self.index_problem = gr.HTML(visible=False, elem_id="vxa-index-problem")
        with gr.Row():
            self.go = gr.Button("Visualize Cross-Attention", variant="primary", elem_id="vxa-visualize")
            if self.interrupt is not None:
                self.stop = gr.Button("Interrupt", elem_id="vxa-interrupt")
                self.stop.click(self.interrupt, None, None, queue=False)

    def _build_examples(self) -> None:
        gr.HTML(readout.note("Drawn scenes to try:"))
        items = gallery("Drawn scenes", "vxa-examples", items=list(self.examples), enlarge=False)
        items.select(self.example, None, [self.image, self.prompt], show_progress="hidden")

    def _build_settings(self) -> None:
        layers, last = self._offer()
        with gr.Accordion("Layers and noise", open=False):
            self.layer = gr.Dropdown(
                layers,
                value=[DEFAULT_LAYERS],
                multiselect=True,
                label="Cross-attention layer",
                info="One, several or all; several are averaged. "
                "default: those whose maps are nearest to 16 x 16.",
                elem_id="vxa-layer",
            )
            self.timestep = gr.Slider(
                0,
                last,
                value=min(vxa.DEFAULT_TIMESTEP, last),
                step=1,
                label="Timestep",
                info="How much noise is added; 0: none.",
                elem_id="vxa-timestep",
            )
            self.seed = gr.Number(0, label="Noise seed", precision=0, elem_id="vxa-seed")
            self.original = gr.Checkbox(
                False,
                label="As the original did",
                info="Blank indices then sum the sentence's end and the padding too; maps stay unscaled.",
                elem_id="vxa-original",
            )

    def _connect(self) -> None:
        looked = [self.run, self.prompt, self.indices, self.original, self.mode]
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
        for part in (self.original, self.mode):
            part.input(self.redraw, looked, drawn, show_progress="hidden")
        inputs = [self.image, self.prompt, self.indices, self.layer, self.timestep, self.seed]
        inputs += [self.original, self.mode]
        for start in (self.go.click, self.prompt.submit, self.indices.submit):
            start(self.visualize, inputs, [*drawn, self.run])

    # Handlers.

    def example(self, event: gr.SelectData) -> tuple[Image.Image, str]:
        """The example that was clicked: its picture and its prompt."""
        return self.examples[int(event.index)]

    def refresh(
        self, prompt: str, chosen: Sequence[str], layers: Sequence[str], timestep: float
    ) -> list[Any]:
        """Updates of tokens, layers and timestep for the model that is loaded now; it may be another one."""
        there, last = self._offer()
        kept = [layer for layer in layers if layer in there] or [DEFAULT_LAYERS]
        return [
            self.tokenise(prompt, chosen)[0],
            gr.update(choices=there, value=kept),
            gr.update(maximum=last, value=min(int(timestep), last)),
        ]

    def tokenise(self, prompt: str, chosen: Sequence[str] | None) -> tuple[Any, str]:
        """The prompt's tokens as choices; what was chosen and is still there stays chosen."""
        try:
            choices = self._choices(prompt)
        except ValueError:  # no model yet; the button says so
            choices = []
        kept = [choice for choice in choices if choice in (chosen or ())]
        return gr.update(choices=choices, value=kept), self.pick(kept)

    def pick(self, chosen: Sequence[str]) -> str:
        """Indices of the tokens chosen."""
        return ", ".join(sorted((choice.partition(" ")[0] for choice in chosen), key=int))

    def type_indices(self, text: str, prompt: str, chosen: Sequence[str]) -> tuple[Any, Any]:
        """The tokens whose indices were typed, and what is wrong with these if anything is."""
        try:
            found = tokens.indices(text, self.model().tokens(prompt)) if text.strip() else ()
            choices = self._choices(prompt)
        except ValueError as error:
            return gr.update(), gr.update(value=readout.problem(error), visible=True)
        wanted = {str(index) for index in found}
        named = [choice for choice in choices if choice.partition(" ")[0] in wanted]
        return gr.update() if set(named) == set(chosen) else named, shown(False)

    def visualize(
        self,
        image: Image.Image | None,
        prompt: str,
        indices: str,
        layers: Sequence[str],
        timestep: float,
        seed: float | None,
        original: bool,
        mode: str,
    ) -> tuple[Any, str, str]:
        """Look at the picture with the model; the result, a line about it, and the run's id."""
        try:
            if image is None:
                raise ValueError("There is no picture. Drop or paste one.")
            with self._alone():
                model = self.model()
                tokens.indices(indices, model.tokens(prompt))
                trace = vxa.trace_picture(
                    model,
                    image,
                    prompt,
                    blocks=block_spec(layer_choices(model), layers),
                    timestep=int(timestep),
                    noise_seed=int(seed or 0),
                )
            # Shown larger than the model sees it; the map is stretched over it.
            trace.picture = vxa.prepare(image, max(SHOWN_SIZE, model.native_size))
            name = self.runs.start()
            run = self.runs.of(name)
            if run is not None:
                run.trace = trace
            return *self._draw(trace, indices, original, mode), name
        except (ValueError, RuntimeError) as error:
            return gr.update(), readout.problem(error), ""

    def redraw(self, name: str, prompt: str, indices: str, original: bool, mode: str) -> tuple[Any, Any]:
        """Another word or mode of the same look; nothing where the prompt has changed since."""
        run = self.runs.of(name)
        if run is None or run.trace is None or run.trace.meta.get("prompt") != prompt:
            return gr.update(), gr.update()
        try:
            return self._draw(run.trace, indices, original, mode)
        except ValueError as error:
            return gr.update(), readout.problem(error)

    def _draw(self, trace: Trace, indices: str, original: bool, mode: str) -> tuple[Image.Image, str]:
        heat, text = heat_map(trace, indices, original=original)
        count = len({(item.key.block, item.key.layer) for item in trace.attention})
        line = f"{text} · {count} layer{'s' * (count != 1)} · timestep {trace.meta['timestep']}"
        return draw(trace, heat, mode), readout.note(line)

    def _choices(self, prompt: str) -> list[str]:
        """Such as "1 hat", "2 ,", "3 neck"."""
        text = self.model().tokens(prompt)
        return [f"{index} {tokens.readable(text[index])}" for index in tokens.content(text)]

    def _offer(self) -> tuple[list[str], int]:
        """Choices of layers and the last timestep; those of any model while none is loaded."""
        try:
            model = self.model()
            return list(layer_choices(model)), model.timesteps - 1
        except ValueError:
            return [DEFAULT_LAYERS, ALL_LAYERS], TIMESTEPS - 1


def layer_choices(model: vxa.Model) -> dict[str, str]:
    """What the list of layers offers, to block specs: the default, all, and each one."""
    choices = {DEFAULT_LAYERS: vxa.default_layers(model), ALL_LAYERS: ""}
    for block in model.unet.blocks.values():
        layers = [site.layer for site in block.sites if site.kind == "cross"]
        for layer in layers:
            spec = block.name if len(layers) == 1 else f"{block.name}.{layer}"
            origin = " (the original's default)" if block.name == MIDDLE else ""
            choices[spec + origin] = spec
    return choices


def block_spec(choices: Mapping[str, str], layers: Sequence[str]) -> str:
    """Block spec of the layers chosen; blank is all. Raises ValueError for one that the model lacks."""
    for layer in layers:
        if layer not in choices:
            raise ValueError(f"this model has no layer {layer!r}; it has {', '.join(list(choices)[2:])}")
    specs = [choices[layer] for layer in layers]
    return "" if "" in specs else ",".join(specs)


def draw(trace: Trace, heat: HeatMap, mode: str) -> Image.Image:
    """The trace's picture with a map, as one of `MODES`. Raises ValueError for a trace without a picture."""
    base = trace.picture
    if base is None:
        raise ValueError("this look has no picture")
    size = (base.height, base.width)
    values = heat.resized(size)
    if mode == "masked":
        return render.mask(base, values)
    return render.grey(values, size) if mode == "greyscale" else render.overlay(base, values)


def heat_map(trace: Trace, indices: str, *, original: bool = False) -> tuple[HeatMap, str]:
    """The summed map of the tokens asked for, and their names.

    indices: as `tokens.indices` reads them. original: as the extension VXA did, which counted the sentence's
    end and the padding where no index was given, and did not scale the maps of one layer.
    """
    texts = trace.meta["tokens"]["cond"]
    blank = not indices.strip()
    positions = tuple(range(1, len(texts))) if blank and original else tokens.indices(indices, texts)
    if not positions:
        raise ValueError("the prompt has no tokens")
    names = ["all tokens, with end and padding" if original else "all tokens"]
    if not blank:
        names = [f"{index} {tokens.readable(texts[index])}" for index in positions]
    sites = {(item.key.block, item.key.layer) for item in trace.attention}
    unscaled: Method = "vxa" if len(sites) == 1 else "daam"
    found = word_maps(trace, {"": positions}, method=unscaled if original else DEFAULT)
    return found[0], " + ".join(names)
