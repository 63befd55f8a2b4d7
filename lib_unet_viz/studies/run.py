"""Runs what a study lacks, in this process or on Ray, and writes its table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from lib_unet_viz.studies.study import Group, Study
from lib_unet_viz.studies.table import Table

Progress = Callable[[int, int], None]
Results = Iterable[tuple[Group, list[dict[str, Any]]]]


def run(
    study: Study,
    path: Path,
    *,
    limit: int | None = None,
    ray: str | None = None,
    workers: int | None = None,
    gpus: float = 0.0,
    progress: Progress = lambda done, total: None,
) -> int:
    """Run the groups that are not in the table yet, at most `limit`, and write it; how many it holds then.

    ray: "local" for a cluster of its own, or the address of one; None: in this process. workers: how many, on
    Ray; gpus: of each. Whatever is finished is kept if this is interrupted. Raises StudyError.
    """
    table = Table(study, path)
    missing = list(islice(table.missing(), limit))
    dumps = path.with_name(f"{path.stem}-dumps") if study.dumps else None
    results = _here(study, missing, dumps)
    if ray is not None and missing:
        from lib_unet_viz.studies import on_ray

        results = on_ray.results(study, missing, dumps, address=ray, workers=workers, gpus=gpus)
    progress(0, len(missing))
    for done, (group, rows) in enumerate(results, start=1):
        table.add(group, rows)
        progress(done, len(missing))
    return table.write()


def _here(
    study: Study, groups: list[Group], dumps: Path | None
) -> Iterator[tuple[Group, list[dict[str, Any]]]]:
    from lib_unet_viz.studies.worker import Worker

    if not groups:
        return
    worker = Worker(study, dumps)
    for group in groups:
        yield group, worker.rows(group)
