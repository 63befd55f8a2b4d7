"""The two worlds that the bundled model learns, shapes and things, as one stream of examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib_unet_viz.demo import scenes as shapes
from lib_unet_viz.demo.things import captions
from lib_unet_viz.demo.things import scenes as things

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHAPES = 0.25  # share of examples that are of shapes
CAPTIONS = 4  # captions kept of each scene


@dataclass(frozen=True)
class Example:
    """A picture uint8 (y, x, rgb), where in it something is bool (y, x), and captions of it."""

    picture: NDArray[np.uint8]
    foreground: NDArray[np.bool_]
    captions: tuple[str, ...]


def example(rng: np.random.Generator) -> Example:
    """One example of one of the worlds."""
    if rng.random() < SHAPES:
        drawn = shapes.draw_scene(rng)
        texts = (shapes.caption(drawn, rng) for _ in range(CAPTIONS))
        return Example(drawn.picture, np.asarray(drawn.masks.any(0)), tuple(texts))
    scene = things.draw_scene(rng)
    texts = (captions.caption(scene, rng) for _ in range(CAPTIONS))
    return Example(scene.picture, scene.labels > 0, tuple(texts))
