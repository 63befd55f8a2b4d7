"""Which token of a source prompt each token of a target prompt stands for.

Words that an edit swaps stand for each other; all other tokens are aligned by Needleman and Wunsch (1970), as
prompt-to-prompt does (Hertz et al. 2022; seq_aligner.py of google/prompt-to-prompt). What is left is new.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Literal

import torch
from torch import Tensor

from lib_unet_viz.notation import edits
from lib_unet_viz.notation import tokens as token_module
from lib_unet_viz.notation.edits import Span, Target
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.notation.tokens import Typed
from lib_unet_viz.notation.windows import Windows, within

Positions = tuple[int, ...]
Pair = tuple[Positions, Positions]  # tokens of the source, and those of the target that stand for them
Fate = Literal["kept", "swapped", "new"]

_MOST_TOKENS = 2_000  # time and memory grow with their square
_MATCH, _MISMATCH, _GAP = 1, -1, 0


@dataclass(frozen=True)
class Prompt:
    """A prompt and its tokens, with BOS, EOS and padding. syntax: the host reads the webui's (word:1.2)."""

    text: str
    tokens: Sequence[str]
    syntax: bool = False

    def at(self, span: Span) -> Positions:
        """Token positions of the words in a part of the text.

        Raises SpecError where the tokenizer made nothing of it.
        """
        found = [
            p for word in self._words if word.start < span[1] and word.end > span[0] for p in word.positions
        ]
        if not found:
            raise SpecError("the tokenizer dropped these words", self.text, *span)
        return tuple(found)

    @cached_property
    def _words(self) -> list[Typed]:
        return token_module.typed(self.text, self.tokens, syntax=self.syntax)


