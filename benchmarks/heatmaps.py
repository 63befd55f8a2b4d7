"""Which method makes the best heat maps: all of them on the same recordings, and by noise level.

    python benchmarks/heatmaps.py [--model PATH_OR_ID] [--seed N] [--count N] [--levels] [--json]

Without --levels: the maps' part of `unet-viz score`. With it: the default method on two-object scenes by
noise level, each alone and as VXA averages them. Exit code 1 where `aggregation.DEFAULT` is not the winner or
`aggregation.BEST_LAYER` not the best layer: then write what was found into these constants.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from PIL import Image

from lib_unet_viz.cli import report
from lib_unet_viz.demo.localisation import judge, summary
from lib_unet_viz.demo.score_maps import held_out, maps
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.aggregation import BEST_LAYER, DEFAULT

LEVELS: tuple[tuple[float, ...], ...] = ((0.05,), (0.15,), (0.25,), (0.35,), (0.5,), (0.65,), vxa.LEVELS)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="the bundled one if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=50, help="two-object scenes")
    parser.add_argument("--levels", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = Pipeline.load(options.model)
    if options.levels:
        found = levels(model, seed=options.seed, count=options.count)
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
        return 0
    found = maps(model, seed=options.seed, count=options.count)
    sys.stdout.write((json.dumps(found, indent=2) if options.json else report.maps(found)) + "\n")
    return 0 if (found["winner"], found["best_layer"]) == (DEFAULT, BEST_LAYER) else 1


def levels(model: Pipeline, *, seed: int, count: int) -> dict[str, Any]:
    """Marks of shape words by the noise levels looked at, as shares of the schedule."""
    found = {}
    for chosen in LEVELS:
        judged = []
        for index, (scene, text) in enumerate(held_out(objects=2, count=count, seed=seed)):
            timesteps = [round(level * len(model.schedule)) for level in chosen]
            picture = Image.fromarray(scene.picture)
            trace = vxa.trace_picture(model, picture, text, timestep=timesteps, noise_seed=index)
            words = vxa.positions(trace, [thing.shape for thing in scene.things])
            heats = heatmap.word_maps(trace, words)
            judged.append(
                [judge(heat.resized(mask.shape), mask) for heat, mask in zip(heats, scene.masks, strict=True)]
            )
        found[", ".join(map(str, chosen))] = summary(judged)
    return found


if __name__ == "__main__":
    sys.exit(main())
