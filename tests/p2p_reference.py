"""Prompt-to-prompt (Hertz et al. 2022, "Prompt-to-Prompt Image Editing with Cross Attention Control") as
written: explicit probabilities in every attention, and a plain sampling loop. Slow and simple; what the
package does with hooks is compared with it. Knows nothing of the package.

Pictures: number 0 is the source, 1.. the targets, all from one noise. Only conditional rows are edited.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

EOS = "<|endoftext|>"
BLEND_POSITIONS = 192  # the local blend looks at the smallest cross-attentions that have at least so many

Alpha = Callable[[int, int], Sequence[Tensor]]


@torch.no_grad()
def reference_edit(
    pipe: Any,
    prompts: Sequence[str],
    *,
    matrices: Sequence[Tensor],
    mapped: Sequence[Tensor],
    strength: Sequence[Tensor],
    alpha: Alpha,
    self_window: tuple[float, float] = (0.0, 0.4),
    self_size: int = 16,
    blend: dict[str, Any] | None = None,
    steps: int,
    cfg: float,
    seed: int,
    size: tuple[int, int] | None = None,
    names: Collection[str] | None = None,
    negative: str | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """The latents (picture, channel, y, x) after all steps, and after each step the blend's mask.

    pipe: a diffusers Stable Diffusion pipeline (1, 2, XL), whose scheduler calls the U-Net once a step.
    For each target: a matrix (source token, target token), and per target token `mapped` (0 or 1) and
    `strength`; alpha(step, total) gives each target's alphas (token), 0 or 1, steps counted from 0.
    size: (height, width) in pixels. names: the attention modules that are edited ("mid_block.attentions.0.
    transformer_blocks.0.attn2"); None all. blend: words: token positions, a list for each picture;
    subtract: the same, or None; threshold (0.3); start (0.2), a share of the steps.
    Masks are bool (target, y, x), at each step that of the steps so far, also before `start`; [] without
    a blend. Raises ValueError for other schedulers and names.
    """
    edit = Edit(
        len(prompts), steps, list(matrices), list(mapped), list(strength), alpha, self_window, self_size
    )
    factor = pipe.vae_scale_factor
    height, width = size or (pipe.unet.config.sample_size * factor,) * 2
    guided = cfg > 1
    context, extra = _conditions(pipe, prompts, negative, guided, (height, width))
    noise = torch.randn(
        (1, pipe.unet.config.in_channels, height // factor, width // factor),
        generator=torch.Generator("cpu").manual_seed(seed),
        dtype=context.dtype,
    )
    pipe.scheduler.set_timesteps(steps, device=context.device)
    latents = noise.to(context.device).repeat(len(prompts), 1, 1, 1) * pipe.scheduler.init_noise_sigma
    if len(pipe.scheduler.timesteps) != steps:
        raise ValueError(f"{type(pipe.scheduler).__name__} calls the U-Net more than once a step")
    masks = []
    with _processors(pipe.unet, edit, names):
        for step, timestep in enumerate(pipe.scheduler.timesteps):
            edit.step = step
            given = pipe.scheduler.scale_model_input(torch.cat([latents] * (1 + guided)), timestep)
            noise = pipe.unet(given, timestep, encoder_hidden_states=context, added_cond_kwargs=extra).sample
            if guided:
                unconditional, conditional = noise.chunk(2)
                noise = unconditional + cfg * (conditional - unconditional)
            latents = pipe.scheduler.step(noise, timestep, latents).prev_sample
            if blend is not None:
                mask = _mask(edit, blend, latents.shape[-2:])
                masks.append(mask)
                if step + 1 > int(blend.get("start", 0.2) * steps):
                    latents[1:] = torch.where(mask[:, None], latents[1:], latents[:1])
    return latents, masks


@dataclass
class Edit:
    """The edit's numbers, the step that is on, and the sums of the cross-attentions seen so far."""

    pictures: int
    total: int
    matrices: list[Tensor]
    mapped: list[Tensor]
    strength: list[Tensor]
    alpha: Alpha
    self_window: tuple[float, float]
    self_size: int
    step: int = 0
    # By the number of positions: (picture, position, token), means over heads summed over layers and steps.
    seen: dict[int, Tensor] = field(default_factory=dict)

    def cross(self, probabilities: Tensor) -> None:
        """Edit (picture, head, position, token) of the conditional rows in place."""
        source = probabilities[0].clone()
        for target, alpha in enumerate(self.alpha(self.step, self.total)):
            own = probabilities[target + 1].clone()
            matrix, mapped, strength, on = (
                value.to(own)
                for value in (self.matrices[target], self.mapped[target], self.strength[target], alpha)
            )
            edited = strength * (source @ matrix + (1 - mapped) * own)
            probabilities[target + 1] = on * edited + (1 - on) * own

    def self_(self, probabilities: Tensor) -> None:
        """Give the targets the source's (picture, head, position, position), in place."""
        start, end = (int(share * self.total) for share in self.self_window)
        if probabilities.shape[-2] <= self.self_size**2 and start <= self.step < end:
            probabilities[1:] = probabilities[:1].clone()

    def see(self, probabilities: Tensor) -> None:
        """Keep cross-attention for the masks."""
        found = probabilities.mean(1)
        self.seen[found.shape[1]] = self.seen.get(found.shape[1], 0) + found


class _Processor:
    """Attention as in the paper: softmax(q k^T / sqrt(d)), edited, times v (diffusers' AttnProcessor)."""

    def __init__(self, edit: Edit, *, edited: bool) -> None:
        self.edit, self.edited = edit, edited

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, **rest: Any
    ) -> Tensor:
        cross = encoder_hidden_states is not None
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        q, k, v = (
            layer(given).unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # (row, head, position, channel)
            for layer, given in ((attn.to_q, hidden_states), (attn.to_k, context), (attn.to_v, context))
        )
        probabilities = (q @ k.transpose(-1, -2) * attn.scale).softmax(-1)
        conditional = probabilities[-self.edit.pictures :]
        if self.edited:
            (self.edit.cross if cross else self.edit.self_)(conditional)
        if cross:
            self.edit.see(conditional)
        found: Tensor = attn.to_out[0]((probabilities @ v).transpose(1, 2).flatten(2))
        return found


