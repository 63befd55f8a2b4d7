"""What goes: on wheels, on rails, on water, in the air."""

from __future__ import annotations

from lib_unet_viz.demo.things.drawing import Part, Rgb, Thing, both, box, curve, ellipse, polygon, stroke


def vehicle(name: str, *parts: Part, words: tuple[str, ...] = (), **colors: Rgb) -> Thing:
    """A vehicle; a colour word sets its body."""
    return Thing(name, "vehicle", parts, colors, paint="body", words=words)


def wheels(*places: float, y: float = 0.56, r: float = 0.24) -> tuple[Part, ...]:
    """Tyres with hubs at the given x."""
    return tuple(
        part
        for x in places
        for part in (
            ellipse("wheels", "black", (x, y), r),
            ellipse("wheels", "gray", (x, y), r * 0.45, outline=False),
        )
    )


VEHICLES = (
    vehicle(
        "car",
        curve(
            "body", "body", (-0.56, -0.02), (-0.4, -0.5), (0.3, -0.52), (0.56, -0.02), (0.5, 0.2), (-0.5, 0.2)
        ),
        polygon("windows", "glass", (-0.46, -0.04), (-0.32, -0.4), (-0.04, -0.4), (-0.04, -0.04)),
        polygon("windows", "glass", (0.06, -0.04), (0.06, -0.4), (0.26, -0.4), (0.44, -0.04)),
        curve(
            "body",
            "body",
            (-0.86, 0.06),
            (-0.56, -0.06),
            (0.56, -0.06),
            (0.84, 0.1),
            (0.86, 0.48),
            (-0.86, 0.48),
        ),
        ellipse("lights", "gold", (0.84, 0.2), (0.09, 0.1)),
        *wheels(-0.54, 0.54, y=0.5),
        words=("automobile",),
        body=(222, 48, 44),
    ),
    vehicle(
        "bus",
        box("body", "body", -0.96, -0.6, 0.96, 0.56),
        *(box("windows", "glass", x, -0.42, x + 0.34, -0.02) for x in (-0.84, -0.42, 0.0)),
        box("door", "glass", 0.46, -0.42, 0.82, 0.54),
        polygon(
            "stripe", "body.dark", (-0.94, 0.14), (0.44, 0.14), (0.44, 0.26), (-0.94, 0.26), outline=False
        ),
        *wheels(-0.54, 0.3, y=0.56),
        words=("coach",),
        body=(250, 190, 40),
    ),
    vehicle(
        "train",
        box("cabin", "body", -0.94, -0.7, -0.2, 0.44),
        box("windows", "glass", -0.78, -0.5, -0.38, -0.1),
        box("boiler", "body", -0.2, -0.2, 0.72, 0.44),
        polygon("chimney", "black", (0.3, -0.2), (0.24, -0.66), (0.66, -0.66), (0.58, -0.2)),
        stroke("roof", "black", (-0.98, -0.74), (-0.14, -0.74), width=0.12),
        polygon("bumper", "gold", (0.72, 0.1), (0.98, 0.64), (0.66, 0.64)),
        *wheels(-0.62, y=0.56, r=0.3),
        *wheels(-0.02, 0.46, y=0.64, r=0.22),
        words=("locomotive",),
        body=(45, 130, 80),
    ),
    vehicle(
        "boat",
        stroke("mast", "wood", (0.0, 0.3), (0.0, -0.94), width=0.08, outline=True),
        curve("sail", "white", (0.1, -0.9), (0.8, 0.1), (0.1, 0.18)),
        curve("sail", "white", (-0.1, -0.7), (-0.64, 0.12), (-0.1, 0.18)),
        curve("body", "body", (-0.92, 0.3), (0.0, 0.36), (0.92, 0.3), (0.6, 0.82), (-0.6, 0.82)),
        words=("sailboat", "ship"),
        body=(200, 70, 45),
    ),
    vehicle(
        "plane",
        polygon("tail", "body", (-0.9, -0.1), (-0.98, -0.62), (-0.74, -0.62), (-0.46, -0.1)),
        polygon("wings", "body.dark", (-0.1, -0.16), (-0.3, -0.7), (-0.08, -0.7), (0.3, -0.16)),
        curve(
            "body", "body", (-0.96, -0.14), (0.3, -0.26), (0.8, -0.16), (0.98, 0.08), (0.7, 0.26), (-0.6, 0.2)
        ),
        polygon("windows", "glass", (0.56, -0.16), (0.76, -0.13), (0.86, 0.0), (0.58, 0.0)),
        *(ellipse("windows", "glass", (x, -0.02), 0.075) for x in (-0.44, -0.16, 0.12, 0.38)),
        polygon("wings", "body.dark", (-0.06, 0.12), (-0.42, 0.74), (-0.16, 0.74), (0.36, 0.12)),
        words=("airplane", "aeroplane"),
        body=(225, 232, 240),
    ),
    vehicle(
        "rocket",
        curve("flames", "flame", (-0.2, 0.56), (0.2, 0.56), (0.16, 0.84), (0.0, 1.0), (-0.16, 0.84)),
        *both(curve("fins", "fins", (0.24, 0.1), (0.62, 0.4), (0.66, 0.76), (0.24, 0.56))),
        curve(
            "body",
            "body",
            (0.0, -1.0),
            (0.32, -0.56),
            (0.34, 0.2),
            (0.24, 0.62),
            (-0.24, 0.62),
            (-0.34, 0.2),
            (-0.32, -0.56),
        ),
        curve("tip", "fins", (0.0, -1.0), (0.28, -0.62), (0.0, -0.54), (-0.28, -0.62)),
        ellipse("windows", "glass", (0, -0.22), 0.17),
        words=("spaceship",),
        body=(235, 238, 245),
        fins=(220, 50, 50),
    ),
    vehicle(
        "bicycle",
        *(
            part
            for x in (-0.56, 0.56)
            for part in (
                ellipse("wheels", "black", (x, 0.36), 0.42, outline=False),
                ellipse("wheels", "white", (x, 0.36), 0.31, outline=False),
                stroke("wheels", "gray", (x - 0.3, 0.36), (x + 0.3, 0.36), width=0.035),
                stroke("wheels", "gray", (x, 0.06), (x, 0.66), width=0.035),
            )
        ),
        *(
            stroke("body", "body", a, b, width=0.11)
            for a, b in (
                ((-0.56, 0.36), (-0.2, -0.22)),
                ((-0.2, -0.22), (0.4, -0.2)),
                ((0.4, -0.2), (-0.02, 0.36)),
                ((-0.02, 0.36), (-0.56, 0.36)),
                ((-0.24, -0.3), (-0.02, 0.36)),
                ((0.34, -0.5), (0.56, 0.36)),
            )
        ),
        stroke("saddle", "ink", (-0.42, -0.4), (-0.1, -0.4), width=0.13),
        stroke("handlebar", "ink", (0.3, -0.52), (0.6, -0.56), width=0.1),
        words=("bike",),
        body=(225, 55, 55),
    ),
)
