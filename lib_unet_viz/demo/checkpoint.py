"""Resumable training state with a log of its losses."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SAVE_EVERY = 120.0  # seconds


class Checkpoint:
    """Modules and optimizers saved together every two minutes; losses appended to a JSON-lines log.

    `parts` name anything with `state_dict` and `load_state_dict`. Writes are atomic: an interrupted
    training goes on from the last whole state.
    """

    def __init__(self, path: Path, parts: Mapping[str, Any]) -> None:
        self.path, self.parts, self.step, self.seconds = path, parts, 0, 0.0
        self._saved = time.monotonic()
        self._sums: dict[str, float] = {}
        path.parent.mkdir(parents=True, exist_ok=True)

    def load(self) -> float:
        """Take up the saved state, if there is one; the seconds of training behind it."""
        if self.path.exists():
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, part in self.parts.items():
                part.load_state_dict(state[name])
            self.step, self.seconds = state["step"], state["seconds"]
        return self.seconds

    def advance(self, *, seconds: float, **values: float) -> None:
        """Count one step; log the means of its values every 50 steps; save when it is time."""
        self.step, self.seconds = self.step + 1, seconds
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value / 50
        if self.step % 50 == 0:
            record = {
                "step": self.step,
                "seconds": round(seconds),
                **{k: round(v, 5) for k, v in self._sums.items()},
            }
            with self.path.with_suffix(".jsonl").open("a") as log:
                log.write(json.dumps(record) + "\n")
            self._sums = {}
        if time.monotonic() - self._saved > SAVE_EVERY:
            self.save()

    def save(self) -> None:
        """Write the state."""
        temporary = self.path.with_suffix(".tmp")
        state = {name: part.state_dict() for name, part in self.parts.items()}
        torch.save({**state, "step": self.step, "seconds": self.seconds}, temporary)
        temporary.replace(self.path)
        self._saved = time.monotonic()
