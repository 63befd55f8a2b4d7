"""Scenes of one or two things whose truth is known: picture, masks of things and of their parts, relation."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lib_unet_viz.demo.scenes import BACKGROUNDS, COLORS, SIZE
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.drawing import Canvas, Pose, Rgb, Thing, pose
from lib_unet_viz.demo.things.grounds import PATTERN_ODDS, PATTERNS, PLACES, PLAIN, paint_place, paint_plain
from lib_unet_viz.demo.things.wear import FIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

SUPERSAMPLE = 3
PAINTS: dict[str, Rgb] = {
    **COLORS,
    **{name: BACKGROUNDS[name] for name in ("gray", "white", "brown")},
    "black": (58, 56, 66),
}
SIDE_BY_SIDE = ("left of", "right of", "above", "below", "next to", "and", "with", "on")
ACTIONS = ("wearing", "eating", "holding")
RELATIONS = ("alone", *SIDE_BY_SIDE, *ACTIONS)
ODDS = (0.34, 0.06, 0.06, 0.05, 0.05, 0.04, 0.09, 0.04, 0.04, 0.1, 0.08, 0.05)
ALIKE = 45.0  # of two colours, the distance in 8-bit RGB under which both go by one name
COLORED = 0.3  # share of the things that may have any colour which are given one
LABELS = 100  # labels of a thing's parts start at (its number + 1) times this
HELD = ("balloon", "flower", "umbrella", "book", "cup", "heart", "present", "ball", "guitar", "icecream")
BASES = ("ball", "book", "car", "bus", "boat", "house", "cloud", "present", "chair", "cake")
# As FIT of wear.py: anchor, the point that lies there, how much wider than the place.
PUT = {"eating": ("mouth", (0.0, -0.2), 2.0), "holding": ("hand", (0.0, 0.0), 2.0)}
# The project's own examples are learned; of an animal's other pairs, one of so many never is.
KEPT = {("squirrel", "eating", "burger"), ("lion", "eating", "burger"), ("rabbit", "wearing", "sunglasses")}
UNSEEN_EVERY = 6
TRIES = 1000  # to find two nouns that fit


@dataclass(frozen=True)
class Shown:
    """One thing of a scene: its noun; the colour it was given, "" for its own; how it was drawn."""

    name: str
    color: str
    pose: Pose

    @property
    def size(self) -> str:
        """As a person might call it: small, big, or nothing."""
        return "small" if self.pose.radius < 24 else "big" if self.pose.radius > 48 else ""


@dataclass(frozen=True)
class ThingScene:
    """Things and how they relate ("alone", "left of", "wearing" …), the second after the first.

    place: one of PLACES, "" where the background is a color (of PLAIN) with a pattern; picture uint8 (y, x,
    rgb); masks bool (thing, y, x): what is seen of each; labels int32 (y, x): which part of which thing.
    """

    things: tuple[Shown, ...]
    relation: str
    place: str
    background: str
    pattern: str
    picture: NDArray[np.uint8]
    labels: NDArray[np.int32]

    @property
    def masks(self) -> NDArray[np.bool_]:
        """What is seen of each thing (thing, y, x)."""
        return np.stack([self.labels // LABELS == number + 1 for number in range(len(self.things))])

    def part(self, number: int, name: str) -> NDArray[np.bool_]:
        """What is seen of the parts of one name of a thing (y, x)."""
        names = THINGS[self.things[number].name].part_names
        mask: NDArray[np.bool_] = self.labels == (number + 1) * LABELS + names.index(name)
        return mask


def is_unseen(first: str, second: str) -> bool:
    """Whether an animal and what it would wear or eat are never shown together in training, in no relation,
    so that "wearing" and "eating" can be judged on them."""
    for animal, other in ((first, second), (second, first)):
        action = "wearing" if other in FIT else "eating" if THINGS[other].kind == "food" else ""
        if action and THINGS[animal].kind == "animal" and (animal, action, other) not in KEPT:
            return zlib.crc32(f"{animal} {action} {other}".encode()) % UNSEEN_EVERY == 0
    return False


def draw_scene(
    rng: np.random.Generator,
    *,
    relation: str | None = None,
    names: Sequence[str] | None = None,
    unseen: bool = False,
    place: str | None = None,
    nouns: Sequence[str] = tuple(THINGS),
    colored: float = COLORED,
) -> ThingScene:
    """Draw one scene; what is not given, by chance.

    unseen: only pairs that training never shows; nouns: those that chance may choose from; colored: the
    share of the things that may have any colour which are given one.
    """
    relation = relation or str(rng.choice(RELATIONS, p=ODDS))
    chosen = tuple(names) if names else _choose(rng, relation, nouns, unseen=unseen)
    poses = _arranged(rng, relation, [THINGS[name] for name in chosen])
    things = tuple(
        Shown(name, _color(rng, THINGS[name], colored), how) for name, how in zip(chosen, poses, strict=True)
    )
    if place is None:
        place = str(rng.choice(list(PLACES))) if rng.random() < 0.5 else ""
    background = "" if place else str(rng.choice(list(PLAIN)))
    pattern = "" if place else str(rng.choice(PATTERNS, p=PATTERN_ODDS))
    ground = paint_place(place, rng) if place else paint_plain(background, pattern, rng)
    canvas = Canvas(ground, scale=SUPERSAMPLE)
    for number, thing in enumerate(things):
        canvas.paint(THINGS[thing.name], thing.pose, palette(thing), label=(number + 1) * LABELS)
    picture, labels = canvas.finish()
    return ThingScene(things, relation, place, background, pattern, picture, labels)


def palette(thing: Shown) -> dict[str, Rgb]:
    """A thing's colours by role, with the one that it was given."""
    known = THINGS[thing.name]
    return dict(known.colors) if not thing.color else {**known.colors, known.paint: PAINTS[thing.color]}