@dataclass(frozen=True)
class Alignment:
    """A target prompt against its source, token by token.

    pairs: tokens that stand for each other. swapped: positions in the target that an edit put in another
    word's place. strength: of target positions, where it is not 1.
    """

    source: Prompt
    target: Prompt
    pairs: tuple[Pair, ...]
    swapped: frozenset[int]
    strength: Mapping[int, float]

    @property
    def matrix(self) -> Tensor:
        """How much of a source token's map a target token gets, float32 (source token, target token).

        Several tokens share the map of what they stand for; the column of a new token is 0.
        """
        found = torch.zeros(len(self.source.tokens), len(self.target.tokens))
        for old, new in self.pairs:
            if len(old) == len(new):
                found[list(old), list(new)] = 1
            else:
                found[torch.tensor(old)[:, None], torch.tensor(new)] = 1 / len(new)
        return found

    @property
    def mapped(self) -> Tensor:
        """Which target tokens stand for one of the source's, bool (token)."""
        return _marked(len(self.target.tokens), (at for _, new in self.pairs for at in new))

    @property
    def strengths(self) -> Tensor:
        """Each target token's, float32 (token)."""
        found = torch.ones(len(self.target.tokens))
        for position, factor in self.strength.items():
            found[position] = factor
        return found

    def fate(self, position: int) -> Fate:
        """What became of a target token."""
        if position in self.swapped:
            return "swapped"
        return "kept" if any(position in new for _, new in self.pairs) else "new"

    def stands_for(self, position: int) -> Positions:
        """Source positions that a target token stands for, or shares with others."""
        for old, new in self.pairs:
            if position in new:
                return old if len(old) != len(new) else (old[new.index(position)],)
        return ()

    def positions(self, phrase: str) -> tuple[Positions, Positions]:
        """Where a word or phrase is in the source and in the target prompt; in one of them at least.

        A word that was swapped away is in the target what came in its place. Raises SpecError.
        """
        there = [_found(prompt, phrase) for prompt in (self.source, self.target)]
        if not any(there):
            words = [
                word.text
                for prompt in (self.source, self.target)
                for word in token_module.words(prompt.tokens)
            ]
            message = f"neither prompt holds {phrase!r}"
            raise SpecError(message, phrase, 0, len(phrase), allowed=dict.fromkeys(words))
        old, new = there
        new = new or tuple(j for old_, new_ in self.pairs if set(old_) & set(old) for j in new_)
        old = old or tuple(i for j in new for i in self.stands_for(j))
        return tuple(sorted(set(old))), tuple(sorted(set(new)))

    def holds(self, phrase: str) -> bool:
        """Whether one of the prompts has it."""
        return any(_found(prompt, phrase) for prompt in (self.source, self.target))

    def changed(self) -> tuple[Pair, ...]:
        """Tokens that the edits are about, in the source and in the target, neighbours together."""
        there = token_module.content(self.target.tokens)
        new = {at for at in there if self.fate(at) != "kept"} | set(self.strength)
        pairs = [
            (tuple(sorted({i for at in run for i in self.stands_for(at)})), run) for run in _runs(there, new)
        ]
        known = {i for at in there for i in self.stands_for(at)}
        olds = token_module.content(self.source.tokens)
        return (*pairs, *((run, ()) for run in _runs(olds, set(olds) - known)))

    def others(self, chosen: Sequence[Pair]) -> tuple[Pair, ...]:
        """The words of both prompts that are not among the chosen ones and do not stand beside one, as an
        adjective does."""
        near, words = [], []
        for side, prompt in enumerate((self.source, self.target)):
            taken = {at for pair in chosen for at in pair[side]}
            words.append([word.positions for word in token_module.words(prompt.tokens)])
            touched = [bool(taken & set(word)) for word in words[side]]
            around = zip(touched, [False, *touched], [*touched[1:], False], words[side], strict=False)
            near.append({at for *beside, word in around if any(beside) for at in word})
        pairs = [self._pair(word) for word in words[0]]
        known = {at for _, new in pairs for at in new}
        pairs += [((), word) for word in words[1] if not known & set(word)]
        return tuple(pair for pair in pairs if not any(set(pair[side]) & near[side] for side in (0, 1)))

    def _pair(self, old: Positions) -> Pair:
        """Tokens of the source and what stands for them in the target."""
        return old, tuple(sorted({j for old_, new_ in self.pairs if set(old_) & set(old) for j in new_}))

    def alpha(self, windows: Windows, step: int, total: int) -> Tensor:
        """Whether a step (from 0) gives each target token the source's map, float32 (token), 0 or 1."""
        found = torch.full((len(self.target.tokens),), float(within(windows.default, step, total)))
        for phrase, span in windows.words.items():
            if not self.holds(phrase):
                continue  # another target's
            found[list(self.positions(phrase)[1])] = float(within(span, step, total))
        return found


def align(source: Prompt, edit: Target, tokens: Sequence[str]) -> Alignment:
    """Align a target prompt, of these tokens, with its source.

    Of a prompt that was given as a whole, as many words that changed at one place as there were before are
    taken for swapped. Raises SpecError where the tokenizer made nothing of a word that an edit names, and for
    prompts of more than 2,000 tokens.
    """
    most = max(len(source.tokens), len(tokens))
    if most > _MOST_TOKENS:
        message = (
            f"prompts of at most {_MOST_TOKENS:,} tokens are compared word by word; one of these has {most:,}"
        )
        raise SpecError(message, edit.prompt, 0)
    target = Prompt(edit.prompt, tokens, source.syntax)
    swaps = [(source.at(old), target.at(new)) for old, new in edit.swapped]
    rest, gaps = _between(source.tokens, tokens, swaps)
    if edit.whole:
        swaps = [pair for gap in gaps for pair in _word_by_word(source.tokens, tokens, gap)]
    strength = {at: factor for span, factor in edit.weights for at in target.at(span)}
    pairs = [*_surroundings(source.tokens, tokens), *rest, *swaps]
    swapped = frozenset(at for _, new in swaps for at in new)
    return Alignment(source, target, tuple(sorted(pairs)), swapped, strength)


def _runs(positions: Sequence[int], chosen: Set[int]) -> Iterator[Positions]:
    """The chosen ones among some positions, in runs without another one between."""
    for within_run, run in groupby(positions, chosen.__contains__):
        if within_run:
            yield tuple(run)