@contextmanager
def _processors(unet: Any, edit: Edit, names: Collection[str] | None) -> Iterator[None]:
    """All attentions through `_Processor`, those with `names` edited; the U-Net's own again afterwards."""
    own = dict(unet.attn_processors)
    there = {key.removesuffix(".processor") for key in own}
    if names is not None and not set(names) <= there:
        raise ValueError(f"no attention: {sorted(set(names) - there)}")
    try:
        unet.set_attn_processor(
            {
                key: _Processor(edit, edited=names is None or key.removesuffix(".processor") in names)
                for key in own
            }
        )
        yield
    finally:
        unet.set_attn_processor(own)


def _conditions(
    pipe: Any, prompts: Sequence[str], negative: str | None, guided: bool, size: tuple[int, int]
) -> tuple[Tensor, dict[str, Tensor] | None]:
    """The context (row, token, channel), unconditional rows first, and what SDXL is given beside it."""
    encoded = pipe.encode_prompt(
        list(prompts),
        device=pipe.unet.device,
        num_images_per_prompt=1,
        do_classifier_free_guidance=guided,
        negative_prompt=None if negative is None else [negative] * len(prompts),
    )
    context = torch.cat([encoded[1], encoded[0]]) if guided else encoded[0]
    if len(encoded) == 2:
        return context, None
    pooled = torch.cat([encoded[3], encoded[2]]) if guided else encoded[2]
    sizes = torch.tensor([[*size, 0, 0, *size]]).to(context).repeat(len(pooled), 1)
    return context, {"text_embeds": pooled, "time_ids": sizes}


def _mask(edit: Edit, blend: dict[str, Any], size: tuple[int, int]) -> Tensor:
    """Where the targets may differ from the source, bool (target, y, x), of the steps so far."""
    positions = min((count for count in edit.seen if count >= BLEND_POSITIONS), default=max(edit.seen))
    maps = edit.seen[positions].unflatten(1, _shape(positions, size))
    threshold = blend.get("threshold", 0.3)
    mask = _above(maps, blend["words"], threshold, size)
    if blend.get("subtract") is not None:
        mask &= ~_above(maps, blend["subtract"], threshold, size)
    return mask


def _above(maps: Tensor, words: Sequence[Sequence[int]], threshold: float, size: tuple[int, int]) -> Tensor:
    """Where a target's or the source's words exceed the threshold; maps (picture, y, x, token)."""
    found = []
    for picture, at in zip(maps, words, strict=True):
        heat = picture[..., list(at)].sum(-1)[None, None]
        heat = functional.max_pool2d(heat, 3, stride=1, padding=1)
        heat = functional.interpolate(heat, size=tuple(size), mode="nearest")[0, 0]
        found.append(heat / heat.max() > threshold if at else torch.zeros_like(heat, dtype=torch.bool))
    return torch.stack([found[0] | target for target in found[1:]])


def _shape(positions: int, size: tuple[int, int]) -> tuple[int, int]:
    """(y, x) of an attention with so many positions, in a U-Net that halves a latent of this size."""
    height, width = size
    while height * width > positions:
        height, width = -(-height // 2), -(-width // 2)
    if height * width != positions:
        raise ValueError(f"{positions} positions do not come from a latent of {tuple(size)}")
    return height, width


def reference_alignment(source: Sequence[str], target: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Needleman-Wunsch on two prompts' tokens: (matrix (source token, target token), mapped (target token)).

    Tokens with BOS, EOS and padding, one chunk. Gap 0, match 1, mismatch -1, and of equally good alignments
    that with the earliest matches (seq_aligner.py of google/prompt-to-prompt prefers gaps as well).
    """
    s, t = source.index(EOS), target.index(EOS)
    scores = [[0] * (t + 1) for _ in range(s + 1)]  # of the first i and j tokens, BOS included
    for i in range(1, s + 1):
        for j in range(1, t + 1):
            scores[i][j] = max(_diagonal(scores, source, target, i, j), scores[i][j - 1], scores[i - 1][j])
    pairs = {(s, t)} | {(place, place) for place in range(max(s, t) + 1, len(target))}
    i, j = s, t
    while i and j:
        if scores[i][j] == scores[i][j - 1]:
            j -= 1
        elif scores[i][j] == scores[i - 1][j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs |= {(i, j)} if source[i] == target[j] else set()
    matrix = torch.zeros(len(source), len(target))
    matrix[tuple(torch.tensor(sorted(pairs)).T)] = 1
    return matrix, matrix.sum(0)


def _diagonal(scores: list[list[int]], source: Sequence[str], target: Sequence[str], i: int, j: int) -> int:
    return scores[i - 1][j - 1] + (1 if source[i - 1] == target[j - 1] else -1)
