"""Words and tokens: which token positions a word of the prompt occupies.

Token texts are the vocabulary's own strings, in CLIP's format: BOS, the prompt, EOS, padding up to the
chunk's length; `</w>` ends a word. Positions count from 0 = BOS, so position 1 is the first token of the
prompt.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib_unet_viz.grammar import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BOS, EOS, END_OF_WORD = "<|startoftext|>", "<|endoftext|>", "</w>"


@dataclass(frozen=True)
class Word:
    """A word as the tokenizer splits text, and its token positions."""

    text: str
    positions: tuple[int, ...]


def words(tokens: Sequence[str]) -> list[Word]:
    """The words of a tokenised prompt in order, punctuation included; BOS, EOS and padding are none."""
    found: list[Word] = []
    letters, positions = "", list[int]()
    for position, token in enumerate(tokens):
        if token in (BOS, EOS) or position in (0, len(tokens) - 1):
            continue
        if token in ("!", "<pad>") and EOS in tokens[:position]:  # how SD 2 and SDXL's second encoder pad
            continue
        letters, positions = letters + token, [*positions, position]
        if token.endswith(END_OF_WORD):
            found.append(Word(_readable(letters), tuple(positions)))
            letters, positions = "", []
    if positions:
        found.append(Word(_readable(letters), tuple(positions)))
    return found


def readable(token: str) -> str:
    """A token's text as a person reads it: without the mark of the word's end, bytes decoded."""
    return {BOS: "BOS", EOS: "EOS"}.get(token) or _readable(token)


def content(tokens: Sequence[str]) -> list[int]:
    """Positions of all tokens that stand for text: not BOS, EOS or padding."""
    return [position for word in words(tokens) for position in word.positions]


def find(tokens: Sequence[str], phrase: str) -> tuple[int, ...]:
    """Positions of a word or phrase, as `tokens` split it; `word#2` is the word's second occurrence.

    Raises SpecError where the prompt does not hold it, naming the words that it holds.
    """
    text, mark, ordinal = phrase.strip().partition("#")
    wanted = [piece.lower() for piece in re.findall(r"\w+|[^\w\s]+", text)]
    there = words(tokens)
    starts = [
        start
        for start in range(len(there) - len(wanted) + 1)
        if wanted and [word.text.lower() for word in there[start : start + len(wanted)]] == wanted
    ]
    index = 0 if not mark else int(ordinal) - 1 if ordinal.isdigit() else -1
    if not 0 <= index < len(starts):
        count = f" {len(starts)} times" if starts else ""
        message = f"the prompt holds {text.strip()!r}{count or ' nowhere'}"
        raise SpecError(message, phrase, 0, len(phrase), allowed=tuple(word.text for word in there))
    return tuple(p for word in there[starts[index] : starts[index] + len(wanted)] for p in word.positions)


def indices(text: str, tokens: Sequence[str]) -> tuple[int, ...]:
    """Read "indices of tokens" such as `1, 3`: 1 = first token after BOS, a comma counts as a token.

    Blank means all content tokens. Raises SpecError for anything else, or an index the chunk does not have.
    """
    if not text.strip():
        return tuple(content(tokens))
    found = []
    for piece in re.finditer(r"[^,\s]+", text):
        if not piece[0].isdigit() or int(piece[0]) >= len(tokens):
            allowed = (f"0 (BOS) to {len(tokens) - 1}, separated by commas",)
            raise SpecError(
                f"{piece[0]!r} is no index of a token", text, piece.start(), piece.end(), allowed=allowed
            )
        found.append(int(piece[0]))
    return tuple(dict.fromkeys(found))


def select(tokens: Sequence[str], phrases: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Positions of each of several words or phrases, by their text."""
    return {phrase.strip(): find(tokens, phrase) for phrase in phrases if phrase.strip()}


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
