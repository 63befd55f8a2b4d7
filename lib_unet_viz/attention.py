"""Attention's arithmetic on one row, from what `to_q`, `to_k` and `to_v` put out.

Shapes: q (head, query, channel), k and v (head, token, channel); all math in float32. Probabilities are
softmax(q k^T scale) over all tokens ("Attention Is All You Need", eq. 1), a chunk of queries at a time, so
that memory does not grow with the square of the picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Scores and probabilities of one chunk together stay below 64 MB.
_CHUNK_VALUES = 8 * 2**20
_NOTHING = 1e-9


def split_heads(output: Tensor, heads: int) -> Tensor:
    """A linear layer's output (position, head * channel) as (head, position, channel)."""
    return output.reshape(output.shape[0], heads, -1).transpose(0, 1)


def positions(split: Tensor, size: tuple[int, int]) -> Tensor:
    """(head, query, channel) as (head, channel, y, x)."""
    return split.transpose(1, 2).reshape(split.shape[0], split.shape[2], *size)


def probabilities(q: Tensor, k: Tensor, scale: float) -> Iterator[tuple[slice, Tensor]]:
    """Yields (queries, probabilities (head, query, token) of these queries); each sums to 1 over tokens."""
    heads, queries, _ = q.shape
    step = max(1, _CHUNK_VALUES // (heads * k.shape[1]))
    keys = k.float().transpose(1, 2)
    for start in range(0, queries, step):
        chosen = slice(start, min(start + step, queries))
        with _full_precision(q.device.type):
            part = torch.softmax((q[:, chosen].float() * scale) @ keys, dim=-1)
        yield chosen, part


def token_maps(
    q: Tensor, k: Tensor, scale: float, *, tokens: Sequence[int] | None, dtype: torch.dtype
) -> Tensor:
    """Probabilities (head, token, query) on the CPU, only of the given tokens."""
    kept = k.shape[1] if tokens is None else len(tokens)
    result = torch.empty(q.shape[0], kept, q.shape[1], dtype=dtype)
    for chosen, chunk in probabilities(q, k, scale):
        result[:, :, chosen] = _only(chunk, tokens).transpose(1, 2).to("cpu", dtype)
    return result


def mean_over_heads(q: Tensor, k: Tensor, scale: float, *, tokens: Sequence[int] | None) -> Tensor:
    """Probabilities averaged over heads, (token, query), float32, where q is."""
    kept = k.shape[1] if tokens is None else len(tokens)
    result = torch.empty(kept, q.shape[1], dtype=torch.float32, device=q.device)
    for chosen, chunk in probabilities(q, k, scale):
        result[:, chosen] = _only(chunk, tokens).mean(dim=0).T
    return result


def informed_mean(q: Tensor, k: Tensor, scale: float) -> Tensor:
    """Probabilities averaged over heads, each weighing what it tells, (token, query), float32, where q is.

    A head's weight is the mutual information of query and token: what knowing the query tells of where the
    head looks. Heads that look to the same places from everywhere count for nothing.
    """
    marginal = torch.zeros(q.shape[0], k.shape[1], device=q.device)
    told = torch.zeros(q.shape[0], device=q.device)
    for _, chunk in probabilities(q, k, scale):
        marginal += chunk.sum(1) / q.shape[1]
        told += torch.xlogy(chunk, chunk).sum((1, 2)) / q.shape[1]
    weights = (told - torch.xlogy(marginal, marginal).sum(1)).clamp(min=_NOTHING)
    weights = weights / weights.sum()
    result = torch.empty(k.shape[1], q.shape[1], dtype=torch.float32, device=q.device)
    for chosen, chunk in probabilities(q, k, scale):
        result[:, chosen] = torch.einsum("h,hqt->tq", weights, chunk)
    return result


def information(joint: Tensor) -> Tensor:
    """Mutual information, in nats, of the two last axes of a table (..., a, b) of non-negative weights.

    At least a tiny number, so that it can be divided by.
    """
    shares = joint / joint.sum((-1, -2), keepdim=True).clamp(min=_NOTHING)

    def told(shares: Tensor, *axes: int) -> Tensor:
        return torch.xlogy(shares, shares).sum(axes)

    both = told(shares, -1, -2) - told(shares.sum(-1), -1) - told(shares.sum(-2), -1)
    return both.clamp(min=_NOTHING)


def mixed_values(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Probabilities times values, (head, query, channel), float32, where q is."""
    values = v.float()
    result = torch.empty(q.shape[0], q.shape[1], v.shape[2], dtype=torch.float32, device=q.device)
    for chosen, chunk in probabilities(q, k, scale):
        with _full_precision(q.device.type):
            result[:, chosen] = chunk @ values
    return result


def _only(chunk: Tensor, tokens: Sequence[int] | None) -> Tensor:
    return chunk if tokens is None else chunk[:, :, list(tokens)]


def _full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast would compute in half precision; where torch 2.0 knows no autocast there is nothing to
    switch off.
    """
    return torch.autocast(device, enabled=False) if device in ("cpu", "cuda", "xpu") else nullcontext()
