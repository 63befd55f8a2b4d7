"""How well the model draws shapes: does an independent scorer find every object that a caption names?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from lib_unet_viz.demo import scorer as judge
from lib_unet_viz.demo.score_maps import CFG, STEPS, held_out

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

BATCH = 20


def found(
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
