"""What an edit costs: a source and one target, against two plain pictures in one batch.

    python benchmarks/edit.py [--model sd15|sd21|sdxl] [--size H[xW]] [--repeat N] [--device cpu|cuda]
                              [--json]

U-Nets of true width with random weights (`models`); one step of a run, in which all is edited that ever is:
cross-attention in all layers, self-attention as far as prompt-to-prompt replaces it, local blend. The
variants take turns; the median of the turns' ratios to plain counts. Exit code 1 where the bar is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from meter import Taken, machine, taken
from models import MODELS, TOKENS, Calls, Inputs, build
from overhead import shape
from rivals import prompt_to_prompt

from lib_unet_viz.editing.hooks import Editing, Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.unet import UNet

PLAIN = "two plain pictures"
BAR = 1.25
SOURCE = "a cat with a hat sitting on a table"
EDITS = {
    "swap": EditSettings(edits="cat -> dog", blend=False),
    "swap, local blend": EditSettings(edits="cat -> dog"),
    "refine, re-weight, local blend": EditSettings(edits="hat + with a feather; table * 2"),
}


def plan(settings: EditSettings) -> Plan:
    def tokens(prompt: str) -> list[str]:
        words = [f"{word}</w>" for word in prompt.split()]
        return [BOS, *words, *[EOS] * (TOKENS - 1 - len(words))]

    return Request.of(SOURCE, settings).plan(tokens)


def main() -> int:
    options = _options()
    torch.set_num_threads(1)
    found = measure(options)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))
    return 0 if found["passed"] else 1


@torch.no_grad()
def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios to plain by variant, with their spread, and whether ours keep the bar."""
    model, device = MODELS[options.model], options.device
    size = options.size or (model.size,) * 2
    dtype = torch.float16 if device == "cuda" else torch.float32
    unet = UNet.of(build(model, device=device, dtype=dtype))
    inputs = Inputs.of(model, size, device=device, dtype=dtype, pictures=2)

    def editing(settings: EditSettings) -> Callable[[], AbstractContextManager[Any]]:
        return lambda: Editing(unet, plan(settings), calls=Calls(size, 20, pictures=2))

    variants: dict[str, Callable[[], AbstractContextManager[Any]]] = {PLAIN: nullcontext}
    variants |= {name: editing(settings) for name, settings in EDITS.items()}
    variants["explicit attention in every layer"] = lambda: prompt_to_prompt(unet.module, size)

    def run(name: str) -> Taken:
        def action() -> None:
            with variants[name]() as entered:
                inputs.run(unet.module, steps=1)
                if isinstance(entered, Editing):
                    entered.blend(inputs.latent[2:])

        return taken(action, device=device)

    run(PLAIN)  # warms up
    turns = [{name: run(name) for name in variants} for _ in range(options.repeat)]
    rows: dict[str, dict[str, Any]] = {}
    for name in variants:
        ratios = [turn[name].seconds / turn[PLAIN].seconds for turn in turns]
        rows[name] = {"ratio": statistics.median(ratios), "spread": [min(ratios), max(ratios)]}
    return {
        "model": model.title,
        "machine": machine(device),
        "latent": list(size),
        "plain_s": statistics.median(turn[PLAIN].seconds for turn in turns),
        "turns": options.repeat,
        "rows": rows,
        "ratio_at_most": BAR,
        "passed": all(rows[name]["ratio"] <= BAR for name in EDITS),
    }


def table(found: dict[str, Any]) -> str:
    height, width = found["latent"]
    lines = [
        f"{found['model']}, latent {height}x{width}, a source and a target with guidance; {found['machine']}",
        f"{PLAIN}: {found['plain_s']:.2f} s a step; {found['turns']} turns",
    ]
    for name, row in found["rows"].items():
        low, high = row["spread"]
        lines.append(f"{name:<40}{row['ratio']:>8.3f}   {low:.3f} to {high:.3f}")
    return "\n".join([*lines, "passed" if found["passed"] else f"MISSED: at most {BAR}", ""])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="sd15")
    parser.add_argument("--size", type=shape, help="the latent's, as 64 or 64x96 (height x width)")
    parser.add_argument("--repeat", type=int, default=3, help="turns")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
