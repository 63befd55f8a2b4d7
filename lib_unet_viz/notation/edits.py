"""Edits: what is to become of a prompt, one line each, and the target prompts that they make.

    cat -> dog              a word becomes another; either side may have several words, and nothing removes it
    + wearing sunglasses    words more, at the end; `hat + with a feather` puts them after a word
    hat * 2.5               how strongly a word acts, -2 to 10
    = a dog with a hat      a whole target prompt, instead of words
    ---                     what follows makes another target of the same source

Each kind of edit is one dataclass below, which reads its line, changes the prompt and says what it does;
another kind is one more, named in `OPERATIONS`.

`;` may stand instead of a line break. A word stands for all its places in the prompt, `cat#2` for the second.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from lib_unet_viz.notation.errors import SpecError, short

WEAKEST, STRONGEST = -2.0, 10.0
_LINE = re.compile(r"[^\n;]+")
_ARROW = re.compile(r"->|→")
_PLUS = re.compile(r"(?:^|(?<=\s))\+(?=.)")
_RULE = re.compile(r"-{3,}")
_MOST_LINES, _LONGEST_PHRASE = 200, 1_000  # each word is looked for in the whole prompt
_ALONE = "a whole target prompt leaves nothing to change by words"

Span = tuple[int, int]  # of a text: start, end


@dataclass(frozen=True)
class Target:
    """One target prompt and how it comes from the source's.

    swapped: places in the source prompt and in this one that stand for each other. weights: places in this
    prompt and their strength. whole: it was given as a whole, so that words changed have to be found.
    summary: the edits in short. explained: each edit as a sentence's part.
    """

    prompt: str
    swapped: tuple[tuple[Span, Span], ...] = ()
    weights: tuple[tuple[Span, float], ...] = ()
    added: tuple[Span, ...] = ()
    whole: bool = False
    summary: str = ""
    explained: tuple[str, ...] = ()


def targets(source: str, text: str) -> tuple[Target, ...]:
    """The target prompts that the edits make of a source prompt, in the order of the text.

    Raises SpecError, with its place in the text of the edits, for a line that cannot be read, a word that the
    prompt lacks, edits of the same words, more than 200 edits, and where there is no edit at all.
    """
    parts = list(_parts(text))
    if not parts:
        raise SpecError("there is no edit", text, 0, allowed=SYNTAX)
    lines = [line for part in parts for line in part]
    if len(lines) > _MOST_LINES:
        raise lines[_MOST_LINES].error(f"at most {_MOST_LINES} edits are possible")
    return tuple(_target(source, lines) for lines in parts)


def first(text: str) -> str:
    """The edits of the first target alone."""
    return "\n".join(line.text for line in next(_parts(text), []))


def places(prompt: str, phrase: str) -> list[Span]:
    """All places of a word or phrase in a prompt; words count as a whole, case and blanks do not."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return [match.span() for match in re.finditer(rf"(?<!\w){words}(?!\w)", prompt, re.IGNORECASE)]


@dataclass(frozen=True)
class Line:
    """One edit as it stands in the text of all."""

    text: str
    start: int
    whole: str

    def error(
        self, message: str, at: int = 0, end: int | None = None, allowed: Iterable[str] = ()
    ) -> SpecError:
        stop = self.start + (len(self.text) if end is None else end)
        return SpecError(message, self.whole, self.start + at, stop, allowed)

    def places(self, prompt: str, phrase: str) -> list[Span]:
        """Where a word or phrase of this line stands in a prompt; `cat#2` is its second place."""
        at = self.text.find(phrase)
        if len(phrase) > _LONGEST_PHRASE:
            raise self.error(f"words to be changed have at most {_LONGEST_PHRASE:,} characters", at)
        found = places(prompt, phrase)
        if not found and (numbered := re.fullmatch(r"(.+)#0*([1-9]\d{0,5})", phrase)):
            ordinal = int(numbered[2])
            found = places(prompt, numbered[1])[ordinal - 1 : ordinal]
        if not found:
            words = dict.fromkeys(re.findall(r"\w+(?:['-]\w+)*", prompt))
            message = f"the prompt {short(prompt)!r} does not hold these words"
            raise self.error(message, at, at + len(phrase), allowed=words)
        return found


