"""What looking and editing cost in whole runs: recordings, layer prompts, edits and others' methods.

    python benchmarks/overhead.py [--model sd15|sd21|sdxl] [--size H[xW]] [--steps N] [--calls N] [--rounds N]
                                  [--only TEXT ...] [--all] [--quick] [--device cpu|cuda] [--half]
                                  [--threads N] [--bound] [--check-cost] [--json FILE]

U-Nets of true width with random weights (`models`), called directly with random latents and contexts, a batch
of an unconditional and a conditional row (an edit's: of its source and one target). All variants make their
run of `--steps` side by side, a step each in turn; no call is farther than one from a plain one, with which
it makes a pair. First comes the ratio of whole runs in CPU seconds of complete calls (`time.process_time`; on
a GPU CUDA events), with its 95 % interval, see `interval`. `--calls`: of each kind of calls only so many are
made, evenly spread. `--rounds`: so often all over again. `--quick`: 256 x 256 pixels, three calls a kind.

"In hooks" is 1 + the seconds spent in hooks, on entering and on leaving, as a share of the plain run's: free
of the noise of a busy machine, but blind to what is done inside the U-Net, as others' attention is, and to
caches that a hook leaves cold. "Peak" is how far memory rises above a plain call's, see `meter`. "Bound": q·k
and softmax of what is recorded and nothing else, timed alone. "Foreseen" is what the panels say beforehand
(`lib_unet_viz.capture.cost`); `--check-cost` asks that it is within a factor of 1.5 of what was measured.

A bar is met or missed where the whole interval says so, else open: it takes more calls. Exit code 1 where one
is missed. Where a kind has fewer than three pairs, nothing is said.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from interval import Interval
from meter import Clock, Taken, machine, taken, time_hooks
from models import MODELS, Inputs, build
from variants import DAAM, WORDS, Bench, Lane, Variant, alone

from lib_unet_viz.capture.cost import added_time
from lib_unet_viz.unet import UNet

FACTOR, POINT = 1.5, 0.01  # of what is foreseen of an addition of more than POINT; of a smaller one
PEAK = 200e6  # bytes of word maps, at the model's own size
BARS = {"sdxl": {WORDS: 1.03}}  # others than the variants' own
QUICK_SIZE, QUICK_CALLS = (32, 32), 3


@dataclass(frozen=True)
class Pair:
    """A call of a lane beside a plain one. hooked: seconds of it in hooks, on entering and on leaving."""

    kind: str
    call: Taken
    hooked: float
    plain: Taken

    @property
    def risen(self) -> int | None:
        """Bytes of memory above the plain call's peak."""
        if self.call.peak is None or self.plain.peak is None:
            return None
        return self.call.peak - self.plain.peak


@dataclass
class Turn:
    """A variant at work: its lane, the steps at which it is measured, and what was found."""

    variant: Variant
    lane: Lane
    steps: frozenset[int]
    pairs: list[Pair] = field(default_factory=list)


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    found = measure(options)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(found))
    return 0 if found["passed"] else 1


@torch.no_grad()
def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Rows by variant: the whole run's ratio, its interval, seconds in hooks, memory; and which bars hold."""
    bench, load = _bench(options), os.getloadavg()
    chosen = _chosen(bench, options)
    rows: dict[str, Any] = {}
    for pictures in sorted({variant.pictures for variant in chosen.values()}):
        turns = {title: each for title, each in chosen.items() if each.pictures == pictures}
        rows |= _group(bench, pictures, turns, options)
    missed = list(_missed(rows, options.model, own_size=max(bench.size) == bench.model.size))
    if options.check_cost:
        wrong = (title for title, row in rows.items() if "foreseen" in row and badly_foreseen(row))
        missed += [f"{title}: {rows[title]['foreseen']} x plain was foreseen" for title in wrong]
    return {
        "model": bench.model.title,
        "machine": machine(options.device),
        "load": [round(each, 1) for each in (load[0], os.getloadavg()[0])],
        "latent": list(bench.size),
        "own_latent": [bench.model.size] * 2,
        "dtype": str(bench.dtype).removeprefix("torch."),
        "steps": options.steps,
        "rows": rows,
        "missed": missed,
        "passed": not missed,
    }


def _bench(options: argparse.Namespace) -> Bench:
    model, device = MODELS[options.model], options.device
    dtype = torch.float16 if device == "cuda" else torch.bfloat16 if options.half else torch.float32
    unet = UNet.of(build(model, device=device, dtype=dtype))
    return Bench(model, unet, options.size or (model.size,) * 2, options.steps, device, dtype)


