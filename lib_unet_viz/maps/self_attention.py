"""Where the places of a picture look to: self-attention, of a trace that holds some of it.

A table of looks is (query, key): row i says where place i looks to, and sums to 1. Places run row by row over
a grid of (height, width). Tables are made of grids of up to 32 x 32 places; finer layers answer for one place
at a time, from their Q and K.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lib_unet_viz.attention import information
from lib_unet_viz.capture.request import WHOLE
from lib_unet_viz.maps.soundness import are_sound, sound
from lib_unet_viz.trace import FIRST, Selection

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy.typing as npt
    from torch import Tensor

    from lib_unet_viz.trace import AttentionMap, Trace

MOST = WHOLE
COLORS = 3
ROUNDS, NEAR = 3, 0.5  # of merging; nats
Size = tuple[int, int]


@dataclass(frozen=True)
class Site:
    """A self-attention layer of which a trace can tell something. `steps` count from 1."""

    block: str
    layer: int
    size: Size
    heads: int  # 0 where only their mean is there
    steps: tuple[int, ...]  # none where only their mean is there

    @property
    def name(self) -> str:
        return f"{self.block}.{self.layer}"


def sites(trace: Trace, *, selection: Selection = FIRST) -> list[Site]:
    """The self-attention layers that the trace holds QK, or Q and K, of."""
    found: dict[tuple[str, int], list[AttentionMap]] = {}
    for item in trace.view(selection).attention.all(kind="self"):
        found.setdefault((item.key.block, item.key.layer or 0), []).append(item)
    return [
        _site(block, layer, items)
        for (block, layer), items in found.items()
        if {"QK"} <= {item.key.what for item in items} or {"Q", "K"} <= {item.key.what for item in items}
    ]


def table(trace: Trace, *, selection: Selection = FIRST) -> tuple[Tensor, Size] | None:
    """All layers of the finest grid of up to 32 x 32 places in one table, each weighing what it tells.

    Means over heads and steps are taken where there are some, else what was recorded of single steps. None
    where the trace holds no such self-attention. Heads that hold NaN or infinities are left out.
    """
    maps = [
        item
        for item in trace.view(selection).attention.all(kind="self", what="QK")
        if math.prod(item.shape[-2:]) <= MOST
    ]
    maps = [item for item in maps if item.key.step is None] or maps
    maps = [item for item in maps if are_sound(item.data).any()]
    if not maps:
        return None
    finest = max((_size(item) for item in maps), key=math.prod)
    layers: dict[tuple[str, int | None], list[Tensor]] = {}
    for item in maps:
        if _size(item) == finest:
            layers.setdefault((item.key.block, item.key.layer), []).append(sound(item).mean(0))
    tables = torch.stack([torch.stack(each).mean(0).flatten(1).T for each in layers.values()])
    weights = information(tables)
    return torch.einsum("l,lqk->qk", weights / weights.sum(), tables), finest


def look(
    trace: Trace,
    at: tuple[float, float],
    *,
    site: str | None = None,
    head: int | None = None,
    step: int | None = None,
    selection: Selection = FIRST,
) -> npt.NDArray[np.float32]:
    """Where the place at (y, x), fractions of the picture's sides, looks to: (y, x), which sums to 1.

    site: such as "OUT09.0"; None is `table`. head: None is their mean. step: from 1; None is their mean.
    Raises ValueError for what the trace does not hold.
    """
    trace = trace.view(selection)
    if site is None:
        whole = table(trace)
        if whole is None:
            raise ValueError("the trace holds no self-attention of up to 32 x 32 positions: record it first")
        affinity, size = whole
        return np.asarray(affinity[_place(at, size)].reshape(size).numpy())
    there = {each.name: each for each in sites(trace)}
    if site not in there:
        raise ValueError(f"the trace has no self-attention of {site}; it has {', '.join(there) or 'none'}")
    size = there[site].size
    rows = list(_rows(trace, there[site], _place(at, size), head=head, step=step))
    if not rows:
        held = f"{there[site].heads} heads; steps: {_listed(there[site].steps)}"
        raise ValueError(f"{site} has no head {head} or step {step}; recorded: {held}")
    rows = [row for row in rows if torch.isfinite(row).all()]
    if not rows:
        raise ValueError(f"what {site} recorded of this place is NaN or infinite")
    found: npt.NDArray[np.float32] = torch.stack(rows).mean(0).reshape(size).numpy()
    return found


def components(affinity: Tensor, size: Size, *, count: int = COLORS) -> npt.NDArray[np.float32]:
    """Principal components of the places' looks, as colours: (y, x, count) in [0, 1].

    Places that look alike get like colours (as Tumanyan et al. 2023, "Plug-and-Play Diffusion Features", show
    features).
    """
    centred = affinity.sqrt() - affinity.sqrt().mean(0)  # roots: distances between rows are Hellinger's
    left, strengths, _ = torch.linalg.svd(centred, full_matrices=False)
    scores = left[:, :count] * strengths[:count]
    # A component's sign is arbitrary: the place that stands out most is made bright.
    scores = scores * scores.gather(0, scores.abs().argmax(0, keepdim=True)).sign()
    low, high = scores.quantile(0.01, dim=0), scores.quantile(0.99, dim=0)
    unit = ((scores - low) / (high - low).clamp(min=1e-12)).clamp(0, 1)
    return np.asarray(unit.reshape(*size, -1).numpy())


def segments(affinity: Tensor, size: Size, *, near: float = NEAR) -> npt.NDArray[np.int64]:
    """Segments that nobody asked for: labels (y, x) from 0, the largest segment first.

    Places whose looks are nearer than `near` (half the symmetric Kullback-Leibler divergence) are merged, and
    so are the merged; each place then goes to the proposal that looks there most (Tian et al. 2024,
    "Diffuse, Attend, and Segment").
    """
    proposals = affinity
    for _ in range(ROUNDS):
        proposals = _merged(proposals, near)
    labels = proposals.argmax(0)
    order = torch.bincount(labels, minlength=len(proposals)).argsort(descending=True)
    rank = torch.empty_like(order)
    rank[order] = torch.arange(len(order))
    return np.asarray(rank[labels].reshape(size).numpy())


def _merged(proposals: Tensor, near: float) -> Tensor:
    """One round: the first proposal takes in all that are near it, and so on with the rest."""
    logs = proposals.clamp(min=1e-12).log()
    own = (proposals * logs).sum(1)
    other = proposals @ logs.T  # (p, q): sum of p log q
    distance = (own[:, None] - other + own[None] - other.T) / 2
    left, merged = torch.ones(len(proposals), dtype=torch.bool), []
    while left.any():
        first = int(left.nonzero()[0])
        group = left & (distance[first] < near)
        group[first] = True
        merged.append(proposals[group].mean(0))
        left &= ~group
    return torch.stack(merged)


def _rows(
    trace: Trace, site: Site, place: int, *, head: int | None, step: int | None, **which: Any
) -> Iterable[Tensor]:
    """Where one place looks to, (key,), for each recorded step that fits."""
    maps = trace.attention.all(block=site.block, layer=site.layer, kind="self", **which)
    averaged = [item for item in maps if item.key.step is None and _size(item) == site.size]
    if head is None and step is None and averaged:
        yield from (item.data.float()[0].flatten(1)[:, place] for item in averaged)
        return
    for number in site.steps if step is None else {step} & {*site.steps}:
        parts = {item.key.what: item.data.float() for item in maps.all(step=number)}
        each = _of_step(parts, place)
        if each is not None and (head is None or head < len(each)):
            good = each[are_sound(each)]
            yield good.mean(0) if head is None and len(good) else each[head or 0]


def _of_step(parts: dict[Any, Tensor], place: int) -> Tensor | None:
    """(head, key) of one place, from QK or from Q and K."""
    if "QK" in parts:
        return parts["QK"].flatten(2)[:, :, place]
    if not {"Q", "K"} <= parts.keys():
        return None
    query: Tensor = parts["Q"].flatten(2)[:, :, place]  # (head, channel)
    scores = torch.einsum("hc,hkc->hk", query, parts["K"]) * query.shape[1] ** -0.5
    each: Tensor = scores.softmax(-1)
    return each


def _site(block: str, layer: int, items: Sequence[AttentionMap]) -> Site:
    items = [item for item in items if item.key.what in ("QK", "Q")]
    size = _size(items[-1])  # a refiner's layers of that name may be of another size
    items = [item for item in items if _size(item) == size]
    single = [item for item in items if item.key.step is not None]
    heads = single[0].shape[0] if single else 0
    steps = sorted({item.key.step + 1 for item in single if item.key.step is not None})
    return Site(block, layer, size, heads, tuple(steps))


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(map(str, steps)) or "only their mean"


def _size(item: AttentionMap) -> Size:
    return item.shape[-2], item.shape[-1]


def _place(at: tuple[float, float], size: Size) -> int:
    """Index of the position that a place of the picture falls into."""
    if not 0 <= min(at) <= max(at) <= 1:
        raise ValueError(f"{at} is outside of the picture; both numbers are between 0 and 1")
    y, x = (min(int(where * side), side - 1) for where, side in zip(at, size, strict=True))
    return y * size[1] + x
