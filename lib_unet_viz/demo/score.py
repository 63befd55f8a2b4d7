"""How good the bundled model's pictures and heat maps are, on freshly drawn scenes.

Pictures: does an independent scorer find every object that a caption names? Maps: see `score_maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lib_unet_viz.demo import scorer as judge
from lib_unet_viz.demo.score_maps import CFG, STEPS, held_out, maps
from lib_unet_viz.hosts.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 20


def score(
    *,
    seed: int,
    count: int = 200,
    model: Pipeline | None = None,
    progress: Callable[[float, str], None] = lambda done, doing: None,
) -> dict[str, Any]:
    """Measure everything on `count` scenes each; fractions of 1. `progress(done, doing)`, done in [0, 1].

    Keys: pictures: scorer_on_drawn, one_object, two_objects; maps: as `score_maps.maps` says.
    """
    model = model or Pipeline.load()
    scorer = judge.load()
    progress(0.0, "scorer on drawn scenes")
    pictures: dict[str, float] = {"scorer_on_drawn": judge.accuracy(scorer, count=max(count, 200), seed=seed)}
    for objects, name in ((1, "one_object"), (2, "two_objects")):
        part = _part(progress, 0.3 * objects - 0.28, 0.3, f"pictures: {name}")
        pictures[name] = _found(model, scorer, objects=objects, count=count, seed=seed, progress=part)
    found = maps(model, count=count, seed=seed, progress=_part(progress, 0.6, 0.4, "maps"))
    return {"pictures": pictures, "maps": found}


def _part(
    progress: Callable[[float, str], None], start: float, length: float, doing: str
) -> Callable[[float], None]:
    """Progress of one part in [0, 1], told as progress of the whole."""
    return lambda done: progress(start + length * done, doing)


def _found(
    model: Pipeline,
    scorer: judge.Scorer,
    *,
    objects: int,
    count: int,
    seed: int,
    progress: Callable[[float], None],
) -> float:
    """Share of captions of which the scorer finds every named object in the generated picture."""
    hits = 0
    held = held_out(objects=objects, count=count, seed=seed)
    for at in range(0, count, BATCH):
        batch = held[at : at + BATCH]
        for (scene, _), kinds in zip(
            batch, scorer.found(draw(model, [text for _, text in batch], seed + at)), strict=True
        ):
            hits += judge.truth(scene) <= kinds
        progress(min(1.0, (at + BATCH) / count))
    return hits / count


@torch.no_grad()
def draw(model: Pipeline, captions: list[str], seed: int) -> np.ndarray:
    """Generate one picture per caption, uint8 (image, y, x, rgb)."""
    output = model.pipe(
        captions,
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        generator=[torch.Generator("cpu").manual_seed(seed + index) for index in range(len(captions))],
        output_type="np",
    )
    return np.round(np.asarray(output.images) * 255).astype(np.uint8)
