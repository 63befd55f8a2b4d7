"""How much longer a run takes with a selection, from the arithmetic of both, before anything runs.

A U-Net's own arithmetic is counted from its weights and the latent's size; a capture's is q·k, the
exponentials and the copies of what it keeps. `_PER_...` say what these cost in units of one of the U-Net's
floating-point operations, and `benchmarks/overhead.py --check-cost` compares them with measured times: on a
CPU, to which they belong. A GPU gains more on the U-Net's arithmetic than on copies and on starting things.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import nn

from lib_unet_viz.capture.request import Capture, listed
from lib_unet_viz.unet import AttentionSite, Block, Size, UNet, halved

_PER_WEIGHING, _PER_TELLING = 340, 300  # a probability in a mean or a map; one in an informed mean
_PER_COPY, _PER_TURN = 35, 100  # a number kept; one kept in another order of axes
_PER_FEATURE, _PER_MODULE = 3.5e6, 1.5e6  # a block's output; a module of the U-Net, whatever its size
_PER_PART = {"QK": 8e6, "VQK": 3e6, "Q": 2e6, "K": 2e6}  # a map of one row, whatever its size
_CACHED = 2**22  # values; each of a larger table costs twice as much


def added_time(
    unet: UNet | nn.Module,
    *,
    features: Capture | None = None,
    attention: Capture | Iterable[Capture] | None = None,
    size: Size,
    total: int,
    tokens: int = 77,
) -> float:
    """The share of a plain run's time that a recording adds, such as 0.02, on a CPU.

    size: the latent's (height, width); total: steps, each of which calls the U-Net with a conditional and an
    unconditional row an image. Raises SpecError as recording would.
    """
    unet = UNet.of(unet)
    added = 0.0
    for capture in listed(features):
        each = sum(_copies(unet.blocks[name], size) for name in capture.blocks.names(unet))
        added += each * _rows(capture, total)
    for capture in listed(attention):
        each = sum(_looking(site, capture, size, tokens) for site in capture.sites(unet))
        added += each * _rows(capture, total)
    return added / (_plain(unet, size, tokens) * max(1, total))


def _rows(capture: Capture, total: int) -> int:
    return len(capture.halves) * len(capture.steps.steps(total))


def _copies(block: Block, size: Size) -> float:
    return math.prod(block.shapes(size)[1]) * _PER_COPY + _PER_FEATURE


def _looking(site: AttentionSite, capture: Capture, size: Size, tokens: int) -> float:
    queries = math.prod(site.size(size))
    if capture.most is not None and queries > capture.most:
        return 0.0
    keys = queries if site.kind == "self" else tokens
    product, chances = 2 * queries * keys * site.channels, site.heads * queries * keys
    weighing = chances * (_PER_TELLING if capture.mean and site.kind == "self" else _PER_WEIGHING)
    probabilities = product + weighing * (2 if queries * keys > _CACHED else 1)
    turned = queries * site.channels * _PER_TURN
    each = {
        "QK": probabilities,
        "VQK": probabilities + product + turned,
        "Q": turned,
        "K": keys * site.channels * _PER_COPY,
    }
    return sum(each[what] + _PER_PART[what] for what in capture.what)


def _plain(unet: UNet, size: Size, tokens: int) -> float:
    """Operations of two rows of one call."""
    each = sum(operations(block, size, tokens) for block in unet.blocks.values())
    return 2 * each + _PER_MODULE * sum(1 for _ in unet.module.modules())


def operations(block: Block, size: Size, tokens: int) -> float:
    """Floating-point operations of a block for one row: two for each weight and place."""
    before, after = (math.prod(halved(size, level)) for level in (block.level, block.out_level))
    weights = [pair for module in block.modules for pair in module.named_parameters() if pair[1].dim() > 1]
    # What changes the size is a block's last convolution.
    last = [name for name, weight in weights if weight.dim() == 4][-1:]
    counted = 0.0
    for name, weight in weights:
        if "attn2.to_k" in name or "attn2.to_v" in name:
            counted += weight.numel() * tokens
        elif "emb" not in name:  # the time's embedding is one vector
            counted += weight.numel() * (after if [name] == last else before)
    for site in block.sites:
        keys = before if site.kind == "self" else tokens
        counted += 2 * before * keys * site.channels  # q·k, and probabilities times values
    return 2 * counted
