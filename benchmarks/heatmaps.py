"""Which method makes the best heat maps: all of them on the same recordings, and by noise level.

    python benchmarks/heatmaps.py [--model PATH_OR_ID] [--seed N] [--count N] [--levels | --steps] [--json]

Without --levels and --steps: the maps' part of `unet-viz score`. --levels: the default method on two-object
scenes by noise level, each alone and as VXA averages them. --steps: the default method on generated pictures,
of scenes that `unet-viz score` does not have, by the steps whose self-attention is recorded. Exit code 1
where `aggregation.DEFAULT` is not the winner or `aggregation.BEST_LAYER` not the best layer: then write what
was found into these constants.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from PIL import Image

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import REFINING
from lib_unet_viz.cli import report
from lib_unet_viz.demo.localisation import judge, summary
from lib_unet_viz.demo.score_maps import CFG, STEPS, held_out, maps, masks_by_color
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.aggregation import BEST_LAYER, DEFAULT
from lib_unet_viz.notation.specs import LateSteps, StepSpec
from lib_unet_viz.trace import Trace

LEVELS: tuple[tuple[float, ...], ...] = ((0.05,), (0.15,), (0.25,), (0.35,), (0.5,), (0.65,), vxa.LEVELS)

VALIDATION = 5000  # added to the seed of --steps: scenes of their own
Choice = LateSteps | StepSpec


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", help="the bundled one if not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=50, help="two-object scenes")
    parser.add_argument("--levels", action="store_true")
    parser.add_argument("--steps", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    model = Pipeline.load(options.model)
    if options.levels or options.steps:
        curve = levels if options.levels else steps
        found = curve(model, seed=options.seed, count=options.count)
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


def choices() -> dict[str, Choice]:
    """Which of a run's steps have their self-attention recorded: all, some evenly, late ones, single ones."""
    found: dict[str, Choice] = {"all": StepSpec()}
    for number in (15, 8, 4):
        spread = sorted({round(STEPS * (index + 0.5) / number) for index in range(number)})
        found[f"{number} of the whole run"] = StepSpec(",".join(map(str, spread)))
    found |= {f"{number} of the last third": LateSteps(number) for number in (8, REFINING.count, 2)}
    single = {round(STEPS * share) for share in (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)}
    return found | {f"step {step} alone": StepSpec(str(step)) for step in sorted(single)}


def steps(model: Pipeline, *, seed: int, count: int) -> dict[str, Any]:
    """Marks of shape words in generated pictures of two objects, by `choices`."""
    marks: dict[str, list[Any]] = {title: [] for title in choices()}
    scenes = held_out(objects=2, count=count, seed=seed + VALIDATION + 1, pattern="plain")
    for index, (scene, text) in enumerate(scenes):
        traces = _recorded(model, text, seed=seed + VALIDATION + index)
        picture = np.asarray(next(iter(traces.values())).picture)
        masks = masks_by_color(picture, [thing.color for thing in scene.things])
        if masks is None:
            continue
        for title, trace in traces.items():
            words = vxa.positions(trace, [thing.shape for thing in scene.things])
            heats = heatmap.word_maps(trace, words)
            pairs = zip(heats, masks, strict=True)
            marks[title].append([judge(heat.resized(mask.shape), mask) for heat, mask in pairs])
    return {title: summary(judged) for title, judged in marks.items()}


@torch.no_grad()
def _recorded(model: Pipeline, text: str, *, seed: int) -> dict[str, Trace]:
    """One run, recorded with each of `choices`."""
    meta, traces = host.describe(model.pipe, prompt=text, seed=seed), {}
    with ExitStack() as recorders:
        for title, chosen in choices().items():
            attached = host.attach(model.pipe)
            captures = heatmap.word_captures(halves=("cond",), refining=chosen)
            recorder = Recorder(attached.unet, attention=captures, calls=attached.calls, meta=meta)
            traces[title] = recorders.enter_context(recorder)
        made = torch.Generator("cpu").manual_seed(seed)
        run = model.pipe(text, num_inference_steps=STEPS, guidance_scale=CFG, generator=made)
    for trace in traces.values():
        trace.picture = run.images[0]
    return traces


if __name__ == "__main__":
    sys.exit(main())
