"""How strong a word is: whether its map shows something, or only noise that was stretched to the full range.

The strength of a word is, in the layer where it stands out most, by how much its attention at its best place
exceeds its attention averaged over all places: a share of attention in [0, 1], the mean over heads and
steps; of several tokens the strongest counts. Words that act at a place have 0.3 to 0.6, articles and
prepositions about 0.2 (`python benchmarks/strength.py`). It does not depend on the method of the maps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from lib_unet_viz.maps.soundness import sound

if TYPE_CHECKING:
    from torch import Tensor

    from lib_unet_viz.trace import AttentionMap


class HasStrength(Protocol):
    """A word's map, as `words.HeatMap`."""

    @property
    def strength(self) -> float: ...


H = TypeVar("H", bound=HasStrength)

WEAK = 0.5  # of the strongest word's strength; below it a word counts as weak


def strengths(maps: Iterable[AttentionMap]) -> Tensor:
    """Of all tokens of one text's cross-attention maps QK (head, token, y, x): float32 (token), in [0, 1].

    Heads that hold NaN or infinities are left out.
    """
    maps = list(maps)
    layers: dict[tuple[str, int | None, int], list[Tensor]] = {}  # a refiner's have other sizes by that name
    for item in maps:
        heads = sound(item)
        if len(heads):
            shares = heads.mean(0).flatten(1)  # token, place
            layers.setdefault((item.key.block, item.key.layer, shares.shape[1]), []).append(shares)
    means = [torch.stack(steps).mean(0) for steps in layers.values()]
    if not means:
        return torch.zeros(maps[0].shape[1])
    return torch.stack([shares.amax(1) - shares.mean(1) for shares in means]).amax(0)


def strongest(heats: Sequence[HasStrength]) -> float:
    """The strength of the strongest word."""
    return max(heat.strength for heat in heats)


def is_weak(heat: HasStrength, heats: Sequence[HasStrength]) -> bool:
    """Whether a word says little beside the strongest one."""
    return heat.strength < WEAK * strongest(heats)


def ordered(heats: Sequence[H]) -> list[H]:
    """In the order of the prompt, but weak words last."""
    return sorted(heats, key=lambda heat: is_weak(heat, heats))


def share(heat: HasStrength, heats: Sequence[HasStrength]) -> float:
    """A word's strength as a part of the strongest one's, in [0, 1]: its largest value on one scale."""
    return heat.strength / (strongest(heats) or 1.0)
