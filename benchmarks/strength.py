"""Does the strength of words tell those that act from those that do not?

    python benchmarks/strength.py [--count 60]

On captions of drawn scenes of two objects, the bundled model looks at the drawn scene (VXA) and generates a
picture of the caption. The area under the ROC curve with which strength separates words of shapes and colours
from articles, prepositions, conjunctions and commas, with a bootstrap interval over captions; 0.95 is asked.
Exit code 1 where it is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

import numpy as np
from PIL import Image

from lib_unet_viz.demo.scenes import COLORS, SHAPES
from lib_unet_viz.demo.score_maps import held_out
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import word_maps
from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace

WANTED, RESAMPLED = 0.95, 1000
ACTING = {*COLORS, *SHAPES}
SILENT = {"a", "an", "of", "on", "and", ","}
ONLY_WORDS = {"features": {"enabled": False}, "attention": {"enabled": False}, "heatmaps": True}

Marks = tuple[list[float], list[float]]  # strengths of words that act, and of others, in one caption


def main() -> int:
    """Print both areas; 1 where one is too small."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5)
    options = parser.parse_args()
    model, settings = Pipeline.load(), Settings.from_dict(ONLY_WORDS)
    marks: dict[str, list[Marks]] = {"drawn": [], "generated": []}
    for number, (scene, text) in enumerate(held_out(objects=2, count=options.count, seed=options.seed)):
        picture = Image.fromarray(scene.picture)
        marks["drawn"].append(_marks(vxa.trace_picture(model, picture, text, noise_seed=number)))
        marks["generated"].append(_marks(model.generate(text, settings=settings, steps=20, seed=number)))
    found = {name: _area(each) for name, each in marks.items()}
    for name, each in marks.items():
        again = np.random.default_rng(0).integers(len(each), size=(RESAMPLED, len(each)))
        low, high = np.percentile([_area([each[at] for at in row]) for row in again], (2.5, 97.5))
        words = " and ".join(str(sum(len(one[side]) for one in each)) for side in (0, 1))
        print(f"{name}: AUC {found[name]:.3f} ({low:.3f} to {high:.3f}) of {words} words")  # noqa: T201
    return 0 if min(found.values()) >= WANTED else 1


def _marks(trace: Trace) -> Marks:
    acting: list[float] = []
    silent: list[float] = []
    for heat in word_maps(trace):
        word = heat.word.partition("#")[0]
        if word in ACTING:
            acting.append(heat.strength)
        elif word in SILENT:
            silent.append(heat.strength)
    return acting, silent


def _area(marks: Sequence[Marks]) -> float:
    """How often a word that acts is stronger than one that does not; ties count half."""
    acting = np.array([value for one in marks for value in one[0]])
    silent = np.array([value for one in marks for value in one[1]])
    return float((acting[:, None] > silent).mean() + (acting[:, None] == silent).mean() / 2)


if __name__ == "__main__":
    sys.exit(main())
