"""Parts of a run's steps, as people write them: 0.8, [0.2, 0.8] or {"default": 0.8, "cat": [0, 0.4]}."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Window = tuple[float, float]  # fractions of the steps: from, to

_DEFAULTS = ("default", "default_")  # the latter is that of google/prompt-to-prompt
_LONGEST = 80  # characters of what was given, in a message


@dataclass(frozen=True)
class Windows:
    """During which part of the steps words have the source's maps: fractions, `default` and by word."""

    default: Window
    words: Mapping[str, Window]

    @classmethod
    def of(cls, given: Any) -> Windows:
        """Read 0.8, [0.2, 0.8] or {"default": 0.8, "cat": [0, 0.4]}, as values. Raises ValueError."""
        if isinstance(given, Mapping):
            words = {str(word): window(value) for word, value in given.items() if word not in _DEFAULTS}
            return cls(window(next((given[name] for name in _DEFAULTS if name in given), 0.8)), words)
        return cls(window(given), {})

    @classmethod
    def read(cls, given: Any) -> Windows:
        """As `of`, also from JSON."""
        return cls.of(_value(given))


def window(given: Any) -> Window:
    """Read a fraction of the steps, from the first one on, or two. Raises ValueError."""
    both = (0, given) if isinstance(given, int | float) else given
    if isinstance(both, list | tuple) and len(both) == 2 and all(isinstance(x, int | float) for x in both):
        start, end = both
        if 0 <= start <= end <= 1:
            return float(start), float(end)
    raise ValueError(
        f"steps are {_shown(given)}; a fraction such as 0.8 is expected, or two such as [0.2, 0.8]"
    )


def read_window(given: Any) -> Window:
    """As `window`, also from JSON."""
    return window(_value(given))


def within(window: Window, step: int, total: int) -> bool:
    """Whether a step (from 0) lies in a window, rounded down as google/prompt-to-prompt does."""
    return int(window[0] * total) <= step < int(window[1] * total)


def _value(given: Any) -> Any:
    """What was given, as it is or as JSON. Raises ValueError."""
    try:
        return json.loads(given) if isinstance(given, str) else given
    except (ValueError, RecursionError):
        text = f"{_shown(given)} is neither a number nor JSON, as 0.8 or [0.2, 0.8]"
        raise ValueError(text) from None


def _shown(given: Any) -> str:
    try:
        text = repr(given)
    except (ValueError, RecursionError):  # a number of thousands of digits, lists in lists in lists
        return f"a {type(given).__name__}"
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"
