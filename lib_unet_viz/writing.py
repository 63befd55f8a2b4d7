"""Files that are written whole or not at all, and what killed processes leave of them."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_HOST = re.sub(r"\W", "_", platform.node())[:60]
_LEFT = re.compile(r"\.unet-viz-(?P<host>\w*)-(?P<pid>\d+)-\w+\.part")
_START = ".unet-viz-"
_DAY = 24 * 60 * 60  # seconds


@contextlib.contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A file beside `path` that takes its place if all goes well and is gone if not; makes the folder.

    durable: on the disk, not only on its way there. An OSError names `path`, not the file beside it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    tidy(path.parent.absolute())
    with _named(path), temporary(path.parent) as beside:
        beside.touch()
        mode = beside.stat().st_mode  # as the umask says; safetensors shuts out everybody but the owner
        yield beside
        beside.chmod(mode)
        if durable:
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
        beside.replace(path)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A folder of its own in `folder`, which is there; gone afterwards."""
    tidy(folder.absolute())
    with tempfile.TemporaryDirectory(prefix=_prefix(), suffix=".part", dir=folder) as name:
        yield Path(name)


@contextlib.contextmanager
def temporary(folder: Path) -> Iterator[Path]:
    """A name in `folder` that no file has; a file of that name is gone afterwards."""
    beside = folder / f"{_prefix()}{os.urandom(8).hex()}.part"
    try:
        yield beside
    finally:
        beside.unlink(missing_ok=True)


@lru_cache(maxsize=256)
def tidy(folder: Path) -> None:
    """Remove what processes that were killed left in a folder; once for each folder."""
    for left in folder.glob(f"{_START}*.part"):
        with contextlib.suppress(OSError):
            if _is_abandoned(left):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def is_utf8(path: Path) -> bool:
    """Whether it is text: on POSIX a path may be any bytes, and safetensors takes UTF-8 only."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _prefix() -> str:
    return f"{_START}{_HOST}-{os.getpid()}-"


def _is_abandoned(left: Path) -> bool:
    """Whether its process is gone, or, where that cannot be known, whether it is older than a day."""
    found = _LEFT.fullmatch(left.name)
    if found is None:
        return False
    own = os.name == "posix" and found["host"] == _HOST
    return (own and not _runs(int(found["pid"]))) or time.time() - left.lstat().st_mtime > _DAY


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # a question, not a signal
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is None or not Path(str(error.filename or _START)).name.startswith(_START):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error
