"""Attention's arithmetic on one row, from what `to_q`, `to_k` and `to_v` put out.

Shapes: q (head, query, channel), k and v (head, token, channel); all math in float32. Probabilities are
softmax(q k^T scale) over all tokens ("Attention Is All You Need", eq. 1), a chunk of queries at a time, so
that memory does not grow with the square of the picture. They lie in memory token by token, as maps are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

# Of the scores and of the probabilities of one chunk. On a CPU 1 MB each, which stays in its caches and which
# the allocator reuses instead of fetching it anew; elsewhere few and large launches count: 32 MB each.
_CHUNK_VALUES_CPU, _CHUNK_VALUES = 2**18, 2**23
_NOTHING = 1e-9


def split_heads(output: Tensor, heads: int) -> Tensor:
    """A linear layer's output (position, head * channel) as (head, position, channel)."""
    return output.reshape(output.shape[0], heads, -1).transpose(0, 1)


def positions(split: Tensor, size: tuple[int, int]) -> Tensor:
    """(head, query, channel) as (head, channel, y, x)."""
    return split.transpose(1, 2).reshape(split.shape[0], split.shape[2], *size)


def probabilities(q: Tensor, k: Tensor, scale: float) -> Iterator[tuple[slice, Tensor]]:
    """Yields (queries, probabilities (head, query, token) of these queries); each sums to 1 over tokens."""
    keys = k.float() * scale
    for chosen in _slices(q.shape[1], values_each=len(q) * k.shape[1], device=q.device.type):
        with full_precision(q.device.type):
            part = torch.softmax(keys @ q[:, chosen].float().transpose(1, 2), dim=1)
        yield chosen, part.transpose(1, 2)


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
    """Probabilities averaged over heads, informative heads count more, (token, query), float32, where q is.

    A head's weight is the mutual information of query and token: what knowing the query tells of where the
    head looks. Heads that look to the same places from everywhere count for nothing.
    """
    heads, queries, tokens = len(q), q.shape[1], k.shape[1]
    keys = k.float().transpose(1, 2) * scale
    result = torch.zeros(queries, tokens, device=q.device)
    whole = torch.zeros((), device=q.device)
    for group in _slices(heads, values_each=queries * tokens, device=q.device.type):
        chances, neg_entropy = _chances(q[group], keys[group])
        marginal = chances.mean(1)
        weights = (neg_entropy - torch.xlogy(marginal, marginal).sum(1)).clamp(min=_NOTHING)
        for weight, each in zip(weights, chances, strict=True):
            result.addcmul_(each, weight)
        whole += weights.sum()
    return result.div_(whole).T


def _chances(q: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
    """Probabilities (head, query, token); and their sums of p log p over tokens, mean over queries, (head).

    keys: (head, channel, token), scaled. As log p is score - log(sum of exp(scores)), one of each query's
    probabilities gives that sum, the largest, and no logarithm of the others is needed.
    """
    chances = torch.empty(len(q), q.shape[1], keys.shape[2], device=q.device)
    neg_entropy = torch.zeros(len(q), device=q.device)
    for chosen in _slices(q.shape[1], values_each=len(q) * keys.shape[2], device=q.device.type):
        with full_precision(q.device.type):
            scores = q[:, chosen].float() @ keys
        part = chances[:, chosen] = scores.softmax(-1)
        total = scores.amax(-1) - part.amax(-1).log()
        neg_entropy += (scores.mul_(part).sum(-1) - total).sum(1)
    return chances, neg_entropy / q.shape[1]


def information(joint: Tensor) -> Tensor:
    """Mutual information, in nats, of the two last axes of a table (..., a, b) of non-negative weights.

    At least a tiny number, so that it can be divided by.
    """
    shares = joint / joint.sum((-1, -2), keepdim=True).clamp(min=_NOTHING)

    def neg_entropy(shares: Tensor, *axes: int) -> Tensor:
        return torch.xlogy(shares, shares).sum(axes)

    both = neg_entropy(shares, -1, -2) - neg_entropy(shares.sum(-1), -1) - neg_entropy(shares.sum(-2), -1)
    return both.clamp(min=_NOTHING)


def mixed_values(q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
    """Probabilities times values, (head, query, channel), float32, where q is."""
    values = v.float()
    result = torch.empty(q.shape[0], q.shape[1], v.shape[2], dtype=torch.float32, device=q.device)
    for chosen, chunk in probabilities(q, k, scale):
        with full_precision(q.device.type):
            result[:, chosen] = chunk @ values
    return result


def _slices(count: int, *, values_each: int, device: str) -> Iterator[slice]:
    """Runs through `count` things, so many at a time that their values are about one chunk."""
    step = max(1, (_CHUNK_VALUES_CPU if device == "cpu" else _CHUNK_VALUES) // values_each)
    yield from (slice(start, min(start + step, count)) for start in range(0, count, step))


def _only(chunk: Tensor, tokens: Sequence[int] | None) -> Tensor:
    return chunk if tokens is None else chunk[:, :, list(tokens)]


def full_precision(device: str) -> AbstractContextManager[object]:
    """Autocast would compute in half precision; where torch 2.0 knows no autocast there is nothing to
    switch off.
    """
    return torch.autocast(device, enabled=False) if device in ("cpu", "cuda", "xpu") else nullcontext()
