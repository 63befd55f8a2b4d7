"""Options that several commands have, and how the text of each becomes a value."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from lib_unet_viz import settings
from lib_unet_viz.drawing import color
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap


def model(parser: Any) -> None:
    what = "a diffusers folder, a checkpoint file or a hub id (the bundled model)"
    parser.add_argument("--model", metavar="PATH_OR_ID", help=what)


def run(parser: Any) -> None:
    parser.add_argument("--negative", default="", metavar="TEXT", help="negative prompt")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="(0)")
    parser.add_argument("--steps", type=count, default=30, metavar="N", help="sampling steps (30)")
    parser.add_argument("--cfg", type=float, default=7.5, metavar="X", help="guidance scale (7.5)")
    parser.add_argument("--size", type=size, metavar="WxH", help="of the picture (the model's own)")


def selection(parser: Any, *, heat: bool = True) -> None:
    parser.add_argument(
        "--parts", type=words(settings.AttentionPart), metavar="A,B", help="Q, K, QK, VQK (QK)"
    )
    parser.add_argument("--kinds", type=words(settings.Kind), metavar="A,B", help="cross, self (cross)")
    parser.add_argument("--halves", type=words(settings.Half), metavar="A,B", help="cond, uncond (cond)")
    averages = get_args(settings.Average)
    parser.add_argument("--average", choices=averages, help="one picture instead of all channels (none)")
    parser.add_argument("--no-features", action="store_true")
    parser.add_argument("--no-attention", action="store_true")
    if heat:
        parser.add_argument("--no-heat", action="store_true", help="no heat map for each word")
        method(parser)
        one_scale(parser)
    parser.set_defaults(no_heat=not heat)
    parser.add_argument("--animate", action="store_true", help="also an animated WebP over the steps")


def method(parser: Any) -> None:
    default = heatmap.DEFAULT
    parser.add_argument("--method", choices=heatmap.METHODS, help=f"of the heat maps ({default})")


def one_scale(parser: Any) -> None:
    say = "all words' heat on the strongest word's scale, instead of each on its own"
    parser.add_argument("--one-scale", action="store_true", help=say)


def rows(parser: Any, default: str) -> None:
    """Which rows of a dump are meant."""
    group = parser.add_argument_group("rows", f"of the recorded run (default: {default})")
    group.add_argument("--image", type=whole, metavar="N", help="of a batch, from 0")
    group.add_argument(
        "--half", choices=get_args(settings.Half), help="the prompt's, or the negative prompt's"
    )
    group.add_argument("--sub", type=count, metavar="N", help="which of the prompts that AND joins, from 1")
    group.add_argument("--pass", dest="pass_", choices=("first", "hires"), help="before or after hires fix")


def colors(parser: Any) -> None:
    group = parser.add_argument_group("colours", "of features and attention; each has its own if not given")
    names = "white/black, red/blue, custom, or a colour map such as viridis"
    group.add_argument("--colors", metavar="NAME", help=names)
    names = ", ".join(color.TRANSFORMS)
    group.add_argument("--transform", type=transform, metavar="NAME", help=f"of the values: {names}")
    group.add_argument("--min", type=float, metavar="X", help="for linear (-1)")
    group.add_argument("--max", type=float, metavar="X", help="for linear (1)")
    group.add_argument("--gain", type=float, metavar="X", help="for sigmoid (1)")
    group.add_argument("--offset", type=float, metavar="X", help="for sigmoid (0)")
    group.add_argument("--space", type=str.upper, choices=get_args(settings.Space), help="for custom (HSL)")
    three = 'for custom: three of v in [-1, 1], such as "(2+v)/3; 1.0; 0.5"'
    group.add_argument("--formulas", type=formulas, metavar="A;B;C", help=three)
    grid = "one range of values for the whole grid, so that its cells compare"
    group.add_argument("--whole-grid", action="store_true", help=grid)
    group.add_argument("--settings", type=Path, metavar="FILE", help="JSON with any of the page's settings")


def folder(parser: Any, default: str, gets: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=f"{gets} ({default})")


# Types of values -----------------------------------------------------------------------------------------


def whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def wholes(text: str) -> tuple[int, ...]:
    return tuple(whole(piece.strip()) for piece in text.split(","))


def count(text: str) -> int:
    number = whole(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few; 1 or more")
    return number


def size(text: str) -> tuple[int, int]:
    """``640x512`` or ``512`` to (height, width)."""
    width, _, height = text.lower().partition("x")
    size = (whole(height or width), whole(width))
    if any(side % vxa.MULTIPLE or side < vxa.SMALLEST for side in size):
        allowed = f"multiples of {vxa.MULTIPLE} from {vxa.SMALLEST} on, such as 640x512 (width x height)"
        raise argparse.ArgumentTypeError(f"{text!r} is no size; allowed: {allowed}")
    return size


def threshold(text: str) -> float | str:
    try:
        return text if text == "otsu" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold; allowed: 0 to 1, or otsu") from None


def place(text: str) -> tuple[float, float]:
    try:
        y, x = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no place; two numbers, such as 0.4,0.6") from None
    return y, x


def words(allowed: Any) -> Callable[[str], tuple[str, ...]]:
    known = {name.lower(): name for name in get_args(allowed)}

    def read(text: str) -> tuple[str, ...]:
        pieces = [piece.strip() for piece in text.split(",")]
        for piece in pieces:
            if piece.lower() not in known:
                names = ", ".join(known.values())
                raise argparse.ArgumentTypeError(f"{piece!r} is not known; allowed: {names}")
        return tuple(dict.fromkeys(known[piece.lower()] for piece in pieces))

    return read


def transform(text: str) -> str:
    known = {name.lower().replace(" ", ""): name for name in color.TRANSFORMS}
    name = known.get(text.lower().replace(" ", ""))
    if name is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not known; allowed: {', '.join(color.TRANSFORMS)}")
    return name


def formulas(text: str) -> tuple[str, ...]:
    formulas = tuple(piece.strip() for piece in text.split(";"))
    if len(formulas) != 3:
        raise argparse.ArgumentTypeError(f"{len(formulas)} formulas; three are needed, with ; between them")
    return formulas
