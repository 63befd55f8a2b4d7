"""What may stand on the command line: `parse` gives options whose `run` is the function to call with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import lib_unet_viz
from lib_unet_viz.cli import arguments, commands, compare, edit, study, workspace
from lib_unet_viz.drawing import sheets
from lib_unet_viz.maps import vxa
from lib_unet_viz.notation import edits
from lib_unet_viz.sampling import inversion
from lib_unet_viz.settings.entry import DIFF, EDIT, RENDER, TRACE

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


def parse(given: Sequence[str]) -> argparse.Namespace:
    """The options of one command; SystemExit with 2 for what cannot be read."""
    words = list(given)
    for at in reversed(range(len(words) - 1)):
        if words[at] == "--edit" and words[at + 1].startswith("---"):  # argparse takes it for an option
            words[at : at + 2] = [f"--edit={words[at + 1]}"]
    return _parser().parse_args(words)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="unet-viz",
        description=DESCRIPTION,
        epilog="unet-viz COMMAND --help says more, with examples.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"unet-viz {lib_unet_viz.__version__}")
    add = parser.add_subparsers(title="commands", dest="command", metavar="COMMAND", required=True).add_parser
    for declare in (
        _app,
        _trace,
        _vxa,
        _blocks,
        _show,
        _render,
        _maps,
        _page,
        _export,
        _diff,
        _sweep,
        _edit,
        _score,
        _study,
        _study_report,
    ):
        declare(add)
    return parser


def _command(add: Callable[..., Any], run: Callable[[Any], None], does: str, examples: str) -> Any:
    parser = add(
        run.__name__.replace("_", "-"),
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
    arguments.model(parser)
    parser.add_argument(
        "--port",
        type=arguments.count,
        metavar="N",
        help="of 127.0.0.1 (default: the first free from 7860 on)",
    )
    parser.add_argument("--no-browser", action="store_true", help="only serve the page, do not open it")


def _trace(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz trace "a rabbit wearing sunglasses on the beach" --seed 12
  unet-viz trace "a red star" --blocks "IN00-OUT11(+2)" --at "1,5-20(+5)" --average mean --out star
  unet-viz trace "a red star" --no-features --attention IN07,M00 --parts QK,VQK --out star
  unet-viz trace "a (~: IN00-OUT11: red ; OUT08-OUT11: blue :~) car" --out layers
  unet-viz trace "a red star" --no-features --no-attention --explore --out star
{SPECS.rstrip()}
prompts: a (~: IN00-OUT11: red ; M00: blue :~) circle: each block reads its own text
"""
    parser = _command(add, commands.trace, "make a picture and show what the U-Net held meanwhile", examples)
    parser.add_argument("prompt", metavar="PROMPT")
    arguments.model(parser)
    arguments.run(parser)
    arguments.settings(parser, TRACE, defaults={"at": "the first, the middle and the last"})
    arguments.folder(parser, "unet-viz-trace", "gets picture.png, trace.safetensors and the sheets")


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
    arguments.model(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--words", metavar="A,B", help="of the prompt, summed; a#2: the second a (default: all words)"
    )
    which.add_argument("--tokens", metavar="1,3", help="1: the first token; commas count; several are summed")
    original = "as the extension VXA did: the middle block, all tokens summed, EOS and padding too"
    which.add_argument("--original", action="store_true", help=original)
    parser.add_argument(
        "--layer", default="", metavar="SPEC", help="blocks, or one transformer layer (default: all)"
    )
    levels = ", ".join(f"{level:.0%}%" for level in vxa.LEVELS)
    noise = f"noise levels, 0 is none, such as 350 or 200,400 (default: {levels} of the model's timesteps)"
    parser.add_argument("--timestep", type=arguments.wholes, metavar="N", help=noise)
    parser.add_argument(
        "--noise-seed",
        type=arguments.whole,
        default=0,
        metavar="N",
        help="random seed of the noise (default: 0)",
    )
    parser.add_argument(
        "--mode", choices=sheets.MODES, default="overlay", help="how the map is shown (default: overlay)"
    )
    arguments.method(parser)
    parser.add_argument(
        "--out", type=Path, default=Path("vxa.png"), metavar="FILE", help="a PNG (default: vxa.png)"
    )


