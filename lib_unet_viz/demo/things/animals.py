"""Animals that sit and look at you: head, ears, face and body, and what tells each kind from the others."""

from __future__ import annotations

from lib_unet_viz.demo.things.anatomy import animal, body, eyes, head, pointed_ears, round_ears, snout, tail
from lib_unet_viz.demo.things.drawing import both, curve, ellipse, polygon, stroke

_WHISKERS = both(
    stroke("whiskers", "ink", (0.28, -0.12), (0.62, -0.2), width=0.028),
    stroke("whiskers", "ink", (0.28, -0.06), (0.62, -0.02), width=0.028),
)
_STRIPES = (
    polygon("stripes", "ink", (-0.09, -0.78), (0.09, -0.78), (0, -0.52), outline=False),
    *both(
        polygon("stripes", "ink", (0.55, -0.38), (0.55, -0.22), (0.34, -0.28), outline=False),
        polygon("stripes", "ink", (0.5, -0.14), (0.42, -0.02), (0.3, -0.14), outline=False),
        polygon("stripes", "ink", (0.34, -0.74), (0.2, -0.77), (0.22, -0.56), outline=False),
        polygon("stripes", "ink", (0.48, 0.3), (0.47, 0.45), (0.24, 0.4), outline=False),
        polygon("stripes", "ink", (0.47, 0.58), (0.43, 0.72), (0.24, 0.66), outline=False),
    ),
)

