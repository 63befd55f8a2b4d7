"""Layer prompts in a diffusers pipeline: each block of the U-Net may read its own text, in one run.

    prompts = LayerPrompts(pipe, "a (~: IN00-OUT11: cute ; M00: excellent :~) girl", negative="blurry")
    with prompts.contexts():
        picture = pipe(**prompts.arguments, generator=torch.Generator().manual_seed(1)).images[0]

The pipeline is given the text that most blocks read, so that whatever a prompt feeds beside cross-attention
(SDXL's pooled vector) is of that text. All other texts are encoded once, before the run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.hosts.diffusers.attached import attach, describe, encode, tokens
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import Layout
from lib_unet_viz.trace import Half

PromptSlot = tuple[Half, int]  # which half of the guidance, which prompt of the batch
Texts = Sequence[str | None]  # one for each prompt of the batch; None: the pipeline is called without


class LayerPrompts:
    """The layer prompts of one run, read and encoded; see the module's text.

    prompt, negative: one each, or as many as the batch has; both may have groups of their own. A negative
    prompt that is blank for the whole batch is none, as where a pipeline is called without one.

    Raises SpecError, with its place in the prompt, for what cannot be read and for blocks that the model
    lacks.
    """

    def __init__(
        self,
        pipe: Any,
        prompt: str | Sequence[str],
        negative: str | Sequence[str] = "",
        *,
        images_per_prompt: int = 1,
        clip_skip: int | None = None,
        lora_scale: float | None = None,
    ) -> None:
        self.pipe, self.images_per_prompt = pipe, images_per_prompt
        self._encoding = {"clip_skip": clip_skip, "lora_scale": lora_scale}
        attached = attach(pipe)
        self.unet, self._calls = attached.unet, attached.calls
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        negatives = [negative] * len(prompts) if isinstance(negative, str) else list(negative)
        self.given: dict[Half, list[str]] = {"cond": prompts, "uncond": negatives}
        self._common: dict[Half, Texts] = {}
        self._own: dict[str, dict[PromptSlot, str | None]] = {}
        for half, texts in self.given.items():
            parsed = [LayerPrompt.parse(text) for text in texts]
            common = self._common[half] = _as_called(half, [p.common(self.unet) for p in parsed])
            for block, number, text in _differing(half, parsed, common, self.unet.layout):
                self._own.setdefault(block, {})[half, number] = text
        self._last: tuple[Tensor | None, dict[str, Tensor]] = (None, {})
        texts_of_blocks = (text for own in self._own.values() for text in own.values())
        self._encoded = _encoded(pipe, texts_of_blocks, **self._encoding)

    @property
    def texts(self) -> list[str]:
        """Each text that some block reads and is not given to the pipeline as a whole, once."""
        return [text or "" for text in self._encoded]

    @property
    def differ(self) -> bool:
        """Whether some block reads a text of its own."""
        return bool(self._own)

    @property
    def arguments(self) -> dict[str, Any]:
        """What to call the pipeline with: the texts that most blocks read, and how they are encoded."""
        found: dict[str, Any] = {
            "prompt": self._common["cond"],
            "num_images_per_prompt": self.images_per_prompt,
        }
        if None not in self._common["uncond"]:
            found["negative_prompt"] = self._common["uncond"]
        if self._encoding["clip_skip"] is not None:
            found["clip_skip"] = self._encoding["clip_skip"]
        if self._encoding["lora_scale"] is not None:
            found["cross_attention_kwargs"] = {"scale": self._encoding["lora_scale"]}
        return found

    def contexts(self) -> AbstractContextManager[Any]:
        """To be entered for the time of the run; nothing is installed where all blocks read the same."""
        return Contexts(self.unet, self._provide) if self.differ else nullcontext()

    def describe(self, **more: Any) -> dict[str, Any]:
        """As `hosts.diffusers.describe`: prompts as they were given, tokens as each block reads them."""
        prompts, negatives = ([text or "" for text in self._common[half]] for half in self.given)
        meta = describe(
            self.pipe,
            prompt=prompts,
            negative=negatives,
            images_per_prompt=self.images_per_prompt,
            **more,
        )
        if "images" in meta:
            numbers = (number // self.images_per_prompt for number in range(len(meta["images"])))
            meta["images"] = [
                image | self._described(n) for image, n in zip(meta["images"], numbers, strict=True)
            ]
        return meta | self._described(0)

    def _described(self, number: int) -> dict[str, Any]:
        """What is special to one prompt of the batch."""
        found: dict[str, Any] = {
            "prompt": self.given["cond"][number],
            "negative": self.given["uncond"][number],
        }
        by_block: dict[str, dict[str, list[str]]] = {}
        for block, own in self._own.items():
            for (half, place), text in own.items():
                if place == number:
                    by_block.setdefault(block, {})[half] = tokens(self.pipe, text or "")
        return found | ({"tokens_by_block": by_block} if by_block else {})

    def _provide(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Tensor]:
        """The call's own contexts, with other rows where a block reads another text.

        A pipeline gives the same tensor at every step, so that they are put together once.
        """
        given: Tensor = args[2] if len(args) > 2 else kwargs["encoder_hidden_states"]
        if given is not self._last[0]:
            self._last = (given, self._contexts(given))
        return self._last[1]

    def _contexts(self, given: Tensor) -> dict[str, Tensor]:
        rows = self._calls.rows(len(given))
        halves: dict[Half, Half] = {"perturbed": "cond"}
        places = [(halves.get(row.half, row.half), row.image // self.images_per_prompt) for row in rows]
        contexts = {}
        for block, own in self._own.items():
            contexts[block] = given.clone()
            for at, place in enumerate(places):
                if place in own:
                    contexts[block][at] = self._encoded[own[place]]
        return contexts


def _as_called(half: Half, texts: Sequence[str]) -> Texts:
    return [None] * len(texts) if half == "uncond" and not any(texts) else texts


def _differing(
    half: Half, prompts: Sequence[LayerPrompt], common: Texts, layout: Layout
) -> Iterator[tuple[str, int, str | None]]:
    """Block, number of the prompt in the batch, and text, where a block reads another than the common one."""
    each = [prompt.per_block(layout) for prompt in prompts]
    for block in layout.names:
        if layout.depth[block]:
            texts = _as_called(half, [own[block] for own in each])
            differing = enumerate(zip(texts, common, strict=True))
            yield from ((block, number, text) for number, (text, usual) in differing if text != usual)


@torch.no_grad()
def _encoded(pipe: Any, texts: Iterable[str | None], **encoding: Any) -> dict[str | None, Tensor]:
    """Each text's context (token, channel), once; without a negative prompt SDXL's is zero."""
    found = {text: encode(pipe, text or "", **encoding)[0][0] for text in dict.fromkeys(texts)}
    if None in found and pipe.config.get("force_zeros_for_empty_prompt", False):
        found[None] = torch.zeros_like(found[None])
    return found
