"""A target's cross-attention as a mixture of its source's and its own (Hertz et al. 2022, section 3).

As attention is linear in the values, what an edit does to probabilities can be done to the values, and each
part runs in a fused kernel: (A_source M) V = A_source (M V).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lib_unet_viz.attention import full_precision, split_heads
from lib_unet_viz.unet import AttentionSite

Parts = dict[
    str, Tensor
]  # what to_q, to_k and to_v put out, by "q", "k", "v": (row, position or token, channel)


@dataclass(frozen=True)
class Mixing:
    """The probabilities of a target at one step: A_source @ of_source + A_target * of_target.

    of_source: (source token, target token). of_target: (target token). padding: how much of the source's
    padding gets.
    """

    of_source: Tensor
    of_target: Tensor
    padding: float

    @property
    def idle(self) -> bool:
        """Whether all is the target's own."""
        return not self.of_source.any() and bool((self.of_target == 1).all())

    def longer(self, tokens: int) -> Mixing:
        """For contexts that the host has made so long, with padding that stands for itself."""
        source, target = self.of_source.shape
        if source == target == tokens:
            return self
        of_source = functional.pad(self.of_source, (0, tokens - target, 0, tokens - source))
        padding = range(max(source, target), tokens)
        of_source[padding, padding] = self.padding
        of_target = functional.pad(self.of_target, (0, tokens - target), value=1.0 - self.padding)
        return Mixing(of_source, of_target, self.padding)

    def repeated(self, times: int) -> Mixing:
        """For contexts that the host has made longer by repeating them as a whole."""
        repeated = torch.block_diag(*[self.of_source] * times)
        return Mixing(repeated, self.of_target.repeat(times), self.padding)

    def maps(self, source: Tensor, own: Tensor) -> Tensor:
        """The target's probabilities, of the source's and its own: all (head, token, position)."""
        with full_precision(own.device.type):
            return self.of_source.T.to(own) @ source + self.of_target.to(own)[:, None] * own

    def output(self, site: AttentionSite, parts: Mapping[str, Tensor], source: int, row: int) -> Tensor:
        """A target's values so mixed, (position, head * channel), in float32 or what is finer.

        source, row: the rows in the batch of the source and of the target.
        """
        values = _split(site, parts["v"], row)
        mixed = torch.zeros_like(_split(site, parts["q"], row))
        with full_precision(values.device.type):
            if self.of_source.any():
                mixed += _attended(site, parts, source, self.of_source.to(values) @ values)
            if self.of_target.any():
                mixed += _attended(site, parts, row, self.of_target.to(values)[:, None] * values)
        return mixed.transpose(0, 1).flatten(1)


def attended(site: AttentionSite, parts: Mapping[str, Tensor], row: int) -> Tensor:
    """A row's values as they are without an edit, (position, head * channel), as of `Mixing.output`."""
    values = _split(site, parts["v"], row)
    with full_precision(values.device.type):
        return _attended(site, parts, row, values).transpose(0, 1).flatten(1)


def _attended(site: AttentionSite, parts: Mapping[str, Tensor], row: int, values: Tensor) -> Tensor:
    """A row's probabilities times values (head, token, channel): (head, position, channel)."""
    q, k = (_split(site, parts[part], row) for part in ("q", "k"))
    scaled = q * (site.scale * math.sqrt(q.shape[-1]))  # torch 2.0 takes no scale
    attended: Tensor = functional.scaled_dot_product_attention(scaled[None], k[None], values[None])[0]
    return attended


def _split(site: AttentionSite, output: Tensor, row: int) -> Tensor:
    heads = split_heads(output[row], site.heads)
    return heads if heads.dtype == torch.float64 else heads.float()
