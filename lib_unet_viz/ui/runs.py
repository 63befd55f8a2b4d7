"""What the page remembers between two clicks: the latest runs, and which of them are to stop."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
import uuid
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lib_unet_viz.trace import Trace

T = TypeVar("T")
R = TypeVar("R")

KEPT = 4
GONE = "This run is no longer in memory: run it again."


class GoneError(ValueError):
    """A run that a click refers to has been forgotten."""

    def __init__(self) -> None:
        super().__init__(GONE)


@dataclass
class Run:
    """One run: its trace and what was drawn of it, once it is done."""

    trace: Trace | None = None
    cancelled: bool = False
    words: tuple[tuple[Any, str], ...] = ()


class Runs:
    """The latest runs by id, for all visitors of the page; older ones are forgotten, with their files.

    `lock` is held while the model works: hooks of two runs must not meet. `folder` is where files for
    visitors are written; it is gone when the server ends.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix="unet-viz-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._runs: dict[str, Run] = {}

    def start(self) -> str:
        """Id of a new run."""
        name = uuid.uuid4().hex
        self._runs[name] = Run()
        for old in list(self._runs)[:-KEPT]:
            del self._runs[old]
            for file in self.folder.glob(f"{old}/*"):
                file.unlink(missing_ok=True)
        return name

    def of(self, name: str) -> Run | None:
        return self._runs.get(name)

    def trace(self, name: str) -> Trace:
        """The trace of a run that is done. Raises GoneError."""
        run = self._runs.get(name)
        if run is None or run.trace is None:
            raise GoneError
        return run.trace

    def cancel(self, name: str) -> None:
        """Ask a run to stop after its present step."""
        if name in self._runs:
            self._runs[name].cancelled = True

    def cancelled(self, name: str) -> bool:
        """Whether to stop: asked to, or already forgotten."""
        return name not in self._runs or self._runs[name].cancelled


def reports(work: Callable[[Callable[[T], None]], R]) -> Generator[T, None, R]:
    """Run `work(report)` in its own thread; yield what it reports; return its result or raise its error."""
    told: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            told.put(("result", work(lambda item: told.put(("report", item)))))
        except BaseException as error:  # raised again where the reports are read
            told.put(("error", error))

    threading.Thread(target=run, daemon=True).start()
    while True:
        kind, item = told.get()
        if kind == "report":
            yield item
        elif kind == "error":
            raise item
        else:
            result: R = item
            return result