def _blocks(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz blocks
  unet-viz blocks "IN00-OUT11(+2)"
  unet-viz blocks M00 --json
{SPECS.rstrip()}
"""
    parser = _command(add, commands.blocks, "list the blocks that a spec names", examples)
    parser.add_argument("spec", nargs="?", default="", metavar="SPEC", help="blocks (default: all)")
    arguments.model(parser)
    parser.add_argument(
        "--json", action="store_true", help="with shapes (channels, height, width) and attention"
    )
    parser.add_argument(
        "--size",
        type=arguments.size,
        metavar="WxH",
        help="of the picture, for the shapes (default: the model's own)",
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
    arguments.rows(parser, "all that are there")
    arguments.settings(parser, RENDER, defaults=arguments.RECORDED)
    arguments.folder(parser, "unet-viz-render", "gets the sheets")


def _maps(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz maps star/trace.safetensors --words "red star" --threshold 0.5
  unet-viz maps star/trace.safetensors --look 0.4,0.6 --layer OUT09.0 --head 1 --step 20
  unet-viz maps star/trace.safetensors --ask "a moon, a sky" --segments --components
"""
    does = "show where a dump's words are, as heat, masks and labels, and where its places look to"
    parser = _command(add, commands.maps, does, examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    parser.add_argument(
        "--words", metavar="A,B", help="words or phrases; a#2: the second a; BOS, EOS (default: all)"
    )
    ask = "words that need not be in the prompt; the model's text encoder is needed, its U-Net does not run"
    parser.add_argument("--ask", metavar="TEXT", help=ask)
    arguments.model(parser)
    arguments.rows(parser, "the first that is there")
    parser.add_argument(
        "--threshold",
        type=arguments.threshold,
        default="otsu",
        metavar="X",
        help="0 to 1, or otsu (default: otsu)",
    )
    parser.add_argument(
        "--mode", choices=sheets.MODES, default="overlay", help="of the heat (default: overlay)"
    )
    arguments.method(parser)
    arguments.one_scale(parser)
    parser.add_argument("--json", action="store_true", help="the words and their strengths as JSON")
    look = "where this place looks to in self-attention: down and right, from 0 to 1"
    parser.add_argument("--look", type=arguments.place, metavar="Y,X", help=look)
    parser.add_argument("--layer", metavar="NAME", help="for --look, such as OUT09.0 (default: all layers)")
    parser.add_argument(
        "--head", type=arguments.whole, metavar="N", help="for --look with --layer (default: the mean of all)"
    )
    parser.add_argument(
        "--step", type=arguments.count, metavar="N", help="for --look with --layer (default: the mean of all)"
    )
    parser.add_argument("--components", action="store_true", help="three components of self-attention as RGB")
    parser.add_argument("--segments", action="store_true", help="segments of the self-attention, unasked")
    arguments.folder(parser, "unet-viz-maps", "gets the pictures")


def _page(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz page star/trace.safetensors --out star.html
  unet-viz page without/trace.safetensors with/trace.safetensors --out changed.html
  unet-viz page star/trace.safetensors --blocks OUT09-OUT11 --at "1,5-20(+5)" --megabytes 60 --out star.html
{SPECS.rstrip()}
"""
    does = "write a dump, or two to compare, as one HTML page to explore; it opens without a server"
    parser = _command(add, workspace.page, does, examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    parser.add_argument("other", type=Path, nargs="?", metavar="DUMP_B", help="a second run, to compare")
    arguments.rows(parser, "the first that is there")
    arguments.recorded(parser, "of which the page has maps")
    parser.add_argument(
        "--megabytes",
        type=arguments.count,
        default=20,
        metavar="N",
        help="largest size of the page; maps that do not fit are left out (default: 20)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="where the page goes")


def _export(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz export star/trace.safetensors --out star.npz
  unet-viz export batch.safetensors --blocks OUT11 --at 20 --half uncond --out small.safetensors
{SPECS.rstrip()}
"""
    does = "write a dump's arrays for other programs: .npz, or a smaller dump"
    parser = _command(add, workspace.export, does, examples)
    parser.add_argument("dump", type=Path, metavar="DUMP")
    arguments.rows(parser, "the first that is there")
    arguments.recorded(parser, "that are written")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help="ends in .npz or .safetensors"
    )


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
    arguments.rows(parser, "all that are there")
    arguments.settings(parser, DIFF, defaults=arguments.RECORDED)
    arguments.folder(parser, "unet-viz-diff", "gets comparison.png, difference.safetensors and the sheets")


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
    arguments.model(parser)
    arguments.run(parser)
    arguments.folder(parser, "unet-viz-sweep", "gets sheet.png, chart.png, sweep.json and each picture")


def _edit(add: Callable[..., Any]) -> None:
    examples = f"""
  unet-viz edit "a squirrel with a burger" --edit "squirrel -> lion" --out lion
  unet-viz edit "a cat with a hat" --edit "cat -> dog" --edit "hat * 2.5" --align
  unet-viz edit "a cat with a hat" --edit "cat -> dog" --edit --- --edit "+ in the snow" --seed 7
  unet-viz edit "a cat with a hat" --edit "cat -> dog" --cross-steps '{{"default": 0.8, "cat": [0, 0.4]}}'
  unet-viz edit "a red circle" --edit "red -> green" --no-blend --sweep both --out swept
  unet-viz edit "a red circle" --edit "red -> green" --image photo.png --out photo
  unet-viz edit "a red circle" --edit "red -> green" --image photo.png --mask left.png --no-blend --out left
edits:   {" | ".join(edits.SYNTAX[:4])}
         several --edit are lines of one text: --edit --- begins another target of the same source
{SPECS.strip(chr(10)).splitlines()[0]}
"""
    does = "make a picture again with other words, and keep the rest by its attention"
    parser = _command(add, edit.edit, does, examples)
    parser.add_argument("prompt", metavar="PROMPT", help="of the source picture")
    arguments.model(parser)
    arguments.run(parser)
    own = "edit this picture, which PROMPT describes; without --seed and --size"
    parser.add_argument("--image", type=Path, metavar="FILE", help=own)
    parser.add_argument(
        "--inversion", choices=inversion.INVERSIONS, help=f"of --image (default: {inversion.INVERSIONS[0]})"
    )
    arguments.settings(parser, EDIT)
    own = "a picture in black and white: only white may change, and only where words show unless --no-blend"
    parser.add_argument("--mask", type=Path, metavar="FILE", help=own)
    parser.add_argument("--align", action="store_true", help="only show both prompts word by word")
    gets = "gets source.png, target-1.png, comparison.png, mask-1.png, edit.json, sweep.png"
    arguments.folder(parser, "unet-viz-edit", gets)


def _score(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz score
  unet-viz score --json --seed 1 --count 50
  unet-viz score --edits
"""
    does = "measure the model's pictures and heat maps, or edits, on freshly drawn scenes"
    parser = _command(add, commands.score, does, examples)
    arguments.model(parser)
    parser.add_argument("--json", action="store_true", help="numbers as fractions of 1")
    parser.add_argument(
        "--seed", type=arguments.whole, default=0, metavar="N", help="random seed of the scenes (default: 0)"
    )
    number = "scenes of each kind (default: 200), or captions to edit (default: 100)"
    parser.add_argument("--count", type=arguments.count, metavar="N", help=number)
    parser.add_argument("--edits", action="store_true", help="of prompts with one word swapped, only")


def _study(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz study blocks --out blocks.parquet
  unet-viz study mine.toml --out mine.parquet --limit 10
  unet-viz study mine.toml --out mine.parquet --ray local --workers 2
"""
    parser = _command(
        add, study.study, "run a study: prompts x seeds x variants x measures to a table", examples
    )
    parser.add_argument("study", metavar="STUDY", help="a TOML file, or the name of a shipped study: blocks")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="TABLE.parquet", help="where the table goes"
    )
    limit = "run at most so many groups (a prompt with a seed) this time"
    parser.add_argument("--limit", type=arguments.count, metavar="N", help=limit)
    ray = 'on Ray: "local" for a cluster of its own, or an address such as ray://host:10001'
    parser.add_argument("--ray", metavar="ADDRESS", help=ray)
    workers = "how many workers on Ray (default: one for each processor core)"
    parser.add_argument("--workers", type=arguments.count, metavar="N", help=workers)
    parser.add_argument(
        "--gpus", type=float, default=0.0, metavar="X", help="GPUs of each worker (default: 0)"
    )


def _study_report(add: Callable[..., Any]) -> None:
    examples = """
  unet-viz study-report blocks.parquet
  unet-viz study-report blocks.parquet --out blocks.html
"""
    does = "show a study's means with their 95 %% intervals, and write a page with figures"
    parser = _command(add, study.study_report, does, examples)
    parser.add_argument("table", type=Path, metavar="TABLE.parquet", help="what unet-viz study wrote")
    parser.add_argument(
        "--out", type=Path, metavar="PAGE.html", help="a page with figures, which needs nothing else"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
