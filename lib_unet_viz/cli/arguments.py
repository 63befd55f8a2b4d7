"""Options that several commands have, and how the text of each becomes a value."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from lib_unet_viz.maps import vxa
from lib_unet_viz.settings import Half, Settings
from lib_unet_viz.settings.entry import EDIT, Entry, entries, entry_at

COLOURS = ("colours", "of features and attention; each has its own if not given")
RECORDED = dict.fromkeys(("blocks", "at", "attention", "halves", "parts", "kinds"), "all that are there")


def model(parser: Any) -> None:
    what = "a diffusers folder, a checkpoint file or a hub id (default: the bundled model)"
    parser.add_argument("--model", metavar="PATH_OR_ID", help=what)


def run(parser: Any) -> None:
    parser.add_argument("--negative", default="", metavar="TEXT", help="negative prompt")
    parser.add_argument("--seed", type=whole, default=0, metavar="N", help="random seed (default: 0)")
    parser.add_argument("--steps", type=count, default=30, metavar="N", help="sampling steps (default: 30)")
    parser.add_argument("--cfg", type=float, default=5.0, metavar="X", help="guidance scale (default: 5)")
    what = "width and height of the picture (default: the model's own)"
    parser.add_argument("--size", type=size, metavar="WxH", help=what)


def settings(
    parser: Any, place: str, *, kind: type[Settings] = Settings, defaults: Mapping[str, str] | None = None
) -> None:
    """The flags of a command's settings, as the table has them.

    place: the command, as `entry.TRACE`. defaults: in words, by the flag, where the command has its own.
    """
    colours = parser.add_argument_group(*COLOURS) if place != EDIT else parser
    for entry in flagged(kind, place):
        flag(colours if ".color." in entry.path else parser, entry, defaults=defaults)
    if place != EDIT:
        names = "white/black, red/blue, custom, or a colour map such as viridis"
        colours.add_argument("--colors", metavar="NAME", help=names)
        file = "JSON with any of these settings; flags come before it"
        colours.add_argument("--settings", type=Path, metavar="FILE", help=file)
        animated = "also an animated WebP over the steps"
        parser.add_argument("--animate", action="store_true", help=animated)
        gif = "the animations as GIF, for places where WebP does not play"
        parser.add_argument("--gif", action="store_true", help=gif)


def method(parser: Any) -> None:
    """The flag of heat maps' method."""
    flag(parser, entry_at(Settings, "method"))


def one_scale(parser: Any) -> None:
    """The flag that puts all words on one scale."""
    flag(parser, entry_at(Settings, "one_scale"))


def rows(parser: Any, default: str) -> None:
    """Which rows of a dump are meant."""
    group = parser.add_argument_group("rows", f"of the recorded run (default: {default})")
    group.add_argument("--image", type=whole, metavar="N", help="of a batch, from 0")
    group.add_argument("--half", choices=get_args(Half), help="the prompt's, or the negative prompt's")
    group.add_argument("--sub", type=count, metavar="N", help="which of the prompts that AND joins, from 1")
    group.add_argument("--pass", dest="pass_", choices=("first", "hires"), help="before or after hires fix")


def recorded(parser: Any, which: str) -> None:
    """Which of a dump's blocks and steps are meant."""
    usual = "(default: all that are there)"
    parser.add_argument("--blocks", default="", metavar="SPEC", help=f"blocks {which} {usual}")
    parser.add_argument("--at", default="", metavar="STEPS", help=f"steps {which} {usual}")


def flagged(kind: type[Settings], place: str) -> list[Entry]:
    """The settings of a command that have a flag, each flag once."""
    found: dict[str, Entry] = {}
    for entry in entries(kind):
        if entry.about.flag and place in entry.places:
            found.setdefault(entry.about.flag, entry)
    return list(found.values())


def flag(parser: Any, entry: Entry, *, defaults: Mapping[str, str] | None = None) -> None:
    """A setting's flag; without it its value is None."""
    about, options = entry.about, dict[str, Any]()
    text = about.flag_help or about.help
    if entry.hint is bool:
        parser.add_argument(about.flag, action="store_const", const=not entry.default, help=_escaped(text))
        return
    if about.lines > 1:
        options = {"action": "append", "required": True}
    names = "{" + ",".join(entry.allowed) + "}"
    usual = (defaults or {}).get(entry.dest) or in_words(entry)
    only = f", with {about.only[0]} {' or '.join(about.only[1])}" if about.only else ""
    text += f"{only}{f' (default: {usual})' if usual else ''}"
    meta = about.metavar or (names if entry.allowed and not entry.listed else None)
    parser.add_argument(about.flag, type=_reader(entry), metavar=meta, help=_escaped(text), **options)


def in_words(entry: Entry) -> str:
    """A setting's default, as people read it."""
    if entry.path.endswith((".color.transform", ".edits")):
        return ""
    if isinstance(entry.default, tuple):
        return ("; " if entry.about.labels else ",").join(entry.default)
    return str(entry.default) or entry.about.blank


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def folder(parser: Any, default: str, gets: str) -> None:
    what = f"{gets} (default: {default})"
    parser.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=what)


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


def words(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    known = {name.lower(): name for name in allowed}

    def read(text: str) -> tuple[str, ...]:
        pieces = [piece.strip() for piece in text.split(",")]
        for piece in pieces:
            if piece.lower() not in known:
                names = ", ".join(known.values())
                raise argparse.ArgumentTypeError(f"{piece!r} is not known; allowed: {names}")
        return tuple(dict.fromkeys(known[piece.lower()] for piece in pieces))

    return read


def one_of(allowed: Sequence[str]) -> Callable[[str], str]:
    known = {name.lower().replace(" ", ""): name for name in allowed}

    def read(text: str) -> str:
        name = known.get(text.lower().replace(" ", ""))
        if name is None:
            raise argparse.ArgumentTypeError(f"{text!r} is not known; allowed: {', '.join(allowed)}")
        return name

    return read


def texts(count: int) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        pieces = tuple(piece.strip() for piece in text.split(";"))
        if len(pieces) != count:
            raise argparse.ArgumentTypeError(f"{len(pieces)} formulas; three are needed, with ; between them")
        return pieces

    return read


def _reader(entry: Entry) -> Callable[[str], Any]:
    if entry.allowed:
        return (words if entry.listed else one_of)(entry.allowed)
    if entry.about.labels:
        return texts(len(entry.about.labels))
    plain: dict[Any, Callable[[str], Any]] = {int: whole, float: float}
    return plain.get(entry.hint, str)
