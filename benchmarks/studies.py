"""What a study costs beside its pictures, and how much faster two workers on Ray are than one.

    python benchmarks/studies.py [--groups 8]

The same groups are made in turn: the plain pictures alone and the study in this process, in CPU seconds,
once with a measure that computes nothing and once with two that do. As whole runs differ by some percent,
what the study spends outside of making pictures is given, too. Then the study on Ray with one worker and
with two, by the clock, all workers warm. Exit code 1 where the study itself spends more than 2 % of its
pictures' time, or two workers are less than 1.8 times as fast as one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.studies import on_ray
from lib_unet_viz.studies.study import Study
from lib_unet_viz.studies.table import Table
from lib_unet_viz.studies.worker import Worker

OVERHEAD, SPEEDUP = 0.02, 1.8
NOTHING = '{name = "place", first = "", second = "", relation = ""}'
USUAL = '"distance", {name = "found", words = "{word}"}'
TEXT = """
title = "costs"
steps = 20
seeds = [%s]
measures = [%s]

[[prompts]]
text = "a big {word} circle"
word = "red"

[[variants]]
name = "plain"

[[variants]]
name = "blue"
word = "blue"
"""


def main() -> int:
    """Print the figures; 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--groups", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-ray", action="store_true", help="the cost beside the pictures alone")
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = ", ".join(map(str, range(options.groups)))
    bare, study = (Study.parse(TEXT % (seeds, measures)) for measures in (NOTHING, USUAL))
    for name, each in {"the study itself": bare, "with distance and found": study}.items():
        costs = [_overhead(each) for _ in range(options.rounds)]
        middle = sorted(costs)[len(costs) // 2]
        spread = f"{min(costs):.3f} to {max(costs):.3f}"
        print(f"{name}, times its pictures alone: {middle:.3f} ({spread})")  # noqa: T201
    own = _own_share(bare)
    print(f"spent outside of making pictures: {own:.2%} of their time")  # noqa: T201
    if options.no_ray:
        return 0 if own <= OVERHEAD else 1
    one, two = (_on_ray(study, workers) for workers in (1, 2))
    ratio = f"one worker {one:.1f} s, two {two:.1f} s: {one / two:.2f} times as fast"
    print(f"on Ray, {options.groups} groups: {ratio}")  # noqa: T201
    return 0 if own <= OVERHEAD and one / two >= SPEEDUP else 1


class _Timed(Worker):
    """Counts the CPU seconds in which pictures are made."""

    seconds = 0.0

    def _run(self, *given: Any) -> Any:
        start = time.process_time()
        made = super()._run(*given)
        self.seconds += time.process_time() - start
        return made


def _own_share(study: Study) -> float:
    """CPU seconds that a study spends outside of making pictures, as a share of those inside."""
    worker = _Timed(study)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        table = Table(study, Path(folder) / "table.parquet")
        for group in study.groups():
            table.add(group, worker.rows(group))
        table.write()
    return (time.process_time() - start) / worker.seconds - 1


def _overhead(study: Study) -> float:
    """CPU seconds of the study, with its table, against those of the pictures alone."""
    model, worker = Pipeline.load(), Worker(study)
    texts = [values["text"] for _, _, values in study.runs(study.groups()[0], [])]
    seconds = dict.fromkeys(("pictures", "study"), 0.0)
    with tempfile.TemporaryDirectory() as folder:
        table = Table(study, Path(folder) / "table.parquet")
        for group in study.groups():
            start = time.process_time()
            for text in texts:
                model.picture(text, steps=study.steps, seed=group.seed, cfg=study.cfg)
            between = time.process_time()
            table.add(group, worker.rows(group))
            seconds["study"] += time.process_time() - between
            seconds["pictures"] += between - start
        start = time.process_time()
        table.write()
        seconds["study"] += time.process_time() - start
    return seconds["study"] / seconds["pictures"]


def _on_ray(study: Study, workers: int) -> float:
    """Seconds from the first group that is finished by every worker to the last, scaled to all groups."""
    import ray

    on_ray.start(ray, "local")
    times: list[float] = []
    results: Any = on_ray.results(study, study.groups(), None, address="local", workers=workers)
    for _ in results:
        times.append(time.monotonic())
    ray.shutdown()
    counted = len(times) - workers
    return (times[-1] - times[workers - 1]) * len(times) / counted


if __name__ == "__main__":
    sys.exit(main())