def _found(prompt: Prompt, phrase: str) -> Positions:
    spans = edits.places(prompt.text, phrase)
    if spans:
        return tuple(p for span in spans for p in prompt.at(span))
    try:
        return token_module.find(prompt.tokens, phrase)
    except SpecError:
        return ()


def _marked(length: int, positions: Iterable[int]) -> Tensor:
    found = torch.zeros(length, dtype=torch.bool)
    found[list(positions)] = True
    return found


def _surroundings(source: Sequence[str], target: Sequence[str]) -> Iterator[Pair]:
    """BOS and EOS, chunk by chunk, and padding that is at the same place."""
    there, here = token_module.special(source), token_module.special(target)
    for kind in ("BOS", "EOS"):
        yield from (((i,), (j,)) for i, j in zip(there.get(kind, ()), here.get(kind, ()), strict=False))
    padding = set(there.get("padding", ()))
    yield from (((j,), (j,)) for j in here.get("padding", ()) if j in padding)


def _between(
    source: Sequence[str], target: Sequence[str], swaps: Sequence[Pair]
) -> tuple[list[Pair], list[Pair]]:
    """Pairs of equal tokens between the swapped ones, and what is between those without an equal."""
    pairs: list[Pair] = []
    gaps: list[Pair] = []
    apart = [_apart(tokens, [pair[side] for pair in swaps]) for side, tokens in enumerate((source, target))]
    for before, after in zip(*apart, strict=True):
        found = needleman_wunsch([source[at] for at in before], [target[at] for at in after])
        equal = [(before[i], after[j]) for i, j in found]
        pairs += [((i,), (j,)) for i, j in equal]
        gaps += _gaps(before, after, equal)
    return pairs, gaps


def _apart(tokens: Sequence[str], swapped: Sequence[Positions]) -> list[list[int]]:
    """Positions of text before, between and after the swapped ones."""
    starts, taken = sorted(at[0] for at in swapped), {at for positions in swapped for at in positions}
    parts: list[list[int]] = [[] for _ in range(len(swapped) + 1)]
    for at in token_module.content(tokens):
        if at not in taken:
            parts[bisect(starts, at)].append(at)
    return parts


def _gaps(before: Sequence[int], after: Sequence[int], equal: Sequence[tuple[int, int]]) -> Iterator[Pair]:
    """What stands between two matches, on both sides."""
    last_old, last_new = -1, -1
    for i, j in [*equal, (max(before, default=0) + 1, max(after, default=0) + 1)]:
        olds = tuple(at for at in before if last_old < at < i)
        news = tuple(at for at in after if last_new < at < j)
        if olds and news:
            yield olds, news
        last_old, last_new = i, j


def _word_by_word(source: Sequence[str], target: Sequence[str], gap: Pair) -> Iterator[Pair]:
    """The gap's words, if both sides have as many."""
    olds, news = (
        [word.positions for word in token_module.words(tokens) if set(word.positions) <= set(side)]
        for tokens, side in zip((source, target), gap, strict=True)
    )
    if len(olds) == len(news):
        yield from zip(olds, news, strict=True)


def needleman_wunsch(source: Sequence[str], target: Sequence[str]) -> list[tuple[int, int]]:
    """Places (in source, in target) of the equal items of a best global alignment, in order.

    Needleman and Wunsch 1970; a match counts 1, a mismatch -1, a gap 0.
    """
    score = [[0] * (len(target) + 1) for _ in range(len(source) + 1)]
    for i, old in enumerate(source, start=1):
        for j, new in enumerate(target, start=1):
            both = score[i - 1][j - 1] + (_MATCH if old == new else _MISMATCH)
            score[i][j] = max(both, score[i - 1][j] + _GAP, score[i][j - 1] + _GAP)
    found, i, j = [], len(source), len(target)
    while i and j:
        if source[i - 1] == target[j - 1] and score[i][j] == score[i - 1][j - 1] + _MATCH:
            found.append((i - 1, j - 1))
            i, j = i - 1, j - 1
        elif score[i][j] == score[i - 1][j]:
            i -= 1
        else:
            j -= 1
    return found[::-1]
