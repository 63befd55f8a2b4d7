"""What looking costs: captures, layer prompts and others' methods, against a plain run of the same U-Net.

    python benchmarks/overhead.py [--model sd15|sd21|sdxl|all] [--size H[xW]] [--steps N] [--repeat N]
                                  [--only TEXT ...] [--device cpu|cuda] [--half] [--threads N]
                                  [--check-cost] [--json]

U-Nets of true width with random weights (`models`), called directly with random latents and contexts, a batch
of two (uncond, cond). `--size`: of the latent; the model's own if not given, but 64 for SDXL on a CPU. All
variants take turns in one run, `--repeat` times; the median of the turns' ratios to plain counts, and the
smallest and largest are shown. Seconds are of the CPU (`time.process_time`), on a GPU of CUDA events. Memory
is what the peak rises above the plain run's, see `meter`. "By hooks" is 1 + the seconds spent in hooks, on
entering and on leaving, as a share of the plain run's: on a busy machine whole runs differ by more than a
capture costs, and the bars of a CPU are judged by this (it is blind to what is done inside the U-Net, as
others' attention is, and to caches that a hook leaves cold). "At 3 of 20 steps" is 3/20 of a run whose every
step keeps its features plus 17/20 of one in which none is due. The bound of a capture is q·k and softmax of
its layers and nothing else, timed alone on numbers of the same shapes. `--check-cost` shows beside each
capture what the panels say of it beforehand (`lib_unet_viz.capture.cost`), runs some large ones too, and asks
that an addition of more than 1 % is foreseen within a factor of 1.5, and a smaller one within a percentage
point. Exit code 1 where a bar of `BARS` or `PEAKS` is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from meter import Clock, Taken, machine, taken, time_hooks
from models import MODELS, TOKENS, Calls, Inputs, Model, build
from rivals import RIVALS

from lib_unet_viz.capture.cost import added_time
from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.request import Capture, listed
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.maps.words import word_captures
from lib_unet_viz.unet import UNet

PLAIN = "plain"
EACH, NEVER = "features of all blocks, every step", "features of all blocks, no step due"
SOME, WORDS = "features of all blocks at 3 of 20 steps", "word maps: all cross-attentions, mean over steps"
REFINED = "word maps and the self-attention that refines them"
BARS = {"cpu": {WORDS: 1.02, SOME: 1.02}, "cuda": {WORDS: 1.05, SOME: 1.02}}
FACTOR, POINT = 1.5, 0.01  # of what is foreseen of an addition of more than POINT; of a smaller one
PEAKS = {"sd15": 40e6, "sdxl": 200e6}  # while averaging word maps, at the model's own size


@dataclass(frozen=True)
class Variant:
    """One way of running. kept: bytes held by what `enter` yields, after the run."""

    enter: Callable[[], AbstractContextManager[Any]]
    kept: Callable[[Any], int] = lambda _: 0
    asked: dict[str, Any] = field(default_factory=dict)  # of the recorder


@dataclass(frozen=True)
class Run:
    """What a run took; of that the seconds in hooks, on entering and on leaving; bytes kept."""

    whole: Taken
    hooked: float
    kept: int


@dataclass(frozen=True)
class Bench:
    """One model at one latent size (height, width)."""

    model: Model
    unet: UNet
    inputs: Inputs
    size: tuple[int, int]
    steps: int
    device: str
    large: bool  # with large captures, too

    def variants(self) -> dict[str, Variant]:
        rivals = {
            name: Variant(lambda way=way: way(self.unet.module, self.size), _bytes)  # type: ignore[misc]
            for name, way in RIVALS.items()
        }
        return {PLAIN: Variant(nullcontext), **self._captures(), **self._edits(), **rivals}

    def _captures(self) -> dict[str, Variant]:
        model = self.model
        asked: dict[str, dict[str, Any]] = {
            EACH: {"features": Capture()},
            NEVER: {"features": Capture(steps="1000")},
            WORDS: {"attention": Capture(mean=True)},
            f"{WORDS}, both halves": {"attention": Capture(mean=True, halves="cond, uncond")},
            REFINED: {"attention": word_captures(halves=("cond",))},
            f"Q·K of {model.raw}, each head, every step": {"attention": Capture(model.raw)},
            f"self-attention of {model.looks}, mean over steps": {
                "attention": Capture(model.looks, kinds="self", mean=True)
            },
        }
        if self.large:
            every = Capture(what="Q,K,QK,VQK", halves="cond, uncond")
            asked["Q, K, Q·K, V·Q·K of all cross-attentions, both halves"] = {"attention": every}
            finest = Capture(model.finest, kinds="self", mean=True)
            asked[f"self-attention of {model.finest}, mean over steps"] = {"attention": finest}
        return {name: self._recording(**each) for name, each in asked.items()}

    def _recording(self, **asked: Any) -> Variant:
        def enter() -> Recorder:
            total = max(self.steps, 1000)
            return Recorder(self.unet, calls=Calls(self.size, total), **asked)

        return Variant(enter, lambda trace: trace.nbytes, asked)

    def _edits(self) -> dict[str, Variant]:
        """What changes the run: another context for every block."""
        context = self.inputs.context
        own = {name: context.roll(index, 1) for index, name in enumerate(self.unet.blocks)}
        return {"layer prompts: a text for each block": Variant(lambda: Contexts(self.unet, lambda *_: own))}

    def run(self, variant: Variant) -> Run:
        held: list[Any] = []
        clock = Clock()
        module = self.unet.module

        def action() -> None:
            with ExitStack() as stack:
                held.append(clock(stack.enter_context, variant.enter()))
                time_hooks(module, clock)
                self.inputs.run(module, steps=self.steps)
                # A run in which no step is due says so when it ends.
                with suppress(NothingCaptured):
                    clock(stack.close)

        whole = taken(action, device=self.device)
        return Run(whole, clock.seconds, variant.kept(held[0]))

    def alone(self, asked: dict[str, Any]) -> Callable[[], None]:
        """q·k and softmax of what is asked for, on random numbers, for as many steps."""
        shapes = [
            (len(capture.halves) * site.heads, queries, queries if site.kind == "self" else TOKENS, channels)
            for capture in listed(asked["attention"])
            for site in capture.sites(self.unet)
            for queries, channels in [(math.prod(site.size(self.size)), site.channels // site.heads)]
            if capture.most is None or queries <= capture.most
        ]
        noise = partial(torch.randn, device=self.device, dtype=self.inputs.latent.dtype)
        pairs = [(noise(q, c), noise(k, c).T, heads) for heads, q, k, c in shapes]

        def action() -> None:
            for q, k, heads in pairs * self.steps:
                for _ in range(heads):
                    (q @ k).softmax(-1)

        return action


def main() -> int:
    options = _options()
    torch.set_num_threads(options.threads)
    names = list(MODELS) if options.model == "all" else [options.model]
    found = [measure(name, options) for name in names]
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else "\n".join(map(table, found)))
    return 0 if all(each["passed"] for each in found) else 1


@torch.no_grad()
def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One model's rows: by variant, ratio to plain with its spread, bytes; and which bars hold."""
    model, device = MODELS[name], options.device
    dtype = torch.float16 if device == "cuda" else torch.bfloat16 if options.half else torch.float32
    size = options.size or ((64, 64) if name == "sdxl" and device == "cpu" else (model.size,) * 2)
    unet = UNet.of(build(model, device=device, dtype=dtype))
    inputs = Inputs.of(model, size, device=device, dtype=dtype)
    bench = Bench(model, unet, inputs, size, options.steps, device, options.check_cost)
    variants = {
        title: variant
        for title, variant in bench.variants().items()
        if title == PLAIN or not options.only or any(word in title for word in options.only)
    }
    bench.run(variants[PLAIN])  # warms up
    turns = []
    for turn in range(options.repeat):
        sys.stderr.write(f"{model.title}: turn {turn + 1} of {options.repeat}\n")
        turns.append(_turn(bench, variants, backwards=bool(turn % 2)))
    plain = [turn[PLAIN] for turn in turns]
    rows = {title: _row([turn[title] for turn in turns], plain) for title in variants}
    if options.check_cost:
        for title, variant in variants.items():
            if variant.asked and title != NEVER:
                rows[title]["foreseen"] = round(1 + added_time(unet, **variant.asked, size=size, total=1), 4)
    if EACH in rows and NEVER in rows:
        rows[SOME] = _some(rows.pop(EACH), rows.pop(NEVER), steps=options.steps)
    seconds = statistics.median(run.whole.seconds for run in plain)
    for title, variant in variants.items():
        if "attention" in variant.asked:
            bound = taken(bench.alone(variant.asked), device=device).seconds
            rows[title]["bound"] = round(1 + bound / seconds, 4)
    missed = list(_missed(rows, name, own_size=max(size) == model.size, device=device))
    return {
        "model": model.title,
        "machine": machine(device),
        "latent": list(size),
        "own_latent": [model.size] * 2,
        "dtype": str(dtype).removeprefix("torch."),
        "steps": options.steps,
        "turns": options.repeat,
        "plain_s": round(seconds / options.steps, 3),
        "rows": rows,
        "missed": missed,
        "passed": not missed,
    }


