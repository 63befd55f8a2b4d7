"""How long colouring and laying out take, against PNG-encoding the same montage and a formula per pixel.

    python benchmarks/render.py [--json] [--repeat N]

320 channels of 64x64 with a custom HSL formula, each channel by its own range; and 1,000 channels as a sheet,
captioned and saved, against encoding the finished picture alone. All in one run, one process; of `repeat`
repetitions the median counts. Exit code 1 where a bound is missed.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from lib_unet_viz.drawing.color import Colorizer
from lib_unet_viz.drawing.render import montage, render, save_png
from lib_unet_viz.meta import Meta
from lib_unet_viz.settings import ColorSettings
from lib_unet_viz.trace import FeatureMap, FeatureMaps, Key, Trace

_FORMULAS = ("(2+v)/3", "1.0", "0.5")
_MOST_OF_PNG, _MOST_OF_PER_PIXEL, _MOST_OF_SHEET = 0.15, 0.05, 1.5


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--repeat", type=int, default=7, help="repetitions of the fast parts")
    arguments = parser.parse_args()
    numbers = measure(repeat=max(1, arguments.repeat))
    sys.stdout.write(json.dumps(numbers, indent=2) + "\n" if arguments.json else table(numbers))
    return 0 if numbers["passed"] else 1


def measure(*, repeat: int) -> dict[str, Any]:
    """Milliseconds of each part, the two ratios with their bounds, and whether both hold."""
    planes = _features()
    settings = ColorSettings(
        method="Custom", transform="Auto [-1,1]", space="HSL", formulas=_FORMULAS, per_cell=True
    )
    colorizer = Colorizer.from_settings(settings)
    page = montage(colorizer(planes))
    draw = _milliseconds(lambda: montage(colorizer(planes)), repeat)
    parse = _milliseconds(lambda: Colorizer.from_settings(settings), repeat)
    encode = _milliseconds(lambda: page.save(io.BytesIO(), format="PNG"), 3)
    values = colorizer.norm.fit(planes, per_plane=True)(planes)
    ours = draw + parse
    formula_only = _milliseconds(lambda: _formula_per_pixel(values), 1)
    colors_too = _milliseconds(lambda: _colors_per_pixel(values), 1)
    of_png, of_formula = ours / encode, ours / formula_only
    sheet, sheet_png = _sheet(colorizer)
    return {
        "channels": planes.shape[0],
        "size": list(planes.shape[1:]),
        "montage": list(page.size[::-1]),
        "colour_and_layout_ms": round(draw, 2),
        "formula_to_table_ms": round(parse, 2),
        "png_encode_ms": round(encode, 1),
        "formula_per_pixel_ms": round(formula_only, 1),
        "formula_and_hsl_per_pixel_ms": round(colors_too, 1),
        "of_png": round(of_png, 4),
        "of_png_at_most": _MOST_OF_PNG,
        "of_per_pixel": round(of_formula, 4),
        "of_per_pixel_at_most": _MOST_OF_PER_PIXEL,
        "of_per_pixel_with_hsl": round(ours / colors_too, 4),
        "sheet_saved_ms": round(sheet, 1),
        "sheet_png_encode_ms": round(sheet_png, 1),
        "sheet_of_png": round(sheet / sheet_png, 4),
        "sheet_of_png_at_most": _MOST_OF_SHEET,
        "passed": of_png <= _MOST_OF_PNG
        and of_formula <= _MOST_OF_PER_PIXEL
        and sheet / sheet_png <= _MOST_OF_SHEET,
    }


def table(numbers: dict[str, Any]) -> str:
    ours = numbers["colour_and_layout_ms"] + numbers["formula_to_table_ms"]
    height, width = numbers["size"]
    rows = [
        (f"{numbers['channels']} channels of {height}x{width}, custom HSL", "ms", "ours / that", "at most"),
        ("colouring and laying out, formula included", f"{ours:.1f}", "", ""),
        ("PNG at Pillow's default level", numbers["png_encode_ms"], numbers["of_png"], _MOST_OF_PNG),
        (
            "three formulas per pixel (numpy.vectorize)",
            numbers["formula_per_pixel_ms"],
            numbers["of_per_pixel"],
            _MOST_OF_PER_PIXEL,
        ),
        (
            "the same and HSL to RGB per pixel",
            numbers["formula_and_hsl_per_pixel_ms"],
            numbers["of_per_pixel_with_hsl"],
            _MOST_OF_PER_PIXEL,
        ),
    ]
    rows += [
        ("1,000 channels, captioned, saved as PNG", numbers["sheet_saved_ms"], "", ""),
        (
            "PNG of that picture alone",
            numbers["sheet_png_encode_ms"],
            numbers["sheet_of_png"],
            _MOST_OF_SHEET,
        ),
    ]
    lines = [f"{name:<46}{ms!s:>10}{ratio!s:>14}{bound!s:>10}" for name, ms, ratio, bound in rows]
    return "\n".join([*lines, "passed" if numbers["passed"] else "MISSED", ""])


def _sheet(colorizer: Colorizer) -> tuple[float, float]:
    """Milliseconds from 1,000 channels to their sheet in a file, and of encoding the same picture alone."""
    held = FeatureMap(Key("OUT11", "features", step=19), torch.from_numpy(_features(1000)), 1.0)
    trace = Trace(features=FeatureMaps([held]), meta=Meta(steps=20))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sheet.png"
        whole = _milliseconds(lambda: save_png(render(trace, colorizer)[0].image, path), 3)
        with Image.open(path) as page:
            page.load()
            return whole, _milliseconds(lambda: page.save(io.BytesIO(), format="PNG"), 3)


def _features(channels: int = 320) -> NDArray[np.float32]:
    """(channel, y, x): smooth fields with some noise, which compress to PNG about as real features do."""
    random = np.random.default_rng(0)
    noise = random.standard_normal((channels, 64, 64), dtype=np.float32)
    smooth = np.fft.irfft2(np.fft.rfft2(noise) * _lowpass(), s=(64, 64))
    return np.asarray(smooth / smooth.std() + 0.1 * noise, dtype=np.float32)


def _lowpass() -> NDArray[np.float64]:
    y, x = np.fft.fftfreq(64)[:, None], np.fft.rfftfreq(64)[None]
    return np.asarray(1 / (1 + (16 * np.hypot(y, x)) ** 2))


def _formula_per_pixel(values: NDArray[np.float32]) -> Any:
    return np.vectorize(lambda v: ((2 + v) / 3, 1.0, 0.5))(values)


def _colors_per_pixel(values: NDArray[np.float32]) -> Any:
    return np.vectorize(lambda v: colorsys.hls_to_rgb((2 + v) / 3 % 1, 0.5, 1.0))(values)


def _milliseconds(action: Callable[[], object], repeat: int) -> float:
    def once() -> float:
        start = time.perf_counter()
        action()
        return (time.perf_counter() - start) * 1000

    return statistics.median(once() for _ in range(repeat))


if __name__ == "__main__":
    sys.exit(main())
