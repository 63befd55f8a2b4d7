"""Layer prompts in the webui and Forge: each block of the U-Net may read its own text, in one generation.

The webui is given the text that most blocks read, so that whatever a prompt feeds beside cross-attention is
of that text. All others are encoded by the webui's own means before each sampling: emphasis, prompt editing,
AND, BREAK, textual inversions and LoRAs are as in any prompt. References are to the webui's v1.10.1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from lib_unet_viz.capture.request import Row
from lib_unet_viz.editing.contexts import Part
from lib_unet_viz.hosts.webui import passes
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.passes import GIVEN, PROMPTS
from lib_unet_viz.notation.layer_prompt import OPEN, LayerPrompt
from lib_unet_viz.notation.specs import Layout
from lib_unet_viz.trace import Half, Pass
from lib_unet_viz.unet import AttentionSite

Texts = tuple[str, ...]  # one for each image of the batch
HALVES: tuple[Half, Half] = ("cond", "uncond")


@dataclass
class _Read:
    """What the blocks read in one pass of a batch: the common texts, and block to texts where they differ."""

    common: dict[Half, Texts]
    own: dict[Half, dict[str, Texts]]
    encoded: dict[tuple[Half, Texts], Any] = field(default_factory=dict)

    @property
    def blocks(self) -> list[str]:
        """The blocks that read something else than most do."""
        return list(dict.fromkeys([*self.own["cond"], *self.own["uncond"]]))

    def read(self, half: Half, block: str) -> Texts:
        return self.own[half].get(block, self.common[half])


class Layers:
    """The layer prompts of one generation, batch by batch."""

    def __init__(self, p: Any) -> None:
        self.p = p
        self._passes: dict[Pass, _Read] = {}

    def take(self, layout: Layout) -> None:
        """Take the notation out of the batch's prompts, before the webui encodes them (processing.py:964).

        The infotext keeps what was typed, as these are restored from `all_prompts` (processing.py:1019).
        Raises SpecError, with its place in the prompt.
        """
        self._passes = {}
        for pass_, names in PROMPTS.items():
            there = {half: getattr(self.p, name, None) or [] for half, name in names.items()}
            if not any(OPEN in text for texts in there.values() for text in texts):
                continue
            made = _Read({}, {})
            for half, texts in there.items():
                made.common[half], made.own[half] = _read(texts, layout)
                setattr(self.p, names[half], list(made.common[half]))
            self._passes[pass_] = made

    def encode(self, pass_: Pass) -> None:
        """Encode each text that only some blocks read, once for this pass; LoRAs are active by now.

        Raises ValueError where AND parts a block's text into others than most blocks' text.
        """
        current = self._passes.get(pass_)
        if current is None:
            return
        for half, own in current.own.items():
            for texts in dict.fromkeys(own.values()):
                if (half, texts) not in current.encoded:
                    current.encoded[half, texts] = self._encoded(half, texts, pass_)
                    if half == "cond":
                        _check_parts(texts, current.common[half])

    def active(self, pass_: Pass) -> bool:
        """Whether some block reads a text of its own in this pass."""
        current = self._passes.get(pass_)
        return current is not None and bool(current.blocks)

    def contexts(self, params: Any, rows: Sequence[Row], *, first: int, pass_: Pass) -> dict[str, Tensor]:
        """The contexts (row, token, channel) of one call, for the blocks that read their own.

        first: number of the batch's first image. A shorter context is repeated to the length of the longest,
        which leaves attention's output as it is.
        """
        current, step = self._passes[pass_], params.denoiser.step
        shared: dict[tuple[Texts, Texts], Tensor] = {}
        reading = {
            block: (current.read("cond", block), current.read("uncond", block)) for block in current.blocks
        }
        for read in reading.values():
            if read not in shared:
                halves = {
                    half: _contexts(half, self._conditioning(current, params, half, texts), step)
                    for half, texts in zip(HALVES, read, strict=True)
                    if any(row.half == half for row in rows)
                }
                shared[read] = _stacked([halves[row.half][row.image - first][_sub(row)] for row in rows])
        return {block: shared[read] for block, read in reading.items()}

    def describe(self, pass_: Pass) -> Iterator[tuple[int, dict[str, Any]]]:
        """For each image of the batch, the tokens of the blocks that read their own text."""
        current = self._passes.get(pass_)
        if current is None:
            return
        steps = passes.steps(self.p, pass_)
        for place in range(len(current.common["cond"])):
            found: dict[str, dict[str, Any]] = {}
            for half, own in current.own.items():
                for block, texts in own.items():
                    tokens = webui_text.tokens_of(self.p.sd_model, texts[place], half=half, steps=steps)
                    found.setdefault(block, {})[half] = tokens
            yield place, found

    def _conditioning(self, current: _Read, params: Any, half: Half, texts: Texts) -> Any:
        """The webui's own object for the texts: what it samples with, if these are the common ones."""
        if texts == current.common[half]:
            return params.denoiser.sampler.sampler_extra_args[half]
        return current.encoded[half, texts]

    def _encoded(self, half: Half, texts: Texts, pass_: Pass) -> Any:
        """As `setup_conds` and `calculate_hr_conds` do (processing.py:493, :1491)."""
        from modules import devices, prompt_parser, sd_samplers, shared

        p, second, hires = self.p, None, pass_ == "hires"
        size = (p.hr_upscale_to_x, p.hr_upscale_to_y) if hires else (p.width, p.height)
        config = sd_samplers.find_sampler_config(p.sampler_name)
        first = config.total_steps(p.steps) if config else p.steps
        if hires:
            config = sd_samplers.find_sampler_config(p.hr_sampler_name or p.sampler_name)
            steps = p.hr_second_pass_steps or p.steps
            second = config.total_steps(steps) if config else steps
        prompts = prompt_parser.SdConditioning(
            list(texts), is_negative_prompt=half == "uncond", width=size[0], height=size[1]
        )
        encode = getattr(
            prompt_parser,
            "get_multicond_learned_conditioning" if half == "cond" else "get_learned_conditioning",
        )
        with devices.autocast():
            return encode(p.sd_model, prompts, first, second, shared.opts.use_old_scheduling)


