"""What stands and lies about in a house, and toys."""

from __future__ import annotations

from lib_unet_viz.demo.things.drawing import Part, Rgb, Thing, both, box, curve, ellipse, polygon, stroke


def item(name: str, *parts: Part, words: tuple[str, ...] = (), paint: str = "main", **colors: Rgb) -> Thing:
    """An item; a colour word sets its main colour."""
    return Thing(name, "item", parts, colors, paint=paint, words=words)


HOUSEHOLD = (
    item(
        "ball",
        ellipse("ball", "main", (0, 0), 0.86),
        curve(
            "panel",
            "white",
            (-0.2, -0.84),
            (0.2, -0.84),
            (0.34, 0.0),
            (0.2, 0.84),
            (-0.2, 0.84),
            (-0.34, 0.0),
        ),
        ellipse("cap", "gold", (0, -0.0), 0.2),
        main=(225, 50, 55),
    ),
    item(
        "balloon",
        stroke("string", "ink", (0, 0.46), (0.1, 0.66), (-0.06, 0.8), (0.04, 0.98), width=0.05),
        polygon("knot", "main", (0, 0.3), (0.12, 0.5), (-0.12, 0.5)),
        ellipse("balloon", "main", (0, -0.3), (0.56, 0.66)),
        ellipse("gleam", "main.light", (-0.22, -0.52), (0.11, 0.19), turn=25, outline=False),
        main=(230, 55, 70),
    ),
    item(
        "chair",
        box("back", "main", -0.52, -0.94, 0.42, 0.06),
        box("back", "main.dark", -0.34, -0.72, 0.24, -0.2),
        *(box("legs", "main.dark", x, 0.2, x + 0.14, 0.96) for x in (-0.5, 0.4)),
        polygon("seat", "main", (-0.56, 0.02), (0.46, 0.02), (0.66, 0.3), (-0.66, 0.3)),
        main=(180, 115, 60),
    ),
    item(
        "book",
        polygon(
            "cover",
            "main",
            (-0.94, -0.56),
            (0.0, -0.4),
            (0.94, -0.56),
            (0.94, 0.6),
            (0.0, 0.74),
            (-0.94, 0.6),
        ),
        *both(
            curve(
                "pages",
                "white",
                (0.02, -0.44),
                (0.4, -0.66),
                (0.82, -0.6),
                (0.82, 0.44),
                (0.4, 0.42),
                (0.02, 0.6),
            )
        ),
        *both(
            *(stroke("lines", "gray", (0.2, y), (0.66, y - 0.06), width=0.05) for y in (-0.3, -0.06, 0.18))
        ),
        main=(190, 55, 60),
    ),
    item(
        "cup",
        stroke(
            "handle", "main", (0.5, -0.26), (0.9, -0.24), (0.86, 0.28), (0.46, 0.34), width=0.13, outline=True
        ),
        curve(
            "cup",
            "main",
            (-0.62, -0.46),
            (0.62, -0.46),
            (0.52, 0.5),
            (0.24, 0.78),
            (-0.24, 0.78),
            (-0.52, 0.5),
        ),
        ellipse("drink", "drink", (0, -0.46), (0.62, 0.17)),
        *(
            stroke("steam", "gray", (x, -0.66), (x + 0.08, -0.8), (x, -0.96), width=0.07)
            for x in (-0.24, 0.16)
        ),
        words=("mug",),
        main=(70, 150, 220),
        drink=(100, 60, 35),
    ),
    item(
        "umbrella",
        stroke("handle", "wood", (0, -0.2), (0, 0.74), (0.16, 0.92), (0.3, 0.74), width=0.09, outline=True),
        curve(
            "canopy",
            "main",
            (-0.96, 0.1),
            (-0.8, -0.44),
            (0, -0.84),
            (0.8, -0.44),
            (0.96, 0.1),
            (0.64, -0.04),
            (0.32, 0.1),
            (0, -0.04),
            (-0.32, 0.1),
            (-0.64, -0.04),
        ),
        *both(stroke("ribs", "main.dark", (0.0, -0.78), (0.24, -0.4), (0.32, 0.04), width=0.05)),
        words=("parasol",),
        main=(150, 70, 190),
    ),
    item(
        "lamp",
        ellipse("foot", "gray", (0, 0.84), (0.44, 0.12)),
        stroke("stand", "gray", (0, 0.8), (0, 0.0), width=0.11, outline=True),
        polygon("shade", "main", (-0.34, -0.86), (0.34, -0.86), (0.72, 0.06), (-0.72, 0.06)),
        main=(252, 205, 80),
    ),
    item(
        "clock",
        *both(
            stroke("feet", "main", (0.4, 0.6), (0.56, 0.9), width=0.13, outline=True),
            ellipse("bells", "main", (0.42, -0.7), 0.25),
        ),
        ellipse("rim", "main", (0, 0.06), 0.76),
        ellipse("face", "white", (0, 0.06), 0.56),
        stroke("hands", "ink", (0, 0.06), (0, -0.34), width=0.08),
        stroke("hands", "ink", (0, 0.06), (0.28, 0.16), width=0.08),
        main=(220, 60, 60),
    ),
    item(
        "present",
        box("box", "main", -0.74, -0.2, 0.74, 0.88),
        box("lid", "main", -0.84, -0.42, 0.84, -0.12),
        polygon("ribbon", "ribbon", (-0.15, -0.42), (0.15, -0.42), (0.15, 0.88), (-0.15, 0.88)),
        *both(curve("ribbon", "ribbon", (0.0, -0.42), (0.2, -0.86), (0.56, -0.8), (0.5, -0.48))),
        words=("gift",),
        main=(90, 160, 225),
        ribbon=(225, 50, 70),
    ),
    item(
        "heart",
        curve(
            "heart",
            "main",
            (0, -0.44),
            (0.36, -0.8),
            (0.86, -0.6),
            (0.84, -0.02),
            (0.4, 0.5),
            (0, 0.86),
            (-0.4, 0.5),
            (-0.84, -0.02),
            (-0.86, -0.6),
            (-0.36, -0.8),
        ),
        ellipse("gleam", "main.light", (-0.48, -0.4), (0.13, 0.17), turn=30, outline=False),
        main=(225, 40, 65),
    ),
    item(
        "guitar",
        stroke("neck", "wood.dark", (0.0, 0.0), (0.0, -0.8), width=0.15, outline=True),
        box("head", "ink", -0.15, -1.0, 0.15, -0.72),
        curve(
            "body",
            "main",
            (0, -0.1),
            (0.36, -0.06),
            (0.36, 0.24),
            (0.56, 0.6),
            (0.3, 0.94),
            (0, 0.98),
            (-0.3, 0.94),
            (-0.56, 0.6),
            (-0.36, 0.24),
            (-0.36, -0.06),
        ),
        ellipse("hole", "ink", (0, 0.36), 0.17, outline=False),
        stroke("strings", "white", (0, -0.7), (0, 0.7), width=0.04),
        box("bridge", "ink", -0.2, 0.68, 0.2, 0.76),
        main=(225, 140, 60),
    ),
)
