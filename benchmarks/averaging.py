"""What default word maps take of a run too large for this machine, by arithmetic: SDXL at 1024 x 1024.

    python benchmarks/averaging.py [--model sd15|sd21|sdxl] [--size H[xW]] [--steps N] [--json]

The averaging of each attention's q and k is timed alone, on random numbers of the shapes that it has there,
as often as a run has them. A plain call is not run: its seconds are its operations (`capture.cost`) times the
seconds of one that SD 1.5's U-Net takes at 256 x 256 on this machine at the same time. Memory is what the
means hold (`capture.estimate`) and what the largest averaging needs besides. Caches that hooks leave cold are
not in it: `overhead.py` measures them where a run fits. Exit code 1 where a bar is missed.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import Counter
from functools import partial
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from meter import machine, taken
from models import MODELS, TOKENS, Inputs, build
from overhead import shape

from lib_unet_viz.attention import informed_mean, mean_over_heads
from lib_unet_viz.capture.cost import operations
from lib_unet_viz.capture.request import estimate, word_captures
from lib_unet_viz.unet import UNet

SMALL = (32, 32)  # latent of the call that is timed
REPEATED = 3
MOST, PEAK = 1.03, 200e6


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="sdxl")
    parser.add_argument("--size", type=shape, help="the latent's, as 64 or 64x96 (height x width)")
    parser.add_argument("--steps", type=int, default=20, help="of a whole run (20)")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    size = options.size or (MODELS[options.model].size,) * 2
    found = measure(options.model, size, steps=options.steps)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))
    return 0 if found["ratio"] <= MOST and found["peak_mb"] * 1e6 <= PEAK else 1


@torch.no_grad()
def measure(name: str, size: tuple[int, int], *, steps: int) -> dict[str, Any]:
    """Seconds of a plain call and of averaging by shape; the whole run's ratio; megabytes."""
    model, captures = MODELS[name], word_captures(halves=("cond",))
    with torch.device("meta"):
        unet = UNet.of(UNet2DConditionModel(sample_size=model.size, **model.config))
    counted: Counter[tuple[str, int, int, int]] = Counter()
    for capture in captures:
        for site in capture.sites(unet):
            queries = math.prod(site.size(size))
            if capture.most is None or queries <= capture.most:
                there = (site.kind, site.heads, queries, site.channels // site.heads)
                counted[there] += len(capture.steps.steps(steps))
    rows = [{**_averaged(*each), "times": times} for each, times in counted.items()]
    plain = _operations(unet, size) * _seconds_of_one()
    kept = estimate(unet, attention=captures, size=size, total=steps)
    return {
        "model": model.title,
        "machine": machine("cpu"),
        "latent": list(size),
        "steps": steps,
        "plain_s": round(plain, 1),
        "rows": rows,
        "ratio": round(1 + sum(row["seconds"] * row["times"] for row in rows) / (steps * plain), 4),
        "kept_mb": round(kept / 1e6, 1),
        "peak_mb": round(kept / 1e6 + max(row["peak_mb"] for row in rows), 1),
    }


def _averaged(kind: str, heads: int, queries: int, channels: int) -> dict[str, Any]:
    """Of one image's conditional row, once: median seconds, and megabytes besides what is kept."""
    q = torch.randn(heads, queries, channels)
    k = torch.randn(heads, queries if kind == "self" else TOKENS, channels)
    average = informed_mean if kind == "self" else partial(mean_over_heads, tokens=None)
    runs = [taken(lambda: average(q, k, channels**-0.5), device="cpu") for _ in range(REPEATED + 1)][1:]
    return {
        "shape": f"{kind}, {heads} heads, {queries} positions",
        "seconds": round(statistics.median(run.seconds for run in runs), 5),
        "peak_mb": round(statistics.median(run.peak or 0 for run in runs) / 1e6, 1),
    }


def _operations(unet: UNet, size: tuple[int, int]) -> float:
    """Of a call with a conditional and an unconditional row."""
    return 2 * sum(operations(block, size, TOKENS) for block in unet.blocks.values())


def _seconds_of_one() -> float:
    """Seconds of one floating-point operation of a U-Net, by a call of SD 1.5's."""
    model = MODELS["sd15"]
    module = build(model, device="cpu", dtype=torch.float32)
    inputs = Inputs.of(model, SMALL, device="cpu", dtype=torch.float32)
    runs = [taken(lambda: inputs.call(module, 0), device="cpu").seconds for _ in range(REPEATED + 1)][1:]
    return statistics.median(runs) / _operations(UNet.of(module), SMALL)


def table(found: dict[str, Any]) -> str:
    """As text."""
    height, width = found["latent"]
    lines = [
        f"{found['model']}, latent {height}x{width}, runs of {found['steps']} steps; {found['machine']}",
        f"a plain call, by its operations: {found['plain_s']} s",
    ]
    lines += [f"{row['shape']:<36}{row['seconds']:.4f} s x {row['times']}" for row in found["rows"]]
    memory = f"{found['kept_mb']} MB kept, {found['peak_mb']} MB at the peak (at most {PEAK / 1e6:.0f})"
    return "\n".join([*lines, f"whole run: {found['ratio']} x plain (at most {MOST}); {memory}", ""])


if __name__ == "__main__":
    sys.exit(main())
