"""How well the model draws things: does an independent judge find what held-out captions ask for?

Three cases of as many captions: one thing; two things left of, right of, above or below each other; two
things of which one wears or eats the other, in pairs that training never shows together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from lib_unet_viz.demo.edit_metrics import psnr_in
from lib_unet_viz.demo.score_pictures import BATCH, draw
from lib_unet_viz.demo.things import scorer as judge
from lib_unet_viz.demo.things.captions import caption
from lib_unet_viz.demo.things.scenes import ThingScene, draw_scene, is_of_color

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    Held = list[tuple[ThingScene, str]]

SIDES = ("left of", "right of", "above", "below")
CASES = {"one_thing": ("alone",), "two_things": SIDES, "unseen_pair": ("wearing", "eating")}
APART = 8  # pixels by which one must be more left, or higher


def held_out(case: str, *, count: int, seed: int) -> Held:
    """Scenes of a case and a caption of each that names all things; other seeds than the training's."""
    rng = np.random.default_rng((seed, 3000 + list(CASES).index(case)))
    scenes = [
        draw_scene(rng, relation=str(rng.choice(CASES[case])), unseen=case == "unseen_pair")
        for _ in range(count)
    ]
    return [(scene, caption(scene, rng, plainly=True)) for scene in scenes]


def generated(model: Pipeline, held: Held, seed: int) -> np.ndarray:
    """A picture of each caption, uint8 (image, y, x, rgb)."""
    return draw(model, [text for _, text in held], seed)


def decoded(model: Pipeline, held: Held, _seed: int = 0) -> np.ndarray:
    """Each drawn scene, encoded and decoded, uint8 (image, y, x, rgb): what the autoencoder leaves of it."""
    again = (model.decode(model.encode(Image.fromarray(scene.picture))) for scene, _ in held)
    return np.stack([np.asarray(picture) for (picture,) in again])


def pictures(
    model: Pipeline,
    scorer: judge.ThingScorer,
    *,
    count: int,
    seed: int,
    made: Callable[[Pipeline, Held, int], np.ndarray] = generated,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, float]:
    """Shares of the pictures made of `count` captions of each case in which what was asked for is found.

    one_thing: the thing; two_things, unseen_pair: both; colour: of the things for which one was asked, those
    that are found and have it; colour_of_found: the same of those that are found, 0 for none; relation: of
    the two things' pictures, those in which both are found, on the sides asked for.
    """
    shares: dict[str, float] = {}
    colors: list[bool | None] = []
    relations: list[bool] = []
    for number, case in enumerate(CASES):
        found = []
        held = held_out(case, count=count, seed=seed)
        for at in range(0, count, BATCH):
            batch = held[at : at + BATCH]
            seen = scorer.found(made(model, batch, seed + at))
            for (scene, _), each in zip(batch, seen, strict=True):
                found.append(all(thing.name in each for thing in scene.things))
                colors += [is_colored(each, t.name, t.color) for t in scene.things if t.color]
                relations += [is_related(each, scene)] if case == "two_things" else []
            progress((number + min(1.0, (at + BATCH) / count)) / len(CASES))
        shares[case] = float(np.mean(found))
    known = [color for color in colors if color is not None]
    return {
        **shares,
        "colour": float(np.mean([color is True for color in colors])),
        "colour_of_found": float(np.mean(known)) if known else 0.0,
        "relation": float(np.mean(relations)),
    }


def autoencoded(model: Pipeline, *, count: int, seed: int) -> dict[str, float]:
    """What encoding and decoding leave of drawn scenes, PSNR in dB, means over pictures: psnr_db of whole
    ones, things_psnr_db over the pixels of things alone."""
    rng = np.random.default_rng((seed, 9))
    whole, inside = [], []
    for _ in range(count):
        scene = draw_scene(rng)
        (again,) = decoded(model, [(scene, "")])
        whole.append(psnr_in(scene.picture, again, np.ones(again.shape[:2], dtype=bool)))
        inside.append(psnr_in(scene.picture, again, scene.labels > 0))
    return {"psnr_db": float(np.mean(whole)), "things_psnr_db": float(np.mean(inside))}


def is_colored(seen: dict[str, judge.Seen], name: str, color: str) -> bool | None:
    """Whether a thing has the colour, be it as its own one; None where it is not found."""
    if name not in seen:
        return None
    shown = seen[name].color
    return shown == color or not shown and is_of_color(name, color)


def is_related(seen: dict[str, judge.Seen], scene: ThingScene) -> bool:
    """Whether the two things of a scene are found, and on the sides that its relation says."""
    first, second = (seen.get(thing.name) for thing in scene.things)
    if first is None or second is None:
        return False
    axis = 0 if scene.relation in ("left of", "right of") else 1
    sign = 1 if scene.relation in ("left of", "above") else -1
    return sign * (second.at[axis] - first.at[axis]) > APART
