"""How fast a dump is written, against one plain write of as many bytes; both end with fsync.

    python benchmarks/dump.py [--json] [--repeat N] [--steps N] [--folder FOLDER]

The features of all blocks of an SD 1.5 run at 512x512, of random numbers. They take turns, and of the turns'
ratios the median counts, as a disk's speed changes from one moment to the next. Exit code 1 where the bound
is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.trace import FeatureMap, Key, Trace

_LEAST = 0.7
# Channels and side of SD 1.5's blocks, in the order in which they run.
_INPUTS = [*[(320, 64)] * 3, (320, 32), *[(640, 32)] * 2, (640, 16), *[(1280, 16)] * 2, *[(1280, 8)] * 3]
_OUTPUTS = [
    *[(1280, 8)] * 2, *[(1280, 16)] * 3, *[(1280, 32)] * 1, *[(640, 32)] * 2, (640, 64), *[(320, 64)] * 3
]  # fmt: skip
_BLOCKS = [*_INPUTS, (1280, 8), *_OUTPUTS]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument("--repeat", type=int, default=9, help="turns")
    parser.add_argument("--steps", type=int, default=3, help="steps in the dump")
    parser.add_argument("--folder", help="on whose disk; the system's for temporary files if not given")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        numbers = measure(Path(folder), steps=options.steps, repeat=options.repeat)
    sys.stdout.write(json.dumps(numbers, indent=2) + "\n" if options.json else table(numbers))
    return 0 if numbers["passed"] else 1


def measure(folder: Path, *, steps: int, repeat: int) -> dict[str, Any]:
    """Seconds of each, and the share of the plain write's throughput, with its spread."""
    trace = _trace(steps)
    save_trace(trace, folder / "dump")
    content = (folder / "dump.safetensors").read_bytes()
    turns = []
    for turn in range(repeat):
        names = folder / f"plain-{turn}", folder / f"dump-{turn}.safetensors"
        writes: list[Callable[[], object]] = [
            partial(_plain, names[0], content),
            partial(save_trace, trace, names[1]),
        ]
        order = (1, 0) if turn % 2 else (0, 1)  # a disk may have to catch up with what was written before
        seconds = {which: _seconds(writes[which]) for which in order}
        turns.append((seconds[0], seconds[1]))
        for name in names:
            name.unlink()
    shares = sorted(plain / dump for plain, dump in turns)
    plain, dump = (statistics.median(each) for each in zip(*turns, strict=True))
    share = statistics.median(shares)
    return {
        "megabytes": round(len(content) / 1e6, 1),
        "plain_s": round(plain, 3),
        "dump_s": round(dump, 3),
        "share": round(share, 3),
        "spread": [round(shares[0], 3), round(shares[-1], 3)],
        "share_at_least": _LEAST,
        "passed": share >= _LEAST,
    }


def table(numbers: dict[str, Any]) -> str:
    low, high = numbers["spread"]
    rows = [
        (f"{numbers['megabytes']} MB, written and synced", "s"),
        ("one plain write", numbers["plain_s"]),
        ("a dump", numbers["dump_s"]),
        (f"share of the throughput ({low} to {high}), at least {_LEAST}", numbers["share"]),
    ]
    lines = [f"{name:<58}{value!s:>8}" for name, value in rows]
    return "\n".join([*lines, "passed" if numbers["passed"] else "MISSED", ""])


def _trace(steps: int) -> Trace:
    trace = Trace()
    for step in range(steps):
        for index, (channels, side) in enumerate(_BLOCKS):
            key = Key(f"{index:02}", "features", step=step)
            trace.features.add(FeatureMap(key, torch.randn(channels, side, side)))
    return trace


def _plain(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
