"""Heads that hold NaN or infinities, the usual accident of half precision: counted, and left out of means.

A head counts as a whole: one value that is not finite says that its softmax went wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor

    from lib_unet_viz.trace import AttentionMap

_NAMED = 3


def are_sound(data: Tensor) -> Tensor:
    """Which heads of (head, ...) are finite throughout, bool (head)."""
    return torch.isfinite(data).flatten(1).all(1)


def sound(item: AttentionMap) -> Tensor:
    """A map's heads that are finite throughout, float32 (head, ...); there may be none."""
    data = item.data.float()
    good = are_sound(data)
    return data if good.all() else data[good]


def describe(maps: Iterable[AttentionMap]) -> str:
    """What of the maps is left out of means, in a line for people; empty where all is sound."""
    counts = {item.key: int((~are_sound(item.data)).sum()) for item in maps}
    bad = {key: count for key, count in counts.items() if count}
    if not bad:
        return ""
    some = "; ".join(f"{count} of {key}" for key, count in [*bad.items()][:_NAMED])
    more = "; …" if len(bad) > _NAMED else ""
    return (
        f"left out, as they hold NaN or infinities: heads of {len(bad)} of {len(counts)} maps ({some}{more})"
    )
