"""Fuzzes one target until libFuzzer's options say stop.

    python fuzz/one.py TARGET REPORT [libFuzzer's options]

REPORT is a file, into which the longest time of an input is written, in milliseconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["lib_unet_viz"]):
    from targets import TARGETS

MOST = 0.1  # seconds that an input may take


class Timed:
    """A target whose inputs may not take longer than MOST."""

    def __init__(self, name: str, report: Path) -> None:
        self._target, self._report, self._slowest = TARGETS[name], report, 0.0

    def __call__(self, given: bytes) -> None:
        took = self._seconds(given)
        if took > MOST / 10:  # garbage may have been collected
            took = min(took, self._seconds(given))
        if took > self._slowest:
            self._slowest = took
            self._report.write_text(f"{1e3 * took:.1f}", encoding="utf-8")
        if took > MOST:
            raise TimeoutError(f"{took:.3f} s for an input of {len(given)} bytes")

    def _seconds(self, given: bytes) -> float:
        begun = time.thread_time()
        self._target(given)
        return time.thread_time() - begun


if __name__ == "__main__":
    atheris.Setup([sys.argv[0], *sys.argv[3:]], Timed(sys.argv[1], Path(sys.argv[2])))
    atheris.Fuzz()
