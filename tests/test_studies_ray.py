"""Studies on Ray: the same bytes from any number of workers; nothing lost or doubled when some are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

ray: Any = pytest.importorskip("ray")
pytest.importorskip("diffusers")
pytest.importorskip("pyarrow")
from lib_unet_viz.studies import on_ray  # noqa: E402
from lib_unet_viz.studies.run import run  # noqa: E402
from lib_unet_viz.studies.study import Study  # noqa: E402

pytestmark = pytest.mark.heavy
ROOT, MARK = Path(__file__).parents[1], "UNET_VIZ_TEST"
TEXT = """
title = "numbers"
steps = 2
seeds = [1, 2, 3, 4, 5, 6]
measures = ["distance", {name = "found", words = "{word}"}]

[[prompts]]
text = "a {word} circle"
word = "red"

[[variants]]
name = "plain"

[[variants]]
name = "green"
word = "green"
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The table, made in one process of its own."""
    path = tmp_path_factory.mktemp("alone") / "table.parquet"
    study = path.with_suffix(".toml")
    study.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "lib_unet_viz", "study", str(study), "--out", str(path)]
    subprocess.run(command, cwd=ROOT, check=True)
    return path.read_bytes()


@pytest.fixture
def nodes() -> Iterator[Any]:
    """Two local nodes of one processor each, beside a head that has none."""
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", MARK: str(os.getpid())}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    workers = [cluster.add_node(num_cpus=1) for _ in range(2)]
    on_ray.start(ray, cluster.address)
    yield cluster, workers
    ray.shutdown()
    cluster.shutdown()


def processes_of_workers() -> list[int]:
    """Those of this test's cluster alone, which its mark in their environment tells."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            of_ray = (process / "cmdline").read_bytes().startswith(b"ray::Worker")
            if of_ray and f"{MARK}={os.getpid()}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_nothing(alone: bytes, tmp_path: Path, workers: int) -> None:
    path = tmp_path / "table.parquet"
    assert run(Study.parse(TEXT), path, ray="local", workers=workers) == 6
    assert path.read_bytes() == alone


def test_workers_and_nodes_that_are_killed(alone: bytes, tmp_path: Path, nodes: Any) -> None:
    """One worker by its process, and a whole node: their groups are run again by others, once each."""
    cluster, workers = nodes
    path, finished = tmp_path / "table.parquet", list[int]()

    def strike(done: int, _: int) -> None:
        finished.append(done)
        if done == 1:
            os.kill(processes_of_workers()[0], signal.SIGKILL)
        if done == 3:
            cluster.remove_node(workers[0], allow_graceful=False)

    assert run(Study.parse(TEXT), path, ray=cluster.address, workers=2, progress=strike) == 6
    assert finished == [0, 1, 2, 3, 4, 5, 6]
    assert path.read_bytes() == alone


def test_a_driver_that_is_killed_goes_on(alone: bytes, tmp_path: Path) -> None:
    path, study = tmp_path / "table.parquet", tmp_path / "study.toml"
    study.write_text(TEXT, encoding="utf-8")
    command = [sys.executable, "-m", "lib_unet_viz", "study", str(study), "--out", str(path)]
    command += ["--ray", "local", "--workers", "1"]
    driver = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    parts = path.with_name(f"{path.name}.parts")
    deadline = time.monotonic() + 300
    while len(list(parts.glob("0*.json"))) < 2:
        assert driver.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    kept = {part.name: part.read_bytes() for part in parts.glob("0*.json")}
    assert 2 <= len(kept) < 6
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: 6 of 6 groups\n"
    assert path.read_bytes() == alone
