"""What commands say of blocks, dumps and scores: as plain data for JSON, and as text."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lib_unet_viz.trace import FeatureMap, Trace
    from lib_unet_viz.unet import Block


def printable(text: str) -> str:
    """The text as a terminal may get it: whatever could steer one is written as its code, such as \\u001b.

    JSON stays JSON.
    """
    return "".join(
        json.dumps(c)[1:-1] if c != "\n" and unicodedata.category(c) in _STEERING else c for c in text
    )


_STEERING = ("Cc", "Cf", "Cs", "Zl", "Zp")


def block(found: Block, latent: tuple[int, int]) -> dict[str, Any]:
    """A block's shapes (channels, height, width) for a latent of (height, width), and its attention."""
    given, got = found.shapes(latent)
    return {
        "name": found.name,
        "input": list(given),
        "output": list(got),
        "prompt": found.cross > 0,
        "cross": found.cross,
        "heads": found.heads,
        "depth": found.depth,
    }


def contents(trace: Trace) -> dict[str, Any]:
    """All that a dump says of itself, without its numbers; steps count from 1."""
    maps = [
        {**item.key.labels(), "axes": list(item.axes), "shape": list(item.shape), "sigma": item.sigma}
        for item in (*trace.features, *trace.attention)
    ]
    size = None if trace.picture is None else [trace.picture.height, trace.picture.width]
    return {
        "meta": dict(trace.meta),
        "notes": trace.notes,
        "bytes": trace.nbytes,
        "picture": size,
        "maps": maps,
    }


def text(trace: Trace) -> str:
    """The same for people: the run, then a line for each group of maps that differ only in the step."""
    names = ("prompt", "negative", "seed", "steps", "cfg", "timestep", "model")
    run = [(name, str(trace.meta[name])) for name in names if trace.meta.get(name) not in (None, "")]
    if trace.meta.size:
        height, width = trace.meta.size
        run.append(("latent", f"{width} x {height}"))
    if trace.picture is not None:
        run.append(("picture", f"{trace.picture.width} x {trace.picture.height}"))
    run.append(("maps", f"{len(trace.features) + len(trace.attention)}, {trace.nbytes / 1e6:.1f} MB"))
    run += [("note", note) for note in trace.notes]
    run = [(name, value.replace("\n", "\\n")) for name, value in run]
    return "\n".join([_columns(run), "", _columns(_groups(trace))]).rstrip()


def _groups(trace: Trace) -> list[tuple[str, ...]]:
    groups: dict[tuple[str, ...], list[FeatureMap]] = {}
    for item in (*trace.features, *trace.attention):
        key = item.key
        where = key.block if key.layer is None else f"{key.block}.{key.layer} {key.kind}"
        shape = ", ".join(f"{axis} {length}" for axis, length in zip(item.axes, item.shape, strict=True))
        rest = " ".join(
            word for word in ("hires" * (key.pass_ == "hires"), f"sub {key.sub}" * (key.sub > 0)) if word
        )
        groups.setdefault((where, key.what, key.half, rest, shape), []).append(item)
    return [(*words[:4], _steps(items), words[4]) for words, items in groups.items()]


def _steps(items: Sequence[FeatureMap]) -> str:
    steps = [item.key.step for item in items]
    if steps[0] is None:
        return "mean"
    shown = [str(step + 1) for step in steps if step is not None]
    return "step " + (",".join(shown) if len(shown) < 8 else f"{shown[0]}, {shown[1]} … {shown[-1]}")


def scores(found: Mapping[str, Any], *, count: int) -> str:
    """The scores as a table, in percent."""
    pictures = found["pictures"]
    names = {
        "scorer_on_drawn": "the scorer, on drawn scenes",
        "one_object": "one object",
        "two_objects": "two objects",
        "things_scorer_on_drawn": "the scorer of things, on drawn scenes",
        "one_thing": "one thing",
        "two_things": "two things",
        "unseen_pair": "worn or eaten, pairs not trained on",
        "colour": "things of the colour asked for",
        "colour_of_found": "of the things found, those of the colour asked for",
        "relation": "two things on the sides asked for",
    }
    best = {name: f"{value:.1%}" for name, value in found.get("autoencoder", {}).items()}
    drawn = [(names.get(name, name), f"{value:.1%}", best.get(name, "")) for name, value in pictures.items()]
    head = (
        f"pictures, of {count} captions of shapes each, half as many of things, in which all is found",
        "",
        "of drawn ones, encoded and decoded" if best else "",
    )
    of_things = [thing_maps(found["maps"])] if "things" in found["maps"] else []
    decoded = [autoencoded(found["autoencoder"])] if "autoencoder" in found else []
    return "\n\n".join([_columns([head, *drawn]), *decoded, maps(found["maps"]), *of_things])


