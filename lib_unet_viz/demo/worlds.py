"""The two worlds that the bundled model learns, shapes and things, as one stream of examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib_unet_viz.demo import scenes as shapes
from lib_unet_viz.demo.things import captions
from lib_unet_viz.demo.things import scenes as things
from lib_unet_viz.demo.things.catalog import THINGS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

SHAPES = 0.25  # share of examples that are of shapes
CAPTIONS = 4  # captions kept of each scene
NOUNS = ("", *shapes.SHAPES, *THINGS)  # what a pixel may show; the first: nothing


@dataclass(frozen=True)
class Example:
    """A picture uint8 (y, x, rgb); which of NOUNS each pixel shows, their numbers uint8 (y, x); captions."""

    picture: NDArray[np.uint8]
    nouns: NDArray[np.uint8]
    captions: tuple[str, ...]

    @property
    def foreground(self) -> NDArray[np.bool_]:
        """Where in the picture something is (y, x)."""
        return self.nouns > 0


def example(rng: np.random.Generator) -> Example:
    """One example of one of the worlds."""
    if rng.random() < SHAPES:
        drawn = shapes.draw_scene(rng)
        shown = zip((thing.shape for thing in drawn.things), drawn.masks, strict=True)
        texts = (shapes.caption(drawn, rng) for _ in range(CAPTIONS))
        return Example(drawn.picture, _nouns(shown), tuple(texts))
    scene = things.draw_scene(rng)
    texts = (captions.caption(scene, rng) for _ in range(CAPTIONS))
    shown = zip((thing.name for thing in scene.things), scene.masks, strict=True)
    return Example(scene.picture, _nouns(shown), tuple(texts))


def _nouns(shown: Iterable[tuple[str, NDArray[np.bool_]]]) -> NDArray[np.uint8]:
    """The number of the noun that each pixel shows (y, x), of names and masks (y, x)."""
    numbers = np.zeros((shapes.SIZE, shapes.SIZE), dtype=np.uint8)
    for name, mask in shown:
        numbers[mask] = NOUNS.index(name)
    return numbers
