"""The tab VXA: which parts of an uploaded picture the words of a prompt attend to.

The stand-alone page and the webui show the same tab; what differs is where the model comes from. What only
a look needs is imported by it, so that a webui starts sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from lib_unet_viz.drawing import look
from lib_unet_viz.drawing.look import ALL_LAYERS, HEAT, MODES, NEAR_LAYERS, block_spec, layer_choices
from lib_unet_viz.maps.aggregation import DEFAULT, METHODS
from lib_unet_viz.notation import tokens
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.attention_from import AttentionFrom
from lib_unet_viz.ui.out_of_date import CALM, Made, OutOfDate
from lib_unet_viz.ui.parts import gallery, heat_bar, picture, shown, upload
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.vxa_look import Asked, Look, drawn
from lib_unet_viz.ui.working import Job, Updates, Worker

if TYPE_CHECKING:
    from lib_unet_viz.hosts.base import Model

HINT = "Drop or paste a picture, write what to look for in it, and press the button."
CANCELLED = "Cancelled; nothing was kept of this run."
PROMPT, INDICES, OTHER = "Prompt", "Indices of token", "Other words"  # what is marked, if changed


def offer(model: Model) -> tuple[list[str], str]:
    """Choices of layers of a model, and its usual timesteps."""
    from lib_unet_viz.maps import vxa

    return list(layer_choices(model)), ", ".join(map(str, vxa.default_timesteps(model)))


class VXA:
    """Components and handlers of the tab.

    model: gives the model that is loaded at this moment, or raises ValueError saying why there is none; it
    waits for nothing but its being loaded. It is asked at each click, as a webui's model changes. examples:
    pictures and prompts to try.
    alone: held while the model works, for so many runs of the U-Net, as hooks of two must not meet;
    `runs.lock` unless given. offered: layers and usual timesteps to show at first, as of `offer`; those of
    the loaded model unless given.
    """

    def __init__(
        self,
        model: Callable[[], Model],
        runs: Runs,
        *,
        alone: Callable[[int], AbstractContextManager[Any]] | None = None,
        examples: Sequence[tuple[Image.Image, str]] = (),
        offered: tuple[Sequence[str], str] | None = None,
    ) -> None:
        self.model, self.runs, self.examples = model, runs, examples
        self.attention_from = AttentionFrom(runs, "vxa")
        self._alone, self._offered = alone or (lambda _: runs.lock), offered

    def build(self) -> None:
        """Make the components, in reading order, and connect them."""
        with gr.Row(elem_classes=["uv-columns"]):
            with gr.Column(scale=1, min_width=320):
                self._build_question()
                self._build_settings()
            with gr.Column(scale=1, min_width=320, elem_classes=["uv-results"]):
                self.status = gr.HTML(readout.note(HINT), elem_id="vxa-status")
                self.worker = Worker(
                    self.runs, self.status, busy=self._busy, cancelled=CANCELLED, alone=self._alone_for
                )
                self.out_of_date = OutOfDate("Visualize Cross-Attention", "vxa")
                self.result = picture("Result", "vxa-result")
                self.heat_bar = heat_bar()
                self.mode = gr.Radio(list(MODES), value=HEAT, label="Output mode", elem_id="vxa-mode")
                self.attention_from.build()
        self._connect()

    def _build_question(self) -> None:
        self.image = upload("Picture, of any size", "vxa-upload")
        self.prompt = gr.Textbox(
            "", label="Prompt", placeholder="hat, neck", lines=1, max_lines=4, elem_id="vxa-prompt"
        )
        if self.examples:
            self._build_examples()
        self.tokens = gr.CheckboxGroup(
            [], label="Tokens", info="Click the words to look for; none: all of them.", elem_id="vxa-tokens"
        )
        self.indices = gr.Textbox(
            "",
            label="Indices of token",
            info="Such as 1, 3. The first token is 1, a comma is a token too; blank: all tokens.",
            lines=1,
            max_lines=1,
            elem_id="vxa-indices",
        )
        self.index_problem = gr.HTML(visible=False, elem_id="vxa-index-problem")
        self.other = gr.Textbox(
            "",
            label="Other words",
            info="Not in the prompt; asked of the same look, without running the U-Net again.",
            lines=1,
            max_lines=1,
            elem_id="vxa-other",
        )
        with gr.Row():
            self.go = gr.Button("Visualize Cross-Attention", variant="primary", elem_id="vxa-visualize")
            self.stop = gr.Button("Interrupt", visible=False, elem_id="vxa-interrupt")

    def _build_examples(self) -> None:
        gr.HTML(readout.note("Drawn scenes to try:"))
        items = gallery("Drawn scenes", "vxa-examples", items=list(self.examples), enlarge=False)
        items.select(self.example, None, [self.image, self.prompt], show_progress="hidden")

    def _build_settings(self) -> None:
        layers, usual = self._offered or self._offer()
        with gr.Accordion("Layers and noise", open=False):
            self.layer = gr.Dropdown(
                list(layers),
                value=[ALL_LAYERS],
                multiselect=True,
                label="Cross-attention layer",
                info="One, several or all; 16 x 16: those whose maps are nearest to that size.",
                elem_id="vxa-layer",
            )
            self.timesteps = gr.Textbox(
                "",
                label="Timesteps",
                placeholder=usual,
                info="How much noise is added, 0: none; several are averaged. Blank: those in grey.",
                lines=1,
                max_lines=1,
                elem_id="vxa-timesteps",
            )
            self.seed = gr.Number(0, label="Noise seed", precision=0, elem_id="vxa-seed")
            self.method = gr.Dropdown(
                list(METHODS),
                value=DEFAULT,
                label="Method",
                info="How layers and heads become one map; the first is measured to be the best.",
                elem_id="vxa-method",
            )
            self.original = gr.Checkbox(
                False,
                label="Compute like the VXA extension",
                info="Blank indices then sum the sentence's end and the padding too; maps stay unscaled.",
                elem_id="vxa-original",
            )

    def _connect(self) -> None:
        chosen = [self.indices, self.other, self.method, self.original, self.mode]
        worker, attention_from = self.worker, self.attention_from
        looked = [worker.run, self.prompt, *chosen]
        drawn = [self.result, self.status]
        stale = self.out_of_date
        changes = stale.counted(self.image.change)
        questions = {PROMPT: self.prompt, INDICES: self.indices, OTHER: self.other}
        how = {"Picture": changes, "Layers": self.layer, "Timesteps": self.timesteps, "Noise seed": self.seed}
        stale.connect({**questions, **how})

        def redrawn(event: Any) -> None:
            """The picture of the same look is drawn again, of what the controls now say."""
            drawing = event.then(self.redraw, looked, drawn, show_progress="hidden")
            remade = drawing.then(
                self.remade, [stale.made_with, *questions.values()], [stale.made_with], **CALM
            )
            stale.marked_after(remade)

        self.prompt.change(
            self.tokenise,
            [self.prompt, self.tokens],
            [self.tokens, self.indices],
            queue=False,
            show_progress="hidden",
        )
        redrawn(ui.on_edit(self.tokens, self.tick, [self.tokens], [self.indices, self.other]))
        typed = [self.indices, self.prompt, self.tokens]
        ui.on_edit(self.indices, self.type_indices, typed, [self.tokens, self.index_problem])
        for part in (self.original, self.mode, self.method):
            part.input(self.redraw, looked, drawn, show_progress="hidden")
        ui.on_edit(self.mode, lambda mode: shown(mode == HEAT), [self.mode], [self.heat_bar])
        untick = (self.untick, [self.other, self.indices], [self.tokens, self.indices])
        redrawn(self.other.submit(*untick, **CALM))
        self.asked = [self.image, self.prompt, self.layer, self.timesteps, self.seed, *chosen, changes]
        outputs = [*worker.outputs, *stale.outputs, self.result, self.go, self.stop]
        for start in (self.go.click, self.prompt.submit, self.indices.submit):
            inputs = [*worker.inputs, *self.asked]
            event = start(self.visualize, inputs, outputs, show_progress="hidden").then(*untick, **CALM)
            stale.marked_after(event).then(
                attention_from.fill,
                [worker.run, attention_from.site],
                [attention_from.site, attention_from.head, attention_from.step],
            )
        self.stop.click(worker.cancel, [worker.running], [self.stop], queue=False)
        attention_from.connect(worker.run, self.result)

    # Handlers.

    def example(self, event: gr.SelectData) -> tuple[Image.Image, str]:
        """The example that was clicked: its picture and its prompt."""
        return self.examples[int(event.index)]

    def refresh(self, prompt: str, chosen: Sequence[str], layers: Sequence[str]) -> list[Any]:
        """Updates of tokens, layers and timesteps for the model that is loaded now; it may be another one."""
        there, usual = self._offer()
        kept = [layer for layer in layers if layer in there] or [ALL_LAYERS]
        return [
            self.tokenise(prompt, chosen)[0],
            gr.update(choices=there, value=kept),
            gr.update(placeholder=usual),
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

    def tick(self, chosen: Sequence[str]) -> tuple[str, str]:
        """Indices of the tokens ticked; other words are then no longer asked about."""
        return self.pick(chosen), ""

    def untick(self, other: str, indices: str) -> tuple[Any, str]:
        """Where other words are asked about, no token is."""
        return ([], "") if other.strip() else (gr.update(), indices)

    def remade(self, made_with: Made, prompt: str, indices: str, other: str) -> Made:
        """What the drawing that is seen was made with, after it was drawn again."""
        if made_with.given.get(PROMPT) != prompt:
            return made_with  # then it was not
        return made_with.but({INDICES: indices, OTHER: other})

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

    def visualize(self, owner: str, *values: Any) -> Generator[Updates, None, None]:
        """Yield updates by component: look at the picture with the model, then show the result.

        values: of `asked`, the last of which only says how often the picture was changed.
        """
        made = self.out_of_date.made(self.asked, values)
        made_with: Made = made[self.out_of_date.made_with]
        if made_with.given[OTHER].strip():
            made = {self.out_of_date.made_with: made_with.but({INDICES: ""})}  # which are unticked then
        yield from self.worker(owner, lambda: Look.of(*values[:-1]), self._look, made)

    def _look(self, job: Job, wanted: Look) -> Updates:
        from lib_unet_viz.maps import vxa

        model = self.model()
        tokens.indices(wanted.asked.indices, model.tokens(wanted.prompt))
        trace = vxa.trace_picture(
            model,
            wanted.picture,
            wanted.prompt,
            blocks=block_spec(layer_choices(model), wanted.layers),
            timestep=wanted.timesteps,
            noise_seed=wanted.seed,
            cancelled=job.cancelled,
        )
        # Shown larger than the model sees it; the map is stretched over it.
        trace.picture = vxa.prepare(wanted.picture, max(look.SHOWN_SIZE, model.native_size))
        job.keep(trace)
        image, line = drawn(trace, wanted.asked, model)
        return {self.result: image, self.status: line}

    def _alone_for(self, wanted: Look) -> AbstractContextManager[Any]:
        from lib_unet_viz.maps import vxa

        return self._alone(vxa.runs(wanted.timesteps))

    def _busy(self, running: bool) -> Updates:
        return {
            self.go: gr.update(interactive=not running),
            self.stop: gr.update(visible=running, interactive=True, value="Interrupt"),
        }

    def redraw(self, name: str, prompt: str, *asked: Any) -> tuple[Any, Any]:
        """Another word or mode of the same look; nothing where the prompt has changed since."""
        if not name:
            return gr.update(), gr.update()
        try:
            trace, wanted = self.runs.trace(name), Asked(*asked)
            if trace.meta.prompt != prompt:
                return gr.update(), gr.update()
            if not wanted.other.strip():
                return drawn(trace, wanted)
            with self._alone(0):
                return drawn(trace, wanted, self.model())
        except ValueError as error:
            return gr.update(), readout.problem(error)

    def _choices(self, prompt: str) -> list[str]:
        """Such as "1 hat", "2 ,", "3 neck"."""
        text = self.model().tokens(prompt)
        return [f"{index} {tokens.readable(text[index])}" for index in tokens.content(text)]

    def _offer(self) -> tuple[list[str], str]:
        """Choices of layers and the usual timesteps; those of any model while none is loaded."""
        try:
            return offer(self.model())
        except ValueError:
            return [ALL_LAYERS, NEAR_LAYERS], ""