def _chosen(bench: Bench, options: argparse.Namespace) -> dict[str, Variant]:
    every = bench.variants()
    if options.only:
        return {title: each for title, each in every.items() if any(word in title for word in options.only)}
    return {title: each for title, each in every.items() if each.usual or options.all}


def _group(
    bench: Bench, pictures: int, variants: dict[str, Variant], options: argparse.Namespace
) -> dict[str, Any]:
    """Variants of so many pictures, beside plain runs of as many."""
    inputs = bench.inputs(pictures)
    pairs: dict[str, list[Pair]] = {title: [] for title in variants}
    kept: dict[str, int] = {}
    _call(bench, inputs, Lane(), 0)  # warms up
    for round_ in range(options.rounds):
        turns = {
            title: Turn(variant, variant.start(), _measured(variant, bench.total, options.calls))
            for title, variant in variants.items()
        }
        for step in sorted(set().union(*(turn.steps for turn in turns.values()))):
            sys.stderr.write(f"{pictures} picture(s), round {round_ + 1}, step {step} of {bench.total}\n")
            due = [turn for turn in turns.values() if step in turn.steps]
            _step(bench, inputs, due[:: 1 - 2 * (step % 2)], step)
        for title, turn in turns.items():
            pairs[title] += turn.pairs
            kept[title] = turn.lane.kept()
    return {
        title: _row(bench, variant, pairs[title], kept[title], bound=options.bound)
        for title, variant in variants.items()
    }


