"""Eight visitors at once, on the page and at the webui's routes: does each get all answers, and their own?

    python benchmarks/load.py [--minutes 10] [--clients 8] [--json FILE]

Each takes turns: pictures with their dumps, wrong requests in between, runs that are cancelled, looks at
pictures; right and wrong requests to the routes. First one client does so alone, then all together, whose
answers are compared with those to the one. Memory is what each server's process holds, without what its
allocator could give back, from three tenths of the time on. Exit code 1 where an answer is lost or somebody
else's, or memory has grown by more than 5 %.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from meter import machine
from served import Served, served
from visitors import (
    PROMPTS,
    REFUSED,
    RIGHT,
    RUNS,
    WRONG_LAYERS,
    WRONG_PROMPTS,
    Caller,
    Tally,
    Visitor,
    pictures,
)

GROWTH = 0.05
WARM = 0.3  # of the time
EVERY = 1.0  # seconds between two looks at memory


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of all clients together (10)")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--json", type=Path, metavar="FILE", help="gets the figures")
    parser.add_argument("--growth", type=float, default=GROWTH, help="of memory that passes (0.05)")
    options = parser.parse_args()
    figures = measure(seconds=60 * options.minutes, clients=options.clients)
    figures["passed"] &= all(each["growth"] <= options.growth for each in figures["memory"].values())
    text = json.dumps(figures, indent=2) + "\n"
    if options.json is not None:
        options.json.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0 if figures["passed"] else 1


def measure(*, seconds: float, clients: int) -> dict[str, Any]:
    """Figures of one client alone, for a fifth of the time, and of all."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        pictures(folder)
        servers = {
            what: stack.enter_context(served(what, folder / f"{what}.log")) for what in ("page", "routes")
        }
        known: dict[str, dict[Any, bytes]] = {"page": {}, "routes": {}}
        first = _Client(servers, known, folder, number=0)
        first.learn()
        alone = first.work(seconds / 5)
        memory = _Memory(servers)
        together = memory.during(lambda: _together(servers, known, folder, seconds, clients))
        errors = sum(_tracebacks(folder / f"{what}.log") for what in servers)
    return _figures(alone, together, memory, tracebacks=errors, seconds=seconds, clients=clients)


def _together(
    servers: dict[str, Served],
    known: dict[str, dict[Any, bytes]],
    folder: Path,
    seconds: float,
    clients: int,
) -> Tally:
    each = [_Client(servers, known, folder, number=number) for number in range(1, clients + 1)]
    with ThreadPoolExecutor(clients) as pool:
        tallies = list(pool.map(lambda client: client.work(seconds), each))
    whole = Tally()
    for tally in tallies:
        whole.wrong.update(tally.wrong)
        whole.examples += tally.examples
        for kind, times in tally.seconds.items():
            whole.seconds.setdefault(kind, []).extend(times)
    return whole


class _Client:
    """Somebody who does one thing after the other, in an order of their own."""

    def __init__(
        self, servers: dict[str, Served], known: dict[str, dict[Any, bytes]], folder: Path, number: int
    ) -> None:
        self.visitor = Visitor(servers["page"].url, known["page"], folder)
        self.caller = Caller(servers["routes"].url, known["routes"], folder / "picture.png")
        self.random = random.Random(number)
        self.tally = Tally()

    def learn(self) -> None:
        """Each right request once: what others get is compared with the answers."""
        for run in RUNS:
            self.visitor.generate(*run)
            self.visitor.look(run[0])
        for path, fields in RIGHT:
            self.caller.ask(path, **fields)

    def work(self, seconds: float) -> Tally:
        """Go on for so long."""
        end = time.monotonic() + seconds
        turns: list[Callable[[], None]] = [self._picture, self._picture, self._mistakes, self._cancel]
        turns += [self._look, self._routes, self._routes, self._routes]
        while time.monotonic() < end:
            self.random.choice(turns)()
        return self.tally

    def _picture(self) -> None:
        run = self.random.choice(RUNS)
        self.tally.measure("page: a picture", lambda: self.visitor.generate(*run))
        if self.visitor.shown == run:
            self.tally.measure("page: its dump", self.visitor.write_dump)

    def _mistakes(self) -> None:
        """Five in a row, after which one's run is still there."""
        for prompt in self.random.sample(WRONG_PROMPTS, 3):
            self.tally.measure("page: a mistake", lambda: self.visitor.ask_wrongly(prompt=prompt))  # noqa: B023
        wrong = {"prompt": "a", "Layers": self.random.choice(WRONG_LAYERS)}
        self.tally.measure("page: a mistake", lambda: self.visitor.ask_wrongly(**wrong))
        self.tally.measure("page: half a picture", self.visitor.look_wrongly)
        if self.visitor.shown != ("", 0):
            self.tally.measure("page: its dump", self.visitor.write_dump)

    def _cancel(self) -> None:
        self.tally.measure("page: a run until cancelled", self._cancelled)

    def _cancelled(self) -> None:
        self.tally.seconds.setdefault("page: from Cancel to the end", []).append(self.visitor.cancel())

    def _look(self) -> None:
        prompt = self.random.choice(PROMPTS)
        self.tally.measure("page: a look", lambda: self.visitor.look(prompt))

    def _routes(self) -> None:
        path, fields = self.random.choice(RIGHT)
        self.tally.measure(f"routes: {path}", lambda: self.caller.ask(path, **fields))
        wrong, given = self.random.choice(REFUSED)
        self.tally.measure("routes: a mistake", lambda: self.caller.ask_wrongly(wrong, **given))


