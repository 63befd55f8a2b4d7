"""Drawn scenes with captions and pixel-exact masks: what the bundled model learns from and is judged on.

A scene is one to three objects (shape, colour, size, place) that do not touch, on a plain or patterned
background. Everything is a function of the random generator given, so a seed names a scene.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIZE = 128  # pixels of a side
SUPERSAMPLE = 4  # drawn this much larger, then averaged: anti-aliased edges
GAP = 4  # pixels kept free between two objects and at the border

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
COLORS = {
    "red": (220, 30, 35),
    "orange": (250, 140, 20),
    "yellow": (250, 225, 50),
    "green": (40, 160, 60),
    "cyan": (70, 215, 230),
    "blue": (35, 65, 215),
    "purple": (130, 45, 170),
    "pink": (250, 140, 190),
}
RADII = {"small": 17.0, "medium": 23.0, "big": 31.0}  # pixels, of the circle around the object
BACKGROUNDS = {
    "gray": (128, 128, 128),
    "black": (16, 16, 16),
    "white": (242, 242, 242),
    "brown": (110, 75, 45),
}
PATTERNS = ("plain", "striped", "checkered", "dotted")
PATTERN_ODDS = (0.76, 0.08, 0.08, 0.08)


@dataclass(frozen=True)
class Thing:
    """One object: names of its shape, colour and size; centre (y, x) in pixels."""

    shape: str
    color: str
    size: str
    center: tuple[float, float]

    @property
    def phrase(self) -> str:
        """As a person would name it in full: 'small red star'."""
        return f"{self.size} {self.color} {self.shape}"


@dataclass(frozen=True)
class Scene:
    """A drawn scene: picture uint8 (y, x, rgb), masks bool (thing, y, x), and what it shows."""

    things: tuple[Thing, ...]
    background: str
    pattern: str
    picture: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def draw_scene(
    rng: np.random.Generator, *, count: int | None = None, pattern: str | None = None, distinct: bool = False
) -> Scene:
    """Draw one scene. `count` things (1 to 3, else by chance); `distinct`: no shape and no colour twice."""
    count = count or int(rng.choice([1, 2, 3], p=[0.35, 0.45, 0.2]))
    things = _place(_choose(rng, count, distinct), rng)
    background = str(rng.choice(list(BACKGROUNDS)))
    pattern = pattern or str(rng.choice(PATTERNS, p=PATTERN_ODDS))
    picture = _paint_background(background, pattern, rng)
    masks = np.zeros((count, SIZE, SIZE), dtype=bool)
    for index, thing in enumerate(things):
        coverage = _coverage(thing)
        color = np.array(COLORS[thing.color], dtype=np.float32)
        picture = picture + (color - picture) * coverage[..., None]
        masks[index] = coverage >= 0.5
    return Scene(things, background, pattern, np.round(picture).astype(np.uint8), masks)


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """Say what a scene shows, as people write: sizes, relation and background are often left out."""
    names = [_name(thing, rng) for thing in scene.things]
    if len(names) == 2 and rng.random() < 0.5:
        text = f"{names[0]} {_relation(*scene.things)} {names[1]}"
    elif rng.random() < 0.15:
        text = ", ".join(name.split(" ", 1)[1] for name in names)
    else:
        text = " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
    if rng.random() < 0.6:
        pattern = "" if scene.pattern == "plain" else f"{scene.pattern} "
        text += f" on a {pattern}{scene.background} background"
    return text


def _choose(rng: np.random.Generator, count: int, distinct: bool) -> list[tuple[str, str]]:
    shapes = rng.choice(SHAPES, count, replace=not distinct)
    colors = rng.choice(list(COLORS), count, replace=not distinct)
    return [(str(shape), str(color)) for shape, color in zip(shapes, colors, strict=True)]


def _place(kinds: list[tuple[str, str]], rng: np.random.Generator) -> tuple[Thing, ...]:
    """Size and put things so that none touches another or the border; without a place, start again."""
    while True:
        placed: list[Thing] = []
        for shape, color in kinds:
            size = str(rng.choice(list(RADII)))
            margin = RADII[size] + GAP
            for _ in range(20):
                center = (rng.uniform(margin, SIZE - margin), rng.uniform(margin, SIZE - margin))
                if all(math.dist(center, t.center) > margin + RADII[t.size] for t in placed):
                    placed.append(Thing(shape, color, size, center))
                    break
        if len(placed) == len(kinds):
            return tuple(placed)


def _coverage(thing: Thing) -> NDArray[np.float32]:
    """Share of each pixel that a thing covers, float32 (y, x) in [0, 1]."""
    image = Image.new("L", (SIZE * SUPERSAMPLE, SIZE * SUPERSAMPLE))
    draw = ImageDraw.Draw(image)
    y, x = (c * SUPERSAMPLE for c in thing.center)
    r = RADII[thing.size] * SUPERSAMPLE

    def polygon(points: list[tuple[float, float]]) -> None:  # points: (angle in turns from the top, radius)
        draw.polygon(
            [(x + q * r * math.sin(a * math.tau), y - q * r * math.cos(a * math.tau)) for a, q in points],
            fill=255,
        )

    if thing.shape in ("circle", "ring"):
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        if thing.shape == "ring":
            draw.ellipse((x - r * 0.48, y - r * 0.48, x + r * 0.48, y + r * 0.48), fill=0)
    elif thing.shape == "square":
        polygon([(k / 4 + 1 / 8, 1.05) for k in range(4)])
    elif thing.shape == "triangle":
        polygon([(k / 3, 1.0) for k in range(3)])
    elif thing.shape == "star":
        polygon([(k / 10, 1.0 if k % 2 == 0 else 0.4) for k in range(10)])
    else:
        arm = r * 0.33
        draw.rectangle((x - arm, y - r, x + arm, y + r), fill=255)
        draw.rectangle((x - r, y - arm, x + r, y + arm), fill=255)
    return np.asarray(image.reduce(SUPERSAMPLE), dtype=np.float32) / np.float32(255)


def _paint_background(background: str, pattern: str, rng: np.random.Generator) -> NDArray[np.float32]:
    """Float32 (y, x, rgb) in [0, 255]: the colour, with a slightly lighter or darker pattern on it."""
    base = np.array(BACKGROUNDS[background], dtype=np.float32)
    second = base + (34.0 if base.mean() < 128 else -34.0)
    y, x = np.mgrid[:SIZE, :SIZE]
    period = 16
    y, x = y + int(rng.integers(2 * period)), x + int(rng.integers(2 * period))
    if pattern == "striped":
        where = (x // period) % 2 == 0
    elif pattern == "checkered":
        where = (x // period + y // period) % 2 == 0
    elif pattern == "dotted":
        where = (x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (period / 4) ** 2
    else:
        where = np.zeros((SIZE, SIZE), dtype=bool)
    return np.where(where[..., None], second, base).astype(np.float32)


def _name(thing: Thing, rng: np.random.Generator) -> str:
    mentioned = rng.random() < (0.25 if thing.size == "medium" else 0.8)
    size = "large" if thing.size == "big" and rng.random() < 0.15 else thing.size
    words = f"{size} {thing.color} {thing.shape}" if mentioned else f"{thing.color} {thing.shape}"
    return f"an {words}" if words[0] in "aeiou" else f"a {words}"


def _relation(first: Thing, second: Thing) -> str:
    down, right = (b - a for a, b in zip(first.center, second.center, strict=True))
    if abs(right) > abs(down):
        return "left of" if right > 0 else "right of"
    return "above" if down > 0 else "below"