def is_of_color(name: str, color: str) -> bool:
    """Whether a thing is of a named colour of PAINTS even where none is asked for, as a car is red."""
    known = THINGS[name]
    own, named = np.array(known.colors[known.paint]), np.array(PAINTS[color])
    return bool(np.linalg.norm(own - named) < ALIKE)


def _color(rng: np.random.Generator, thing: Thing, colored: float) -> str:
    if not thing.paint or rng.random() > colored:
        return ""
    few = rng.random() < 0.8
    return str(rng.choice(list(COLORS) if few else list(PAINTS)))


def _choose(
    rng: np.random.Generator, relation: str, nouns: Sequence[str], *, unseen: bool
) -> tuple[str, ...]:
    """Nouns that fit a relation. Raises ValueError where there are none."""
    if relation == "alone":
        return (str(rng.choice(nouns)),)
    firsts = [name for name in nouns if relation not in ACTIONS or THINGS[name].kind == "animal"]
    seconds = {
        "wearing": [name for name in nouns if name in FIT],
        "eating": [name for name in nouns if THINGS[name].kind == "food"],
        "holding": [name for name in nouns if name in HELD],
        "on": [name for name in nouns if name in BASES],
    }.get(relation, list(nouns))
    for _ in range(TRIES if firsts and seconds else 0):
        first, second = str(rng.choice(firsts)), str(rng.choice(seconds))
        if first != second and is_unseen(first, second) == unseen:
            return first, second
    raise ValueError(f"no two of the nouns {', '.join(nouns)} fit {relation!r}")


def _arranged(rng: np.random.Generator, relation: str, things: list[Thing]) -> list[Pose]:
    """Where each thing is, as the relation says; painted in this order."""
    if relation == "alone":
        radius = float(rng.uniform(38, 58) if rng.random() < 0.7 else rng.uniform(18, 38))
        return [pose(rng, things[0], _center(rng, radius), radius)]
    if relation in ACTIONS:
        return _attached(rng, relation, *things)
    place: Callable[..., list[tuple[float, float, float]]] = {
        "above": _stacked, "below": _stacked, "on": _on_top, "with": _in_front
    }.get(relation, _beside)  # fmt: skip
    spots = place(rng)
    if relation in ("right of", "below") or (relation in ("next to", "and") and rng.random() < 0.5):
        spots = spots[::-1]
    return [pose(rng, thing, (x, y), r) for thing, (x, y, r) in zip(things, spots, strict=True)]


def _center(rng: np.random.Generator, radius: float) -> tuple[float, float]:
    room = max(1.0, SIZE / 2 - 1.06 * radius)
    return SIZE / 2 + float(rng.uniform(-room, room)), SIZE / 2 + float(rng.uniform(-room, room))


def _beside(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """Left and right, (x, y, radius) each: alike, or one large and one small."""
    first = float(rng.uniform(26, 31.5) if rng.random() < 0.6 else rng.choice([22, 39]) + rng.uniform(-2, 2))
    second = min(31.5, 62.0 - first) * float(rng.uniform(0.9, 1))
    y = [64 + float(rng.uniform(-1, 1)) * min(20, 63 - r) for r in (first, second)]
    slack = max(0.0, 127 - 2 * (first + second)) / 3
    return [(1 + slack + first, y[0], first), (127 - slack - second, y[1], second)]


def _stacked(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    return [(y, x, r) for x, y, r in _beside(rng)]


def _on_top(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """The first stands on the second's upper part."""
    base = float(rng.uniform(32, 40))
    top = float(rng.uniform(24, 30))
    x = 64 + float(rng.uniform(-12, 12))
    level = 126 - base
    return [
        (x + float(rng.uniform(-6, 6)), max(top + 1, level - 0.55 * base - top * 0.8), top),
        (x, level, base),
    ]


def _in_front(rng: np.random.Generator) -> list[tuple[float, float, float]]:
    """A large one, and a small one before its foot, to one side."""
    large, small = float(rng.uniform(42, 50)), float(rng.uniform(20, 26))
    side = 1 if rng.random() < 0.5 else -1
    x = 64 - side * float(rng.uniform(8, 14))
    return [
        (x, 126 - large - float(rng.uniform(0, 20)), large),
        (64 + side * (63 - small), 126 - small, small),
    ]


def _attached(rng: np.random.Generator, relation: str, first: Thing, second: Thing) -> list[Pose]:
    """An animal and what it wears, eats or holds, at the animal's own anchor."""
    anchor, fit, factor = FIT[second.name] if relation == "wearing" else PUT[relation]
    radius = float(rng.uniform(42, 50))
    low = 126 - 0.98 * radius if anchor == "hat" else 64 + float(rng.uniform(-8, 8))
    x = 64 + float(rng.uniform(-10, 10))
    if anchor == "hand":
        radius, x = radius * 0.9, 64.0
    how = pose(rng, first, (x, low), radius)
    ax, ay, width = first.anchors[anchor]
    size = width * factor * radius / 2 * float(rng.uniform(0.92, 1.08))
    spot = how.places([(ax, ay)])[0]
    center = spot - np.array(fit) * size
    if relation != "wearing":
        center = np.clip(center, min(62.0, size), 128 - min(62.0, size))
    put = pose(rng, second, (float(center[0]), float(center[1])), size)
    return [how, put]
