"""How good the bundled model's pictures and heat maps are, on freshly drawn scenes of shapes and of things.

Pictures: does an independent scorer find what a caption names? See `score_pictures` and `score_things`. Maps:
see `score_maps` and `score_thing_maps`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib_unet_viz.demo import score_maps, score_pictures, score_thing_maps, score_things
from lib_unet_viz.demo import scorer as judge
from lib_unet_viz.demo.things.scorer import ThingScorer, accuracy
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

if TYPE_CHECKING:
    from collections.abc import Callable


def score(
    *,
    seed: int,
    count: int = 200,
    model: Pipeline | None = None,
    of_things: ThingScorer | None = None,
    progress: Callable[[float, str], None] = lambda done, doing: None,
) -> dict[str, Any]:
    """Measure everything on `count` scenes each; fractions of 1. `progress(done, doing)`, done in [0, 1].

    of_things: the judge of things; without it shapes alone are measured, with it also half as many scenes of
    things.

    Keys: pictures: scorer_on_drawn, one_object, two_objects of shapes; things_scorer_on_drawn and what
    `score_things.pictures` says of things; maps: as `score_maps.maps` and `score_thing_maps.maps` say. With a
    judge of things, autoencoder: as `score_things.autoencoded` says, and what is found of the same captions'
    scenes as they are drawn, encoded and decoded, which says how far it limits pictures.
    """
    model, share = model or Pipeline.load(), 0.5 if of_things else 1.0
    found = _shapes(model, seed=seed, count=count, progress=_scaled(progress, 0.0, share))
    if of_things:
        fewer, report = max(1, count // 2), _scaled(progress, share, share)
        things = _things(model, of_things, seed=seed, count=fewer, progress=report)
        found = {name: {**found.get(name, {}), **part} for name, part in things.items()}
    return found


def _shapes(
    model: Pipeline, *, seed: int, count: int, progress: Callable[[float, str], None]
) -> dict[str, dict[str, Any]]:
    scorer = judge.load()
    progress(0.0, "scorer on drawn scenes")
    pictures: dict[str, Any] = {"scorer_on_drawn": judge.accuracy(scorer, count=max(count, 200), seed=seed)}
    for objects, name in ((1, "one_object"), (2, "two_objects")):
        part = _part(progress, 0.3 * objects - 0.28, 0.3, f"pictures: {name}")
        pictures[name] = score_pictures.found(
            model, scorer, objects=objects, count=count, seed=seed, progress=part
        )
    maps = score_maps.maps(model, count=count, seed=seed, progress=_part(progress, 0.6, 0.4, "maps"))
    return {"pictures": pictures, "maps": maps}


def _things(
    model: Pipeline,
    scorer: ThingScorer,
    *,
    seed: int,
    count: int,
    progress: Callable[[float, str], None],
) -> dict[str, dict[str, Any]]:
    drawn = accuracy(scorer, count=max(count, 200), seed=seed)["things"]
    report = _part(progress, 0.02, 0.48, "pictures: things")
    pictures = score_things.pictures(model, scorer, count=count, seed=seed, progress=report)
    report = _part(progress, 0.5, 0.1, "autoencoder")
    best = score_things.pictures(
        model, scorer, count=count, seed=seed, made=score_things.decoded, progress=report
    )
    autoencoder = {**score_things.autoencoded(model, count=count, seed=seed), **best}
    report = _part(progress, 0.6, 0.4, "maps: things")
    maps = score_thing_maps.maps(model, count=count, seed=seed, progress=report)
    pictures = {"things_scorer_on_drawn": drawn, **pictures}
    return {"pictures": pictures, "maps": maps, "autoencoder": autoencoder}


def _scaled(
    progress: Callable[[float, str], None], start: float, length: float
) -> Callable[[float, str], None]:
    return lambda done, doing: progress(start + length * done, doing)


def _part(
    progress: Callable[[float, str], None], start: float, length: float, doing: str
) -> Callable[[float], None]:
    """Progress of one part in [0, 1], told as progress of the whole."""
    return lambda done: progress(start + length * done, doing)
