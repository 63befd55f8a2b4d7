"""The snowman, the robot and the ghost, who do what animals do."""

from __future__ import annotations

from lib_unet_viz.demo.things.anatomy import SITTING, eyes
from lib_unet_viz.demo.things.drawing import Thing, both, box, curve, ellipse, polygon, stroke

FIGURES = (
    Thing(
        "snowman",
        "animal",
        (
            *both(stroke("arms", "wood", (0.36, 0.1), (0.88, -0.2), width=0.06)),
            ellipse("body", "snow", (0, 0.48), (0.54, 0.48)),
            ellipse("head", "snow", (0, -0.36), (0.42, 0.42)),
            curve(
                "scarf", "scarf", (-0.38, -0.08), (0, 0.02), (0.38, -0.08), (0.4, 0.1), (0, 0.2), (-0.4, 0.1)
            ),
            box("scarf", "scarf", 0.12, 0.1, 0.32, 0.48),
            *eyes(-0.46, 0.15, 0.06),
            polygon("nose", "flame", (-0.04, -0.38), (0.4, -0.28), (-0.02, -0.22)),
            *(ellipse("buttons", "ink", (-0.04, y), 0.06, outline=False) for y in (0.34, 0.58, 0.8)),
        ),
        {"snow": (245, 248, 252), "scarf": (215, 50, 55)},
        paint="scarf",
        anchors={
            **SITTING,
            "hat": (0, -0.7, 0.62),
            "eyes": (0, -0.46, 0.7),
            "mouth": (0, -0.12, 0.4),
            "hand": (0.7, 0.0, 0.55),
        },
    ),
    Thing(
        "robot",
        "animal",
        (
            stroke("antenna", "gray", (0, -0.7), (0, -0.9), width=0.07, outline=True),
            ellipse("antenna", "light", (0, -0.92), 0.08),
            *both(
                stroke("arms", "gray", (0.5, 0.2), (0.78, 0.3), (0.8, 0.6), width=0.12, outline=True),
                box("legs", "gray", 0.1, 0.7, 0.34, 0.96),
                box("ears", "gray", 0.5, -0.5, 0.64, -0.2),
            ),
            box("body", "metal", -0.48, 0.06, 0.48, 0.76),
            box("head", "metal", -0.54, -0.72, 0.54, 0.0),
            box("face", "face", -0.4, -0.58, 0.4, -0.12),
            *both(ellipse("eyes", "light", (0.19, -0.4), 0.1, outline=False)),
            stroke("mouth", "light", (-0.16, -0.22), (0.16, -0.22), width=0.06),
            box("buttons", "light", -0.26, 0.22, 0.02, 0.4),
            ellipse("buttons", "flame", (0.24, 0.3), 0.09),
        ),
        {"metal": (165, 185, 205), "light": (110, 240, 220), "face": (40, 55, 80)},
        paint="metal",
        anchors={**SITTING, "eyes": (0, -0.4, 0.86), "mouth": (0, -0.02, 0.45), "hand": (0.78, 0.6, 0.5)},
    ),
    Thing(
        "ghost",
        "animal",
        (
            curve(
                "body",
                "sheet",
                (0, -0.9),
                (0.5, -0.68),
                (0.66, -0.1),
                (0.72, 0.86),
                (0.48, 0.66),
                (0.24, 0.9),
                (0, 0.68),
                (-0.24, 0.9),
                (-0.48, 0.66),
                (-0.72, 0.86),
                (-0.66, -0.1),
                (-0.5, -0.68),
            ),
            *both(
                ellipse("eyes", "ink", (0.22, -0.3), (0.12, 0.17), outline=False),
                ellipse("cheeks", "blush", (0.38, -0.06), (0.11, 0.07), outline=False),
            ),
            ellipse("mouth", "ink", (0, 0.08), (0.11, 0.14), outline=False),
        ),
        {"sheet": (248, 248, 252)},
        paint="sheet",
        anchors={
            **SITTING,
            "hat": (0, -0.8, 0.62),
            "eyes": (0, -0.32, 0.9),
            "mouth": (0, 0.16, 0.45),
            "hand": (0.64, 0.3, 0.55),
        },
    ),
)
