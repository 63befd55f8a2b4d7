"""Processes killed while they write, and disks that are full: files are whole or absent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from injection import Place, places, some, struck
from PIL import Image

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import FeatureMap, Key, Trace

resource = pytest.importorskip("resource", reason="asks for fork and limits of POSIX")

OLD, NEW = 1.0, 2.0
WRITING = ("writing.py", "dump.py", "files.py", "contextlib.py")


def trace(value: float) -> Trace:
    made = Trace(meta=Meta(steps=1, seed=3))
    made.features.add(FeatureMap(Key("IN04", "features", step=0), torch.full((32, 16, 16), value), 1.0))
    return made


def held(path: Path) -> float:
    """The value that a whole dump is full of."""
    data = load_trace(path).features.one(block="IN04", step=1).data
    assert data.shape == (32, 16, 16)
    assert (data == data[0, 0, 0]).all()
    return float(data[0, 0, 0])


def in_child(action: Callable[[], object]) -> int:
    """Do it in a process of its own; how that ended, as `os.waitstatus_to_exitcode` says."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def kill(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def where(action: Callable[[], object]) -> list[Place]:
    return [place for place in places(action) if Path(place.file).name in WRITING]


@pytest.mark.parametrize("count", [20, pytest.param(1000, marks=pytest.mark.heavy)])
def test_a_dump_is_whole_or_the_old_one_wherever_its_process_is_killed(tmp_path: Path, count: int) -> None:
    there = where(_again(save_trace(trace(OLD), tmp_path / "first" / "dump")))
    assert len(there) > 60
    found = []
    for number, place in enumerate(some(there, count)):
        folder = tmp_path / str(number)
        path = save_trace(trace(OLD), folder / "dump")
        assert in_child(lambda: struck(_again(path), place, kill)) == -signal.SIGKILL, place  # noqa: B023
        found.append(held(path))
        left = [file for file in folder.iterdir() if file != path]
        assert all(file.name.startswith(".unet-viz-") for file in left), place
    assert sorted(set(found)) == [OLD, NEW]


def _again(path: Path) -> Callable[[], object]:
    return lambda: save_trace(trace(NEW), path)


@pytest.mark.parametrize("count", [6, pytest.param(1000, marks=pytest.mark.heavy)])
def test_files_of_a_command_are_whole_wherever_it_is_killed(tmp_path: Path, count: int) -> None:
    dump = save_trace(trace(OLD), tmp_path / "dump")

    def render(out: Path) -> None:
        assert main(["render", str(dump), "--out", str(out)]) == 0

    there = where(lambda: render(tmp_path / "whole"))
    names, ended = {file.name for file in (tmp_path / "whole").iterdir()}, list[int]()
    for number, place in enumerate(some(there, count)):
        out = tmp_path / str(number)
        ended.append(in_child(lambda: struck(lambda: render(out), place, kill)))  # noqa: B023
        for file in out.iterdir() if out.is_dir() else ():
            if not file.name.startswith(".unet-viz-"):
                assert file.name in names
                with Image.open(file) as image:
                    image.load()
    assert set(ended) <= {-signal.SIGKILL, 0}  # some lines run in a folder that is there already only
    assert ended.count(0) < 0.1 * len(ended)


@pytest.mark.parametrize("bytes_", [0, 1, 100, 4096, 20_000, 33_000])
def test_a_dump_that_finds_no_room_leaves_the_old_one(tmp_path: Path, bytes_: int) -> None:
    path = save_trace(trace(OLD), tmp_path / "dump")
    assert path.stat().st_size > 33_000

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (bytes_, bytes_))
        save_trace(trace(NEW), path)

    assert in_child(limited) == 1
    assert held(path) == OLD
    assert list(tmp_path.iterdir()) == [path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk(disk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from lib_unet_viz.capture.dump import DumpError

    path = save_trace(trace(OLD), disk / "dump")
    (disk / "filling").write_bytes(bytes(40_000))
    with pytest.raises(DumpError, match="No space left on device"):
        save_trace(trace(NEW), path)
    assert held(path) == OLD
    (disk / "more").write_bytes(bytes(20_000))
    before = sorted(disk.iterdir())
    for out in (disk / "out", disk):
        assert main(["render", str(path), "--out", str(out)]) == 2
        said = capsys.readouterr().err
        assert "No space left on device" in said
        assert len(said.splitlines()) == 1
        assert sorted(disk.iterdir()) == before
