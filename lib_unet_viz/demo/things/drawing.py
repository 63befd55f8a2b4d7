"""The drawing language: a thing is a table of named parts, each an outline in the thing's own square.

Coordinates are (x, y), x to the right and y down, both from -1 to 1 in the square that a thing fills. A
part's colour is a role ("fur"), which the thing's palette turns into a colour; "fur.dark" and "fur.light" are
shades of it. Parts are painted in the order of the table. Nothing drawn twice is alike: parts grow and shrink
within their ranges, the whole is stretched, leans, and is bent a little by a smooth field.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from numpy.typing import NDArray

Point = tuple[float, float]
Rgb = tuple[int, int, int]

INK = (38, 30, 44)
FIXED: dict[str, Rgb] = {
    "ink": INK,
    "white": (250, 250, 246),
    "black": (44, 42, 52),
    "gray": (150, 152, 160),
    "blush": (246, 150, 160),
    "glass": (150, 215, 245),
    "wood": (150, 96, 52),
    "gold": (250, 200, 50),
    "leaf": (70, 165, 70),
    "flame": (250, 130, 30),
}
OUTLINE = 0.055  # of a thing's half side
ROUND = 28  # corners of an ellipse
SMOOTH = 6  # points between two of a curve's


@dataclass(frozen=True)
class Part:
    """One painted area. points: its outline; width: 0 for an area, else that of a stroke with round ends.

    grow: range of the factor by which it grows around `pivot`, the same for all parts of one name; outline:
    whether ink is drawn around it.
    """

    name: str
    role: str
    points: tuple[Point, ...]
    width: float = 0.0
    outline: bool = True
    grow: tuple[float, float] = (0.93, 1.07)
    pivot: Point = (0.0, 0.0)


@dataclass(frozen=True)
class Thing:
    """A noun and how it is drawn.

    colors: roles to the colours it has where none is asked for; paint: the role that a colour word sets, ""
    where none fits; anchors: where a hat, glasses, food and what is held go, (x, y, width) each.
    """

    name: str
    kind: str
    parts: tuple[Part, ...]
    colors: Mapping[str, Rgb] = field(default_factory=dict)
    paint: str = ""
    words: tuple[str, ...] = ()
    anchors: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def part_names(self) -> tuple[str, ...]:
        """The names of its parts, each once, in the order in which they are painted first."""
        return tuple(dict.fromkeys(part.name for part in self.parts))


def ellipse(
    name: str,
    role: str,
    at: Point,
    radii: float | Point,
    *,
    turn: float = 0.0,
    outline: bool = True,
    grow: tuple[float, float] = (0.93, 1.07),
) -> Part:
    """An ellipse around a point; `turn` in degrees, clockwise."""
    rx, ry = radii if isinstance(radii, tuple) else (radii, radii)
    angles = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    points = _turned(np.stack([rx * np.cos(angles), ry * np.sin(angles)], 1), turn) + np.array(at)
    return Part(name, role, _tuples(points), outline=outline, grow=grow, pivot=at)


def polygon(
    name: str, role: str, *points: Point, outline: bool = True, grow: tuple[float, float] = (0.96, 1.04)
) -> Part:
    """Straight edges between corners."""
    return Part(name, role, points, outline=outline, grow=grow, pivot=_middle(points))


def curve(
    name: str, role: str, *points: Point, outline: bool = True, grow: tuple[float, float] = (0.95, 1.05)
) -> Part:
    """A smooth closed line through points (Catmull-Rom)."""
    return Part(
        name, role, _tuples(_smooth(points, closed=True)), outline=outline, grow=grow, pivot=_middle(points)
    )


def stroke(name: str, role: str, *points: Point, width: float = 0.1, outline: bool = False) -> Part:
    """A smooth open line with round ends."""
    smooth = _tuples(_smooth(points, closed=False)) if len(points) > 2 else points
    return Part(name, role, smooth, width=width, outline=outline, grow=(0.97, 1.03), pivot=_middle(points))


def box(
    name: str, role: str, left: float, top: float, right: float, bottom: float, *, outline: bool = True
) -> Part:
    """A rectangle."""
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return polygon(name, role, *corners, outline=outline)


def both(*parts: Part) -> tuple[Part, ...]:
    """Each part and its mirror image, left and right."""
    return tuple(each for part in parts for each in (part, mirrored(part)))


def mirrored(part: Part) -> Part:
    """The part on the other side."""
    points = tuple((-x, y) for x, y in part.points)
    return replace(part, points=points, pivot=(-part.pivot[0], part.pivot[1]))


def moved(parts: tuple[Part, ...], *, by: Point = (0.0, 0.0), scale: float = 1.0) -> tuple[Part, ...]:
    """Parts made larger around the middle, then shifted."""

    def place(point: Point) -> Point:
        return point[0] * scale + by[0], point[1] * scale + by[1]

    return tuple(
        replace(
            part,
            points=tuple(map(place, part.points)),
            pivot=place(part.pivot),
            width=part.width * scale,
        )
        for part in parts
    )


@dataclass(frozen=True)
class Pose:
    """How one thing is drawn this time: where, how large, and how it differs from its table.

    center (x, y) and radius (half a side) in pixels; stretch: x over y; lean in degrees; bend: four numbers
    of a smooth field; flip: left and right exchanged; growth: the factors of parts by name.
    """

    center: Point
    radius: float
    stretch: float = 1.0
    lean: float = 0.0
    bend: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    flip: bool = False
    growth: Mapping[str, float] = field(default_factory=dict)

    def places(self, points: object, part: Part | None = None) -> NDArray[np.float64]:
        """Pixels (point, xy) of points in the thing's square."""
        at = np.array(points, dtype=np.float64).reshape(-1, 2)
        if part is not None:
            pivot = np.array(part.pivot)
            at = (at - pivot) * self.growth.get(part.name, 1.0) + pivot
        a, b, c, d = self.bend
        x, y = at[:, 0], at[:, 1]
        at = np.stack([x + a * np.sin(2.2 * y) + b * x * y, y + c * np.sin(2.2 * x) + d * x * y], 1)
        at = at * np.array([self.stretch**0.5, self.stretch**-0.5]) * np.array([-1 if self.flip else 1, 1])
        placed: NDArray[np.float64] = _turned(at, self.lean) * self.radius + np.array(self.center)
        return placed


