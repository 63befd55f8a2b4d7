"""Where writing goes wrong: killed, a full disk, folders that cannot be. Files are whole or absent."""

from __future__ import annotations

import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lib_unet_viz import writing
from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import FeatureMap, Key, Trace

posix = pytest.mark.skipif(os.name != "posix", reason="asks for signals and limits of POSIX")

KILLED = """
import os, signal, sys
from pathlib import Path
from lib_unet_viz import writing
folder = Path(sys.argv[1])
with writing.replacing(folder / "trace.safetensors") as file, writing.staged(folder) as stage:
    file.write_bytes(b"half of it")
    (stage / "sheet.png").write_bytes(b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def full_disk() -> Iterator[None]:
    """A file may have 4,096 bytes."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def small() -> Trace:
    trace = Trace(meta=Meta(steps=1))
    trace.features.add(FeatureMap(Key("IN04", "features", step=0), torch.rand(32, 16, 16), 1.0))
    return trace


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@posix
def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path: Path) -> None:
    assert python(KILLED, tmp_path).returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 2
    path = save_trace(small(), tmp_path / "trace")
    assert [file.name for file in tmp_path.iterdir()] == ["trace.safetensors"]
    assert load_trace(path).features


def test_what_others_are_writing_stays(tmp_path: Path) -> None:
    host = re.sub(r"\W", "_", platform.node())[:60]
    names = [f".unet-viz-{host}-{os.getpid()}-aa.part", ".unet-viz-elsewhere-1-aa.part", ".unet-viz-odd.part"]
    for name in names:
        (tmp_path / name).touch()
    old = tmp_path / ".unet-viz-elsewhere-2-aa.part"
    old.touch()
    os.utime(old, (0, 0))
    (tmp_path / "kept").mkdir()
    (tmp_path / ".unet-viz-elsewhere-3-aa.part").symlink_to(tmp_path / "kept")
    writing.tidy(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {*names, "kept", ".unet-viz-elsewhere-3-aa.part"}


@posix
@pytest.mark.parametrize("command", [["render"], ["diff"]])
def test_a_full_disk_takes_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    dump = str(save_trace(small(), tmp_path / "dump"))
    dumps = [dump] * (2 if command == ["diff"] else 1)
    with full_disk():
        assert main([*command, *dumps, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert re.search("File too large|No space left", said)
    assert "--debug" not in said
    assert [file.name for file in tmp_path.iterdir()] == ["dump.safetensors"]


@posix
def test_a_dump_that_finds_no_room_is_an_error_that_names_it(tmp_path: Path) -> None:
    place = re.escape(str(tmp_path / "trace.safetensors"))
    with full_disk(), pytest.raises(DumpError, match=f"{place} cannot be written: "):
        save_trace(small(), tmp_path / "trace")
    assert list(tmp_path.iterdir()) == []


@posix
def test_folders_that_cannot_be_are_refused_before_anything_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dump = save_trace(small(), tmp_path / "dump")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "file").touch()
    before = sorted(tmp_path.iterdir())
    for name, said in (
        ("dangling", "is a link to nothing"),
        ("dangling/deeper", "is a link to nothing"),
        ("circle", "not a folder"),
        ("file", "is a file, not a folder"),
        ("a" * 300, "File name too long"),
    ):
        assert main(["render", str(dump), "--out", str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert said in error
        assert len(error.splitlines()) == 1
        assert sorted(tmp_path.iterdir()) == before
    for missing in (tmp_path / "dangling", tmp_path / ("a" * 300)):
        assert main(["show", str(missing)]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1


@posix
def test_the_home_of_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["blocks", "IN00", "--model", "~nobody-of-this-name/model"]) == 2
    assert "there is no such user" in capsys.readouterr().err
