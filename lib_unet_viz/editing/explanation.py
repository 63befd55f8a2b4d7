"""What an edit will do, in words: both prompts side by side, and when and where attention is the source's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from lib_unet_viz.editing.alignment import Alignment, Pair
from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.notation import tokens as token_module
from lib_unet_viz.notation.windows import Window
from lib_unet_viz.unet import UNet

Words = tuple[tuple[str, ...], ...]  # each word's tokens
_GAP = "  "


@dataclass(frozen=True)
class Column:
    """Words of both prompts that stand for each other; one side is empty for what is new or dropped."""

    source: Words
    target: Words
    fate: Literal["kept", "swapped", "new", "dropped"]
    strength: float = 1.0

    @property
    def marks(self) -> list[str]:
        """What became of it, and its strength; nothing where both are as before."""
        strength = [f"×{self.strength:g}"] if self.strength != 1 else []
        return [*([] if self.fate == "kept" else [self.fate]), *strength]


def columns(target: Alignment) -> list[Column]:
    """Both prompts from left to right, word by word where they allow it."""
    spans = _spans(target)
    taken = {at for old, _ in spans for at in old}
    rest = [at for at in token_module.content(target.source.tokens) if at not in taken]
    found: list[Column] = []
    for old, new in spans:
        before = [at for at in rest if old and at < old[0]]
        rest = rest[len(before) :]
        found += _dropped(target.source.tokens, before)
        sides = (_words(target.source.tokens, old), _words(target.target.tokens, new))
        found.append(Column(*sides, target.fate(new[0]), target.strength.get(new[0], 1.0)))
    return [*found, *_dropped(target.source.tokens, rest)]


def _spans(target: Alignment) -> list[Pair]:
    """Target tokens of one word and one fate, with the source's that they stand for."""
    word_of = [_word_numbers(prompt.tokens) for prompt in (target.source, target.target)]
    found: list[Pair] = []
    for at in token_module.content(target.target.tokens):
        here = target.stands_for(at)
        old, new = found[-1] if found else ((), ())
        same_word = bool(new) and word_of[1][at] == word_of[1][new[-1]]
        same_source = bool(here and old) and word_of[0][here[0]] <= word_of[0][old[-1]]
        alike = bool(new) and _state(target, at) == _state(target, new[-1])
        if alike and (same_word or same_source):
            found[-1] = (tuple(sorted({*old, *here})), (*new, at))
        else:
            found.append((here, (at,)))
    return found


def _state(target: Alignment, at: int) -> tuple[str, float]:
    return target.fate(at), target.strength.get(at, 1.0)


def _dropped(tokens: Sequence[str], positions: Sequence[int]) -> Iterator[Column]:
    for word in _words(tokens, positions):
        yield Column((word,), (), "dropped")


def _words(tokens: Sequence[str], positions: Sequence[int]) -> Words:
    """The tokens at these positions as people read them, those of a word together."""
    numbers = _word_numbers(tokens)
    groups = groupby(positions, key=lambda at: numbers[at])
    return tuple(tuple(token_module.readable(tokens[at]) for at in group) for _, group in groups)


def _word_numbers(tokens: Sequence[str]) -> dict[int, int]:
    return {at: number for number, word in enumerate(token_module.words(tokens)) for at in word.positions}


def aligned(target: Alignment, *, width: int = 100) -> str:
    """The columns as lines of text: source, target, what became of them; wrapped at a width in letters."""
    lines: list[list[str]] = []
    for column in columns(target):
        cells = [_joined(column.source), _joined(column.target), " ".join(column.marks)]
        cells = [cell.ljust(max(map(len, cells))) for cell in cells]
        if not lines or len(lines[-1][0]) + len(_GAP) + len(cells[0]) > width:
            lines.append(["source:", "target:", "       "])
        lines[-1] = [line + _GAP + cell for line, cell in zip(lines[-1], cells, strict=True)]
    return "\n\n".join("\n".join(line.rstrip() for line in block) for block in lines)


def _joined(words: Words) -> str:
    return " ".join("·".join(word) for word in words) or "-"


def facts(plan: Plan, unet: UNet | None = None) -> list[str]:
    """When and where attention is the source's, for all targets. Raises SpecError for blocks not there."""
    cross = [_during(plan.cross.default), *(f"{word} {_during(at)}" for word, at in plan.cross.words.items())]
    largest = f", up to {plan.self_size} × {plan.self_size} positions" if plan.self_size else ""
    where = f"in {plan.blocks.text}" if plan.blocks.text.strip() else "in all blocks"
    if unet is not None:
        readers = [name for name, block in unet.blocks.items() if block.cross]
        chosen = set(plan.blocks.names(unet)) & set(readers)
        where = f"in {len(chosen)} of {len(readers)} blocks with attention"
    return [
        f"cross-replace steps: {', '.join(cross)}",
        f"self-replace steps: {_during(plan.self_)}{largest}",
        where,
    ]


def _during(window: Window) -> str:
    if window[0] == window[1]:
        return "none"
    if window == (0, 1):
        return "all"
    return f"{window[0]:.0%} to {window[1]:.0%}"


def blended(plan: Plan, number: int) -> str:
    """What of the picture the number-th target (from 1) may change."""
    if plan.blend is None:
        return "no local blend: all of the picture may change"
    target, blend = plan.targets[number - 1], plan.blend
    words, without = (
        _names(target, both[number - 1]) if both else "" for both in (blend.words, blend.subtract)
    )
    start = f" from {blend.start:.0%} of the steps on" if blend.start else ""
    own = "" if blend.own is None else f"inside the given mask ({blend.own.share:.0%} of the picture)"
    if own and not blend.words:
        return f"mask{start}: only what is {own} may change"
    if not words:
        return "local blend without a word: nothing may change"
    less = f", but not {without}" if without else ""
    more = " more than the other words" if blend.maps == "informed" else ""
    return (
        f"local blend{start}: only where {words} shows{more}{f' and {own}' if own else ''} may change{less}"
    )


def _names(target: Alignment, pairs: Sequence[Pair]) -> str:
    """The words at these positions of both prompts, as a list."""
    found: dict[str, None] = {}
    for side, prompt in enumerate((target.source, target.target)):
        places = {at for pair in pairs for at in pair[side]}
        words = token_module.words(prompt.tokens)
        found |= {word.text: None for word in words if set(word.positions) & places}
    return ", ".join(found)
