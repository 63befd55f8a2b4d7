"""What looking and editing cost on a GPU, of SD 1.5 at 512 x 512 and SDXL at 1024 x 1024 in float16.

    python benchmarks/gpu.py [--minutes 5] [--model sd15|sdxl ...] [--json gpu.json]
    python benchmarks/gpu.py --device cpu --small        # tries the script itself, on narrow U-Nets

One command, which ends in about `--minutes`. Whole runs of 20 steps of U-Nets of true width with random
weights, each variant's beside a plain one, as pairs in turn: seconds by CUDA events, from before the hooks
are put on until the means are on the CPU; the median of the pairs' ratios with its 95 % interval, see
`interval`. A pair more is made while there is time; what there is no time or no memory for is named.

Then torch's profiler counts, in two calls of the U-Net (one in which cross-attention alone is recorded, one
with self-attention, too), the fused attention kernels and `cudaStreamSynchronize`, with word maps and
without: as many kernels are to be fused, and no synchronisation is to be added. Writes everything to
`--json`. Exit code 1 where a bar or a check is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from interval import Interval
from meter import Taken, machine, taken
from models import MODELS, Inputs, build, narrow
from torch.profiler import ProfilerActivity, profile
from variants import ALIKE, DAAM, WORDS, Bench, Lane, Variant

from lib_unet_viz.unet import UNet

STEPS = 20
BARS = {WORDS: 1.03}  # others than the variants' own
NAMES = ("sd15", "sdxl")  # each at its own: 512 x 512, 1024 x 1024
PEAK = 200  # MB, of word maps
FEWEST, MOST = 3, 30  # pairs of a variant
FUSED = ("scaled_dot_product_flash", "scaled_dot_product_efficient", "scaled_dot_product_cudnn")
SYNCHRONIZE = ("cudaStreamSynchronize", "cudaDeviceSynchronize")


@dataclass(frozen=True)
class Clock:
    """When the whole command is to end, in seconds of `time.monotonic`."""

    end: float

    @property
    def left(self) -> float:
        """Seconds."""
        return self.end - time.monotonic()


def main() -> int:
    options = _options()
    if options.device == "cuda" and not torch.cuda.is_available():
        sys.stderr.write("torch sees no CUDA device here; --device cpu --small tries the script itself\n")
        return 2
    found = measure(options)
    options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(found) + f"written to {options.json}\n")
    return 0 if found["passed"] else 1


@torch.no_grad()
def measure(options: argparse.Namespace) -> dict[str, Any]:
    """By model: rows of whole runs, kernels counted, and what was missed."""
    start = time.monotonic()
    torch.manual_seed(0)
    models = {}
    for at, name in enumerate(options.model):
        share = (start + 60 * options.minutes - time.monotonic()) / (len(options.model) - at)
        models[name] = _of_model(name, Clock(time.monotonic() + share), options)
    missed = [f"{each['model']}: {line}" for each in models.values() for line in each["missed"]]
    return {
        "machine": machine(options.device),
        "steps": options.steps,
        "small": options.small,
        "models": models,
        "seconds": round(time.monotonic() - start, 1),
        "missed": missed,
        "passed": not missed,
    }


def _of_model(name: str, clock: Clock, options: argparse.Namespace) -> dict[str, Any]:
    sys.stderr.write(f"{MODELS[name].title}: building it\n")
    model = narrow(MODELS[name]) if options.small else MODELS[name]
    dtype = torch.float16 if options.device == "cuda" else torch.float32
    unet = UNet.of(build(model, device=options.device, dtype=dtype))
    bench = Bench(model, unet, (model.size,) * 2, options.steps, options.device, dtype)
    kernels = _kernels(bench)
    variants = {title: each for title, each in bench.variants().items() if each.usual or "prompt-to" in title}
    rows: dict[str, dict[str, Any]] = {}
    for at, (title, variant) in enumerate(variants.items()):
        sys.stderr.write(f"{model.title}: {title}; {clock.left:.0f} s left\n")
        rows[title] = _row(bench, title, variant, seconds=clock.left / (len(variants) - at))
    found = {
        "model": model.title,
        "latent": list(bench.size),
        "dtype": str(dtype).removeprefix("torch."),
        "rows": rows,
        "kernels": kernels,
    }
    if options.device == "cuda":
        del bench, unet
        torch.cuda.empty_cache()
    return {**found, "missed": _missed(rows, kernels, small=options.small)}


def _row(bench: Bench, title: str, variant: Variant, *, seconds: float) -> dict[str, Any]:
    """Pairs of whole runs for so many seconds."""
    if seconds <= 0 and title not in (WORDS, DAAM):
        return {"left_out": "there was no time"}
    inputs = bench.inputs(variant.pictures)
    try:
        _calls(bench, inputs, variant.start(), (0, bench.total - 1))  # warms up
        pairs, kept = _pairs(bench, inputs, variant, seconds=seconds)
    except torch.cuda.OutOfMemoryError:
        torch.cuda.empty_cache()
        return {"left_out": "there was not enough memory"}
    ratios = [run.seconds / plain.seconds for run, plain in pairs]
    found = Interval.of({ALIKE: ratios}, {ALIKE: 1})
    risen = sorted(
        run.peak - plain.peak for run, plain in pairs if run.peak is not None and plain.peak is not None
    )
    bar = BARS.get(title, variant.bar)
    return {
        "ratio": round(found.ratio, 4),
        "interval": [round(found.low, 4), round(found.high, 4)],
        "pairs": len(pairs),
        "plain_s": round(sorted(plain.seconds for _, plain in pairs)[len(pairs) // 2], 4),
        "peak_mb": round(risen[len(risen) // 2] / 1e6, 1) if risen else None,
        "kept_mb": round(kept / 1e6, 1),
        "bar": bar,
        "verdict": None if bar is None else found.verdict(bar),
    }


def _pairs(
    bench: Bench, inputs: Inputs, variant: Variant, *, seconds: float
) -> tuple[list[tuple[Taken, Taken]], int]:
    """(variant, plain) each, the order changing from pair to pair; and the bytes kept by a run."""
    end, pairs, kept = time.monotonic() + seconds, list[tuple[Taken, Taken]](), 0
    while len(pairs) < FEWEST or (len(pairs) < MOST and time.monotonic() < end):
        lane = variant.start()
        first, second = (lane, Lane()) if len(pairs) % 2 else (Lane(), lane)
        both = {id(each): _run(bench, inputs, each) for each in (first, second)}
        plain = second if first is lane else first
        kept = both[id(lane)][1]
        pairs.append((both[id(lane)][0], both[id(plain)][0]))
    return pairs, kept


def _run(bench: Bench, inputs: Inputs, lane: Lane) -> tuple[Taken, int]:
    """A whole run, with hooks put on once; and the bytes that it kept."""
    kept = 0

    def action() -> None:
        nonlocal kept
        _calls(bench, inputs, lane, range(bench.total))
        kept = lane.kept()

    return taken(action, device=bench.device), kept


def _calls(bench: Bench, inputs: Inputs, lane: Lane, steps: range | tuple[int, ...]) -> None:
    with lane.on():
        for step in steps:
            lane.at(step)
            inputs.call(bench.unet.module, step)
            lane.after()


def _kernels(bench: Bench) -> dict[str, dict[str, int]]:
    """Fused attentions and synchronisations of two calls, plain and with word maps."""
    inputs, steps = bench.inputs(1), (bench.total // 2, bench.total - 1)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if bench.device == "cuda" else [])]
    found = {}
    for title, lane in (("plain", Lane()), (WORDS, bench.variants()[WORDS].start())):
        _calls(bench, inputs, lane, steps)  # warms up, and makes room for the sums
        with lane.on(), profile(activities=activities) as seen:
            for step in steps:
                lane.at(step)
                inputs.call(bench.unet.module, step)
        counts = {event.key: event.count for event in seen.key_averages()}
        found[title] = {
            "fused": _count(counts, [f"aten::_{name}" for name in FUSED]),
            "synchronize": _count(counts, SYNCHRONIZE),
            "copies": _count(counts, ["cudaMemcpyAsync"]),
        }
    return found


def _count(counts: Mapping[str, int], names: tuple[str, ...] | list[str]) -> int:
    """Of the forward's own events; a name may go on, as `..._attention_for_cpu` does."""
    return sum(
        count for key, count in counts.items() if key.startswith(tuple(names)) and "backward" not in key
    )


