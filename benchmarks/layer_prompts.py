"""What layer prompts cost: a run in which all blocks read different texts, against a plain run.

    python benchmarks/layer_prompts.py [--json] [--steps N] [--repeat N] [--model PATH_OR_ID]

The bundled model unless another is named. Process time of the CPU; the runs take turns, `repeat` times, and
the median of the turns' ratios counts. The encoding of the texts is measured alone and allowed for. In one
thread. Exit code 1 where the bound is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

_MOST_OF_PLAIN = 1.05
_SIZES, _COLORS = ("big", "small", "tiny", "huge", "wide"), ("red", "green", "blue", "white", "black")
_WORDS = [f"{size} {color}" for size in _SIZES for color in _COLORS]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--steps", type=int, default=8, help="sampling steps of a run")
    parser.add_argument("--repeat", type=int, default=7, help="turns")
    parser.add_argument("--model", help="a diffusers folder, a checkpoint file or a hub id")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    numbers = measure(Pipeline.load(arguments.model), steps=arguments.steps, repeat=max(1, arguments.repeat))
    sys.stdout.write(json.dumps(numbers, indent=2) + "\n" if arguments.json else table(numbers))
    return 0 if numbers["passed"] else 1


def measure(model: Pipeline, *, steps: int, repeat: int) -> dict[str, Any]:
    """Seconds of each part, their ratio with its bound, and whether it holds."""
    names = model.unet.layout.names
    choices = " ; ".join(f"{name}: {words}" for name, words in zip(names, _WORDS, strict=False))
    prompt = f"a (~: {choices} :~) circle"
    parts: dict[str, Callable[[], object]] = {
        "plain": lambda: _run(model, "a big red circle", steps),
        "encoding": lambda: LayerPrompts(model.pipe, prompt),
        "layers": lambda: _run(model, prompt, steps),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for turn in range(repeat + 1):
        for name, action in parts.items():
            start = time.process_time()
            action()
            if turn:  # the first turn warms up
                seconds[name].append(time.process_time() - start)
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    turns = zip(seconds["layers"], seconds["encoding"], seconds["plain"], strict=True)
    ratio = statistics.median((layers - encoding) / plain for layers, encoding, plain in turns)
    return {
        "blocks": len(names),
        "texts": len(LayerPrompts(model.pipe, prompt).texts),
        "steps": steps,
        **{f"{name}_s": round(value, 3) for name, value in middle.items()},
        "ratio": round(ratio, 4),
        "ratio_at_most": _MOST_OF_PLAIN,
        "passed": ratio <= _MOST_OF_PLAIN,
    }


def table(numbers: dict[str, Any]) -> str:
    rows = [
        (f"{numbers['steps']} steps, {numbers['blocks']} blocks with a text each", "s of CPU"),
        ("a plain run", numbers["plain_s"]),
        ("a run with layer prompts", numbers["layers_s"]),
        (f"encoding the {numbers['texts']} texts that attention reads", numbers["encoding_s"]),
        (f"ratio without the encoding, at most {numbers['ratio_at_most']}", numbers["ratio"]),
    ]
    lines = [f"{name:<52}{value!s:>10}" for name, value in rows]
    return "\n".join([*lines, "passed" if numbers["passed"] else "MISSED", ""])


@torch.no_grad()
def _run(model: Pipeline, prompt: str, steps: int) -> None:
    prompts = LayerPrompts(model.pipe, prompt)
    with prompts.contexts():
        model.pipe(
            **prompts.arguments,
            num_inference_steps=steps,
            height=model.native_size,
            width=model.native_size,
            generator=torch.Generator().manual_seed(1),
        )


if __name__ == "__main__":
    sys.exit(main())
