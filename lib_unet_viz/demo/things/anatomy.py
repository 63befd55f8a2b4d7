"""What many animals are made of: eyes, snouts, ears, bodies, tails, and where they wear and hold things."""

from __future__ import annotations

from lib_unet_viz.demo.things.drawing import Part, Point, Rgb, Thing, both, ellipse, polygon, stroke

SITTING = {
    "hat": (0.0, -0.74, 0.72),
    "eyes": (0.0, -0.36, 0.84),
    "mouth": (0.0, 0.02, 0.5),
    "hand": (0.5, 0.42, 0.6),
}


def eyes(y: float = -0.36, x: float = 0.2, r: float = 0.085) -> tuple[Part, ...]:
    """Two black eyes with a gleam each."""
    return (
        *both(ellipse("eyes", "ink", (x, y), (r, r * 1.25), outline=False)),
        ellipse("eyes", "white", (x - 0.03, y - 0.04), r * 0.38, outline=False),
        ellipse("eyes", "white", (-x - 0.03, y - 0.04), r * 0.38, outline=False),
    )


def snout(role: str = "white", y: float = -0.1, rx: float = 0.24, nose: str = "ink") -> tuple[Part, ...]:
    """A pale muzzle with a nose and a mouth."""
    return (
        ellipse("muzzle", role, (0, y), (rx, rx * 0.75), outline=False),
        ellipse("nose", nose, (0, y - 0.08), (0.09, 0.065), outline=False),
        stroke("mouth", "ink", (-0.1, y + 0.07), (-0.05, y + 0.1), (0, y), width=0.035),
        stroke("mouth", "ink", (0.1, y + 0.07), (0.05, y + 0.1), (0, y), width=0.035),
    )


def body(fur: str = "fur", belly: str = "belly", width: float = 0.46) -> tuple[Part, ...]:
    """A sitting body with a belly and two feet."""
    return (
        ellipse("body", fur, (0, 0.46), (width, 0.48)),
        ellipse("belly", belly, (0, 0.54), (width * 0.55, 0.32), outline=False),
        *both(ellipse("feet", fur, (width * 0.62, 0.88), (0.21, 0.11))),
    )


def head(fur: str = "fur", rx: float = 0.54, ry: float = 0.46, y: float = -0.32) -> Part:
    """A round head."""
    return ellipse("head", fur, (0, y), (rx, ry), grow=(0.96, 1.05))


def pointed_ears(role: str = "fur", inner: str = "blush", tip: float = -0.98) -> tuple[Part, ...]:
    """Two triangles, the inner ear in another colour."""
    return both(
        polygon("ears", role, (0.5, -0.45), (0.42, tip), (0.1, -0.72), grow=(0.9, 1.1)),
        polygon(
            "ears", inner, (0.42, -0.55), (0.38, tip + 0.16), (0.2, -0.7), outline=False, grow=(0.9, 1.1)
        ),
    )


def round_ears(role: str, inner: str, at: Point = (0.42, -0.7), r: float = 0.2) -> tuple[Part, ...]:
    """Two discs."""
    return both(
        ellipse("ears", role, at, r, grow=(0.9, 1.12)),
        ellipse("ears", inner, at, r * 0.55, outline=False, grow=(0.9, 1.12)),
    )


def tail(role: str, *points: Point, width: float = 0.17) -> Part:
    """A tail behind the body."""
    return stroke("tail", role, *points, width=width, outline=True)


def animal(
    name: str,
    *parts: Part,
    words: tuple[str, ...] = (),
    paint: str = "fur",
    anchors: dict[str, tuple[float, float, float]] | None = None,
    **colors: Rgb,
) -> Thing:
    """An animal; its colours by role."""
    return Thing(
        name,
        "animal",
        parts,
        {"belly": (250, 240, 220), **colors},
        paint=paint,
        words=words,
        anchors=SITTING if anchors is None else {**SITTING, **anchors},
    )
