"""Buildings, plants, and what is in the sky."""

from __future__ import annotations

import math

from lib_unet_viz.demo.things.drawing import Part, Rgb, Thing, both, box, curve, ellipse, polygon, stroke


def building(
    name: str, *parts: Part, words: tuple[str, ...] = (), paint: str = "wall", **colors: Rgb
) -> Thing:
    """A building; a colour word sets its walls, or the role named."""
    return Thing(name, "building", parts, colors, paint=paint, words=words)


def nature(name: str, *parts: Part, words: tuple[str, ...] = (), paint: str = "", **colors: Rgb) -> Thing:
    """A plant, or something in the sky."""
    return Thing(name, "nature", parts, colors, paint=paint, words=words)


def _wavy(
    count: int, outer: float, inner: float, at: tuple[float, float] = (0.0, 0.0)
) -> list[tuple[float, float]]:
    """Corners of a star, or the lobes of a blossom."""
    return [
        (at[0] + r * math.cos(a), at[1] + r * math.sin(a))
        for k in range(2 * count)
        for r, a in ((inner if k % 2 else outer, math.pi * k / count - math.pi / 2),)
    ]


BUILDINGS = (
    building(
        "house",
        box("chimney", "brick", 0.34, -0.84, 0.56, -0.3),
        box("walls", "wall", -0.68, -0.12, 0.68, 0.9),
        polygon("roof", "roof", (-0.94, -0.06), (0.0, -0.9), (0.94, -0.06)),
        box("door", "wood", -0.44, 0.26, -0.06, 0.9),
        ellipse("door", "gold", (-0.14, 0.6), 0.05, outline=False),
        box("windows", "glass", 0.14, 0.12, 0.5, 0.48),
        stroke("windows", "ink", (0.32, 0.14), (0.32, 0.46), width=0.045),
        stroke("windows", "ink", (0.16, 0.3), (0.48, 0.3), width=0.045),
        words=("cottage", "home"),
        wall=(250, 225, 170),
        roof=(205, 65, 50),
        brick=(170, 85, 60),
    ),
    building(
        "castle",
        box("walls", "wall", -0.62, -0.1, 0.62, 0.9),
        *both(
            box("towers", "wall", 0.5, -0.42, 0.94, 0.9),
            polygon("roofs", "roof", (0.42, -0.4), (0.72, -0.96), (1.0, -0.4)),
            box("windows", "ink", 0.64, 0.0, 0.8, 0.3),
        ),
        *(box("walls", "wall", x - 0.12, -0.3, x + 0.12, -0.08) for x in (-0.34, 0.0, 0.34)),
        curve("gate", "wood", (-0.26, 0.9), (-0.26, 0.4), (0.0, 0.22), (0.26, 0.4), (0.26, 0.9)),
        words=("fortress",),
        wall=(178, 180, 192),
        roof=(120, 85, 190),
    ),
    building(
        "tent",
        polygon("tent", "wall", (-0.96, 0.8), (0.0, -0.8), (0.96, 0.8)),
        polygon("door", "ink", (-0.34, 0.8), (0.0, -0.1), (0.34, 0.8)),
        polygon(
            "stripes",
            "wall.light",
            (0.0, -0.78),
            (0.14, -0.56),
            (0.62, 0.78),
            (0.4, 0.78),
            (0.06, -0.2),
            outline=False,
        ),
        stroke("pole", "gold", (0, -0.8), (0, -0.98), width=0.08),
        wall=(240, 120, 45),
    ),
)

NATURE = (
    nature(
        "tree",
        polygon("trunk", "wood", (-0.16, 0.96), (-0.12, 0.1), (0.12, 0.1), (0.16, 0.96)),
        curve(
            "crown",
            "crown",
            (-0.44, 0.36),
            (-0.82, 0.2),
            (-0.78, -0.26),
            (-0.5, -0.5),
            (-0.3, -0.9),
            (0.26, -0.92),
            (0.5, -0.52),
            (0.8, -0.24),
            (0.8, 0.22),
            (0.44, 0.38),
            (0, 0.3),
        ),
        *(
            ellipse("crown", "crown.light", at, (0.15, 0.1), outline=False)
            for at in ((-0.34, -0.42), (0.28, -0.12), (-0.3, 0.06))
        ),
        paint="crown",
        crown=(65, 155, 65),
    ),
    nature(
        "flower",
        stroke("stem", "leaf.dark", (0, 0.1), (0.04, 0.5), (0, 0.96), width=0.1),
        curve("leaves", "leaf", (0.02, 0.76), (0.3, 0.44), (0.6, 0.5), (0.36, 0.74)),
        *(
            ellipse("petals", "petals", (0.42 * math.cos(a), -0.36 + 0.42 * math.sin(a)), 0.25)
            for a in (math.tau * k / 6 for k in range(6))
        ),
        ellipse("middle", "gold", (0, -0.36), 0.25),
        words=("blossom",),
        paint="petals",
        petals=(240, 110, 170),
    ),
    nature(
        "cactus",
        *(
            stroke("arms", "green", *points, width=0.22, outline=True)
            for points in (
                ((-0.1, 0.3), (-0.56, 0.26), (-0.58, -0.2)),
                ((0.1, 0.06), (0.56, 0.02), (0.58, -0.44)),
            )
        ),
        stroke("trunk", "green", (0, 0.6), (0, -0.66), width=0.4, outline=True),
        *(stroke("trunk", "green.dark", (x, -0.6), (x, 0.5), width=0.04) for x in (-0.08, 0.08)),
        polygon("pot", "pot", (-0.46, 0.5), (0.46, 0.5), (0.34, 0.96), (-0.34, 0.96)),
        green=(70, 150, 80),
        pot=(205, 110, 65),
    ),
    nature(
        "sun",
        polygon("rays", "rays", *_wavy(11, 0.98, 0.62)),
        ellipse("disc", "gold", (0, 0), 0.58),
        rays=(250, 150, 40),
    ),
    nature(
        "moon",
        curve(
            "moon",
            "moon",
            (0.3, -0.92),
            (-0.4, -0.8),
            (-0.82, 0.0),
            (-0.4, 0.8),
            (0.3, 0.92),
            (0.6, 0.76),
            (0.06, 0.4),
            (-0.1, 0.0),
            (0.06, -0.4),
            (0.6, -0.76),
        ),
        *(
            ellipse("craters", "moon.dark", at, r, outline=False)
            for at, r in (((-0.44, -0.22), 0.1), ((-0.3, 0.3), 0.13))
        ),
        moon=(250, 228, 130),
    ),
    nature(
        "cloud",
        curve(
            "cloud",
            "cloud",
            (-0.8, 0.46),
            (-0.96, 0.1),
            (-0.62, -0.16),
            (-0.42, -0.52),
            (0.06, -0.56),
            (0.36, -0.28),
            (0.74, -0.22),
            (0.98, 0.14),
            (0.8, 0.46),
            (0, 0.5),
        ),
        paint="cloud",
        cloud=(248, 250, 253),
    ),
)
