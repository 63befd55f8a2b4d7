"""How good heat maps are, method by method, on the same recordings.

Case a: VXA on freshly drawn scenes, whose masks are known. Case b: maps of pictures that the model makes on
plain backgrounds; masks are the pixels that are nearest to the object's colour. Asked are shape words, colour
words and phrases ("red circle"). `vxa_best` is the layer that does best on two-object scenes of case a.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.demo.localisation import Judged, judge, summary
from lib_unet_viz.demo.scenes import COLORS, Scene, caption, draw_scene
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.aggregation import summed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
    from lib_unet_viz.trace import Trace

STEPS, CFG = 30, 5.0
NUMBERS = {"one_object": 1, "two_objects": 2, "three_objects": 3}
KINDS = ("shapes", "colors", "phrases")
SMALLEST = 0.004  # of a picture's pixels; an object of fewer was not drawn
_LAYER = "layer "

Found = Callable[["Mapping[str, Sequence[int]]"], "list[heatmap.HeatMap]"]
Marks = dict[str, dict[str, list[list[Judged]]]]  # method, kind of words, scene, map


def held_out(*, objects: int, count: int, seed: int, pattern: str | None = None) -> list[tuple[Scene, str]]:
    """Scenes of so many different objects, and a caption of each; other seeds than the training's."""
    rng = np.random.default_rng((seed, 1000 + objects))
    scenes = [draw_scene(rng, count=objects, pattern=pattern, distinct=True) for _ in range(count)]
    return [(scene, caption(scene, rng)) for scene in scenes]


def maps(
    model: Pipeline,
    *,
    count: int,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, Any]:
    """Every case, method by method; `count` scenes of two objects, and half as many of the other cases.

    Returns default and winner (names of methods), best_layer, and for each of one_object, two_objects,
    three_objects and generated: method to the marks of shape words, with those of `colors` and `phrases`.
    """
    fewer = max(1, count // 2)
    drawn = {name: count if name == "two_objects" else fewer for name in NUMBERS}
    total, done = sum(drawn.values()) + fewer, 0

    def counted(scenes: Iterator[Marks]) -> Marks:
        nonlocal done
        found: Marks = defaultdict(lambda: {kind: [] for kind in KINDS})
        for scene in scenes:
            for method, kinds in scene.items():
                for kind, judged in kinds.items():
                    found[method][kind] += judged
            done += 1
            progress(min(1.0, done / total))
        return found

    marks = {
        name: counted(_drawn(model, held_out(objects=NUMBERS[name], count=number, seed=seed)))
        for name, number in drawn.items()
    }
    marks["generated"] = counted(_generated(model, count=fewer, seed=seed))
    best = _best_layer(marks["two_objects"])
    cases = {name: _methods(found, best) for name, found in marks.items()}
    winner = max(heatmap.METHODS, key=lambda method: _quality(cases["two_objects"][method]))
    return {
        "default": heatmap.DEFAULT,
        "winner": winner,
        "best_layer": best.removeprefix(_LAYER),
        **cases,
    }


def _quality(marks: Mapping[str, Any]) -> float:
    return float(marks["pointing"] + marks["miou"])


def _best_layer(marks: Marks) -> str:
    layers = {name: kinds for name, kinds in marks.items() if name.startswith(_LAYER)}
    return max(layers, key=lambda name: _quality(summary(layers[name]["shapes"])))


def _methods(marks: Marks, best: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for method in heatmap.METHODS:
        kinds = marks[best if method == "vxa_best" else method]
        if kinds["shapes"]:
            others = {kind: summary(kinds[kind]) for kind in KINDS[1:]}
            found[method] = {**summary(kinds["shapes"]), **others, "scenes": len(kinds["shapes"])}
    return found


def _drawn(model: Pipeline, scenes: Sequence[tuple[Scene, str]]) -> Iterator[Marks]:
    for index, (scene, text) in enumerate(scenes):
        trace = vxa.trace_picture(model, Image.fromarray(scene.picture), text, noise_seed=index)
        yield judged(trace, scene, scene.masks)


def _generated(model: Pipeline, *, count: int, seed: int) -> Iterator[Marks]:
    """Pictures of two-object captions; those that lack an object have no mask, and are left out."""
    for index, (scene, text) in enumerate(held_out(objects=2, count=count, seed=seed + 1, pattern="plain")):
        trace = _picture(model, text, seed=seed + index)
        masks = masks_by_color(np.asarray(trace.picture), [thing.color for thing in scene.things])
        yield judged(trace, scene, masks) if masks is not None else {}


@torch.no_grad()
def _picture(model: Pipeline, text: str, *, seed: int) -> Trace:
    attached = host.attach(model.pipe)
    meta = host.describe(model.pipe, prompt=text, seed=seed)
    captures = heatmap.word_captures(halves=("cond",))
    with Recorder(attached.unet, attention=captures, calls=attached.calls, meta=meta) as trace:
        trace.picture = model.pipe(
            text,
            num_inference_steps=STEPS,
            guidance_scale=CFG,
            generator=torch.Generator("cpu").manual_seed(seed),
        ).images[0]
    return trace


def masks_by_color(picture: NDArray[np.uint8], colors: Sequence[str]) -> NDArray[np.bool_] | None:
    """Where a picture (y, x, rgb) has each of these colours: (color, y, x); None where one is missing.

    A pixel has the nearest colour of those named in captions and of the background, the border's median.
    """
    pixels = picture.astype(np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    known = np.array([*COLORS.values(), np.median(border, axis=0)], dtype=np.float32)
    nearest = ((pixels[:, :, None] - known) ** 2).sum(-1).argmin(-1)
    masks = np.stack([nearest == list(COLORS).index(color) for color in colors])
    return masks if masks.mean((1, 2)).min() >= SMALLEST else None


def judged(trace: Trace, scene: Scene, masks: NDArray[np.bool_]) -> Marks:
    """All methods, and each layer alone, on one trace: method, kind of words, one scene, object."""
    phrases = [f"{thing.color} {thing.shape}" for thing in scene.things]
    words = {
        "shapes": vxa.positions(trace, [thing.shape for thing in scene.things]),
        "colors": vxa.positions(trace, [thing.color for thing in scene.things]),
        "phrases": vxa.positions(trace, phrases),
    }
    return {
        name: {
            kind: [[judge(heat.resized(mask.shape), mask) for heat, mask in zip(heats, masks, strict=True)]]
            for kind, heats in ((kind, found(positions)) for kind, positions in words.items())
        }
        for name, found in methods_of(trace).items()
    }


def methods_of(trace: Trace) -> dict[str, Found]:
    """By name: each method, and each layer alone as "layer IN02"; what makes its maps of words."""
    maps = heatmap.cross_maps(trace)

    def layer(block: str) -> Found:
        found = summed([item for item in maps if item.key.block == block]).numpy()
        return lambda words: [
            heatmap.HeatMap(word, tuple(at), found[list(at)].mean(0)) for word, at in words.items()
        ]

    def named(method: heatmap.Method) -> Found:
        return lambda words: heatmap.word_maps(trace, words, method=method)

    found = {str(method): named(method) for method in heatmap.METHODS if method != "vxa_best"}
    return {**found, **{f"{_LAYER}{item.key.block}": layer(item.key.block) for item in maps}}
