"""What is wrong with a text that a person wrote, and where; messages stay short however long that text is."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence

# Of what a message repeats of what was given.
_MOST_LETTERS, _MOST_ALLOWED, _MOST_RUNS = 200, 100, 10


class SpecError(ValueError):
    """A text that a person wrote cannot be read, or names what is not there.

    Attributes: message (str), text (the whole text), position (index of the first wrong character),
    end (index after the last), allowed (what may stand there). str() shows them with a caret.
    """

    def __init__(
        self, message: str, text: str, start: int, end: int | None = None, allowed: Iterable[str] = ()
    ) -> None:
        self.message = message
        self.text = text
        self.position = max(0, min(start, len(text)))
        self.end = max(self.position + 1, end if end is not None else 0)
        self.allowed = tuple(allowed)
        super().__init__(message, text, start, end, self.allowed)

    def __str__(self) -> str:
        first = self.text.rfind("\n", 0, self.position) + 1
        line = self.text[first:].split("\n", 1)[0].replace("\t", " ")
        start, at = max(0, self.position - first - _MOST_LETTERS // 2), self.position - first
        stop = start + _MOST_LETTERS
        before = "…" * (start > 0) + line[start:at]
        marked, after = line[at : min(stop, self.end - first)], "…" * (stop < len(line))
        shown = f"{before}{line[at:stop]}{after}"
        lines = [self.message, f"  {shown}", "  " + " " * _columns(before) + "^" * max(1, _columns(marked))]
        return "\n".join([*lines, *(f"allowed: {allowed}" for allowed in self._allowed())])

    @property
    def line(self) -> str:
        """The same without a caret, for where lines run into each other."""
        wrong, text = short(self.text[self.position : self.end]), short(self.text)
        place = f" (at “{wrong}” in “{text}”)" if wrong.strip() else f" (in “{text}”)"
        allowed = "".join(f"; allowed: {allowed}" for allowed in self._allowed())
        return f"{self.message}{place if text else ''}{allowed}"

    def _allowed(self) -> Iterator[str]:
        """What is allowed in one text, if anything is said of it."""
        if self.allowed:
            more = len(self.allowed) - _MOST_ALLOWED
            yield ", ".join(map(short, self.allowed[:_MOST_ALLOWED])) + (
                f" and {more:,} more" if more > 0 else ""
            )


def short(text: str) -> str:
    """A text to be repeated in a message: as it is, or its beginning."""
    return text if len(text) <= _MOST_LETTERS else f"{text[:_MOST_LETTERS]}…"


def ranges(steps: Sequence[int]) -> str:
    """Steps in order as people write them, of which the first ranges are named and the others counted.

    >>> ranges([1, 2, 3, 5, 9, 10]), ranges(range(1, 100, 2))
    ('1-3, 5, 9, 10', '1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 40 more')
    """
    named: list[str] = []
    at = 0
    while at < len(steps) and len(named) < _MOST_RUNS:
        # In a run, what a step is above its place stays the same.
        end = bisect_right(range(len(steps)), steps[at] - at, lo=at, key=lambda place: steps[place] - place)
        whole = end - at > 2
        named.append(f"{steps[at]}-{steps[end - 1]}" if whole else str(steps[at]))
        at = end if whole else at + 1
    more = len(steps) - at
    return ", ".join(named) + (f" and {more:,} more" if more else "")


def _columns(text: str) -> int:
    """Width of `text` in a monospaced terminal, where East Asian wide characters take two columns."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