Turn = dict[str, Run]


def _turn(bench: Bench, variants: dict[str, Variant], *, backwards: bool) -> Turn:
    order = reversed(variants.items()) if backwards else variants.items()
    return {title: bench.run(variant) for title, variant in order}


def _row(runs: list[Run], plain: list[Run]) -> dict[str, Any]:
    turns = [(run, base.whole) for run, base in zip(runs, plain, strict=True)]
    ratios = [run.whole.seconds / base.seconds for run, base in turns]
    hooks = statistics.median(1 + run.hooked / base.seconds for run, base in turns)
    peaks = [
        run.whole.peak - base.peak
        for run, base in turns
        if run.whole.peak is not None and base.peak is not None
    ]
    return {
        "ratio": round(statistics.median(ratios), 4),
        "spread": [round(min(ratios), 4), round(max(ratios), 4)],
        "hooks": round(hooks, 4),
        "peak_mb": round(statistics.median(peaks) / 1e6, 1) if peaks else None,
        "kept_mb": round(runs[-1].kept / 1e6, 1),
    }


def _some(each: dict[str, Any], never: dict[str, Any], *, steps: int) -> dict[str, Any]:
    """3 steps of 20 that keep their features, 17 that do not."""

    def both(one: float, other: float) -> float:
        return round((3 * one + 17 * other) / 20, 4)

    kept = round(3 * each["kept_mb"] / steps, 1)
    return {
        "ratio": both(each["ratio"], never["ratio"]),
        "spread": [both(*pair) for pair in zip(each["spread"], never["spread"], strict=True)],
        "hooks": both(each["hooks"], never["hooks"]),
        "peak_mb": None if each["peak_mb"] is None else round(each["peak_mb"] * 3 / steps, 1),
        "kept_mb": kept,
        **({"foreseen": both(each["foreseen"], 1.0)} if "foreseen" in each else {}),
    }


