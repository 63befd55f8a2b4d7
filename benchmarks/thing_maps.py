"""Which method makes the best maps of things: chosen on one half of nouns and scenes, judged on the other.

    python benchmarks/thing_maps.py [--model PATH_OR_ID] [--seed N] [--count N] [--json]

Nouns are halved by name; each half has scenes of its own, of two things beside each other and of one that
wears or eats the other. mIoU is given at half of a map's range, and at the threshold that is best for the
method in the first half.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib_unet_viz.demo.score_maps import methods_of
from lib_unet_viz.demo.score_thing_maps import ATTACHED, held_out
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import SIDE_BY_SIDE
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa

HALVES = ("chosen on", "judged on")
CASES = {"things": SIDE_BY_SIDE, "attached": ATTACHED}
THRESHOLDS = np.linspace(0.1, 0.9, 17)
HALF = int(np.abs(THRESHOLDS - 0.5).argmin())

Marks = dict[str, list[NDArray[np.float64]]]  # method; of each map: pointing, then IoU at each threshold


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="the bundled one if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=50, help="scenes of each case and half")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = halves(Pipeline.load(options.model), seed=options.seed, count=options.count)
    sys.stdout.write((json.dumps(found, indent=2) if options.json else table(found)) + "\n")


def halves(model: Pipeline, *, seed: int, count: int) -> dict[str, Any]:
    """By case, half and method: pointing, miou at half of a map's range, miou_best at the best threshold."""
    found: dict[str, Any] = {}
    for case, relations in CASES.items():
        marks = []
        for number in range(len(HALVES)):
            nouns = [name for name in THINGS if zlib.crc32(name.encode()) % len(HALVES) == number]
            scenes = held_out(relations, count=count, seed=seed + number, nouns=nouns)
            marks.append(_judged(model, scenes))
        best = {name: int(np.mean(each, 0)[1:].argmax()) for name, each in marks[0].items()}
        found[case] = {half: means(each, best) for half, each in zip(HALVES, marks, strict=True)}
    return found


def _judged(model: Pipeline, scenes: Any) -> Marks:
    marks: Marks = defaultdict(list)
    for index, (scene, text) in enumerate(scenes):
        trace = vxa.trace_picture(model, Image.fromarray(scene.picture), text, noise_seed=index)
        words = vxa.positions(trace, [thing.name for thing in scene.things])
        for name, maps in methods_of(trace).items():
            for heat, mask in zip(maps(words), scene.masks, strict=True):
                marks[name].append(judge(heat.resized(mask.shape), mask))
    return marks


def judge(heat: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pointing, then intersection over union at each of THRESHOLDS, of a map in [0, 1] (y, x)."""
    above = heat > THRESHOLDS[:, None, None]
    ious = (above & mask).sum((1, 2)) / np.maximum(1, (above | mask).sum((1, 2)))
    return np.array([mask.flat[heat.argmax()], *ious], dtype=np.float64)


def means(marks: Marks, best: dict[str, int]) -> dict[str, dict[str, float]]:
    """By method, over all maps; `best`: the number of the threshold that each method is judged at."""
    means = {name: np.mean(each, 0) for name, each in marks.items()}
    return {
        name: {
            "pointing": float(mean[0]),
            "miou": float(mean[1 + HALF]),
            "miou_best": float(mean[1 + best[name]]),
            "threshold": float(THRESHOLDS[best[name]]),
        }
        for name, mean in means.items()
    }


def table(found: dict[str, Any]) -> str:
    """For people: a line for each method, both halves beside each other."""
    lines = []
    for case, by_half in found.items():
        lines.append(f"{case:24}" + "".join(f"{half}: point  mIoU  best (at)  " for half in HALVES))
        for name in by_half[HALVES[0]]:
            marks = (by_half[half][name] for half in HALVES)
            lines.append(
                f"{name:24}"
                + "".join(
                    f"{m['pointing']:16.3f} {m['miou']:5.3f} {m['miou_best']:5.3f} ({m['threshold']:.2f})  "
                    for m in marks
                )
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
