"""Food: what animals eat, and what lies on plates."""

from __future__ import annotations

import math

from lib_unet_viz.demo.things.drawing import Part, Rgb, Thing, both, box, curve, ellipse, polygon, stroke


def food(name: str, *parts: Part, words: tuple[str, ...] = (), paint: str = "", **colors: Rgb) -> Thing:
    """Something to eat; its colours by role."""
    return Thing(name, "food", parts, colors, paint=paint, words=words)


def _ring(count: int, radius: float, turn: float = 0.0) -> list[tuple[float, float]]:
    return [
        (radius * math.cos(math.tau * k / count + turn), radius * math.sin(math.tau * k / count + turn))
        for k in range(count)
    ]


FOOD = (
    food(
        "burger",
        curve("bun", "bun", (-0.86, 0.5), (0.86, 0.5), (0.8, 0.86), (0.0, 0.92), (-0.8, 0.86)),
        curve("patty", "meat", (-0.9, 0.26), (0, 0.22), (0.9, 0.26), (0.88, 0.56), (0, 0.6), (-0.88, 0.56)),
        polygon(
            "cheese", "cheese", (-0.9, 0.1), (0.9, 0.1), (0.5, 0.34), (0.2, 0.16), (-0.2, 0.4), (-0.6, 0.16)
        ),
        curve(
            "salad",
            "salad",
            (-0.96, 0.08),
            (-0.6, -0.06),
            (0.6, -0.06),
            (0.96, 0.08),
            (0.7, 0.2),
            (0.46, 0.08),
            (0.2, 0.2),
            (-0.1, 0.08),
            (-0.4, 0.2),
            (-0.7, 0.1),
        ),
        curve(
            "bun",
            "bun",
            (-0.88, -0.02),
            (-0.8, -0.5),
            (-0.3, -0.82),
            (0.3, -0.82),
            (0.8, -0.5),
            (0.88, -0.02),
        ),
        *(
            ellipse("seeds", "cream", at, (0.07, 0.045), outline=False)
            for at in ((-0.4, -0.42), (0.0, -0.6), (0.4, -0.42), (-0.12, -0.26), (0.2, -0.28))
        ),
        words=("hamburger", "cheeseburger"),
        bun=(228, 155, 70),
        meat=(115, 62, 35),
        cheese=(252, 205, 50),
        salad=(110, 190, 60),
        cream=(255, 240, 200),
    ),
    food(
        "pizza",
        polygon("cheese", "cheese", (-0.72, -0.5), (0.72, -0.5), (0.0, 0.96)),
        stroke("crust", "crust", (-0.74, -0.56), (0, -0.76), (0.74, -0.56), width=0.26, outline=True),
        *(ellipse("salami", "salami", at, 0.15) for at in ((-0.3, -0.26), (0.28, -0.18), (-0.02, 0.22))),
        *(
            ellipse("olives", "leaf", at, 0.06, outline=False)
            for at in ((0.02, -0.36), (-0.2, 0.08), (0.16, 0.44))
        ),
        cheese=(253, 210, 80),
        crust=(205, 135, 60),
        salami=(210, 50, 40),
    ),
    food(
        "cake",
        ellipse("plate", "white", (0, 0.76), (0.96, 0.18)),
        box("cake", "dough", -0.72, 0.0, 0.72, 0.76),
        box("cream", "cream", -0.72, 0.32, 0.72, 0.46, outline=False),
        curve(
            "icing",
            "icing",
            (-0.76, -0.16),
            (0.76, -0.16),
            (0.76, 0.2),
            (0.56, 0.04),
            (0.38, 0.24),
            (0.16, 0.06),
            (-0.06, 0.26),
            (-0.3, 0.06),
            (-0.52, 0.24),
            (-0.74, 0.12),
        ),
        *(box("candles", "candle", x - 0.06, -0.54, x + 0.06, -0.16) for x in (-0.42, 0.0, 0.42)),
        *(ellipse("candles", "flame", (x, -0.7), (0.08, 0.14)) for x in (-0.42, 0.0, 0.42)),
        paint="icing",
        dough=(235, 185, 110),
        cream=(255, 245, 225),
        icing=(248, 150, 190),
        candle=(90, 170, 235),
    ),
    food(
        "apple",
        stroke("stem", "wood", (0.0, -0.5), (0.08, -0.86), width=0.09),
        curve("leaf", "leaf", (0.06, -0.66), (0.3, -0.96), (0.62, -0.86), (0.36, -0.6)),
        curve(
            "skin",
            "skin",
            (0, -0.5),
            (0.36, -0.64),
            (0.8, -0.36),
            (0.8, 0.3),
            (0.4, 0.9),
            (0, 0.8),
            (-0.4, 0.9),
            (-0.8, 0.3),
            (-0.8, -0.36),
            (-0.36, -0.64),
        ),
        ellipse("gleam", "skin.light", (-0.44, -0.2), (0.12, 0.22), turn=20, outline=False),
        paint="skin",
        skin=(222, 40, 42),
    ),
    food(
        "banana",
        curve(
            "skin",
            "skin",
            (-0.82, -0.66),
            (-0.6, -0.74),
            (-0.4, -0.1),
            (0.1, 0.26),
            (0.8, 0.16),
            (0.94, 0.34),
            (0.5, 0.74),
            (-0.1, 0.74),
            (-0.66, 0.3),
            (-0.86, -0.3),
        ),
        stroke("skin", "skin.dark", (-0.62, -0.3), (-0.4, 0.2), (0.06, 0.5), (0.6, 0.46), width=0.06),
        polygon("tips", "wood", (-0.86, -0.64), (-0.84, -0.94), (-0.64, -0.94), (-0.6, -0.66)),
        ellipse("tips", "wood", (0.9, 0.28), 0.1),
        skin=(253, 222, 60),
    ),
    food(
        "carrot",
        *(
            curve("leaf", "leaf", (-0.08, -0.4), (x - 0.12, -0.8), (x, -1.0), (x + 0.12, -0.8), (0.08, -0.4))
            for x in (-0.36, 0.36, 0.0)
        ),
        curve(
            "root",
            "root",
            (-0.38, -0.34),
            (0.0, -0.46),
            (0.38, -0.34),
            (0.24, 0.3),
            (0.0, 0.98),
            (-0.24, 0.3),
        ),
        *(
            stroke("root", "root.dark", (x, y), (x + 0.2, y), width=0.05)
            for x, y in ((-0.32, -0.14), (0.04, 0.08), (-0.22, 0.32))
        ),
        root=(250, 130, 35),
    ),
    food(
        "strawberry",
        curve(
            "fruit",
            "fruit",
            (-0.5, -0.5),
            (0, -0.4),
            (0.5, -0.5),
            (0.74, -0.1),
            (0.4, 0.6),
            (0, 0.96),
            (-0.4, 0.6),
            (-0.74, -0.1),
        ),
        polygon(
            "leaf",
            "leaf",
            (-0.7, -0.5),
            (-0.2, -0.7),
            (0, -0.98),
            (0.2, -0.7),
            (0.7, -0.5),
            (0.3, -0.4),
            (0, -0.14),
            (-0.3, -0.4),
        ),
        *(
            ellipse("seeds", "gold", at, (0.05, 0.075), outline=False)
            for at in ((-0.36, 0.0), (0.0, 0.1), (0.36, 0.0), (-0.2, 0.36), (0.2, 0.36), (0.0, 0.64))
        ),
        fruit=(228, 45, 60),
    ),
    food(
        "watermelon",
        curve("rind", "leaf", (-0.94, -0.34), (0.94, -0.34), (0.7, 0.46), (0, 0.82), (-0.7, 0.46)),
        curve(
            "rind",
            "white",
            (-0.82, -0.32),
            (0.82, -0.32),
            (0.58, 0.34),
            (0, 0.64),
            (-0.58, 0.34),
            outline=False,
        ),
        curve(
            "flesh",
            "flesh",
            (-0.72, -0.34),
            (0.72, -0.34),
            (0.5, 0.26),
            (0, 0.52),
            (-0.5, 0.26),
            outline=False,
        ),
        stroke("flesh", "flesh", (-0.76, -0.36), (0.76, -0.36), width=0.1),
        *(
            ellipse("seeds", "ink", at, (0.06, 0.09), outline=False)
            for at in ((-0.4, -0.08), (0.0, -0.14), (0.4, -0.08), (-0.18, 0.18), (0.18, 0.18))
        ),
        words=("melon",),
        flesh=(240, 75, 85),
    ),
    food(
        "donut",
        ellipse("dough", "dough", (0, 0.06), (0.9, 0.82)),
        curve(
            "icing",
            "icing",
            *(
                (0.8 * k * math.cos(a), -0.02 + 0.72 * k * math.sin(a))
                for n in range(18)
                for a, k in ((math.tau * n / 18, 1.0 if n % 2 else 0.9),)
            ),
        ),
        ellipse("hole", "hole", (0, 0.0), (0.27, 0.22)),
        *(
            stroke("sprinkles", role, (x, y), (x + dx, y + 0.08), width=0.07)
            for x, y, dx, role in (
                (-0.5, -0.3, 0.08, "gold"),
                (-0.1, -0.52, 0.1, "glass"),
                (0.4, -0.4, -0.08, "white"),
                (0.52, 0.04, 0.06, "gold"),
                (0.3, 0.36, 0.1, "glass"),
                (-0.16, 0.42, -0.1, "white"),
                (-0.56, 0.08, 0.08, "glass"),
            )
        ),
        words=("doughnut",),
        paint="icing",
        dough=(215, 155, 85),
        icing=(245, 130, 180),
        hole=(120, 80, 50),
    ),
    food(
        "icecream",
        polygon("cone", "cone", (-0.46, 0.0), (0.46, 0.0), (0.0, 0.98)),
        stroke("cone", "cone.dark", (-0.2, 0.1), (0.12, 0.62), width=0.05),
        stroke("cone", "cone.dark", (0.2, 0.1), (-0.12, 0.62), width=0.05),
        ellipse("scoop", "scoop", (0, -0.4), (0.56, 0.52)),
        curve(
            "scoop",
            "scoop",
            (-0.6, -0.12),
            (-0.3, -0.2),
            (0.3, -0.2),
            (0.6, -0.12),
            (0.5, 0.12),
            (0.2, 0.04),
            (0, 0.18),
            (-0.24, 0.04),
            (-0.5, 0.12),
        ),
        ellipse("cherry", "fruit", (0.06, -0.9), 0.12),
        paint="scoop",
        cone=(225, 165, 85),
        scoop=(250, 190, 205),
        fruit=(215, 35, 60),
    ),
    food(
        "mushroom",
        curve("stem", "stem", (-0.28, 0.0), (0.28, 0.0), (0.36, 0.84), (0.0, 0.94), (-0.36, 0.84)),
        curve("cap", "cap", (-0.94, 0.14), (-0.7, -0.56), (0, -0.9), (0.7, -0.56), (0.94, 0.14), (0, 0.26)),
        *(
            ellipse("dots", "white", at, r, outline=False)
            for at, r in (
                ((-0.4, -0.24), 0.16),
                ((0.1, -0.56), 0.15),
                ((0.5, -0.14), 0.16),
                ((0.02, -0.02), 0.11),
            )
        ),
        paint="cap",
        cap=(220, 45, 45),
        stem=(250, 235, 210),
    ),
    food(
        "pumpkin",
        stroke("stem", "leaf.dark", (0, -0.5), (0.1, -0.88), width=0.17, outline=True),
        *both(ellipse("fruit", "fruit", (0.52, 0.12), (0.42, 0.58))),
        ellipse("fruit", "fruit", (0, 0.12), (0.44, 0.64)),
        fruit=(245, 130, 30),
    ),
)
