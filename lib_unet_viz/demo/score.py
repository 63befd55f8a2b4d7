"""How good the bundled model's pictures and heat maps are, on freshly drawn scenes.

Pictures: does an independent scorer find every object that a caption names? Maps: VXA on drawn scenes of two
objects; does a shape word's map point into its object (pointing game: Zhang et al. 2016, "Top-down Neural
Attention by Excitation Backprop"), and how well does it cover it (mIoU at half of the map's range)?
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from lib_unet_viz import heatmap, vxa
from lib_unet_viz.demo import scorer as judge
from lib_unet_viz.demo.scenes import Scene, caption, draw_scene
from lib_unet_viz.hosts.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.heatmap import Method

STEPS, CFG, BATCH = 30, 7.5, 20


def score(
    *,
    seed: int,
    count: int = 200,
    model: Pipeline | None = None,
    progress: Callable[[float, str], None] = lambda done, doing: None,
) -> dict[str, Any]:
    """Measure everything on `count` scenes each; fractions of 1. `progress(done, doing)`, done in [0, 1].

    Keys: pictures: scorer_on_drawn, one_object, two_objects; maps: default (a method's name), two_objects
    (method to pointing and miou).
    """
    model = model or Pipeline.load()
    scorer = judge.load()
    progress(0.0, "scorer on drawn scenes")
    pictures: dict[str, float] = {"scorer_on_drawn": judge.accuracy(scorer, count=max(count, 200), seed=seed)}
    for objects, name in ((1, "one_object"), (2, "two_objects")):
        part = _part(progress, 0.4 * objects - 0.35, 0.4, f"pictures: {name}")
        pictures[name] = _found(model, scorer, objects=objects, count=count, seed=seed, progress=part)
    methods = maps(model, count=count, seed=seed, progress=_part(progress, 0.85, 0.15, "maps"))
    return {"pictures": pictures, "maps": {"default": heatmap.DEFAULT, "two_objects": methods}}


def _part(
    progress: Callable[[float, str], None], start: float, length: float, doing: str
) -> Callable[[float], None]:
    """Progress of one part in [0, 1], told as progress of the whole."""
    return lambda done: progress(start + length * done, doing)


def held_out(*, objects: int, count: int, seed: int) -> list[tuple[Scene, str]]:
    """Scenes of so many different objects, and a caption of each; other seeds than the training's."""
    rng = np.random.default_rng((seed, 1000 + objects))
    scenes = [draw_scene(rng, count=objects, distinct=True) for _ in range(count)]
    return [(scene, caption(scene, rng)) for scene in scenes]


def maps(
    model: Pipeline,
    *,
    count: int,
    seed: int,
    blocks: str | None = None,
    timestep: int = vxa.DEFAULT_TIMESTEP,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, dict[str, float]]:
    """Pointing and mIoU of the shape words' maps, per method, on two-object scenes."""
    results: dict[Method, list[tuple[bool, float]]] = {method: [] for method in heatmap.METHODS}
    chosen = vxa.default_layers(model) if blocks is None else blocks
    for index, (scene, text) in enumerate(held_out(objects=2, count=count, seed=seed)):
        picture = Image.fromarray(scene.picture)
        layers = {"vxa": heatmap.MIDDLE}
        traces = {
            spec: vxa.trace_picture(model, picture, text, blocks=spec, timestep=timestep, noise_seed=index)
            for spec in {chosen, heatmap.MIDDLE}
        }
        for method, judged in results.items():
            trace = traces[layers.get(method, chosen)]
            words = vxa.positions(trace, [thing.shape for thing in scene.things])
            for found, mask in zip(heatmap.word_maps(trace, words, method=method), scene.masks, strict=True):
                judged.append(judge_map(found.resized(mask.shape), mask))
        progress((index + 1) / count)
    return {
        method: {
            "pointing": float(np.mean([p for p, _ in judged])),
            "miou": float(np.mean([i for _, i in judged])),
        }
        for method, judged in results.items()
    }


def judge_map(heat: np.ndarray, mask: np.ndarray) -> tuple[bool, float]:
    """Whether the maximum of a map in [0, 1] lies in the mask, and IoU at half of the range; both (y, x)."""
    inside = bool(mask[np.unravel_index(int(heat.argmax()), heat.shape)])
    over = heat > 0.5
    return inside, float((over & mask).sum() / max(1, (over | mask).sum()))


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