def pose(rng: np.random.Generator, thing: Thing, center: Point, radius: float) -> Pose:
    """A pose within a thing's ranges."""
    ranges = {part.name: part.grow for part in thing.parts}
    return Pose(
        center,
        radius,
        stretch=float(rng.uniform(0.9, 1.1)),
        lean=float(rng.normal(0, 3)),
        bend=tuple(rng.normal(0, 0.025, 4).tolist()),
        flip=bool(rng.random() < 0.5),
        growth={name: float(rng.uniform(*limits)) for name, limits in ranges.items()},
    )


class Canvas:
    """A picture and labels of parts, both drawn `scale` times as large as the picture that comes out."""

    def __init__(self, background: NDArray[np.uint8], *, scale: int) -> None:
        size = background.shape[1], background.shape[0]
        large = size[0] * scale, size[1] * scale
        self.scale = scale
        self.image = Image.fromarray(background).resize(large, Image.Resampling.NEAREST)
        self.labels = Image.new("I", large)
        self._draw, self._mark = ImageDraw.Draw(self.image), ImageDraw.Draw(self.labels)

    def paint(self, thing: Thing, how: Pose, colors: Mapping[str, Rgb], *, label: int) -> None:
        """Draw a thing; its n-th part name gets the label `label + n`."""
        names = thing.part_names
        line = max(1.0, OUTLINE * how.radius) * self.scale
        for part in thing.parts:
            points = [(float(x), float(y)) for x, y in how.places(part.points, part) * self.scale]
            fill, mark = shade(colors, part.role), label + names.index(part.name)
            width = part.width * how.radius * self.scale
            if part.width:
                if part.outline:
                    self._line(points, INK, width + 2 * line, mark)
                self._line(points, fill, width, mark)
                continue
            self._draw.polygon(points, fill=fill)
            self._mark.polygon(points, fill=mark)
            if part.outline:
                self._line([*points, points[0]], INK, line, mark)

    def _line(self, points: list[Point], fill: Rgb, width: float, mark: int) -> None:
        thick = max(1, round(width))
        for draw, color in ((self._draw, fill), (self._mark, mark)):
            draw.line(points, fill=color, width=thick, joint="curve")
            for x, y in (points[0], points[-1]):
                r = thick / 2
                draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def finish(self) -> tuple[NDArray[np.uint8], NDArray[np.int32]]:
        """The picture (y, x, rgb), averaged down, and the labels (y, x) of its pixels' middles."""
        at = self.scale // 2
        labels = np.asarray(self.labels, dtype=np.int32)[at :: self.scale, at :: self.scale]
        return np.array(self.image.reduce(self.scale)), labels


def shade(colors: Mapping[str, Rgb], role: str) -> Rgb:
    """The colour of a role, or of a lighter or darker shade of it. Raises KeyError for an unknown role."""
    name, _, how = role.partition(".")
    color = np.array(colors[name] if name in colors else FIXED[name], dtype=np.float64)
    if how == "dark":
        color = color * 0.68
    elif how == "light":
        color = color + (np.array([255, 252, 240]) - color) * 0.6
    r, g, b = (int(value) for value in np.round(color))
    return r, g, b


def _turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    a = np.deg2rad(degrees)
    turned: NDArray[np.float64] = points @ np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    return turned


def _smooth(points: tuple[Point, ...], *, closed: bool) -> NDArray[np.float64]:
    at = np.array(points, dtype=np.float64)
    ends = (at[-1:], at[:2]) if closed else (at[:1], at[-1:])
    around = np.concatenate([ends[0], at, ends[1]])
    t = np.linspace(0, 1, SMOOTH, endpoint=False)[:, None]
    found = [
        0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        for a, b, c, d in zip(around, around[1:], around[2:], around[3:], strict=False)
    ]
    return np.concatenate([*found, *([] if closed else [at[-1:]])])


def _middle(points: tuple[Point, ...]) -> Point:
    x, y = np.mean(points, axis=0).tolist()
    return x, y


def _tuples(points: NDArray[np.float64]) -> tuple[Point, ...]:
    return tuple((float(x), float(y)) for x, y in points)
