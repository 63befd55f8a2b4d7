"""How large a page of the workspace is, and how long it takes to make.

    python benchmarks/workspace.py [--json] [--steps N]

Of a run of SD 1.5 at 512x512 with word maps and features of four blocks, of random numbers at true shapes,
and of a real run of the bundled model with all that it records. Exit code 1 where a page is larger than the
bound. Random numbers hardly deflate, so that real runs have room for more maps.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from dump import _BLOCKS as SHAPES

from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.meta import Meta
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.sections import FeatureSettings
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace
from lib_unet_viz.workspace import page
from lib_unet_viz.workspace.bundle import Bundle

NAMES = [*(f"IN{at:02}" for at in range(12)), "M00", *(f"OUT{at:02}" for at in range(12))]
# Sides of the positions of SD 1.5's transformer blocks at 512x512.
ATTENTION = {"IN01": 64, "IN02": 64, "IN04": 32, "IN05": 32, "IN07": 16, "IN08": 16, "M00": 8}
ATTENTION |= {
    f"OUT{at:02}": side for at, side in zip(range(3, 12), [16] * 3 + [32] * 3 + [64] * 3, strict=True)
}
WORDS = ["a", "photo", "of", "an", "astronaut", "riding", "a", "white", "horse", "on", "the", "moon"]
PROMPT = "a big red circle and a small blue square"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--steps", type=int, default=20, help="recorded steps of the larger run")
    options = parser.parse_args()
    torch.manual_seed(0)
    found = {
        f"SD 1.5 at 512x512, 4 blocks, {options.steps} steps": measure(sd15(options.steps)),
        "bundled model, all blocks, 30 steps": measure(bundled()),
    }
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))
    return 0 if all(each["bytes"] <= page.LARGEST for each in found.values()) else 1


def measure(trace: Trace) -> dict[str, Any]:
    """Bytes and seconds of the page, and how many of the recorded maps are in it."""
    start = time.perf_counter()
    bundle = Bundle.of([trace], most=page.room())
    bundled_at = time.perf_counter()
    text = page.text(bundle)
    [run] = bundle.manifest["runs"]
    return {
        "recorded_bytes": trace.nbytes,
        "bytes": len(text.encode()),
        "manifest_bytes": len(page.json_text(bundle.manifest)),
        "numbers_bytes": len(bundle.numbers),
        "maps": len(run["maps"]),
        "recorded_maps": len(trace.features) + len(trace.attention),
        "whole_steps": _whole_steps(run["maps"]),
        "bundle_s": round(bundled_at - start, 2),
        "page_s": round(time.perf_counter() - bundled_at, 2),
    }


def _whole_steps(maps: Sequence[dict[str, Any]]) -> int:
    """Steps at which the features of all blocks are there that have any."""
    features = [(each["block"], each["step"]) for each in maps if each["kind"] == "features"]
    counts = Counter(step for _, step in features)
    return sum(count == len({block for block, _ in features}) for count in counts.values())


def sd15(steps: int) -> Trace:
    """Features of the default blocks at each step, word maps of all cross-attentions, and self-attention."""
    tokens = [BOS, *(f"{word}</w>" for word in WORDS)]
    tokens += [EOS] * (77 - len(tokens))
    meta = {"prompt": " ".join(WORDS), "blocks": NAMES, "steps": steps, "tokens": {"cond": tokens}}
    trace = Trace(meta=Meta.of({**meta, "seed": 0}))
    shapes = dict(zip(NAMES, SHAPES, strict=True))
    for step in range(steps):
        for block in FeatureSettings().blocks.split(","):
            channels, side = shapes[block]
            trace.features.add(
                FeatureMap(Key(block, "features", step=step), torch.randn(channels, side, side))
            )
    for block, side in ATTENTION.items():
        trace.attention.add(_attention(block, "cross", 77, side))
        if side <= 32:
            trace.attention.add(_attention(block, "self", side * side, side))
    return trace


def _attention(block: str, kind: Any, tokens: int, side: int) -> AttentionMap:
    return AttentionMap(Key(block, "QK", 0, kind), torch.randn(1, tokens, side, side).softmax(1))


def bundled() -> Trace:
    """A real run, with features and cross-attention of all blocks at all steps."""
    everything = {"blocks": "", "steps": ""}
    settings = Settings.from_dict({"features": everything, "attention": everything})
    return Pipeline.load().generate(PROMPT, settings=settings, steps=30, seed=7)


def table(found: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, each in found.items():
        kept = f"{each['maps']} of {each['recorded_maps']} maps, all features of {each['whole_steps']} steps"
        lines += [
            name,
            f"  page {each['bytes'] / 1e6:.1f} MB of {each['recorded_bytes'] / 1e6:.0f} MB recorded; {kept}",
            f"  numbers {each['bundle_s']:.1f} s, text {each['page_s']:.1f} s",
        ]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    sys.exit(main())
