"""What the page remembers between two clicks: the runs of its visitors, as far as they fit into memory."""

from __future__ import annotations

import shutil
import tempfile
import threading
import uuid
import weakref
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from lib_unet_viz.trace import Trace

KEPT = 2_000_000_000  # bytes of finished runs
MAP = 2_000  # bytes that a map takes in memory beside its numbers


class GoneError(ValueError):
    """A run that a click refers to is not in memory any more."""

    def __init__(self, kept: int) -> None:
        super().__init__(
            f"This run is no longer in memory: the server keeps {kept / 1e6:,.0f} MB of runs, and newer ones "
            "took its place. Run it again."
        )


@dataclass(eq=False)
class Run:
    """One run of an owner, which is a visitor's page; once it is done, its trace and what was drawn of it."""

    owner: str
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    cancelled: bool = False
    running: bool = True
    trace: Trace | None = None
    words: tuple[tuple[Image.Image, str], ...] = ()

    @property
    def nbytes(self) -> int:
        """Of its maps and pictures, as they are in memory."""
        pictures = [image for image, _ in self.words]
        if self.trace is not None and self.trace.picture is not None:
            pictures.append(self.trace.picture)
        maps = 0
        if self.trace is not None:
            maps = self.trace.nbytes + MAP * (len(self.trace.features) + len(self.trace.attention))
        return maps + sum(image.width * image.height * len(image.getbands()) for image in pictures)


class Runs:
    """The runs by id, of all visitors.

    A run that ends without a result is forgotten. The results may take `kept` bytes together: beyond that,
    the visitor who has most of them loses the oldest of these, with its files. What still runs, and what was
    finished last, stays.

    `lock` is held while the model works: hooks of two runs must not meet. `folder` is where files for
    visitors are written; it is gone when the server ends.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self.kept, self.lock = kept, threading.Lock()
        self.folder = Path(tempfile.mkdtemp(prefix="unet-viz-"))
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._runs: dict[str, Run] = {}
        self._changing = threading.Lock()

    def start(self, owner: str) -> Run:
        """A new run of an owner, which runs until `end`."""
        run = Run(owner)
        with self._changing:
            self._runs[run.name] = run
        return run

    def end(
        self, run: Run, trace: Trace | None = None, words: Sequence[tuple[Image.Image, str]] = ()
    ) -> None:
        """The run is done: keep its result, if it has one."""
        with self._changing:
            run.running, run.trace, run.words = False, trace, tuple(words)
            del self._runs[run.name]
            if trace is not None:
                self._runs[run.name] = run  # behind those that were finished before
                self._make_room(run)

    def _make_room(self, latest: Run) -> None:
        done = [run for run in self._runs.values() if not run.running]
        held: Counter[str] = Counter()
        for run in done:
            held[run.owner] += run.nbytes
        done.remove(latest)
        while done and held.total() > self.kept:
            oldest = max(done, key=lambda run: held[run.owner])
            done.remove(oldest)
            held[oldest.owner] -= oldest.nbytes
            del self._runs[oldest.name]
            shutil.rmtree(self.folder / oldest.name, ignore_errors=True)

    def trace(self, name: str) -> Trace:
        """The trace of a run that is done. Raises GoneError."""
        run = self._runs.get(name)
        if run is None or run.trace is None:
            raise GoneError(self.kept)
        return run.trace

    def words(self, name: str) -> Sequence[tuple[Image.Image, str]]:
        """The pictures of words that were drawn of a run that is done. Raises GoneError."""
        self.trace(name)
        return self._runs[name].words

    def cancel(self, name: str) -> None:
        """Ask a run to stop after its present step."""
        run = self._runs.get(name)
        if run is not None:
            run.cancelled = True