@dataclass(frozen=True)
class _Change:
    """Text put in the place of a part of the source prompt."""

    place: Span
    text: str
    swap: bool
    line: Line


@dataclass
class Draft:
    """A target prompt in the making, which the edits change one after the other."""

    source: str
    changes: list[_Change] = field(default_factory=list)
    weights: list[Weigh] = field(default_factory=list)
    prompt: str | None = None  # given as a whole

    def places(self, phrase: str, line: Line) -> list[Span]:
        """Where words to be changed stand in the source prompt. Raises SpecError."""
        self._by_words(line)
        return line.places(self.source, phrase)

    def put(self, place: Span, text: str, line: Line, *, swap: bool = False) -> None:
        """Put a text in the place of a part of the source prompt. Raises SpecError."""
        self._by_words(line)
        self.changes.append(_Change(place, text, swap, line))

    def replace_all(self, prompt: str, line: Line) -> None:
        """Take a whole prompt. Raises SpecError where words are changed, too."""
        if self.changes:
            raise self.changes[0].line.error(_ALONE)
        self._by_words(line)
        self.prompt = prompt

    def target(self, summary: str, explained: tuple[str, ...]) -> Target:
        """The prompt with all changes, and where these stand in both. Raises SpecError."""
        parts, length, at = list[str](), 0, 0
        swapped, added = [], []
        for change in sorted(self.changes, key=lambda change: change.place):
            start, end = change.place
            if start < at:
                raise change.line.error("these words are already changed by another edit")
            parts += self.source[at:start], change.text
            length += start - at
            place = (length, length + len(change.text))
            if change.swap and change.text:
                swapped.append((change.place, place))
            elif change.text:
                added.append(place)
            length, at = place[1], end
        prompt = "".join([*parts, self.source[at:]]) if self.prompt is None else self.prompt
        weights = ((at, one.factor) for one in self.weights for at in one.line.places(prompt, one.words))
        whole = self.prompt is not None
        return Target(prompt, tuple(swapped), tuple(weights), tuple(added), whole, summary, explained)

    def _by_words(self, line: Line) -> None:
        if self.prompt is not None:
            raise line.error(_ALONE)


@dataclass(frozen=True)
class Operation(ABC):
    """One edit: how its line is read, what it does to the prompt, and that in words."""

    syntax: ClassVar[str]
    line: Line

    @classmethod
    @abstractmethod
    def parse(cls, line: Line) -> Operation | None:
        """The edit that a line says; None if it says another kind. Raises SpecError for a wrong one."""

    @abstractmethod
    def apply(self, draft: Draft) -> None:
        """Change the target prompt. Raises SpecError, e.g. for words that are not there."""

    @abstractmethod
    def explain(self) -> str:
        """What it does, as a part of a sentence."""


@dataclass(frozen=True)
class Swap(Operation):
    """Words in the place of others, or nothing in their place."""

    syntax = "cat -> dog"
    old: str
    new: str

    @classmethod
    def parse(cls, line: Line) -> Swap | None:
        arrows = list(_ARROW.finditer(line.text))
        if not arrows:
            return None
        if len(arrows) > 1:
            raise line.error("one edit has one arrow", arrows[1].start(), arrows[1].end(), allowed=SYNTAX)
        old, new = (part.strip() for part in _ARROW.split(line.text))
        if not old:
            raise line.error("nothing stands before the arrow", allowed=SYNTAX)
        return cls(line, old, new)

    def apply(self, draft: Draft) -> None:
        for place in draft.places(self.old, self.line):
            draft.put(place, self.new, self.line, swap=True)

    def explain(self) -> str:
        return f"“{self.old}” becomes “{self.new}”" if self.new else f"“{self.old}” is left out"


