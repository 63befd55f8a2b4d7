"""How others look into a U-Net, rebuilt from their published methods, each a `Rival`.

`prompt_to_prompt`  every attention computes its probabilities explicitly; those of the conditional half of
                    up to 32 x 32 positions are stored, and added up over steps (Hertz et al. 2022;
                    google/prompt-to-prompt: AttentionStore)
`daam`              every cross-attention computes its probabilities explicitly; each head's maps of the
                    conditional half are brought to 64 x 64 bicubically at every call, and summed (Tang et
                    al. 2023, "What the DAAM")
`dump_unet`         a hook after every cross-attention computes Q, K, their product, its probabilities and
                    the output over again and keeps copies of them, on the model's device
                    (hnmr293/stable-diffusion-webui-dumpunet)

Nothing of their code is here; what they compute, keep and discard is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Kept = list[Tensor]
_MOST, _SIDE = 32 * 32, 64


@dataclass(frozen=True)
class Rival:
    """on: a context in which the U-Net is looked into, which may be entered again to go on. kept: what the
    calls so far have left.
    """

    on: Callable[[], AbstractContextManager[None]]
    kept: Kept


def prompt_to_prompt(unet: Any, size: tuple[int, int]) -> Rival:
    """Keeps the last step's maps and the sums over steps."""
    sums: Kept = []
    step: Kept = []
    held: Kept = []

    def store(_: Any, probabilities: Tensor) -> None:
        cond = probabilities[len(probabilities) // 2 :]
        if cond.shape[1] <= _MOST:
            step.append(cond)

    def add_up(*_: object) -> None:
        for index, each in enumerate(step):
            if index < len(sums):
                sums[index] += each
            else:
                sums.append(each.clone())
        held[:] = [*step, *sums]
        step.clear()

    @contextmanager
    def on() -> Iterator[None]:
        handle = unet.register_forward_hook(add_up)
        try:
            with _explicit(unet, store):
                yield
        finally:
            handle.remove()

    return Rival(on, held)


def daam(unet: Any, size: tuple[int, int]) -> Rival:
    """Keeps a sum (head, token, 64, 64) over steps and all layers but the coarsest."""
    sums: dict[int, Tensor] = {}
    held: Kept = []
    ratio = size[0] / size[1]

    def upsample(attention: Any, probabilities: Tensor) -> None:
        cond = probabilities[len(probabilities) // 2 :]
        if cond.shape[1] <= size[0] * size[1] // 64:
            return
        height = round((cond.shape[1] * ratio) ** 0.5)
        maps = cond.transpose(1, 2).unflatten(2, (height, -1))
        larger = functional.interpolate(maps, size=(_SIDE, _SIDE), mode="bicubic").clamp(min=0)
        heads = len(larger)
        sums[heads] = sums[heads] + larger if heads in sums else larger
        held[:] = sums.values()

    return Rival(partial(_explicit, unet, upsample, cross_only=True), held)


def dump_unet(unet: Any, size: tuple[int, int]) -> Rival:
    """Keeps copies of all calls."""
    held: Kept = []

    def look(attention: Any, args: tuple[Tensor, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        context = kwargs.get("encoder_hidden_states")
        q = _heads(attention.to_q(args[0]), attention.heads)
        k, v = (_heads(linear(context), attention.heads) for linear in (attention.to_k, attention.to_v))
        probabilities = torch.softmax(q @ k.transpose(1, 2) * attention.scale, -1)
        held.extend(each.clone() for each in (q, k, probabilities, probabilities @ v))

    @contextmanager
    def on() -> Iterator[None]:
        with ExitStack() as hooks:
            for name, attention in unet.named_modules():
                if name.endswith("attn2"):
                    hooks.enter_context(attention.register_forward_hook(look, with_kwargs=True))
            yield

    return Rival(on, held)


@contextmanager
def _explicit(unet: Any, look: Callable[[Any, Tensor], None], *, cross_only: bool = False) -> Iterator[None]:
    """Attentions that compute probabilities as a whole, show them to `look` and go on with them."""
    before = unet.attn_processors
    chosen = {
        name: _Explicit(look) if "attn2" in name or not cross_only else processor
        for name, processor in before.items()
    }
    unet.set_attn_processor(chosen)
    try:
        yield
    finally:
        unet.set_attn_processor(dict(before))


class _Explicit:
    """An attention processor of diffusers; `look` gets (row and head, query, token)."""

    def __init__(self, look: Callable[[Any, Tensor], None]) -> None:
        self._look = look

    def __call__(
        self, attention: Any, hidden: Tensor, encoder_hidden_states: Tensor | None = None, **_: Any
    ) -> Tensor:
        context = hidden if encoder_hidden_states is None else encoder_hidden_states
        heads = attention.heads
        q, k, v = (
            _heads(linear(given), heads)
            for linear, given in (
                (attention.to_q, hidden),
                (attention.to_k, context),
                (attention.to_v, context),
            )
        )
        probabilities = torch.softmax(q @ k.transpose(1, 2) * attention.scale, -1)
        self._look(attention, probabilities)
        mixed = (probabilities @ v).unflatten(0, (-1, heads)).transpose(1, 2).flatten(2)
        result: Tensor = attention.to_out[1](attention.to_out[0](mixed))
        return result


def _heads(output: Tensor, heads: int) -> Tensor:
    """(row, position, head * channel) as (row and head, position, channel)."""
    split: Tensor = output.unflatten(2, (heads, -1))
    return split.transpose(1, 2).flatten(0, 1)


RIVALS: dict[str, Callable[[nn.Module, tuple[int, int]], Rival]] = {
    "prompt-to-prompt's attention and store": prompt_to_prompt,
    "DAAM's attention, upsampled per call": daam,
    "Dump U-Net's copies, all cross-attentions": dump_unet,
}
