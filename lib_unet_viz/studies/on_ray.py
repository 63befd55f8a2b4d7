"""A study on Ray: an actor a worker holds the model; only the driver writes, so that nothing is lost."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lib_unet_viz.studies.study import Group, Study
from lib_unet_viz.studies.templates import StudyError

TRIES = 3  # of a group whose worker died


def results(
    study: Study,
    groups: list[Group],
    dumps: Path | None,
    *,
    address: str,
    workers: int | None = None,
    gpus: float = 0.0,
) -> Iterator[tuple[Group, list[dict[str, Any]]]]:
    """Each group with its rows, in the order in which they are finished.

    A group whose worker dies is given to a new one, three times at most. Raises StudyError, and what a run
    raised.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    started = not ray.is_initialized()
    if started:
        start(ray, address)
    try:
        yield from _results(ray, study, groups, dumps, workers=workers, gpus=gpus)
    finally:
        if started:
            ray.shutdown()


def start(ray: Any, address: str) -> None:
    """Connect to a Ray, or start one ("local"). Raises StudyError where there is none."""
    variables = {"OMP_NUM_THREADS": "1"}
    options: dict[str, Any] = {"runtime_env": {"env_vars": variables}}
    if address == "local":
        variables["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **options)
    except (ConnectionError, ValueError) as error:
        raise StudyError(f"there is no Ray at {address!r}: {error}") from None


def _results(
    ray: Any, study: Study, groups: list[Group], dumps: Path | None, *, workers: int | None, gpus: float
) -> Iterator[tuple[Group, list[dict[str, Any]]]]:
    from lib_unet_viz.studies.worker import Worker

    actor = ray.remote(num_cpus=1, num_gpus=gpus)(Worker)
    count = workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    waiting, tries = deque(groups), dict.fromkeys(groups, 0)
    running: dict[Any, tuple[Group | None, Any]] = {}  # None: the worker is loading its model

    idle: list[Any] = []
    failed_starts = 0

    def join() -> None:
        worker = actor.remote(study, dumps)
        running[worker.ready.remote()] = (None, worker)

    def work(worker: Any) -> None:
        if not waiting:
            idle.append(worker)
            return
        group = waiting.popleft()
        tries[group] += 1
        running[worker.rows.remote(group)] = (group, worker)

    for _ in range(min(count, len(groups))):
        join()
    # A worker that finds no place, because its node is gone, is waited for only as long as there is work.
    while waiting or any(group is not None for group, _ in running.values()):
        [ready], _ = ray.wait(list(running))
        group, worker = running.pop(ready)
        try:
            rows = ray.get(ready)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except (ray.exceptions.RayActorError, ray.exceptions.WorkerCrashedError) as error:
            failed_starts += group is None
            if failed_starts > TRIES * count or (group is not None and tries[group] == TRIES):
                where = "as they started" if group is None else f"{TRIES} times at group {group.number}"
                raise StudyError(f"workers died {where}: {error}") from None
            if group is not None:
                waiting.appendleft(group)
            if idle:
                work(idle.pop())
            else:
                join()
            continue
        work(worker)
        if group is not None:
            yield group, rows
