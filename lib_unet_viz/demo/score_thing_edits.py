"""How well one thing is swapped for another in pictures of two things, and how much of the other stays.

Captions of two things, one beside the other, eating or holding it; the first is swapped for another of its
kind. The methods are those of `score_edits`. No caption is left out of the shares. The other thing's pixels
are the places in the source picture in which the judge sees its middle; where it sees none, what needs them
is not measured.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from lib_unet_viz.demo.edit_metrics import mse_in
from lib_unet_viz.demo.score_edits import METHODS, Edit, Judged, measured
from lib_unet_viz.demo.things.captions import caption
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import draw_scene

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lib_unet_viz.demo.things.scorer import ThingScorer
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    Picture = NDArray[np.uint8]

RELATIONS = ("left of", "right of", "eating", "holding")


@dataclass(frozen=True)
class ThingSwap:
    """A caption, the noun that is swapped in it and its successor, and the other thing."""

    caption: str
    old: str
    new: str
    other: str

    @property
    def target(self) -> str:
        """The caption with the new noun."""
        return re.sub(rf"\b{self.old}\b", self.new, self.caption)


def edits(
    model: Pipeline,
    scorer: ThingScorer,
    *,
    count: int,
    seed: int,
    make: Edit | None = None,
    methods: Sequence[str] = METHODS,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Every method on the same captions; the keys are those of `score_edits.edits`, without a background."""
    look = partial(judge, scorer)
    drawn = swaps(count=count, seed=seed)
    return measured(model, drawn, look, seed=seed, make=make, methods=methods, progress=progress)


def swaps(*, count: int, seed: int) -> list[ThingSwap]:
    """Held-out captions, each with a swap that leaves its articles right; a function of the seed."""
    rng = np.random.default_rng((seed, 5000))
    found: list[ThingSwap] = []
    while len(found) < count:
        scene = draw_scene(rng, relation=RELATIONS[len(found) % len(RELATIONS)])
        first, other = (thing.name for thing in scene.things)
        kind = THINGS[first].kind
        alike = [name for name, thing in THINGS.items() if thing.kind == kind]
        new = alike[int(rng.integers(len(alike)))]
        swap = ThingSwap(caption(scene, rng, plainly=True), first, new, other)
        wrong = re.search(r"\ba [aeio]|\ban [^aeiou]", swap.target)
        if new not in (first, other) and not wrong:
            found.append(swap)
    return found


def judge(scorer: ThingScorer, swap: ThingSwap, source: Picture, target: Picture) -> Judged:
    """What the judge finds in the source and in the target (y, x, rgb), and how much of the other stayed."""
    before, after = scorer.found(np.stack([source, target]))
    other = scorer.middle(source, swap.other)
    return Judged(
        shown={swap.old, swap.other} <= before.keys(),
        swapped=swap.new in after,
        other=swap.other in after,
        error=mse_in(source, target, other) if other.any() else None,
        background=None,
    )
