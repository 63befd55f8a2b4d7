"""Edits: what is to become of a prompt, one line each, and the target prompts that they make.

    cat -> dog              a word becomes another; either side may have several words, and nothing removes it
    + wearing sunglasses    words more, at the end; `hat + with a feather` puts them after a word
    hat * 2.5               how strongly a word acts, -2 to 10
    = a dog with a hat      a whole target prompt, instead of words
    ---                     what follows makes another target of the same source

`;` may stand instead of a line break. A word stands for all its places in the prompt, `cat#2` for the second.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lib_unet_viz.notation.specs import SpecError

WEAKEST, STRONGEST = -2.0, 10.0
SYNTAX = ("cat -> dog", "+ wearing sunglasses", "hat * 2.5", "= a whole prompt", "--- before another target")
_LINE = re.compile(r"[^\n;]+")
_WEIGHT = re.compile(r"(?P<word>.+?)\s*\*\s*(?P<factor>\S*)")
_SWAP = re.compile(r"(?P<old>.*?)\s*(?:->|→)\s*(?P<new>.*)")
_ADD = re.compile(r"(?P<word>.*?)(?:^|\s+)\+\s*(?P<words>.+)")
_RULE = re.compile(r"-{3,}")

Span = tuple[int, int]  # of a text: start, end


@dataclass(frozen=True)
class Target:
    """One target prompt and how it comes from the source's.

    swapped: places in the source prompt and in this one that stand for each other. weights: places in this
    prompt and their strength. whole: it was given as a whole, so that words changed have to be found.
    said: the edits in short.
    """

    prompt: str
    swapped: tuple[tuple[Span, Span], ...] = ()
    weights: tuple[tuple[Span, float], ...] = ()
    added: tuple[Span, ...] = ()
    whole: bool = False
    said: str = ""


@dataclass(frozen=True)
class _Line:
    """One edit as it stands in the text of all."""

    text: str
    start: int
    whole: str

    def error(
        self, message: str, at: int = 0, end: int | None = None, allowed: Iterable[str] = ()
    ) -> SpecError:
        stop = self.start + (len(self.text) if end is None else end)
        return SpecError(message, self.whole, self.start + at, stop, allowed)


@dataclass(frozen=True)
class _Change:
    """Text put in the place of a part of the source prompt."""

    place: Span
    text: str
    swap: bool
    line: _Line


def targets(source: str, text: str) -> tuple[Target, ...]:
    """The target prompts that the edits make of a source prompt, in the order of the text.

    Raises SpecError, with its place in the text of the edits, for a line that cannot be read, a word that the
    prompt lacks, edits of the same words, and where there is no edit at all.
    """
    parts = list(_parts(text))
    if not parts:
        raise SpecError("there is no edit", text, 0, allowed=SYNTAX)
    return tuple(_target(source, lines) for lines in parts)


def first(text: str) -> str:
    """The edits of the first target alone."""
    return "\n".join(line.text for line in next(_parts(text), []))


def _parts(text: str) -> Iterator[list[_Line]]:
    """The lines of each target."""
    lines: list[_Line] = []
    for match in _LINE.finditer(text):
        stripped = match[0].strip()
        line = _Line(stripped, match.start() + len(match[0]) - len(match[0].lstrip()), text)
        if _RULE.fullmatch(stripped):
            if not lines:
                raise line.error("no edit stands before this", allowed=SYNTAX)
            yield lines
            lines = []
        elif stripped:
            lines.append(line)
    if lines:
        yield lines


def _target(source: str, lines: list[_Line]) -> Target:
    said = "; ".join(line.text for line in lines)
    wholes = [line for line in lines if line.text.startswith("=")]
    weighted = [line for line in lines if line not in wholes and _weight(line) is not None]
    changing = [line for line in lines if line not in wholes and line not in weighted]
    if len(wholes) > 1 or (wholes and changing):
        raise (changing or wholes[1:])[0].error("a whole target prompt leaves nothing to change by words")
    if wholes:
        prompt = wholes[0].text[1:].strip()
        if not prompt:
            raise wholes[0].error("the target prompt is blank")
        target = Target(prompt, whole=True, said=said)
    else:
        target = _changed(source, [change for line in changing for change in _changes(source, line)], said)
    weights = [one for line in weighted for one in _strengths(target.prompt, line)]
    return Target(target.prompt, target.swapped, tuple(weights), target.added, target.whole, said)


def _changed(source: str, changes: list[_Change], said: str) -> Target:
    """The prompt with all changes, and where these stand in both."""
    text, at = "", 0
    swapped, added = [], []
    for change in sorted(changes, key=lambda change: change.place):
        start, end = change.place
        if start < at:
            raise change.line.error("these words are already changed by another edit")
        text += source[at:start]
        place = (len(text), len(text) + len(change.text))
        if change.swap and change.text:
            swapped.append((change.place, place))
        elif change.text:
            added.append(place)
        text, at = text + change.text, end
    return Target(text + source[at:], tuple(swapped), added=tuple(added), said=said)


def _changes(source: str, line: _Line) -> Iterator[_Change]:
    swap, add = _SWAP.fullmatch(line.text), _ADD.fullmatch(line.text)
    if swap is not None:
        old, new = swap["old"].strip(), swap["new"].strip()
        if not old:
            raise line.error("nothing stands before the arrow", allowed=SYNTAX)
        for place in _places(source, old, line):
            yield _Change(place, new, True, line)
    elif add is not None and add["word"].strip():
        for _, end in _places(source, add["word"].strip(), line):
            yield _Change((end, end), f" {add['words'].strip()}", False, line)
    elif add is not None:
        gap = "" if not source or source[-1].isspace() else " "
        yield _Change((len(source), len(source)), gap + add["words"].strip(), False, line)
    else:
        raise line.error("this is no edit", allowed=SYNTAX)


def _weight(line: _Line) -> re.Match[str] | None:
    return None if "->" in line.text or "→" in line.text else _WEIGHT.fullmatch(line.text)


def _strengths(prompt: str, line: _Line) -> Iterator[tuple[Span, float]]:
    match = _WEIGHT.fullmatch(line.text)
    if match is None:
        return
    range_ = f"{WEAKEST:g} to {STRONGEST:g}"
    try:
        factor = float(match["factor"])
    except ValueError:
        raise line.error("this is no number", match.start("factor"), allowed=(range_,)) from None
    if not WEAKEST <= factor <= STRONGEST:
        raise line.error("this strength is not possible", match.start("factor"), allowed=(range_,))
    for place in _places(prompt, match["word"].strip(), line):
        yield place, factor


def _places(prompt: str, phrase: str, line: _Line) -> list[Span]:
    """Where a word or phrase stands in a prompt; `cat#2` is its second place."""
    found, ordinal = places(prompt, phrase), None
    if not found and (numbered := re.fullmatch(r"(.+)#(\d+)", phrase)):
        found, ordinal = places(prompt, numbered[1]), int(numbered[2])
    if ordinal is not None:
        found = found[ordinal - 1 : ordinal] if ordinal else []
    if not found:
        at = line.text.find(phrase)
        words = dict.fromkeys(re.findall(r"\w+(?:['-]\w+)*", prompt))
        raise line.error(
            f"the prompt {prompt!r} does not hold these words", at, at + len(phrase), allowed=words
        )
    return found


def places(prompt: str, phrase: str) -> list[Span]:
    """All places of a word or phrase in a prompt; words count as a whole, case and blanks do not."""
    words = r"\s+".join(re.escape(word) for word in phrase.split())
    return [match.span() for match in re.finditer(rf"(?<!\w){words}(?!\w)", prompt, re.IGNORECASE)]
