"""How soon the page of `unet-viz app` is there, and how soon its first picture with word maps is.

    python benchmarks/start.py [--repeat 3] [--json]

Each time in a process of its own: seconds from the start to the first answer, beyond those of a process that
imports torch and nothing else; then, from the click to the answer, with the bundled model and the page's own
settings: of somebody who clicks at once, and so waits for the model, and of one who writes a prompt for five
seconds first, while it is loaded. Beside the clock's seconds stand those of the processor, of all cores
together (Linux: /proc), which other work does not lengthen. Exit code 1 where a bar is missed by both.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from meter import machine
from served import Served, free_port, wait
from visitors import Visitor

BARS = {"page ready, beyond torch": 3.0, "first picture, at once": 6.0, "first picture, 5 s later": 6.0}
READY, *FIRST = BARS  # bars in seconds
WRITING = (0.0, 5.0)  # seconds before the click
PROMPT, STEPS = "a red circle and a blue square", 30
TORCH = "import time, torch; print(time.process_time(), flush=True)"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    options = parser.parse_args()
    found = measure(repeat=options.repeat)
    sys.stdout.write(json.dumps(found, indent=2) + "\n" if options.json else table(found))
    return 0 if found["passed"] else 1


def measure(*, repeat: int) -> dict[str, Any]:
    """Medians, in seconds of the clock and of the processor, and whether the bars hold."""
    runs = [once() for _ in range(repeat)]
    rows = {
        name: {
            kind: round(statistics.median(run[name][kind] for run in runs), 2) for kind in ("clock", "cpu")
        }
        for name in BARS
    }
    return {
        "machine": machine("cpu"),
        "load": round(os.getloadavg()[0], 1),
        "repeat": repeat,
        "rows": rows,
        "passed": all(min(rows[name].values()) <= bar for name, bar in BARS.items()),
    }


def once() -> dict[str, dict[str, float]]:
    """Seconds of the clock and of the processor, by what is waited for."""
    found = {}
    for name, seconds in zip(FIRST, WRITING, strict=True):
        found[READY], found[name] = _visit(seconds)
    return found


def _visit(writing: float) -> tuple[dict[str, float], dict[str, float]]:
    """Of a page and its first picture, asked for so many seconds after it is there."""
    torch_clock, torch_cpu = _torch_alone()
    with tempfile.TemporaryDirectory() as folder, Path(folder, "page.log").open("wb") as log:
        port, start = free_port(), time.monotonic()
        command = [sys.executable, "-m", "lib_unet_viz", "app", "--no-browser", "--port", str(port)]
        page = Served(f"http://127.0.0.1:{port}", subprocess.Popen(command, stdout=log, stderr=log))
        try:
            wait(page, "/config", every=0.02)
            ready = {"clock": time.monotonic() - start - torch_clock, "cpu": _cpu(page) - torch_cpu}
            time.sleep(writing)
            visitor = Visitor(page.url, {}, Path(folder))
            before, start = _cpu(page), time.monotonic()
            visitor.generate(PROMPT, 1, Steps=STEPS)
            first = {"clock": time.monotonic() - start, "cpu": _cpu(page) - before}
        finally:
            page.process.terminate()
            page.process.wait()
    return ready, first


def _torch_alone() -> tuple[float, float]:
    """Seconds of the clock and of the processor in which a process imports torch."""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", TORCH], stdout=subprocess.PIPE, check=True)
    return time.monotonic() - start, float(done.stdout)


def _cpu(page: Served) -> float:
    """Seconds of the processor that its process has used (proc(5): utime, stime)."""
    text = Path(f"/proc/{page.process.pid}/stat").read_text(encoding="ascii")
    user, system = text.rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def table(found: dict[str, Any]) -> str:
    """As text."""
    lines = [f"{found['machine']}; load {found['load']}; medians of {found['repeat']}"]
    for name, row in found["rows"].items():
        lines.append(
            f"{name:<26}{row['clock']:>8.2f} s, {row['cpu']:.2f} s of CPU; at most {BARS[name]:.0f} s"
        )
    return "\n".join([*lines, "passed" if found["passed"] else "MISSED", ""])


if __name__ == "__main__":
    sys.exit(main())