@dataclass(frozen=True)
class Add(Operation):
    """More words, after a word or at the end."""

    syntax = "+ wearing sunglasses"
    words: str
    after: str = ""

    @classmethod
    def parse(cls, line: Line) -> Add | None:
        found = None if _ARROW.search(line.text) else _PLUS.search(line.text)
        return (
            cls(line, line.text[found.end() :].strip(), line.text[: found.start()].strip()) if found else None
        )

    def apply(self, draft: Draft) -> None:
        if not self.after:
            source = draft.source
            gap = "" if not source or source[-1].isspace() else " "
            draft.put((len(source), len(source)), gap + self.words, self.line)
            return
        for _, end in draft.places(self.after, self.line):
            draft.put((end, end), f" {self.words}", self.line)

    def explain(self) -> str:
        return f"“{self.words}” is added {f'after “{self.after}”' if self.after else 'at the end'}"


@dataclass(frozen=True)
class Weigh(Operation):
    """How strongly words of the target prompt act."""

    syntax = "hat * 2.5"
    words: str
    factor: float

    @classmethod
    def parse(cls, line: Line) -> Weigh | None:
        last = line.text.rsplit(None, 1)[-1]
        star = line.text.find("*", max(1, len(line.text[: -len(last)].rstrip()) - 1))  # blanks may follow it
        if star < 0 or _ARROW.search(line.text):
            return None
        number = line.text[star + 1 :].strip()
        at, allowed = len(line.text) - len(number), (f"{WEAKEST:g} to {STRONGEST:g}",)
        try:
            factor = float(number)
        except ValueError:
            raise line.error("this is no number", at, allowed=allowed) from None
        if not WEAKEST <= factor <= STRONGEST:
            raise line.error("this strength is not possible", at, allowed=allowed)
        return cls(line, line.text[:star].strip(), factor)

    def apply(self, draft: Draft) -> None:
        draft.weights.append(self)

    def explain(self) -> str:
        return f"“{self.words}” acts {self.factor:g} times as strongly"


@dataclass(frozen=True)
class Whole(Operation):
    """A whole target prompt."""

    syntax = "= a whole prompt"
    prompt: str

    @classmethod
    def parse(cls, line: Line) -> Whole | None:
        if not line.text.startswith("="):
            return None
        prompt = line.text[1:].strip()
        if not prompt:
            raise line.error("the target prompt is blank")
        return cls(line, prompt)

    def apply(self, draft: Draft) -> None:
        draft.replace_all(self.prompt, self.line)

    def explain(self) -> str:
        return f"the prompt becomes “{self.prompt}”"


OPERATIONS: tuple[type[Operation], ...] = (Swap, Add, Weigh, Whole)
SYNTAX = (*(kind.syntax for kind in OPERATIONS), "--- before another target")


def _parts(text: str) -> Iterator[list[Line]]:
    """The lines of each target."""
    lines: list[Line] = []
    for match in _LINE.finditer(text):
        stripped = match[0].strip()
        line = Line(stripped, match.start() + len(match[0]) - len(match[0].lstrip()), text)
        if _RULE.fullmatch(stripped):
            if not lines:
                raise line.error("no edit stands before this", allowed=SYNTAX)
            yield lines
            lines = []
        elif stripped:
            lines.append(line)
    if lines:
        yield lines


def _target(source: str, lines: list[Line]) -> Target:
    draft, operations = Draft(source), [_operation(line) for line in lines]
    for operation in operations:
        operation.apply(draft)
    summary = "; ".join(line.text for line in lines)
    return draft.target(summary, tuple(operation.explain() for operation in operations))


def _operation(line: Line) -> Operation:
    for kind in reversed(OPERATIONS):  # a whole prompt may hold any sign, and words beside an arrow a plus
        if (found := kind.parse(line)) is not None:
            return found
    raise line.error("cannot read this edit", allowed=SYNTAX)
