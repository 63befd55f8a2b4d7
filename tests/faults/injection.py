"""Faults at any line of ours that a run goes through: an error, a lack of memory, Ctrl-C.

A trace function raises where Python is about to run a line, which is also where Ctrl-C may come. Lines of
contextlib, and those of torch that put hooks on and take them off, count as ours.
"""

from __future__ import annotations

import contextlib
import linecache
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils import hooks as torch_hooks

import lib_unet_viz
from lib_unet_viz.trace import Trace

T = TypeVar("T")
OURS = str(Path(lib_unet_viz.__file__).parent)
# Nothing of ours can stand before the first line of these, where Python runs Ctrl-C's handler, too.
LEAVING = (".__exit__", ".close", ".remove")
INJECTED = "injected"


class Fault(Exception):  # noqa: N818 - of a kind that nobody expects
    """An error that nothing foresees."""


ERRORS: tuple[type[BaseException], ...] = (Fault, MemoryError, KeyboardInterrupt)


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file, when it runs for the nth time, from 1."""

    file: str
    line: int
    nth: int

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line}, time {self.nth}"


@dataclass(frozen=True)
class Outcome:
    """What became of an action. functions: those that were running at the fault, innermost first; at_first:
    whether it came before that one's first line.
    """

    result: Any = None
    error: BaseException | None = None
    functions: tuple[str, ...] = ()
    at_first: bool = False

    @property
    def looking(self) -> bool:
        """Whether it was in a hook that only looks."""
        return "recording.looking" in self.functions[1:]

    def badly_delivered(self, expected: bytes, *, logged: bool) -> Iterator[str]:
        """Of a run that gave a picture all the same: it is the right one, and the error stands beside it."""
        picture, trace = self.result
        if picture != expected:
            yield "another picture was delivered"
        said = trace is not None and any(INJECTED in note for note in trace.notes)
        if self.functions and not said and not logged:
            yield f"the fault was not said, in {self.functions[:3]}"


@dataclass(frozen=True)
class Subject:
    """What is harmed: `run` makes a picture and, where it looks, a trace; `module` is the model that our
    hooks come on. logs: the host has a log, in which it says what comes in a callback, and goes on.
    """

    module: nn.Module
    run: Callable[[], tuple[bytes, Trace | None]]
    logs: bool = False

    def harmed(self, chosen: Iterable[tuple[Place, type[BaseException]]]) -> list[str]:
        """What went wrong after faults at these places, by these errors."""
        expected, seen = self.run()
        return [
            f"{error.__name__} at {place}: {wrong}"
            for place, error in chosen
            for wrong in self._wrong(fault(self.run, place, error), expected, seen)
        ]

    def _wrong(self, outcome: Outcome, expected: bytes, seen: Trace | None) -> Iterator[str]:
        unhelped = outcome.at_first and outcome.functions[0].endswith(LEAVING)
        if (left := hooks(self.module)) and not unhelped:
            yield f"{left} hooks are left in {outcome.functions[:3]}"
        if left:
            take_off(self.module)
        if not torch.is_grad_enabled():
            torch.set_grad_enabled(True)
            yield f"gradients are left off in {outcome.functions[:3]}"
        if outcome.error is None:
            yield from outcome.badly_delivered(expected, logged=self.logs)
        elif INJECTED not in str(outcome.error):
            yield f"the fault became {outcome.error!r}"
        elif outcome.looking and isinstance(outcome.error, Exception):
            yield f"a fault in looking cost the picture, in {outcome.functions[:3]}"
        after, again = self.run()
        if after != expected:
            yield "the next picture differs"
        if seen is not None and again is not None and _summary(again) != _summary(seen):
            yield f"the next recording differs: {again.notes}"


def _summary(trace: Trace) -> tuple[int, int, list[str]]:
    return len(trace.features), len(trace.attention), trace.notes


def take_off(module: nn.Module) -> None:
    """All hooks, whoever put them on."""
    for part in module.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()


def hooks(module: nn.Module) -> int:
    """How many there are on a module and all its parts."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def places(action: Callable[[], object]) -> list[Place]:
    """All that the action goes through: each line's first and last time, in the order of the first.

    But a `yield` that stands alone: it does nothing that can fail, and contextlib would take it for another
    fault where the generator catches one before it has yielded.
    """
    seen: Counter[tuple[str, int]] = Counter()

    def count(frame: FrameType) -> None:
        seen[frame.f_code.co_filename, frame.f_lineno] += 1

    action()  # what is kept for later runs is made
    with _traced(count):
        action()
    lines = {line: times for line, times in seen.items() if linecache.getline(*line).strip() != "yield"}
    return [Place(*line, nth) for line, times in lines.items() for nth in sorted({1, times})]


def some(there: Sequence[T], count: int) -> Sequence[T]:
    """About so many of them, evenly spread."""
    return there[:: max(1, len(there) // count)]


def fault(action: Callable[[], object], place: Place, error: type[BaseException]) -> Outcome:
    """Run the action with one fault at this place."""
    running, at_first = tuple[str, ...](), False

    def blow(frame: FrameType) -> None:
        nonlocal running, at_first
        running, at_first = tuple(_functions(frame)), _is_first(frame)
        raise error(INJECTED)

    try:
        return Outcome(struck(action, place, blow), None, running, at_first)
    except BaseException as raised:  # Ctrl-C, too
        return Outcome(None, raised, running, at_first)


def struck(action: Callable[[], T], place: Place, blow: Callable[[FrameType], None]) -> T:
    """Run the action; at this place comes the blow."""
    times = 0

    def count(frame: FrameType) -> None:
        nonlocal times
        if (frame.f_code.co_filename, frame.f_lineno) == (place.file, place.line):
            times += 1
            if times == place.nth:
                blow(frame)

    with _traced(count):
        return action()


def _is_first(frame: FrameType) -> bool:
    code = frame.f_code
    lines = {line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno}
    return frame.f_lineno == min(lines, default=code.co_firstlineno)  # one line: a generator expression


def _functions(frame: FrameType | None) -> Iterator[str]:
    while frame is not None:
        yield f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"
        frame = frame.f_back


@contextlib.contextmanager
def _traced(at_line: Callable[[FrameType], None]) -> Iterator[None]:
    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            at_line(frame)
        return local

    before = sys.gettrace()
    sys.settrace(lambda frame, *_: local if _counts(frame) else None)
    try:
        yield
    finally:
        sys.settrace(before)


def _counts(frame: FrameType) -> bool:
    code = frame.f_code
    if code.co_filename.startswith(OURS) or code.co_filename == torch_hooks.__file__:
        return True
    if code.co_filename == contextlib.__file__:
        return any(name.startswith("lib_unet_viz") for name in _callers(frame))
    return code.co_name.startswith("register_forward")


def _callers(frame: FrameType) -> Iterator[str]:
    """Modules of the two functions above."""
    for _ in range(2):
        if frame.f_back is None:
            return
        frame = frame.f_back
        yield str(frame.f_globals.get("__name__"))
