"""What is run beside a plain run of a U-Net: recordings, layer prompts, edits, others' methods.

A `Lane` is a run that goes on call by call, so that several runs may take turns, a step each: its hooks are
on during its own calls only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from models import TOKENS, Calls, Inputs, Model
from rivals import RIVALS, prompt_to_prompt

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture, listed
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.editing.hooks import Editing, Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.maps.words import word_captures
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.notation.windows import within
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.unet import UNet

WORDS = "word maps, as by default"
BOTH = "word maps of prompt and negative prompt"
FEATURES = "features of all blocks at 3 of 20 steps"
PROMPTS = "layer prompts: a text for each block"
DAAM = "DAAM's attention, upsampled per call"
EXPLICIT = "explicit attention in every layer, as prompt-to-prompt's code"
SOURCE = "a cat with a hat sitting on a table"
EDITS = {
    "edit: swap": EditSettings(edits="cat -> dog", blend=False),
    "edit: swap, local blend": EditSettings(edits="cat -> dog"),
    "edit: refine, re-weight, local blend": EditSettings(edits="hat + with a feather; table * 2"),
}
ALIKE = "alike"  # the kind of a run's calls that do not differ


def _nothing(*_: object) -> int:
    return 0


@dataclass(frozen=True)
class Lane:
    """on: a context in which the U-Net is looked into or changed, which may be entered again to go on.
    at: called before each call with its step, from 0. after: called after it. kept: bytes held at the end.
    """

    on: Callable[[], AbstractContextManager[object]] = nullcontext
    at: Callable[[int], object] = _nothing
    after: Callable[[], object] = _nothing
    kept: Callable[[], int] = _nothing


@dataclass(frozen=True)
class Variant:
    """start: makes a lane. kind: of a call at a step, from 1; calls of a kind take equally long. pictures: of
    a batch. bar: at most so many times a plain run. asked: of the recorder. usual: measured unless named.
    """

    start: Callable[[], Lane]
    kind: Callable[[int], str] = lambda _: ALIKE
    pictures: int = 1
    bar: float | None = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    usual: bool = True

    def kinds(self, total: int) -> dict[str, list[int]]:
        """The steps of a run, from 1, by the kind of their calls."""
        found: dict[str, list[int]] = {}
        for step in range(1, total + 1):
            found.setdefault(self.kind(step), []).append(step)
        return found


@dataclass(frozen=True)
class Bench:
    """A U-Net at one latent size (height, width), and runs of `total` steps of it."""

    model: Model
    unet: UNet
    size: tuple[int, int]
    total: int
    device: str
    dtype: torch.dtype

    def inputs(self, pictures: int) -> Inputs:
        """What the U-Net is called with."""
        return Inputs.of(self.model, self.size, device=self.device, dtype=self.dtype, pictures=pictures)

    def variants(self) -> dict[str, Variant]:
        """By title, in the order in which they are shown."""
        return {**self._recordings(), PROMPTS: self._layer_prompts(), **self._rivals(), **self._edits()}

    def _recordings(self) -> dict[str, Variant]:
        model, middle = self.model, max(1, self.total // 2)
        some = ", ".join(map(str, sorted({1, middle, self.total})))
        self_only = partial(Capture, kinds="self", mean=True)
        raw = Capture(what="Q,K,QK,VQK", halves="cond, uncond")
        return {
            WORDS: self._recording(bar=1.02, attention=word_captures(halves=("cond",))),
            BOTH: self._recording(attention=word_captures(halves=("cond", "uncond"))),
            FEATURES: self._recording(bar=1.02, features=Capture(steps=some)),
            "word maps without self-attention": self._more(attention=Capture(mean=True)),
            f"Q·K of {model.raw}, each head, every step": self._more(attention=Capture(model.raw)),
            f"self-attention of {model.looks}, mean": self._more(attention=self_only(model.looks)),
            f"self-attention of {model.finest}, mean": self._more(attention=self_only(model.finest)),
            "Q, K, Q·K, V·Q·K of all cross-attentions, both halves": self._more(attention=raw),
        }

    def _more(self, **asked: Any) -> Variant:
        return self._recording(usual=False, **asked)

    def _recording(self, *, bar: float | None = None, usual: bool = True, **asked: Any) -> Variant:
        captures = [*listed(asked.get("features")), *listed(asked.get("attention"))]

        def kind(step: int) -> str:
            due = sum(capture.steps.includes(step, self.total) for capture in captures)
            return f"{due} of {len(captures)} captures due"

        def start() -> Lane:
            calls = Calls(self.size, self.total)
            recorder = Recorder(self.unet, calls=calls, **asked)

            @contextmanager
            def on() -> Iterator[None]:
                recorder.install()
                try:
                    yield
                finally:
                    recorder.remove()

            def kept() -> int:
                recorder.finish(check=False)
                return recorder.trace.nbytes

            return Lane(on, calls.at, kept=kept)

        return Variant(start, kind, bar=bar, asked=asked, usual=usual)

    def _layer_prompts(self) -> Variant:
        """Another context for every block."""
        context = self.inputs(1).context
        own = {name: context.roll(index, 1) for index, name in enumerate(self.unet.blocks)}
        return Variant(lambda: Lane(lambda: Contexts(self.unet, lambda *_: own)), bar=1.02)

    def _rivals(self) -> dict[str, Variant]:
        def start(way: Callable[..., Any]) -> Lane:
            rival = way(self.unet.module, self.size)
            return Lane(rival.on, kept=lambda: _bytes(rival.kept))

        return {title: Variant(partial(start, way), usual=title == DAAM) for title, way in RIVALS.items()}

    def _edits(self) -> dict[str, Variant]:
        """Of a source and one target; whole runs, as attention is edited in some of their steps only."""
        found = {title: self._edit(_plan(settings)) for title, settings in EDITS.items()}
        rival = Variant(lambda: Lane(prompt_to_prompt(self.unet.module, self.size).on), pictures=2)
        return {**found, EXPLICIT: rival}

    def _edit(self, plan: Plan) -> Variant:
        total, latents = self.total, self.inputs(2).latent[2:]

        def kind(step: int) -> str:
            parts = {
                "cross": within(plan.cross.default, step - 1, total),
                "self": within(plan.self_, step - 1, total),
                "blend": plan.blend is not None and plan.blend.begins(step - 1, total),
            }
            return ", ".join(name for name, there in parts.items() if there) or "nothing edited"

        def start() -> Lane:
            calls = Calls(self.size, total, pictures=2)
            editing = Editing(self.unet, plan, calls=calls)
            return Lane(lambda: editing, calls.at, lambda: editing.blend(latents))

        return Variant(start, kind, pictures=2, bar=1.10)


def alone(bench: Bench, asked: Mapping[str, Any]) -> Callable[[], None]:
    """q·k and softmax of what attention is asked for and nothing else, on random numbers, of a whole run."""
    noise = partial(torch.randn, device=bench.device, dtype=bench.dtype)
    pairs = []
    for capture in listed(asked["attention"]):
        for site in capture.sites(bench.unet):
            queries, channels = math.prod(site.size(bench.size)), site.channels // site.heads
            if capture.most is None or queries <= capture.most:
                keys = noise(queries if site.kind == "self" else TOKENS, channels).T
                times = len(capture.halves) * site.heads * len(capture.steps.steps(bench.total))
                pairs.append((noise(queries, channels), keys, times))

    def action() -> None:
        for q, k, times in pairs:
            for _ in range(times):
                (q @ k).softmax(-1)

    return action


def _plan(settings: EditSettings) -> Plan:
    def tokens(prompt: str) -> list[str]:
        words = [f"{word}</w>" for word in prompt.split()]
        return [BOS, *words, *[EOS] * (TOKENS - 1 - len(words))]

    return Request.of(SOURCE, settings).plan(tokens)


def _bytes(tensors: list[torch.Tensor]) -> int:
    """Of tensors that stay, each memory once."""
    held = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())