def texts_of(p: Any) -> list[str]:
    """All prompts of a run, as they were given: before styles and wildcards."""
    given = [getattr(p, name, None) or "" for names in GIVEN.values() for name in names.values()]
    return [text for one in given for text in (one if isinstance(one, list) else [one])]


def transform(part: Part, site: AttentionSite, context: Tensor) -> Tensor:
    """Hypernetworks act on the context before `to_k` and `to_v` (hypernetworks/hypernetwork.py:382)."""
    from modules import shared

    loaded = getattr(shared, "loaded_hypernetworks", None)
    if not loaded:
        return context
    from modules.hypernetworks import hypernetwork

    changed: Tensor = hypernetwork.apply_hypernetworks(loaded, context)[0 if part == "k" else 1]
    return changed


def _read(texts: Sequence[str], layout: Layout) -> tuple[Texts, dict[str, Texts]]:
    """The texts that most blocks read, and block to texts where they are others."""
    prompts = [LayerPrompt.parse(text) for text in texts]
    common = tuple(prompt.common(layout) for prompt in prompts)
    each = [prompt.per_block(layout) for prompt in prompts]
    reached = [name for name in layout.names if layout.depth.get(name) != 0]
    own = {name: tuple(blocks[name] for blocks in each) for name in reached}
    return common, {name: read for name, read in own.items() if read != common}


def _check_parts(texts: Texts, common: Texts) -> None:
    """The parts of AND are rows of the U-Net's batch, and weighted there: they must be as many and alike."""
    for text, usual in zip(texts, common, strict=True):
        parts, expected = (_weights(each) for each in (text, usual))
        if parts != expected:
            raise ValueError(
                f"AND parts {text!r} with the weights {parts}, but what most blocks read, {usual!r}, with "
                f"{expected}: write AND outside of {OPEN} … :~), or into each of its texts"
            )


def _weights(text: str) -> list[float]:
    from modules import prompt_parser

    indexes, _, _ = prompt_parser.get_multicond_prompt_list([text])
    return [float(weight) for _, weight in indexes[0]]


def _contexts(half: Half, conditioning: Any, step: int) -> list[list[Tensor]]:
    """By image and AND-subprompt, the context (token, channel) at a step; a negative prompt has one part."""
    from modules import prompt_parser

    if half == "uncond":
        return [[row] for row in _crossattn(prompt_parser.reconstruct_cond_batch(conditioning, step))]
    places, tensor = prompt_parser.reconstruct_multicond_batch(conditioning, step)
    rows = _crossattn(tensor)
    return [[rows[index] for index, _ in parts] for parts in places]


def _crossattn(conditioning: Any) -> Tensor:
    """SDXL's conditioning holds more than the context."""
    context: Tensor = conditioning["crossattn"] if isinstance(conditioning, Mapping) else conditioning
    return context


def _sub(row: Row) -> int:
    return row.sub if row.half == "cond" else 0


def _stacked(contexts: Sequence[Tensor]) -> Tensor:
    """Contexts (token, channel) as rows of one length, each repeated as a whole to get there."""
    import torch

    length = math.lcm(*(len(context) for context in contexts))
    return torch.stack([context.repeat(length // len(context), 1) for context in contexts])