def _missed(
    rows: Mapping[str, Mapping[str, Any]], kernels: Mapping[str, Mapping[str, int]], *, small: bool
) -> list[str]:
    missed = []
    plain, recorded = kernels["plain"], kernels[WORDS]
    if not plain["fused"] == recorded["fused"] > 0:
        missed.append(
            f"{recorded['fused']} attentions are fused while recording, {plain['fused']} in a plain run"
        )
    if recorded["synchronize"] > plain["synchronize"]:
        missed.append(
            f"{recorded['synchronize']} synchronisations while recording, {plain['synchronize']} without"
        )
    if small:  # times of a narrow U-Net tell nothing
        return missed
    for title, row in rows.items():
        if row.get("verdict") == "missed":
            missed.append(f"{title}: {row['ratio']} x plain, at most {row['bar']}")
    words, others = rows[WORDS], rows[DAAM]
    if "interval" in words and "interval" in others and words["interval"][0] > others["interval"][1]:
        missed.append(f"{WORDS}: {words['ratio']} x plain, DAAM's {others['ratio']}")
    if words.get("peak_mb") is not None and words["peak_mb"] > PEAK:
        missed.append(f"{WORDS}: {words['peak_mb']} MB at the peak, at most {PEAK}")
    return missed


def table(found: Mapping[str, Any]) -> str:
    """As text."""
    lines = [f"{found['machine']}; runs of {found['steps']} steps; {found['seconds']} s in all"]
    for each in found["models"].values():
        height, width = each["latent"]
        lines.append(f"{each['model']}, latent {height}x{width}, {each['dtype']}")
        for title, row in each["rows"].items():
            lines.append(f"  {title:<62}{_cells(row)}")
        for title, counts in each["kernels"].items():
            lines.append(
                f"  two calls, {title}: " + ", ".join(f"{name} {count}" for name, count in counts.items())
            )
    return "\n".join([*lines, *(f"MISSED {each}" for each in found["missed"]), ""])


def _cells(row: Mapping[str, Any]) -> str:
    if "left_out" in row:
        return f"left out: {row['left_out']}"
    low, high = row["interval"]
    bar = "" if row["bar"] is None else f"at most {row['bar']:.2f}: {row['verdict']}"
    peak = "" if row["peak_mb"] is None else f"{row['peak_mb']} MB"
    return f"{row['ratio']:.3f} ({low:.3f} to {high:.3f})  {peak:>10}  {bar}"


def _options(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="about so long in all (5)")
    parser.add_argument("--model", nargs="+", choices=NAMES, default=list(NAMES))
    parser.add_argument("--steps", type=int, default=STEPS, help="of a run (20)")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--small", action="store_true", help="narrow U-Nets, to try the script")
    parser.add_argument(
        "--json", type=Path, default=Path("gpu.json"), metavar="FILE", help="gets the figures"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
