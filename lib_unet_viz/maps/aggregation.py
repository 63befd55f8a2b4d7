"""From the cross-attention of many layers, heads and steps to one map per token: methods by name.

`vxa`       one layer, heads summed: the middle block, unless other layers are recorded alone
            (benkyoujouzu, "Visualize Cross-Attention" extension, 2022)
`vxa_best`  the same of the layer that does best in `unet-viz score`
`daam`      bicubic upsampling, mean over layers and heads, sum over steps; all layers but the coarsest
            (Tang et al. 2023, "What the DAAM: Interpreting Stable Diffusion Using Cross Attention";
            castorini/daam, trace.py: `locate_middle_block=False`, `factor != 8`)
`rescaled`  as `daam`, then each pixel normalised over the content tokens, then each token's range stretched
            to [0, 1] (per-pixel rescaling as in "GoCA", arXiv 2603.06178)
`refined`   as `daam`, then averaged over the places that each place looks to in self-attention, A · map
            (Wang et al. 2023, "DiffSegmenter", arXiv 2309.02773)
`iterated`  as `informed`, with A sharpened (squared, rows normalised again) and applied twice
            (entropy-reduced iterative refinement: Sun et al. 2024, "iSeg")
`informed`  each cross-attention head weighs what it tells: the mutual information of token and place in it,
            so that heads that show all tokens alike count for nothing; then A · map, where each layer of A
            weighs likewise. No layer, head or model is named. Ours.
`guided`    as `iterated`, then along the edges of the picture (`maps.edges`), where the trace has one

The last four refine where the trace holds self-attention of up to 32 x 32 positions.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NoReturn, get_args

import torch
from torch.nn import functional

from lib_unet_viz.attention import information
from lib_unet_viz.maps.soundness import are_sound, sound
from lib_unet_viz.settings import Method, Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from lib_unet_viz.trace import AttentionMap

METHODS: tuple[Method, ...] = get_args(Method)
DEFAULT: Method = Settings().method  # the winner of `unet-viz score`, which checks it
MIDDLE = "M00"
BEST_LAYER = "OUT07"  # of the bundled model, by `unet-viz score`
ALONE: dict[Method, str] = {"vxa": MIDDLE, "vxa_best": BEST_LAYER}
ITERATIONS, SHARPNESS = 2, 2.0
_NOTHING = 1e-12


def aggregate(
    maps: Sequence[AttentionMap],
    method: Method,
    *,
    content: Sequence[int],
    affinity: tuple[Tensor, tuple[int, int]] | None = None,
) -> Tensor:
    """Reduce maps (head, token, y, x) of several layers and steps to (token, y, x), non-negative.

    content: tokens that stand for text. affinity: self-attention (query, key) between the positions of a grid
    of (height, width), whose rows sum to 1; without it nothing is refined.

    `guided` is as `iterated` here, where no picture is known. Heads that hold NaN or infinities at a step are
    left out of that step. Raises ValueError for an unknown method, where the trace lacks the layer that
    `vxa_best` needs, or where no head is left.
    """
    maps = chosen(maps, method)
    if method in ALONE:
        return summed(maps)
    if method == "guided":
        method = "iterated"  # what the picture adds, `words.word_maps` does
    if method in ("informed", "iterated"):
        found = informed(maps, content, size=affinity[1] if affinity else None)
        return found if affinity is None else _refined(found, method, affinity)
    found = mean(daam_layers(maps))
    if method == "rescaled":
        return rescale(found, content)
    return found if method == "daam" or affinity is None else _refined(found, method, affinity)


def chosen(maps: Sequence[AttentionMap], method: Method) -> list[AttentionMap]:
    """Those of a method's one block, where it has one; `vxa` takes all where the middle block is not there.

    Raises ValueError as `aggregate` does.
    """
    if method not in METHODS:
        raise ValueError(f"{method!r} is no method; allowed: {', '.join(METHODS)}")
    block = ALONE.get(method)
    found = [item for item in maps if block in (None, item.key.block)]
    if method == "vxa_best" and not found:
        held = ", ".join(dict.fromkeys(item.key.block for item in maps))
        raise ValueError(f"vxa_best looks at {block}, which the trace does not hold; it holds {held}")
    return found or list(maps)


def summed(maps: Sequence[AttentionMap]) -> Tensor:
    """Heads and steps summed, (token, y, x), of all layers of the first one's size."""
    heads = [sound(item) for item in maps if item.shape == maps[0].shape]
    return torch.stack([each.sum(0) for each in heads if len(each)] or _none_left(maps)).sum(0)