MAMMALS = (
    animal(
        "cat",
        tail("fur", (0.3, 0.8), (0.75, 0.75), (0.82, 0.35), (0.68, 0.15)),
        *body(),
        *pointed_ears(),
        head(),
        *eyes(),
        *snout(nose="blush"),
        *_WHISKERS,
        words=("kitten", "kitty"),
        fur=(245, 165, 75),
    ),
    animal(
        "dog",
        tail("fur", (0.3, 0.75), (0.7, 0.6), (0.8, 0.3)),
        *body(),
        head(),
        ellipse("patch", "fur.dark", (0.21, -0.38), (0.19, 0.22), outline=False),
        *both(
            curve("ears", "fur.dark", (0.34, -0.72), (0.56, -0.66), (0.72, -0.3), (0.66, 0.06), (0.5, -0.1))
        ),
        *eyes(),
        *snout(rx=0.3, y=-0.08),
        ellipse("tongue", "blush", (0.0, 0.12), (0.08, 0.12)),
        words=("puppy", "doggy"),
        fur=(190, 125, 70),
    ),
    animal(
        "lion",
        tail("fur", (0.3, 0.8), (0.75, 0.75), (0.8, 0.4)),
        ellipse("tail", "mane", (0.8, 0.36), 0.15),
        *body(),
        curve(
            "mane",
            "mane",
            *(
                (0.82 * k * x, -0.28 + 0.7 * k * y)
                for n in range(22)
                for k in (1.0 if n % 2 else 0.86,)
                for x, y in (
                    (
                        (1.0, 0.96, 0.84, 0.65, 0.42, 0.14, -0.14, -0.42, -0.65, -0.84, -0.96)[n % 11]
                        * (1 if n < 11 else -1),
                        (0.0, 0.28, 0.54, 0.76, 0.91, 0.99, 0.99, 0.91, 0.76, 0.54, 0.28)[n % 11]
                        * (1 if n < 11 else -1),
                    ),
                )
            ),
            grow=(0.92, 1.08),
        ),
        *round_ears("fur", "blush", (0.36, -0.66), 0.15),
        head(rx=0.46, ry=0.4, y=-0.28),
        *eyes(-0.34, 0.17),
        *snout(y=-0.08),
        fur=(246, 190, 90),
        mane=(170, 85, 30),
    ),
    animal(
        "tiger",
        tail("fur", (0.3, 0.8), (0.75, 0.75), (0.82, 0.35)),
        *body(),
        *round_ears("fur", "white"),
        head(),
        *_STRIPES,
        *eyes(),
        *snout(nose="blush"),
        fur=(250, 150, 45),
    ),
    animal(
        "squirrel",
        curve(
            "tail",
            "fur.dark",
            (0.2, 0.85),
            (0.75, 0.85),
            (0.95, 0.35),
            (0.8, -0.05),
            (0.92, -0.5),
            (0.62, -0.72),
            (0.42, -0.35),
            (0.45, 0.2),
        ),
        curve("tail", "fur", (0.4, 0.7), (0.72, 0.6), (0.68, 0.1), (0.7, -0.45), (0.5, 0.1), outline=False),
        *(
            part
            for part in (
                ellipse("body", "fur", (-0.12, 0.48), (0.4, 0.46)),
                ellipse("belly", "belly", (-0.16, 0.52), (0.22, 0.32), outline=False),
                ellipse("feet", "fur", (-0.36, 0.88), (0.2, 0.1)),
                ellipse("feet", "fur", (0.1, 0.88), (0.2, 0.1)),
                polygon("ears", "fur", (0.2, -0.6), (0.24, -0.98), (-0.02, -0.68)),
                polygon("ears", "fur", (-0.52, -0.6), (-0.56, -0.98), (-0.3, -0.7)),
                ellipse("head", "fur", (-0.16, -0.32), (0.45, 0.4)),
                ellipse("cheeks", "belly", (-0.34, -0.16), (0.2, 0.16), outline=False),
                ellipse("cheeks", "belly", (0.02, -0.16), (0.2, 0.16), outline=False),
                ellipse("eyes", "ink", (-0.33, -0.38), (0.08, 0.1), outline=False),
                ellipse("eyes", "ink", (0.02, -0.38), (0.08, 0.1), outline=False),
                ellipse("nose", "ink", (-0.16, -0.2), (0.08, 0.06), outline=False),
                polygon("teeth", "white", (-0.24, -0.08), (-0.08, -0.08), (-0.1, 0.06), (-0.22, 0.06)),
            )
        ),
        fur=(205, 100, 45),
        anchors={
            "hat": (-0.16, -0.68, 0.6),
            "eyes": (-0.16, -0.38, 0.74),
            "mouth": (-0.16, 0.04, 0.5),
            "hand": (-0.55, 0.35, 0.55),
        },
    ),
    animal(
        "rabbit",
        *body(),
        *both(
            ellipse("ears", "fur", (0.22, -0.68), (0.15, 0.36), turn=10, grow=(0.9, 1.1)),
            ellipse("ears", "blush", (0.22, -0.66), (0.07, 0.26), turn=10, outline=False, grow=(0.9, 1.1)),
        ),
        head(rx=0.48, ry=0.4, y=-0.2),
        *eyes(-0.26, 0.2),
        *both(ellipse("cheeks", "blush", (0.32, -0.08), (0.09, 0.06), outline=False)),
        *snout(y=-0.02, rx=0.17, nose="blush"),
        polygon("teeth", "white", (-0.07, 0.06), (0.07, 0.06), (0.06, 0.18), (-0.06, 0.18)),
        words=("bunny", "hare"),
        fur=(215, 205, 200),
        anchors={"hat": (0, -0.52, 0.62), "eyes": (0, -0.24, 0.8), "mouth": (0, 0.12, 0.5)},
    ),
    animal(
        "fox",
        curve("tail", "fur", (0.2, 0.85), (0.7, 0.9), (0.98, 0.5), (0.85, 0.05), (0.6, 0.4)),
        curve("tail", "white", (0.97, 0.4), (0.85, 0.03), (0.74, 0.28), (0.84, 0.36)),
        *body(),
        *pointed_ears(inner="ink", tip=-1.0),
        polygon("head", "fur", (-0.6, -0.3), (-0.4, -0.72), (0.4, -0.72), (0.6, -0.3), (0, 0.16)),
        *both(
            polygon("cheeks", "white", (0.58, -0.28), (0.2, -0.22), (0, 0.12), outline=False),
        ),
        *eyes(-0.4, 0.22, 0.075),
        ellipse("nose", "ink", (0, 0.1), (0.1, 0.08), outline=False),
        fur=(235, 105, 35),
        anchors={"mouth": (0, 0.16, 0.5)},
    ),
    animal(
        "bear",
        *body(belly="belly", width=0.5),
        *round_ears("fur", "belly"),
        head(),
        *eyes(r=0.07),
        *snout("belly", y=-0.1, rx=0.27),
        words=("teddy",),
        fur=(140, 85, 45),
        belly=(225, 180, 130),
    ),
    animal(
        "panda",
        *both(ellipse("arms", "ink", (0.42, 0.34), (0.16, 0.3), turn=-20, outline=False)),
        ellipse("body", "fur", (0, 0.46), (0.46, 0.48)),
        *both(
            ellipse("arms", "ink", (0.36, 0.26), (0.15, 0.28), turn=30, outline=False),
            ellipse("feet", "ink", (0.32, 0.86), (0.22, 0.13), outline=False),
        ),
        *round_ears("black", "ink", (0.42, -0.7), 0.21),
        head(),
        *both(
            ellipse("patches", "ink", (0.22, -0.34), (0.14, 0.18), turn=25, outline=False),
            ellipse("eyes", "white", (0.2, -0.35), 0.05, outline=False),
        ),
        ellipse("nose", "ink", (0, -0.14), (0.1, 0.07), outline=False),
        stroke("mouth", "ink", (-0.1, -0.03), (0, 0.02), (0.1, -0.03), width=0.035),
        paint="",
        fur=(250, 250, 246),
    ),
    animal(
        "mouse",
        tail("blush", (0.2, 0.85), (0.7, 0.9), (0.9, 0.6), (0.75, 0.4), width=0.07),
        *body(width=0.38),
        *round_ears("fur", "blush", (0.48, -0.62), 0.32),
        head(rx=0.42, ry=0.4, y=-0.24),
        *eyes(-0.3, 0.16),
        *snout("belly", y=-0.06, rx=0.16, nose="blush"),
        *_WHISKERS,
        fur=(160, 160, 172),
        anchors={"hat": (0, -0.56, 0.6), "eyes": (0, -0.29, 0.7), "mouth": (0, 0.06, 0.5)},
    ),
    animal(
        "pig",
        stroke("tail", "fur", (0.4, 0.6), (0.62, 0.55), (0.6, 0.4), (0.72, 0.36), width=0.07, outline=True),
        *body(belly="fur.light", width=0.5),
        *both(polygon("ears", "fur.dark", (0.48, -0.5), (0.52, -0.88), (0.16, -0.74))),
        head(),
        *eyes(r=0.07),
        ellipse("snout", "fur.dark", (0, -0.12), (0.22, 0.16)),
        *both(ellipse("snout", "ink", (0.08, -0.12), (0.035, 0.06), outline=False)),
        words=("piglet",),
        fur=(252, 170, 185),
    ),
    animal(
        "cow",
        *body(belly="fur"),
        ellipse("spots", "ink", (-0.26, 0.34), (0.14, 0.2), turn=20, outline=False),
        ellipse("spots", "ink", (0.24, 0.62), (0.16, 0.13), outline=False),
        *both(
            curve("horns", "belly", (0.2, -0.72), (0.34, -0.78), (0.36, -1.0), (0.5, -0.8), (0.36, -0.62)),
            ellipse("ears", "fur", (0.62, -0.5), (0.2, 0.11), turn=20),
        ),
        head(rx=0.46),
        ellipse("spots", "ink", (0.22, -0.42), (0.19, 0.24), outline=False),
        *both(
            ellipse("eyes", "white", (0.2, -0.4), 0.085),
            ellipse("eyes", "ink", (0.2, -0.39), 0.05, outline=False),
        ),
        ellipse("snout", "blush", (0, -0.02), (0.38, 0.19)),
        *both(ellipse("snout", "ink", (0.14, -0.04), (0.045, 0.06), outline=False)),
        paint="",
        fur=(250, 250, 246),
    ),
    animal(
        "monkey",
        tail("fur", (0.3, 0.8), (0.75, 0.8), (0.85, 0.4), (0.62, 0.3), (0.66, 0.5), width=0.1),
        *body(belly="skin"),
        *round_ears("fur", "skin", (0.56, -0.36), 0.2),
        head(),
        *both(ellipse("face", "skin", (0.18, -0.38), (0.24, 0.25), outline=False)),
        ellipse("face", "skin", (0, -0.1), (0.38, 0.22), outline=False),
        *eyes(-0.38, 0.16),
        *both(ellipse("nose", "ink", (0.05, -0.2), 0.03, outline=False)),
        stroke("mouth", "ink", (-0.2, -0.08), (0, 0.03), (0.2, -0.08), width=0.04),
        fur=(120, 72, 42),
        skin=(245, 205, 160),
    ),
    animal(
        "elephant",
        *body(belly="fur.light", width=0.5),
        *both(
            ellipse("ears", "fur", (0.62, -0.36), (0.36, 0.44), grow=(0.9, 1.06)),
            ellipse("ears", "blush", (0.64, -0.34), (0.22, 0.3), outline=False, grow=(0.9, 1.06)),
        ),
        head(rx=0.44),
        *both(
            polygon("tusks", "white", (0.14, -0.08), (0.28, -0.08), (0.3, 0.2)),
        ),
        stroke("trunk", "fur", (0, -0.24), (0.0, 0.1), (0.06, 0.36), (0.28, 0.4), width=0.22, outline=True),
        *eyes(-0.42, 0.22, 0.07),
        fur=(150, 165, 190),
    ),
)
