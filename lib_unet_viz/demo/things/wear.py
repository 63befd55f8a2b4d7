"""What is worn: on the head, on the eyes, around the neck. Each fits the place that its `at` names."""

from __future__ import annotations

import math

from lib_unet_viz.demo.things.drawing import Part, Rgb, Thing, both, curve, ellipse, polygon, stroke


def wear(name: str, *parts: Part, words: tuple[str, ...] = (), paint: str = "cloth", **colors: Rgb) -> Thing:
    """Something to wear; its colours by role."""
    return Thing(name, "wear", parts, colors, paint=paint, words=words)


# Where each goes (an anchor's name), which point of it lies there, and how much wider than the place it is.
FIT: dict[str, tuple[str, tuple[float, float], float]] = {
    "hat": ("hat", (0.0, 0.66), 1.5),
    "cap": ("hat", (0.0, 0.5), 1.35),
    "crown": ("hat", (0.0, 0.6), 1.1),
    "glasses": ("eyes", (0.0, 0.0), 1.5),
    "sunglasses": ("eyes", (0.0, 0.0), 1.5),
}

WEAR = (
    wear(
        "hat",
        ellipse("brim", "cloth", (0, 0.6), (0.98, 0.24)),
        curve(
            "top",
            "cloth",
            (-0.52, 0.58),
            (-0.56, -0.2),
            (-0.5, -0.74),
            (0, -0.8),
            (0.5, -0.74),
            (0.56, -0.2),
            (0.52, 0.58),
            (0, 0.7),
        ),
        polygon("band", "band", (-0.54, 0.2), (0.54, 0.2), (0.53, 0.52), (0, 0.62), (-0.53, 0.52)),
        cloth=(70, 62, 82),
        band=(215, 50, 60),
    ),
    wear(
        "cap",
        curve(
            "top",
            "cloth",
            (-0.7, 0.42),
            (-0.64, -0.24),
            (-0.2, -0.62),
            (0.3, -0.52),
            (0.6, 0.0),
            (0.62, 0.42),
        ),
        curve("brim", "cloth.dark", (-0.2, 0.36), (0.5, 0.28), (1.0, 0.5), (0.94, 0.64), (0.3, 0.58)),
        ellipse("button", "cloth.dark", (-0.06, -0.6), (0.12, 0.08)),
        cloth=(40, 110, 215),
    ),
    wear(
        "crown",
        polygon(
            "crown",
            "metal",
            (-0.84, 0.66),
            (-0.94, -0.5),
            (-0.44, 0.06),
            (0, -0.76),
            (0.44, 0.06),
            (0.94, -0.5),
            (0.84, 0.66),
        ),
        *(
            ellipse("jewels", role, (x, 0.4), 0.12)
            for x, role in ((-0.46, "ruby"), (0.0, "sapphire"), (0.46, "ruby"))
        ),
        *(ellipse("tips", "metal", at, 0.11) for at in ((-0.92, -0.54), (0.0, -0.8), (0.92, -0.54))),
        paint="metal",
        metal=(252, 200, 45),
        ruby=(220, 40, 60),
        sapphire=(50, 110, 225),
    ),
    wear(
        "glasses",
        *both(
            ellipse("lenses", "lens", (0.5, 0.0), 0.4, outline=False),
            stroke(
                "frame",
                "cloth",
                *(
                    (0.5 + 0.4 * math.cos(a), 0.4 * math.sin(a))
                    for a in (math.tau * k / 12 for k in range(13))
                ),
                width=0.13,
            ),
        ),
        stroke("frame", "cloth", (-0.14, -0.06), (0, -0.14), (0.14, -0.06), width=0.12),
        lens=(205, 232, 246),
        cloth=(40, 34, 46),
        words=("spectacles",),
    ),
    wear(
        "sunglasses",
        stroke("frame", "cloth", (-0.3, -0.22), (0.3, -0.22), width=0.2),
        *both(
            curve("frame", "cloth", (0.04, -0.42), (0.94, -0.44), (0.96, 0.14), (0.62, 0.52), (0.18, 0.34)),
            curve(
                "lenses",
                "lens",
                (0.2, -0.2),
                (0.8, -0.22),
                (0.82, 0.1),
                (0.58, 0.32),
                (0.3, 0.2),
                outline=False,
            ),
            stroke("gleam", "gray", (0.38, -0.08), (0.52, 0.12), width=0.08),
        ),
        lens=(34, 32, 42),
        cloth=(34, 32, 42),
        words=("shades",),
    ),
)