def autoencoded(found: Mapping[str, float]) -> str:
    """What encoding and decoding leave of drawn scenes of things."""
    rows = [("whole pictures", "psnr_db"), ("the pixels of things", "things_psnr_db")]
    head = ("drawn scenes, encoded and decoded", "PSNR")
    return _columns([head, *((name, _decibel(found[key])) for name, key in rows)])


def maps(found: Mapping[str, Any]) -> str:
    """The marks of heat maps, a table for each case."""
    cases = {"one_object": "one object", "two_objects": "two objects", "three_objects": "three objects"}
    cases["generated"] = "generated pictures"
    tables = [row for name, title in cases.items() for row in _marks(title, found, found[name])]
    best = f"vxa_best is the layer {found['best_layer']}; the winner is {found['winner']}"
    return _columns(tables[1:]) + f"\n\n{best}"


def thing_maps(found: Mapping[str, Any]) -> str:
    """The marks of heat maps of things, a table for each case."""
    cases = {
        "things": "nouns of two things",
        "attached": "nouns, one wearing or eating the other",
        "parts": "parts that the prompt does not name",
        "asked": "kinds and synonyms",
    }
    rows: list[tuple[str, ...]] = []
    for name, title in cases.items():
        rows += [("", ""), (f"heat maps of {title}", "pointing", "mIoU", "at mean", "mAP")]
        for method, each in found[name].items():
            marks = [f"{each['pointing']:.1%}", *(f"{each[k]:.3f}" for k in ("miou", "miou_mean", "map"))]
            rows.append((f"{method} (default)" if method == found["default"] else method, *marks))
    return _columns(rows[1:])


def all_edits(found: Mapping[str, Any]) -> str:
    """How edits of shapes and of things did."""
    tables = [("shapes", "edits"), ("things", "thing_edits")]
    return "\n\n".join(f"{what}: {edits(found[name])}" for what, name in tables if name in found)


def edits(found: Mapping[str, Any]) -> str:
    """How edits of one word did, a line for each method."""
    heads = ("swapped", "other found", "other PSNR", "pooled", "background PSNR", "SSIM", "MSE × 1000")
    captions = next(iter(found.values()))["captions"]
    rows: list[tuple[str, ...]] = [(f"one word swapped, {captions} captions", *heads)]
    for name, each in found.items():
        background = each["background"]
        numbers = [f"{each[name]:.1%}" for name in ("swapped_found", "other_found")]
        numbers += [_decibel(each[name]) for name in ("other_psnr_db", "other_pooled_psnr_db")]
        numbers += [_decibel(background["psnr_db"])]
        numbers += [
            "-" if background[name] is None else f"{background[name] * by:.3f}" for name, by in _SCALES
        ]
        rows.append((name, *numbers))
    return _columns(rows)


_SCALES = (("ssim", 1), ("mse", 1000))


def _decibel(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} dB"


def _marks(title: str, maps: Mapping[str, Any], methods: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A case's table: marks of shape words, with half the width of the mIoU's 95 % interval."""
    marks = ("pointing", "mIoU", "±", "at mean", "mAP", "colours", "phrases")
    rows = []
    for name, each in methods.items():
        low, high = each["intervals"]["miou"]
        row = [f"{each['pointing']:.1%}", f"{each['miou']:.3f}", f"{(high - low) / 2:.3f}"]
        row += [f"{each['miou_mean']:.3f}", f"{each['map']:.3f}"]
        row += [f"{each[kind]['miou']:.3f}" for kind in ("colors", "phrases")]
        rows.append((f"{name} (default)" if name == maps["default"] else name, *row))
    return [("", ""), (f"heat maps of shape words, {title}", *marks), *rows]


def _columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows with their columns under each other, two spaces between; columns that are empty are left out."""
    filled = [row for row in zip(*_padded(rows), strict=True) if any(row)]
    widths = [max(map(len, column)) for column in filled]
    lines = zip(*filled, strict=True)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _padded(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    longest = max((len(row) for row in rows), default=0)
    return [(*row, *([""] * (longest - len(row)))) for row in rows]
