"""Words and tokens: which token positions a word of the prompt occupies.

Token texts are the vocabulary's own strings, in CLIP's format: BOS, the prompt, EOS, padding up to the
chunk's length; `</w>` ends a word. A long prompt is several such chunks, one after another (AUTOMATIC1111's
webui, modules/sd_hijack_clip.py). Positions count from 0 = BOS, so position 1 is the first token of the
prompt.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_unet_viz.notation.errors import SpecError, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

BOS, EOS, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"
_LONGEST_PHRASE, _MOST_NOWHERE = 1_000, 1_000


@dataclass(frozen=True)
class Word:
    """A word as the tokenizer splits text, and its token positions."""

    text: str
    positions: tuple[int, ...]


def words(tokens: Sequence[str]) -> list[Word]:
    """The words of a tokenised prompt in order, punctuation included; BOS, EOS and padding are none."""
    found: list[Word] = []
    positions: list[int] = []
    for position in _text(tokens):
        positions.append(position)
        if tokens[position].endswith(END_OF_WORD):
            found.append(_word(tokens, positions))
            positions = []
    return [*found, _word(tokens, positions)] if positions else found


def _word(tokens: Sequence[str], positions: Sequence[int]) -> Word:
    return Word(_readable("".join(tokens[position] for position in positions)), tuple(positions))


def named(tokens: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Positions of each word by its text; a repeated word gets `#2`, `#3`..."""
    found: dict[str, tuple[int, ...]] = {}
    counts: Counter[str] = Counter()
    for word in words(tokens):
        counts[word.text] += 1
        found[word.text if counts[word.text] == 1 else f"{word.text}#{counts[word.text]}"] = word.positions
    return found