def _measured(variant: Variant, total: int, most: int | None) -> frozenset[int]:
    """The steps at which a variant is called: all, or of each kind some, evenly spread."""
    found: list[int] = []
    for steps in variant.kinds(total).values():
        number = min(most or len(steps), len(steps))
        found += [steps[len(steps) * (2 * index + 1) // (2 * number)] for index in range(number)]
    return frozenset(found)


def _step(bench: Bench, inputs: Inputs, turns: Sequence[Turn], step: int) -> None:
    """One step of each: a plain call stands between every two."""
    for at in range(0, len(turns), 2):
        first, *second = turns[at : at + 2]
        calls = [(first, *_call(bench, inputs, first.lane, step - 1))]
        plain, _ = _call(bench, inputs, Lane(), step - 1)
        calls += [(turn, *_call(bench, inputs, turn.lane, step - 1)) for turn in second]
        for turn, call, hooked in calls:
            turn.pairs.append(Pair(turn.variant.kind(step), call, hooked, plain))


def _call(bench: Bench, inputs: Inputs, lane: Lane, step: int) -> tuple[Taken, float]:
    """One call of the U-Net, and the seconds of it in hooks, on entering and on leaving."""
    clock, module = Clock(), bench.unet.module

    def action() -> None:
        with ExitStack() as stack:
            lane.at(step)
            clock(stack.enter_context, lane.on())
            time_hooks(module, clock)
            inputs.call(module, step)
            clock(lane.after)
            clock(stack.close)

    return taken(action, device=bench.device), clock.seconds


def _row(bench: Bench, variant: Variant, pairs: list[Pair], kept: int, *, bound: bool) -> dict[str, Any]:
    calls = {kind: len(steps) for kind, steps in variant.kinds(bench.total).items()}
    by_kind = {kind: [pair for pair in pairs if pair.kind == kind] for kind in calls}
    plain = statistics.median(pair.plain.seconds for pair in pairs)
    run = Interval.of(
        {kind: [each.call.seconds / each.plain.seconds for each in of] for kind, of in by_kind.items()}, calls
    )
    hooks = sum(
        calls[kind] * statistics.median(each.hooked for each in of) for kind, of in by_kind.items()
    ) / (plain * bench.total)
    peaks = [
        statistics.median(each.risen for each in of if each.risen is not None)
        for of in by_kind.values()
        if any(each.risen is not None for each in of)
    ]
    row: dict[str, Any] = {
        "ratio": round(run.ratio, 4),
        "interval": [round(run.low, 4), round(run.high, 4)],
        "known": run.known,
        "pairs": len(pairs),
        "hooks": round(1 + hooks, 4),
        "peak_mb": round(max(peaks) / 1e6, 1) if peaks else None,
        "kept_mb": round(kept / 1e6, 1),
        "plain_s": round(plain, 3),
        "bar": variant.bar,
    }
    if variant.asked:
        row["foreseen"] = round(
            1 + added_time(bench.unet, **variant.asked, size=bench.size, total=bench.total), 4
        )
    if bound and "attention" in variant.asked:
        seconds = taken(alone(bench, variant.asked), device=bench.device).seconds
        row["bound"] = round(1 + seconds / (plain * bench.total), 4)
    return row


def _missed(rows: dict[str, Any], name: str, *, own_size: bool) -> Iterator[str]:
    for title, row in rows.items():
        row["bar"] = BARS.get(name, {}).get(title, row["bar"])
        if row["bar"] is not None:
            low, high = row["interval"]
            row["verdict"] = Interval(row["ratio"], low, high, row["known"]).verdict(row["bar"])
            if row["verdict"] == "missed":
                yield f"{title}: {row['ratio']} x plain, at most {row['bar']}"
    if WORDS in rows and DAAM in rows and rows[WORDS]["interval"][0] > rows[DAAM]["interval"][1]:
        yield f"{WORDS}: {rows[WORDS]['ratio']} x plain, DAAM's {rows[DAAM]['ratio']}"
    peak = rows.get(WORDS, {}).get("peak_mb")
    if own_size and peak is not None and peak * 1e6 > PEAK:
        yield f"{WORDS}: {peak} MB at its peak, at most {PEAK / 1e6:.0f}"


def badly_foreseen(row: dict[str, Any]) -> bool:
    """Whether what was said beforehand is FACTOR off the whole interval, and the seconds in hooks, too."""
    said: float = row["foreseen"] - 1
    measured: list[float] = [each - 1 for each in (row["hooks"], *row["interval"])]
    low, high = min(measured), max(measured)
    return said > max(high * FACTOR, high + POINT) or said < min(low / FACTOR, low - POINT)


def table(found: dict[str, Any]) -> str:
    """As text, whole runs first."""
    height, width = found["latent"]
    own = "" if found["latent"] == found["own_latent"] else f" (its own is {found['own_latent'][0]})"
    lines = [
        f"{found['model']}, latent {height}x{width}{own}, {found['dtype']}, runs of {found['steps']} steps",
        f"{found['machine']}; load {found['load'][0]} to {found['load'][1]}",
        _line(
            "", "whole run", "(interval)", "pairs", "bar", "", "in hooks", "foreseen", "peak MB", "kept MB"
        ),
    ]
    for title, row in found["rows"].items():
        low, high = row["interval"]
        bar = "" if row["bar"] is None else f"{row['bar']:.2f}"
        foreseen = f"{row['foreseen']:.4f}" if "foreseen" in row else ""
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:.1f}"
        cells = (f"{row['ratio']:.3f}", f"{low:.3f} to {high:.3f}", str(row["pairs"]), bar)
        more = (row.get("verdict", ""), f"{row['hooks']:.4f}", foreseen, peak, f"{row['kept_mb']:.1f}")
        lines.append(_line(title, *cells, *more))
    bounds = [
        f"bound of {title}: {row['bound']:.4f}" for title, row in found["rows"].items() if "bound" in row
    ]
    plain = dict.fromkeys(f"{row['plain_s']} s" for row in found["rows"].values())
    end = [f"a plain call: {', '.join(plain)} (medians)", *bounds]
    return "\n".join([*lines, *end, *(f"MISSED {each}" for each in found["missed"]), ""])


def _line(title: str, *cells: str) -> str:
    widths = (10, 17, 6, 6, 8, 10, 10, 9, 9)
    return f"{title:<62}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="sd15")
    parser.add_argument("--size", type=shape, help="the latent's, as 64 or 64x96 (height x width)")
    parser.add_argument("--steps", type=int, default=20, help="of a whole run (20)")
    parser.add_argument("--calls", type=int, help="measured of each kind of calls (all)")
    parser.add_argument("--rounds", type=int, default=1, help="whole runs of each (1)")
    parser.add_argument("--only", nargs="+", metavar="TEXT", help="variants whose name holds one of these")
    parser.add_argument("--all", action="store_true", help="raw maps and all others' methods, too")
    parser.add_argument("--quick", action="store_true", help="small and short: a first look")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--half", action="store_true", help="bfloat16 on a CPU; a GPU always runs float16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bound", action="store_true", help="time q·k and softmax alone, too")
    parser.add_argument("--check-cost", action="store_true", help="miss what the panels foresee badly")
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets the figures")
    options = parser.parse_args()
    if options.quick:
        options.size, options.calls = options.size or QUICK_SIZE, options.calls or QUICK_CALLS
    return options


def shape(text: str) -> tuple[int, int]:
    """Read a latent's (height, width)."""
    height, _, width = text.partition("x")
    return int(height), int(width or height)


if __name__ == "__main__":
    sys.exit(main())
