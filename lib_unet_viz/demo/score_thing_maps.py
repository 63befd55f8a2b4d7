"""How good heat maps of things are, method by method: VXA on freshly drawn scenes of two things.

things      nouns, of two things beside or above each other
attached    nouns, where one wears or eats the other
parts       parts that the prompt does not name, asked beside it: "a cat and a car, ears"
asked       the kind or a synonym in a noun's place: "an animal", "a bunny"
"""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from lib_unet_viz.demo.localisation import Judged, judge, summary
from lib_unet_viz.demo.score_maps import SMALLEST, methods_of
from lib_unet_viz.demo.things.captions import KINDS, caption
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import SIDE_BY_SIDE, ThingScene, draw_scene
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.open_vocabulary import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
    from lib_unet_viz.trace import Trace

    Mask = NDArray[np.bool_]

ATTACHED = ("wearing", "eating")
CASES = ("things", "attached", "parts", "asked")
LARGEST = 0.6  # of a thing; a part that covers more is as good as the thing
_LAYER = "layer "

Asked = list[tuple[str, "Mask"]]  # words, and where each is
Marks = dict[str, list[list[Judged]]]  # method, scene, map


def held_out(
    relations: Sequence[str], *, count: int, seed: int, nouns: Sequence[str] = tuple(THINGS)
) -> list[tuple[ThingScene, str]]:
    """Scenes of two things, of each of which enough is seen, and captions that name both."""
    rng = np.random.default_rng((seed, 4000, len(relations)))
    found: list[tuple[ThingScene, str]] = []
    while len(found) < count:
        scene = draw_scene(rng, relation=str(rng.choice(list(relations))), nouns=nouns)
        if scene.masks.mean((1, 2)).min() >= SMALLEST:
            found.append((scene, caption(scene, rng, plainly=True)))
    return found


def maps(
    model: Pipeline,
    *,
    count: int,
    seed: int,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, Any]:
    """Of each case method to marks; `count` scenes beside each other, and as many of the actions.

    `vxa_best` is the layer that does best on `things` here, which `things_best_layer` names.
    """
    marks: dict[str, Marks] = {case: defaultdict(list) for case in CASES}
    for number, (case, relations) in enumerate((("things", SIDE_BY_SIDE), ("attached", ATTACHED))):
        for index, (scene, text) in enumerate(held_out(relations, count=count, seed=seed)):
            rng = np.random.default_rng((seed, number, index))
            trace = vxa.trace_picture(model, Image.fromarray(scene.picture), text, noise_seed=index)
            nouns = [(thing.name, mask) for thing, mask in zip(scene.things, scene.masks, strict=True)]
            _add(marks[case], trace, nouns)
            for name, words, asked in (
                ("parts", *parts(scene, text, rng)),
                ("asked", *others(scene, text, rng)),
            ):
                if words:
                    _add(marks[name], ask(trace, model, asked), words)
            progress((number + (index + 1) / count) / 2)
    best = max(
        (m for m in marks["things"] if m.startswith(_LAYER)), key=lambda m: _quality(marks["things"][m])
    )
    found: dict[str, Any] = {"things_best_layer": best.removeprefix(_LAYER)}
    return found | {case: dict(_methods(judged, best)) for case, judged in marks.items()}


def parts(scene: ThingScene, text: str, rng: np.random.Generator) -> tuple[Asked, str]:
    """A part of each thing, where one is seen and the other thing has none; and the text that names them."""
    names = [THINGS[thing.name].part_names for thing in scene.things]
    found: Asked = []
    for number, whole in enumerate(scene.masks):
        shown = [
            (name, mask)
            for name in names[number]
            for mask in [scene.part(number, name)]
            if name not in names[1 - number] and f" {name}" not in f" {text}"
            if SMALLEST <= mask.mean() <= LARGEST * whole.mean()
        ]
        found += [shown[int(rng.integers(len(shown)))]] if shown else []
    return found, ", ".join([text, *(name for name, _ in found)])


def others(scene: ThingScene, text: str, rng: np.random.Generator) -> tuple[Asked, str]:
    """One of the things, called by its kind or by a synonym; and the text that does so."""
    kinds = [THINGS[thing.name].kind for thing in scene.things]
    number = int(rng.integers(2))
    name = scene.things[number].name
    words = [
        *THINGS[name].words,
        *((kinds[number],) if kinds[number] in KINDS and len(set(kinds)) == 2 else ()),
    ]
    if not words:
        return [], text
    word = words[int(rng.integers(len(words)))]
    asked = re.sub(rf"\b{name}\b", word, text)
    asked = re.sub(r"\ban (?=[^aeiou])", "a ", re.sub(r"\ba (?=[aeio])", "an ", asked))
    return [(word, scene.masks[number])], asked


def _add(marks: Marks, trace: Trace, asked: Asked) -> None:
    """Judge all methods on one trace."""
    words = vxa.positions(trace, [word for word, _ in asked])
    for name, found in methods_of(trace).items():
        heats = found(words)
        marks[name].append(
            [judge(heat.resized(mask.shape), mask) for heat, (_, mask) in zip(heats, asked, strict=True)]
        )


def _methods(marks: Marks, best: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for method in heatmap.METHODS:
        judged = marks[best if method == "vxa_best" else method]
        if judged:
            yield method, {**summary(judged), "scenes": len(judged)}


def _quality(judged: list[list[Judged]]) -> float:
    found = summary(judged)
    return float(found["pointing"] + found["miou"])