def special(tokens: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Positions of what is no text, of all chunks: BOS, EOS (each chunk's first) and padding."""
    text = set(_text(tokens))
    found: dict[str, list[int]] = {"BOS": [], "EOS": [], "padding": []}
    ended = False
    for position, token in enumerate(tokens):
        if position not in text:
            kind = "BOS" if token == BOS else "EOS" if token == EOS and not ended else "padding"
            found[kind].append(position)
            ended = kind != "BOS"
    return {kind: tuple(positions) for kind, positions in found.items() if positions}


def _text(tokens: Sequence[str]) -> Iterator[int]:
    """Positions of text: in each chunk those after BOS and before the first EOS.

    SD 2 and SDXL's second encoder pad with other tokens than EOS.
    """
    ended = False
    for position, token in enumerate(tokens):
        if token in (BOS, EOS):
            ended = token == EOS
        elif not ended and token != "<pad>" and position not in (0, len(tokens) - 1):
            yield position


def readable(token: str) -> str:
    """A token's text as a person reads it: without the mark of the word's end, bytes decoded."""
    return {BOS: "BOS", EOS: "EOS"}.get(token) or _readable(token)


def content(tokens: Sequence[str]) -> list[int]:
    """Positions of all tokens that stand for text: not BOS, EOS or padding."""
    return [position for word in words(tokens) for position in word.positions]


def find(tokens: Sequence[str], phrase: str) -> tuple[int, ...]:
    """Positions of a word or phrase; `word#2` is the word's second occurrence.

    What is not found as it stands is looked for without the webui's syntax: "(red cat:1.2)" is "red cat".
    `BOS`, `EOS` and `padding`, where they are no words of the prompt, are what surrounds the text.

    Raises SpecError where the prompt does not hold it, naming the words that it holds.
    """
    return _Searched(words(tokens), special(tokens)).find(phrase)


class _Searched:
    """The words of a prompt, in which phrases are looked for.

    A phrase's pieces are one word or several (CLIP's "512" is three), so that letters without blanks are
    searched, and then whether words begin and end where pieces do.
    """

    def __init__(self, there: Iterable[Word], around: Mapping[str, tuple[int, ...]]) -> None:
        self.words = [word for word in there if word.text]
        self._around = around
        lowered = [word.text.lower() for word in self.words]
        self._letters = "".join(lowered)
        self._starts = _borders(lowered)

    def find(self, phrase: str) -> tuple[int, ...]:
        """As the function `find` says."""
        if len(phrase) > _LONGEST_PHRASE:
            message = f"a word or phrase has at most {_LONGEST_PHRASE:,} characters"
            raise SpecError(message, phrase, _LONGEST_PHRASE, _LONGEST_PHRASE)
        literally = next(self._places(phrase), None)
        if literally is not None:
            return self._positions(literally)
        text, mark, ordinal = phrase.strip().rpartition("#") if "#" in phrase else (phrase.strip(), "", "")
        places = list(self._places(text)) or list(self._places("".join(_plain(text))))
        if not places and phrase.strip() in self._around:
            return self._around[phrase.strip()]
        index = 0 if not mark else int(ordinal) - 1 if ordinal.isdecimal() else -1
        if not 0 <= index < len(places):
            count = f" {len(places)} times" if places else ""
            message = f"the prompt holds {short(text)!r}{count or ' nowhere'}"
            allowed = tuple(word.text for word in self.words)
            raise SpecError(message, phrase, 0, len(phrase), allowed=allowed)
        return self._positions(places[index])

    def _places(self, phrase: str) -> Iterator[range]:
        """Of every occurrence of a phrase: which words it is."""
        pieces = phrase.lower().split()
        sought = "".join(pieces)
        ends = list(itertools.accumulate(map(len, pieces)))
        at = self._letters.find(sought) if sought else -1
        while at >= 0:
            if at in self._starts and all(at + end in self._starts for end in ends):
                yield range(self._starts[at], self._starts[at + len(sought)])
            at = self._letters.find(sought, at + 1)

    def _positions(self, place: range) -> tuple[int, ...]:
        return tuple(position for index in place for position in self.words[index].positions)


def indices(text: str, tokens: Sequence[str]) -> tuple[int, ...]:
    """Read "indices of tokens" such as `1, 3`: 1 = first token after BOS, a comma counts as a token.

    Blank means all content tokens. Raises SpecError for anything else, or an index the chunk does not have.
    """
    if not text.strip():
        return tuple(content(tokens))
    found = []
    for piece in re.finditer(r"[^,\s]+", text):
        if not piece[0].isdecimal() or int(piece[0]) >= len(tokens):
            allowed = (f"0 (BOS) to {len(tokens) - 1}, separated by commas",)
            raise SpecError(
                f"{short(piece[0])!r} is no index of a token",
                text,
                piece.start(),
                piece.end(),
                allowed=allowed,
            )
        found.append(int(piece[0]))
    return tuple(dict.fromkeys(found))


def checked(positions: Iterable[int], tokens: Sequence[str]) -> tuple[int, ...]:
    """The positions, each once. Raises ValueError for one that the prompt does not have."""
    found = tuple(dict.fromkeys(positions))
    for position in found:
        if not 0 <= position < len(tokens):
            raise ValueError(f"{position} is no index of a token; allowed: 0 (BOS) to {len(tokens) - 1}")
    return found


def select(tokens: Sequence[str], phrases: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Positions of each of several words or phrases, by their text."""
    searched = _Searched(words(tokens), special(tokens))
    return {phrase.strip(): searched.find(phrase) for phrase in phrases if phrase.strip()}


@dataclass(frozen=True)
class Typed:
    """A word as a person typed it: `text` is `prompt[start:end]`; `sub`: which of the prompts that AND joins.

    `positions` are the token's places in that prompt's context.
    """

    text: str
    start: int
    end: int
    positions: tuple[int, ...]
    sub: int = 0


def typed(prompt: str, tokens: Sequence[str] | Sequence[Sequence[str]], *, syntax: bool) -> list[Typed]:
    """The words of a prompt where they stand in what was typed.

    tokens: of the prompt, or of each of the prompts that AND joins. syntax: whether the host reads the
    webui's: (emphasis:1.2), [less], AND, BREAK, and backslashes before brackets (modules/prompt_parser.py).
    Words that the tokenizer changed beyond case are left out, as are those that fit nowhere, and all after
    a thousand different ones that do not: these are no tokens of this prompt.
    """
    parts: list[Sequence[str]] = [tokens] if not tokens or isinstance(tokens[0], str) else list(tokens)  # type: ignore[list-item]
    plain = list(_plain(prompt)) if syntax else list(prompt)
    borders = [match.span() for match in _AND.finditer(prompt)] if syntax and len(parts) > 1 else []
    starts, ends = [0, *(end for _, end in borders)], [*(start for start, _ in borders), len(prompt)]
    found = []
    for sub, (part, start, end) in enumerate(zip(parts, starts, ends, strict=False)):
        for word, (first, last) in _spelled(words(part), plain, start, end):
            found.append(Typed(prompt[first:last], first, last, word.positions, sub))
    return found


_AND = re.compile(r"\bAND\b(?:\s*:\s*[+-]?[\d.]+)?")
_SYNTAX = re.compile(rf"{_AND.pattern}|\bBREAK\b|:\s*[+-]?[\d.]+\s*(?=[)\]])|\\(?=[()\[\]])|(?<!\\)[()\[\]]")


def _plain(prompt: str) -> Iterator[str]:
    """The letters of a prompt, with a blank (before a bracket: nothing) for each of the syntax."""
    at = 0
    for match in _SYNTAX.finditer(prompt):
        yield from prompt[at : match.start()]
        yield from ("" if letter == "\\" else " " for letter in match[0])
        at = match.end()
    yield from prompt[at:]


def _borders(parts: Iterable[str]) -> dict[int, int]:
    """Where each of some texts starts, none of them empty, if they are joined, and where the last ends."""
    return {at: index for index, at in enumerate(itertools.accumulate(map(len, parts), initial=0))}


def _spelled(
    there: Iterable[Word], letters: Sequence[str], start: int, end: int
) -> Iterator[tuple[Word, tuple[int, int]]]:
    """Words with the places (start, end) where they stand one after the other; empty letters do not count.

    What is nowhere is not looked for again, since what follows is less.
    """
    full = [at for at in range(start, end) if letters[at]]
    lowered = [letters[at].lower() for at in full]
    text, order = "".join(lowered), _borders(lowered)
    at, nowhere = 0, set[str]()
    for word in there:
        sought = word.text.lower()
        if not sought or sought in nowhere or len(nowhere) == _MOST_NOWHERE:
            continue
        found = text.find(sought, at)
        while found >= 0 and not (found in order and found + len(sought) in order):
            found = text.find(sought, found + 1)
        if found < 0:
            nowhere.add(sought)
            continue
        at = found + len(sought)
        yield word, (full[order[found]], full[order[at] - 1] + 1)


def _byte_values() -> dict[str, int]:
    """GPT-2's printable stand-ins for bytes (openai/gpt-2, src/encoder.py, bytes_to_unicode)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + n): byte for n, byte in enumerate(others)}


BYTES = _byte_values()


def _readable(letters: str) -> str:
    text = letters.removesuffix(END_OF_WORD)
    if not all(letter in BYTES for letter in text):
        return text
    return bytes(BYTES[letter] for letter in text).decode("utf-8", errors="replace")
