"""Where things are: plain and patterned backgrounds, and four places, each drawn differently every time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lib_unet_viz.demo.scenes import BACKGROUNDS, SIZE
from lib_unet_viz.demo.things.drawing import Rgb

PLAIN: dict[str, Rgb] = {
    **{name: BACKGROUNDS[name] for name in ("gray", "white", "brown")},
    "light blue": (175, 215, 245),
    "light green": (190, 230, 180),
    "light yellow": (252, 240, 185),
    "light pink": (250, 210, 220),
}
PATTERNS = ("plain", "striped", "checkered", "dotted")
PATTERN_ODDS = (0.7, 0.1, 0.1, 0.1)
# What captions call a place; the first is its name.
PLACES: dict[str, tuple[str, ...]] = {
    "grass": ("on the grass", "in a meadow", "on green grass"),
    "beach": ("on the beach", "at the beach", "by the sea"),
    "snow": ("in the snow", "in winter", "on snow"),
    "night": ("at night", "under the stars", "in the night"),
}
SCALE = 2  # drawn this much larger, then averaged


def paint_plain(color: str, pattern: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A background of one colour, with a slightly lighter or darker pattern on it (y, x, rgb)."""
    base = np.array(PLAIN[color], dtype=np.float32)
    second = np.clip(base + (30 if base.mean() < 128 else -26), 0, 255)
    y, x = np.mgrid[:SIZE, :SIZE] + rng.integers(0, 64, 2)[:, None, None]
    period = int(rng.choice([12, 16, 20]))
    where = {
        "plain": np.zeros((SIZE, SIZE), dtype=bool),
        "striped": (x // period) % 2 == 0,
        "checkered": (x // period + y // period) % 2 == 0,
        "dotted": (x % period - period / 2) ** 2 + (y % period - period / 2) ** 2 < (period / 4) ** 2,
    }[pattern]
    return np.where(where[..., None], second, base).astype(np.uint8)


def paint_place(place: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One of PLACES (y, x, rgb): a sky and a ground that meet somewhere in the lower half."""
    image = Image.new("RGB", (SIZE * SCALE, SIZE * SCALE))
    draw = ImageDraw.Draw(image)
    level = SIZE * SCALE * rng.uniform(0.5, 0.72)
    {"grass": _grass, "beach": _beach, "snow": _snow, "night": _night}[place](draw, level, rng)
    return np.asarray(image.reduce(SCALE))


def _band(draw: ImageDraw.ImageDraw, top: float, color: Rgb, rng: np.random.Generator, wave: float) -> None:
    """Everything below a wavy line."""
    side = SIZE * SCALE
    x = np.linspace(0, side, 12)
    y = top + wave * np.sin(x / side * rng.uniform(3, 7) + rng.uniform(0, 6))
    points = [*zip(x.tolist(), y.tolist(), strict=True), (float(side), float(side)), (0.0, float(side))]
    draw.polygon(points, fill=color)


def _grass(draw: ImageDraw.ImageDraw, level: float, rng: np.random.Generator) -> None:
    _band(draw, -9, (165, 215, 248), rng, 0)
    _band(draw, level, (120, 195, 85), rng, 6)
    for _ in range(14):
        x, y = rng.uniform(0, SIZE * SCALE), rng.uniform(level + 12, SIZE * SCALE)
        for lean in (-4, 0, 4):
            draw.line((x, y, x + lean, y - 9), fill=(75, 150, 55), width=3)


def _beach(draw: ImageDraw.ImageDraw, level: float, rng: np.random.Generator) -> None:
    _band(draw, -9, (190, 228, 250), rng, 0)
    _band(draw, level - 46, (65, 150, 215), rng, 0)
    _band(draw, level, (245, 248, 250), rng, 5)
    _band(draw, level + 7, (246, 220, 160), rng, 5)
    for _ in range(12):
        x, y = rng.uniform(0, SIZE * SCALE), rng.uniform(level + 22, SIZE * SCALE)
        draw.ellipse((x - 3, y - 2, x + 3, y + 2), fill=(220, 185, 120))


def _snow(draw: ImageDraw.ImageDraw, level: float, rng: np.random.Generator) -> None:
    _band(draw, -9, (150, 180, 215), rng, 0)
    _band(draw, level, (240, 246, 252), rng, 8)
    for _ in range(16):
        x, y, r = rng.uniform(0, SIZE * SCALE), rng.uniform(0, level), rng.uniform(3, 5.5)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=(250, 252, 255))


def _night(draw: ImageDraw.ImageDraw, level: float, rng: np.random.Generator) -> None:
    _band(draw, -9, (38, 48, 105), rng, 0)
    _band(draw, level + 30, (40, 78, 80), rng, 7)
    for _ in range(14):
        x, y, r = rng.uniform(0, SIZE * SCALE), rng.uniform(0, level), rng.uniform(2.5, 5)
        draw.polygon([(x, y - 2 * r), (x + r / 2, y), (x, y + 2 * r), (x - r / 2, y)], fill=(252, 236, 160))
        draw.polygon([(x - 2 * r, y), (x, y - r / 2), (x + 2 * r, y), (x, y + r / 2)], fill=(252, 236, 160))