def daam_layers(maps: Sequence[AttentionMap]) -> list[AttentionMap]:
    """All but those of the middle block's size, an eighth of the latent's; all if there are no others."""
    coarse = {item.shape[-2:] for item in maps if item.key.block == MIDDLE}
    return [item for item in maps if item.shape[-2:] not in coarse] or list(maps)


def mean(maps: Sequence[AttentionMap]) -> Tensor:
    """DAAM's: each layer's heads summed over steps, upsampled to the finest layer; mean over all heads."""
    size = max(((item.shape[-2], item.shape[-1]) for item in maps), key=math.prod)
    # Clipped per head, as castorini/daam's trace.py (compute_global_heat_map) does.
    upsampled = [resize(layer, size).clamp(min=0) for layer in _over_steps(maps).values()]
    return torch.cat(upsampled).mean(0)


def informed(
    maps: Sequence[AttentionMap], content: Sequence[int], *, size: tuple[int, int] | None = None
) -> Tensor:
    """Heads of all layers averaged at `size` (the finest's), each weighing what it tells for each unit of
    attention that it pays to the content tokens.
    """
    size = size or max(((item.shape[-2], item.shape[-1]) for item in maps), key=math.prod)
    heads, weights = [], []
    for layer in _over_steps(maps).values():
        paid = layer[:, list(content)].mean((1, 2, 3)).clamp(min=_NOTHING)
        weights.append(information(layer.flatten(2)) / paid)
        heads.append(resize(layer, size).clamp(min=0))
    weight = torch.cat(weights)
    return torch.einsum("h,htyx->tyx", weight / weight.sum(), torch.cat(heads))


def rescale(maps: Tensor, content: Sequence[int]) -> Tensor:
    """Normalise each pixel of (token, y, x) over the content tokens; stretch each token's range to [0, 1]."""
    share = maps / maps[list(content)].sum(0).clamp(min=_NOTHING)
    low, high = share.amin((1, 2), keepdim=True), share.amax((1, 2), keepdim=True)
    return (share - low) / (high - low).clamp(min=_NOTHING)


def sharpened(affinity: Tensor, power: float = SHARPNESS) -> Tensor:
    """Rows of (query, key) with less entropy: to a power, then summing to 1 again."""
    raised = affinity**power
    return raised / raised.sum(-1, keepdim=True).clamp(min=_NOTHING)


def refine(maps: Tensor, affinity: Tensor, *, times: int = 1) -> Tensor:
    """Average (token, y, x) over the places that each place looks to, (query, key) over the same grid."""
    flat = maps.flatten(1).T
    for _ in range(times):
        flat = affinity @ flat
    return flat.T.reshape(maps.shape)


def resize(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, (..., y, x) to (..., *size); anti-aliased where it shrinks."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    flat = maps.reshape(1, -1, *maps.shape[-2:])
    shrinks = size[0] < maps.shape[-2]
    resized = functional.interpolate(
        flat, size=tuple(size), mode="bicubic", align_corners=False, antialias=shrinks
    )
    return resized.reshape(*maps.shape[:-2], *size)


def _refined(maps: Tensor, method: Method, affinity: tuple[Tensor, tuple[int, int]]) -> Tensor:
    table, size = affinity
    small = resize(maps, size).clamp(min=0)
    if method == "iterated":
        return refine(small, sharpened(table), times=ITERATIONS)
    return refine(small, table)


def _over_steps(maps: Sequence[AttentionMap]) -> dict[tuple[object, ...], Tensor]:
    """Each layer's (head, token, y, x), summed over its steps; a refiner's are layers of their own.

    What is left out of a head's steps is made up for by its others.
    """
    layers: dict[tuple[object, ...], list[AttentionMap]] = {}
    for item in maps:
        layers.setdefault((item.key.block, item.key.layer, item.shape), []).append(item)
    summed = {site: _sum(items) for site, items in layers.items()}
    return {site: each for site, each in summed.items() if len(each)} or _none_left(maps)


def _sum(items: Sequence[AttentionMap]) -> Tensor:
    """One layer's steps; heads without a sound step are not among them."""
    good = torch.stack([are_sound(item.data) for item in items])  # step, head
    total: Tensor | None = None
    for item, heads in zip(items, good, strict=True):
        data = item.data.float()
        data = data if heads.all() else torch.where(heads[:, None, None, None], data, 0.0)
        total = data if total is None else total + data
    assert total is not None
    if good.all():
        return total
    steps = good.sum(0)
    return (total * (len(items) / steps.clamp(min=1))[:, None, None, None])[steps > 0]


def _none_left(maps: Sequence[AttentionMap]) -> NoReturn:
    raise ValueError(f"all {len(maps)} maps of attention hold NaN or infinities in each head")