def _missed(rows: dict[str, Any], name: str, *, own_size: bool, device: str) -> Iterator[str]:
    judged = "hooks" if device == "cpu" else "ratio"
    for title, bar in BARS[device].items():
        if title in rows and rows[title][judged] > bar:
            yield f"{title}: {rows[title][judged]} x plain, at most {bar}"
    peak = rows.get(WORDS, {}).get("peak_mb")
    if own_size and name in PEAKS and peak is not None and peak * 1e6 > PEAKS[name]:
        yield f"{WORDS}: {peak} MB at its peak, at most {PEAKS[name] / 1e6:.0f}"
    for title, row in rows.items():
        if not _foreseen(row):
            yield f"{title}: {row['hooks']} x plain, but {row['foreseen']} was foreseen"


def _foreseen(row: dict[str, Any]) -> bool:
    added: float = row["hooks"] - 1
    said: float = row.get("foreseen", row["hooks"]) - 1
    return 1 / FACTOR <= said / added <= FACTOR if added > POINT else abs(said - added) <= POINT


def table(found: dict[str, Any]) -> str:
    height, width = found["latent"]
    own = "" if found["latent"] == found["own_latent"] else f" (its own is {found['own_latent'][0]})"
    heads = ("x plain", "spread", "by hooks", "bound", "foreseen", "peak MB", "kept MB")
    lines = [
        f"{found['model']}, latent {height}x{width}{own}, batch of 2, {found['dtype']}; {found['machine']}",
        f"plain: {found['plain_s']} s a call; {found['steps']} calls a run, {found['turns']} turns",
        _line("", *heads),
    ]
    for title, row in found["rows"].items():
        spread = " to ".join(f"{ratio:.3f}" for ratio in row["spread"])
        ratios = (f"{row[name]:.4f}" if name in row else "" for name in ("hooks", "bound", "foreseen"))
        peak = "" if row["peak_mb"] is None else f"{row['peak_mb']:.1f}"
        lines.append(_line(title, f"{row['ratio']:.3f}", spread, *ratios, peak, f"{row['kept_mb']:.1f}"))
    return "\n".join([*lines, *(f"MISSED {each}" for each in found["missed"]), ""])


def _line(title: str, *cells: str) -> str:
    widths = (9, 16, 10, 8, 10, 9, 9)
    return f"{title:<62}" + "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _bytes(tensors: list[torch.Tensor]) -> int:
    """Of tensors that stay, each memory once."""
    held = {tensor.untyped_storage().data_ptr(): tensor for tensor in tensors}
    return sum(tensor.untyped_storage().nbytes() for tensor in held.values())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=[*MODELS, "all"], default="sd15")
    parser.add_argument("--size", type=shape, help="the latent's, as 64 or 64x96 (height x width)")
    parser.add_argument("--steps", type=int, default=1, help="calls of a run")
    parser.add_argument("--repeat", type=int, default=5, help="turns")
    parser.add_argument(
        "--only", nargs="+", metavar="TEXT", help="only variants whose name holds one of these"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--half", action="store_true", help="bfloat16 on a CPU; a GPU always runs float16")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--check-cost", action="store_true", help="compare with what the panels say before")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser.parse_args()


def shape(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return int(height), int(width or height)


if __name__ == "__main__":
    sys.exit(main())