class _Memory:
    """Bytes of the servers' processes, looked at again and again."""

    def __init__(self, servers: dict[str, Served]) -> None:
        self.servers = servers
        self.found: dict[str, list[int]] = {what: [] for what in servers}

    def during(self, work: Callable[[], Tally]) -> Tally:
        stop = threading.Event()
        looking = threading.Thread(target=self._look, args=(stop,))
        looking.start()
        try:
            return work()
        finally:
            stop.set()
            looking.join()

    def _look(self, stop: threading.Event) -> None:
        while not stop.wait(EVERY):
            for what, server in self.servers.items():
                self.found[what].append(server.resident())

    def growth(self, what: str) -> dict[str, Any]:
        """From the tenth of the time after warm-up to the last tenth, in medians."""
        found = self.found[what]
        tenth = max(1, len(found) // 10)
        warm = int(WARM * len(found))
        begun = statistics.median(found[warm : warm + tenth])
        ended = statistics.median(found[-tenth:])
        return {
            "warm_mb": round(begun / 1e6, 1),
            "end_mb": round(ended / 1e6, 1),
            "growth": round(ended / begun - 1, 4),
            "tenths_mb": [
                round(statistics.median(found[at : at + tenth]) / 1e6)
                for at in range(0, 10 * tenth, tenth)
                if found[at : at + tenth]
            ],
        }


def _tracebacks(log: Path) -> int:
    return log.read_text(encoding="utf-8", errors="replace").count("Traceback (most recent call last)")


def _figures(
    alone: Tally, together: Tally, memory: _Memory, *, tracebacks: int, seconds: float, clients: int
) -> dict[str, Any]:
    wrong = {what: together.wrong[what] for what in ("crossed", "lost a run", "lost a dump")}
    wrong |= {**alone.wrong, **together.wrong}
    growth = {what: memory.growth(what) for what in memory.servers}
    times = {
        kind: {
            "requests": len(found),
            "p95_s": _p95(found),
            "p95_alone_s": _p95(alone.seconds.get(kind, [])),
            "median_s": round(statistics.median(found), 3),
        }
        for kind, found in sorted(together.seconds.items())
    }
    return {
        "machine": machine("cpu"),
        "load_average": [round(each, 1) for each in os.getloadavg()],
        "minutes": round(seconds / 60, 2),
        "clients": clients,
        "requests": sum(map(len, together.seconds.values())) + sum(together.wrong.values()),
        "wrong": wrong,
        "examples": [*alone.examples, *together.examples][:20],
        "tracebacks": tracebacks,
        "memory": growth,
        "seconds": times,
        "passed": not sum(wrong.values()),
    }


def _p95(found: list[float]) -> float | None:
    """The 95th percentile; of fewer than twenty the largest."""
    if not found:
        return None
    return round(sorted(found)[min(len(found) - 1, int(0.95 * len(found)))], 3)


if __name__ == "__main__":
    sys.exit(main())
