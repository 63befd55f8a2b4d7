"""diffusers' U-Net as a plain loop over its blocks, each with a context of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def forward(
    unet: Any,
    sample: Tensor,
    timestep: Tensor,
    contexts: Mapping[str, Tensor],
    *,
    added: dict[str, Tensor] | None = None,
) -> Tensor:
    """The noise predicted for latents (row, channel, y, x); contexts (row, token, channel) by block name.

    added: what SDXL is given beside the contexts.
    """
    emb = unet.time_embedding(unet.time_proj(timestep.expand(len(sample))).to(sample.dtype))
    if added is not None:
        extra = unet.get_aug_embed(emb=emb, encoder_hidden_states=None, added_cond_kwargs=added)
        emb = emb + extra
    names = iter(contexts)

    def layer(group: Any, number: int, h: Tensor) -> Tensor:
        context = contexts[next(names)]
        h = group.resnets[number](h, emb)
        if getattr(group, "attentions", None):
            [h] = group.attentions[number](h, encoder_hidden_states=context, return_dict=False)
        return h

    next(names)
    h = unet.conv_in(sample)
    skips = [h]
    for group in unet.down_blocks:
        for number in range(len(group.resnets)):
            h = layer(group, number, h)
            skips.append(h)
        for sampler in group.downsamplers or ():
            next(names)
            h = sampler(h)
            skips.append(h)
    h = unet.mid_block.resnets[1](layer(unet.mid_block, 0, h), emb)
    for group in unet.up_blocks:
        for number in range(len(group.resnets)):
            h = layer(group, number, torch.cat([h, skips.pop()], 1))
        for sampler in group.upsamplers or ():
            h = sampler(h)
    return unet.conv_out(unet.conv_act(unet.conv_norm_out(h)))  # type: ignore[no-any-return]
