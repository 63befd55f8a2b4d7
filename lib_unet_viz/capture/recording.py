"""A trace being filled: what it may hold, whose calls it records, how it ends where something goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch

from lib_unet_viz.capture.request import BudgetError, bytes_of
from lib_unet_viz.trace import Key, Trace


class Recording:
    """The trace being filled, and the bytes it may take. `step` is the present one, from 1. What `thread`
    does is recorded, and nothing else.
    """

    def __init__(self, trace: Trace, budget: int | None) -> None:
        self.trace = trace
        self.budget = budget
        self.step = 0
        self.ended = False
        self.thread = get_ident()
        self.elsewhere = False  # whether the U-Net was called in another thread
        self._held = 0
        self._owners: dict[Key, object] = {}

    def reserve(self, values: int, dtype: torch.dtype) -> None:
        """Called before that many values are kept; raises BudgetError if they do not fit."""
        self._held += values * bytes_of(dtype)
        if self.budget is not None and self._held > self.budget:
            raise BudgetError(self._held, self.budget)

    def claim(self, key: Key, tap: object) -> bool:
        """Whether this tap may record that map: the first to ask does."""
        return self._owners.setdefault(key, tap) is tap

    def note(self, line: str) -> None:
        if line not in self.trace.notes:
            self.trace.notes.append(line)

    def guarded(self, hook: Callable[..., object], *passing: type[Exception]) -> Callable[..., None]:
        """The hook, which costs nobody a picture: what goes wrong in it ends the recording with a note.
        Other threads that run the same U-Net are left alone.

        passing: errors that are raised all the same.
        """

        def looking(*args: Any, **kwargs: Any) -> None:
            if self.thread != get_ident():
                self.elsewhere = True
                return
            if self.ended:
                return
            try:
                hook(*args, **kwargs)
            except passing:
                raise
            except Exception as error:
                self.end(error)

        return looking

    def end(self, error: Exception) -> None:
        """Record no more, and say why."""
        self.ended = True
        self.note(f"the recording ended at step {self.step}: {reason(error)}")


def reason(error: Exception) -> str:
    """An error in a note's words: its kind where the message alone would not tell."""
    return str(error) if isinstance(error, ValueError) and str(error) else f"{type(error).__name__}: {error}"
