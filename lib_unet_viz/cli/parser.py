"""What may stand on the command line: `parse` gives options whose `run` is the function to call with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

import lib_unet_viz
from lib_unet_viz import heatmap, settings, sheets, vxa
from lib_unet_viz.cli import commands, compare

DESCRIPTION = "Show what happens inside a diffusion U-Net: block by block, step by step and word by word."
SPECS = """
blocks:  IN04 | IN04, M00 | IN04-OUT07 (IN11, M00 and OUT00 adjoin) | IN00-OUT11(+2): every second
         "" for all | IN07.1, for attention: one transformer layer of a block that has several
steps:   1 | 1, 5 | 5-20(+5) | "" for all; the first step is 1
"""


class _Parser(argparse.ArgumentParser):
    """Errors take two lines: what is wrong, and where help is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\nsee: {self.prog} --help\n")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options of one command; SystemExit with 2 for what cannot be read."""
    return _parser().parse_args(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="unet-viz",
        description=DESCRIPTION,
        epilog="unet-viz COMMAND --help says more, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unet-viz {lib_unet_viz.__version__}")
    add = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True).add_parser
    for declare in (_app, _trace, _vxa, _blocks, _show, _render, _maps, _diff, _sweep, _score):
        declare(add)
    return parser


def _command(add: Callable[..., Any], run: Callable[[Any], None], does: str, examples: str) -> Any:
    parser = add(
        run.__name__,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog="examples:\n" + examples.strip("\n"),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--debug", action="store_true", help="show where in the code an error came from")
    return parser


def _app(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz app
  unet-viz app --model ~/models/sd15.safetensors --port 8000
"""
    parser = _command(add, commands.app, "open the page", examples)
    _model(parser)
    parser.add_argument("--port", type=_count, metavar="N", help="of 127.0.0.1 (the first free from 7860 on)")
    parser.add_argument("--no-browser", action="store_true", help="only serve the page, do not open it")


def _trace(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz trace "a big red circle and a small blue square" --seed 7
  unet-viz trace "a red star" --blocks "IN00-OUT11(+2)" --at "1,5-20(+5)" --average mean --out star
  unet-viz trace "a red star" --no-features --attention IN07,M00 --parts QK,VQK --out star
  unet-viz trace "a (~: IN00-OUT11: red ; OUT05-OUT11: blue :~) circle" --out layers
  unet-viz trace "a red star" --no-features --no-attention --explore --out star
{SPECS.rstrip()}
prompts: a (~: IN00-OUT11: red ; M00: blue :~) circle: each block reads its own text
"""
    parser = _command(add, commands.trace, "make a picture and show what the U-Net held meanwhile", examples)
    parser.add_argument("prompt", metavar="PROMPT")
    _model(parser)
    _run(parser)
    parser.add_argument("--blocks", metavar="SPEC", help=f"features of these ({commands.FEATURE_BLOCKS})")
    parser.add_argument("--at", metavar="STEPS", help="show these (the first, the middle and the last)")
    attention = f"attention of these ({commands.ATTENTION_BLOCKS})"
    parser.add_argument("--attention", metavar="SPEC", help=attention)
    _selection(parser)
    explore = "keep what `unet-viz maps` needs for --ask, and for --look with --head or --step"
    parser.add_argument("--explore", action="store_true", help=explore)
    parser.add_argument("--budget", type=_count, metavar="MB", help="refuse to keep more (2000)")
    _colors(parser)
    _folder(parser, "unet-viz-trace", "gets picture.png, trace.safetensors and the sheets")


def _vxa(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz vxa photo.jpg "a hat, a neck" --words hat --out hat.png
  unet-viz vxa photo.jpg "hat, neck" --tokens 1,3 --mode masked
  unet-viz vxa photo.jpg "hat, neck" --words neck --layer M00 --timestep 0 --mode grey
"""
    does = "show where in a picture a word's cross-attention goes"
    parser = _command(add, commands.vxa, does, examples)
    parser.add_argument("image", type=Path, metavar="IMAGE", help="any size")
    parser.add_argument("prompt", metavar="PROMPT", help="what to look for")
    _model(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--words", metavar="A,B", help="of the prompt, summed; a#2: the second a (all words)")
    which.add_argument("--tokens", metavar="1,3", help="1: the first token; commas count; several are summed")
    original = "as the extension VXA did: the middle block, all tokens summed, EOS and padding too"
    which.add_argument("--original", action="store_true", help=original)
    parser.add_argument("--layer", default="", metavar="SPEC", help="blocks, or one transformer layer (all)")
    levels = ", ".join(f"{level:.0%}%" for level in vxa.LEVELS)
    noise = f"noise levels, 0 is none, such as 350 or 200,400 ({levels} of the model's timesteps)"
    parser.add_argument("--timestep", type=_wholes, metavar="N", help=noise)
    parser.add_argument("--noise-seed", type=_whole, default=0, metavar="N", help="(0)")
    parser.add_argument("--mode", choices=sheets.MODES, default="overlay", help="(overlay)")
    _method(parser)
    parser.add_argument("--out", type=Path, default=Path("vxa.png"), metavar="FILE", help="a PNG (vxa.png)")


def _blocks(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz blocks
  unet-viz blocks "IN00-OUT11(+2)"
  unet-viz blocks M00 --json
{SPECS.rstrip()}
"""
    parser = _command(add, commands.blocks, "list the blocks that a spec names", examples)
    parser.add_argument("spec", nargs="?", default="", metavar="SPEC", help="(all)")
    _model(parser)
    parser.add_argument(
        "--json", action="store_true", help="with shapes (channels, height, width) and attention"
    )
    parser.add_argument(
        "--size", type=_size, metavar="WxH", help="of the picture, for the shapes (the model's own)"
    )


def _show(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz show unet-viz-trace/trace.safetensors
  unet-viz show unet-viz-trace/trace.safetensors --json
"""
    parser = _command(add, commands.show, "say what a dump holds; no model needed", examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    parser.add_argument("--json", action="store_true")


def _render(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz render star/trace.safetensors --blocks OUT11 --colors viridis --out again
  unet-viz render star/trace.safetensors --colors custom --formulas "(2+v)/3; 1.0; 0.5" --transform sigmoid
  unet-viz render star/trace.safetensors --average 2-norm --animate
{SPECS.rstrip()}
"""
    parser = _command(add, commands.render, "make pictures of a dump again, in other colours", examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    parser.add_argument("--blocks", metavar="SPEC", help="features of these (all that are there)")
    parser.add_argument("--at", metavar="STEPS", help="only these (all that are there)")
    parser.add_argument("--attention", metavar="SPEC", help="attention of these (all that are there)")
    _selection(parser)
    _colors(parser)
    _folder(parser, "unet-viz-render", "gets the sheets")


def _maps(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz maps star/trace.safetensors --words "red star" --threshold 0.5
  unet-viz maps star/trace.safetensors --look 0.4,0.6 --layer OUT09.0 --head 1 --step 20
  unet-viz maps star/trace.safetensors --ask "a moon, a sky" --segments --components
"""
    does = "show where a dump's words are, as heat, masks and labels, and where its places look to"
    parser = _command(add, commands.maps, does, examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    parser.add_argument("--words", metavar="A,B", help="words or phrases; a#2: the second a; BOS, EOS (all)")
    ask = "words that need not be in the prompt; the model's text encoder is needed, its U-Net does not run"
    parser.add_argument("--ask", metavar="TEXT", help=ask)
    _model(parser)
    parser.add_argument("--half", choices=get_args(settings.Half), default="cond", help="(cond)")
    parser.add_argument("--threshold", type=_threshold, default="otsu", metavar="X", help="0 to 1, or (otsu)")
    parser.add_argument("--mode", choices=sheets.MODES, default="overlay", help="of the heat (overlay)")
    _method(parser)
    look = "where this place looks to in self-attention: down and right, from 0 to 1"
    parser.add_argument("--look", type=_place, metavar="Y,X", help=look)
    parser.add_argument("--layer", metavar="NAME", help="for --look, such as OUT09.0 (all together)")
    parser.add_argument("--head", type=_whole, metavar="N", help="for --look with --layer (their mean)")
    parser.add_argument("--step", type=_count, metavar="N", help="for --look with --layer (their mean)")
    parser.add_argument("--components", action="store_true", help="three components of self-attention as RGB")
    parser.add_argument("--segments", action="store_true", help="segments of the self-attention, unasked")
    _folder(parser, "unet-viz-maps", "gets the pictures")


def _diff(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz diff without/trace.safetensors with/trace.safetensors --out changed
  unet-viz diff a.safetensors b.safetensors --blocks OUT11 --colors white/black --average 2-norm
{SPECS.rstrip()}
"""
    parser = _command(add, compare.diff, "show what differs between two dumps: B less A", examples)
    parser.add_argument("a", type=Path, metavar="A", help="a dump")
    parser.add_argument("b", type=Path, metavar="B", help="another, of the same blocks, steps and size")
    parser.add_argument("--absolute", action="store_true", help="|B - A| instead of B - A")
    parser.add_argument("--blocks", metavar="SPEC", help="features of these (all that are there)")
    parser.add_argument("--at", metavar="STEPS", help="only these (all that are there)")
    parser.add_argument("--attention", metavar="SPEC", help="attention of these (all that are there)")
    _selection(parser, heat=False)
    _colors(parser)
    _folder(parser, "unet-viz-diff", "gets comparison.png, difference.safetensors and the sheets")


def _sweep(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz sweep "a big red circle" --word red --out red
  unet-viz sweep "a big circle" --word "bad anatomy" --steps 20 --seed 7
"""
    does = "show what a word does in each block alone, and what all blocks but one do"
    parser = _command(add, compare.sweep, does, examples)
    parser.add_argument(
        "prompt", metavar="PROMPT", help="with the word; it comes after it if it is not there"
    )
    parser.add_argument("--word", required=True, metavar="X", help="a word or several")
    _model(parser)
    _run(parser)
    _folder(parser, "unet-viz-sweep", "gets sheet.png, chart.png, sweep.json and each picture")


def _score(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz score
  unet-viz score --json --seed 1 --count 50
  unet-viz score --edits
"""
    does = "measure the model's pictures and heat maps, or edits, on freshly drawn scenes"
    parser = _command(add, commands.score, does, examples)
    _model(parser)
    parser.add_argument("--json", action="store_true", help="numbers as fractions of 1")
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="of the scenes (0)")
    number = "scenes of each kind (200), or captions to edit (100)"
    parser.add_argument("--count", type=_count, metavar="N", help=number)
    parser.add_argument("--edits", action="store_true", help="of prompts with one word swapped, only")


# Options that several commands have ----------------------------------------------------------------------


def _model(parser: Any) -> None:
    what = "a diffusers folder, a checkpoint file or a hub id (the bundled model)"
    parser.add_argument("--model", metavar="PATH_OR_ID", help=what)


def _run(parser: Any) -> None:
    parser.add_argument("--negative", default="", metavar="TEXT", help="negative prompt")
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="(0)")
    parser.add_argument("--steps", type=_count, default=30, metavar="N", help="sampling steps (30)")
    parser.add_argument("--cfg", type=float, default=7.5, metavar="X", help="guidance scale (7.5)")
    parser.add_argument("--size", type=_size, metavar="WxH", help="of the picture (the model's own)")


def _selection(parser: Any, *, heat: bool = True) -> None:
    parser.add_argument(
        "--parts", type=_words(settings.AttentionPart), metavar="A,B", help="Q, K, QK, VQK (QK)"
    )
    parser.add_argument("--kinds", type=_words(settings.Kind), metavar="A,B", help="cross, self (cross)")
    parser.add_argument("--halves", type=_words(settings.Half), metavar="A,B", help="cond, uncond (cond)")
    averages = get_args(settings.Average)
    parser.add_argument("--average", choices=averages, help="one picture instead of all channels (none)")
    parser.add_argument("--no-features", action="store_true")
    parser.add_argument("--no-attention", action="store_true")
    if heat:
        parser.add_argument("--no-heat", action="store_true", help="no heat map for each word")
        _method(parser)
    parser.set_defaults(no_heat=not heat)
    parser.add_argument("--animate", action="store_true", help="also an animated WebP over the steps")


def _method(parser: Any) -> None:
    default = heatmap.DEFAULT
    parser.add_argument("--method", choices=heatmap.METHODS, help=f"of the heat maps ({default})")


def _colors(parser: Any) -> None:
    group = parser.add_argument_group("colours", "of features and attention; each has its own if not given")
    names = "white/black, red/blue, custom, or a colour map such as viridis"
    group.add_argument("--colors", metavar="NAME", help=names)
    names = ", ".join(commands.TRANSFORMS)
    group.add_argument("--transform", type=_transform, metavar="NAME", help=f"of the values: {names}")
    group.add_argument("--min", type=float, metavar="X", help="for linear (-1)")
    group.add_argument("--max", type=float, metavar="X", help="for linear (1)")
    group.add_argument("--gain", type=float, metavar="X", help="for sigmoid (1)")
    group.add_argument("--offset", type=float, metavar="X", help="for sigmoid (0)")
    group.add_argument("--space", type=str.upper, choices=get_args(settings.Space), help="for custom (HSL)")
    formulas = 'for custom: three of v in [-1, 1], such as "(2+v)/3; 1.0; 0.5"'
    group.add_argument("--formulas", type=_formulas, metavar="A;B;C", help=formulas)
    grid = "one range of values for the whole grid, so that its cells compare"
    group.add_argument("--whole-grid", action="store_true", help=grid)
    group.add_argument("--settings", type=Path, metavar="FILE", help="JSON with any of the page's settings")


def _folder(parser: Any, default: str, gets: str) -> None:
    parser.add_argument("--out", type=Path, default=Path(default), metavar="DIR", help=f"{gets} ({default})")


# Types of values -----------------------------------------------------------------------------------------


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0 on")
    return int(text)


def _wholes(text: str) -> tuple[int, ...]:
    return tuple(_whole(piece.strip()) for piece in text.split(","))


def _count(text: str) -> int:
    number = _whole(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too few; 1 or more")
    return number


def _size(text: str) -> tuple[int, int]:
    """``640x512`` or ``512`` to (height, width)."""
    width, _, height = text.lower().partition("x")
    size = (_whole(height or width), _whole(width))
    if any(side % vxa.MULTIPLE or side < vxa.SMALLEST for side in size):
        allowed = f"multiples of {vxa.MULTIPLE} from {vxa.SMALLEST} on, such as 640x512 (width x height)"
        raise argparse.ArgumentTypeError(f"{text!r} is no size; allowed: {allowed}")
    return size


def _threshold(text: str) -> float | str:
    try:
        return text if text == "otsu" else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold; allowed: 0 to 1, or otsu") from None


def _place(text: str) -> tuple[float, float]:
    try:
        y, x = map(float, text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no place; two numbers, such as 0.4,0.6") from None
    return y, x


def _words(allowed: Any) -> Callable[[str], tuple[str, ...]]:
    known = {name.lower(): name for name in get_args(allowed)}

    def read(text: str) -> tuple[str, ...]:
        pieces = [piece.strip() for piece in text.split(",")]
        for piece in pieces:
            if piece.lower() not in known:
                names = ", ".join(known.values())
                raise argparse.ArgumentTypeError(f"{piece!r} is not known; allowed: {names}")
        return tuple(dict.fromkeys(known[piece.lower()] for piece in pieces))

    return read


def _transform(text: str) -> str:
    known = {name.lower().replace(" ", ""): name for name in commands.TRANSFORMS}
    name = known.get(text.lower().replace(" ", ""))
    if name is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not known; allowed: {', '.join(commands.TRANSFORMS)}")
    return name


def _formulas(text: str) -> tuple[str, ...]:
    formulas = tuple(piece.strip() for piece in text.split(";"))
    if len(formulas) != 3:
        raise argparse.ArgumentTypeError(f"{len(formulas)} formulas; three are needed, with ; between them")
    return formulas
