"""Local blend: keep of a source picture what lies outside of the words that an edit is about.

Hertz et al. 2022, algorithm 1, lines 11 to 14, as LocalBlend of google/prompt-to-prompt has it: maps of the
words, summed over the steps so far, 3 x 3 max-pooled, divided by their maximum, above a threshold; the union
of the target's and the source's, and of those of several words. A mask of one's own narrows that further, or
is all that there is.

Unless maps are wanted as in the paper, words compete for each place, so that "lion" does not take in the
burger beside it, which its attention grazes too. The decoded source is pasted over what the mask leaves out:
a decoder sees the whole picture, and draws something else even where the latent is the source's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lib_unet_viz.attention import information
from lib_unet_viz.editing.alignment import Alignment, Pair, Positions
from lib_unet_viz.editing.own_mask import OwnMask
from lib_unet_viz.notation.tokens import content
from lib_unet_viz.settings import BlendMaps
from lib_unet_viz.unet import Size

_SIDES = (0, 1)  # of an alignment: the source, the target
_NOTHING = 1e-9
# A map's focus is its maximum by its mean. A word of less than EVERYWHERE has no place of its own, such as a
# style, and keeps all; rivals have SHARP times its focus, which articles have not. Words whose maps correlate
# more than TOGETHER, such as "red" and "car", show one thing.
EVERYWHERE, SHARP, TOGETHER = 2.0, 0.6, 0.7


@dataclass(frozen=True)
class Blend:
    """What to blend by.

    words, subtract: for each target, words by their token positions in the source and in it; each word has a
    map of its own, and what those of `subtract` show is left out of the mask. others: words that compete for
    each place. own: nothing outside of it may change; without `words`, all inside. threshold: of the maps,
    its square where words compete, and of `own`, whose maximum is 1. start: fraction of the steps before the
    first blend. maps: informative heads count more (`aggregation.informed`) and words compete, or all alike
    as in the paper.
    """

    words: tuple[tuple[Pair, ...], ...] = ()
    subtract: tuple[tuple[Pair, ...], ...] = ()
    others: tuple[tuple[Pair, ...], ...] = ()
    threshold: float = 0.3
    start: float = 0.2
    maps: BlendMaps = "informed"
    own: OwnMask | None = None

    def begins(self, step: int, total: int) -> bool:
        """Whether latents are blended after this step (from 0)."""
        return step + 1 > int(self.start * total)


class LocalBlend:
    """The maps of a run so far, and the masks that they make. Images count as the host's rows do."""

    def __init__(self, blend: Blend) -> None:
        self.blend = blend
        self._sums: dict[tuple[int, int], Tensor] = {}  # by image and side: (token, y, x)

    def clear(self) -> None:
        """Forget the maps, as before another pass."""
        self._sums.clear()

    def add(self, image: int, target: Alignment, maps: Sequence[Tensor], size: Size) -> None:
        """Add a layer's probabilities of an image's source and its own, (head, token, position).

        size: (height, width) of the positions.
        """
        for side, prompt, shown in zip(_SIDES, (target.source, target.target), maps, strict=True):
            weights = _weights(shown, prompt.tokens) if self.blend.maps == "informed" else _alike(shown)
            found = torch.einsum("h,htp->tp", weights, shown).unflatten(1, size)
            self._sums[image, side] = self._sums.get((image, side), 0) + found

    def mask(self, image: int, number: int, size: Size) -> Tensor:
        """Where an image, the number-th target, may differ from its source, as seen so far: bool (y, x) of
        this size, on the CPU."""
        blend, own = self.blend, self.blend.own
        allowed = torch.ones(size, dtype=torch.bool) if own is None else own.allows(size, blend.threshold)
        if blend.words:
            shown = self._shown(image, number)
            allowed &= functional.interpolate(shown[None, None].float(), size=size)[0, 0] > 0
        return allowed

    def _shown(self, image: int, number: int) -> Tensor:
        """Where the words to blend by are in a target or in its source, less what is left out in either."""
        wanted = unwanted = torch.zeros(1, 1, dtype=torch.bool)
        for side in _SIDES:
            if (image, side) not in self._sums:
                continue
            maps = self._sums[image, side].cpu()
            words, left_out, others = (
                _of_words(maps, [pair[side] for pair in pairs[number - 1]] if pairs else [])
                for pairs in (self.blend.words, self.blend.subtract, self.blend.others)
            )
            threshold = self.blend.threshold
            if self.blend.maps == "informed" and len(words):
                # Rivals bound the words, which may reach farther: what they showed is to vanish to its edge.
                wanted = wanted | _near(words, threshold**2)
                unwanted = unwanted | self._lost(*map(_smooth, (words, left_out, others)))
            else:
                wanted, unwanted = wanted | _near(words, threshold), unwanted | _near(left_out, threshold)
        return wanted & ~unwanted

    def _lost(self, words: Tensor, left_out: Tensor, others: Tensor) -> Tensor:
        """Where a word to leave out, or a rival among the others, is, and shows more than the words to blend
        by, of their maps (word, y, x): bool (y, x). Ours."""
        rivals = torch.cat([left_out, others[_compete(others, words)]])
        theirs, mine = _relative(rivals), _relative(words).amax(0)
        return ((theirs > self.blend.threshold) & (theirs > mine)).any(0)


def paste(source: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """A decoded target (channel, y, x), the source outside of a mask, bool (y, x) of any size. One passes
    into the other over one of the mask's positions, so that no edge is seen."""
    inside = functional.interpolate(mask[None, None].to(target), size=target.shape[1:], mode="bilinear")[0, 0]
    return torch.lerp(source, target, inside)


def _near(words: Tensor, threshold: float) -> Tensor:
    """Where words of these maps (word, y, x) are, and beside them: bool (y, x)."""
    pooled = functional.max_pool2d(words[:, None], 3, stride=1, padding=1)[:, 0]
    return (_relative(pooled) > threshold).any(0)


def _of_words(maps: Tensor, words: Sequence[Positions]) -> Tensor:
    """The maps (word, y, x) of words by their positions, of those of tokens (token, y, x).

    None for (), nor for a word that is nowhere, as one whose strength is 0 or less.
    """
    found = [maps[list(positions)].sum(0) for positions in words if positions]
    there = [each for each in found if each.max() > 0]
    return torch.stack(there) if there else maps[:0]


def _smooth(words: Tensor) -> Tensor:
    """Maps (word, y, x) averaged over 3 x 3 places."""
    return functional.avg_pool2d(words[:, None], 3, stride=1, padding=1, count_include_pad=False)[:, 0]


def _relative(words: Tensor) -> Tensor:
    """Each map (word, y, x) divided by its maximum."""
    return words / words.amax((1, 2), keepdim=True)


def _compete(others: Tensor, words: Tensor) -> Tensor:
    """Which words have a place of their own beside the words to blend by, of their maps (word, y, x)."""
    mine, theirs = (maps.amax((1, 2)) / maps.mean((1, 2)) for maps in (words, others))
    focused = (mine >= EVERYWHERE) & (theirs[:, None] >= SHARP * mine)
    return (focused & (_correlations(others, words) <= TOGETHER)).all(1)


def _correlations(first: Tensor, second: Tensor) -> Tensor:
    """Pearson's of each two maps, (first, second), of maps (word, y, x)."""
    a, b = (
        functional.normalize((each - each.mean((1, 2), keepdim=True)).flatten(1)) for each in (first, second)
    )
    return a @ b.T


def _weights(maps: Tensor, tokens: Sequence[str]) -> Tensor:
    """What each head tells for the attention that it pays to the text (head), as `aggregation.informed`."""
    return information(maps) / maps[:, content(tokens)].mean((1, 2)).clamp(min=_NOTHING)


def _alike(maps: Tensor) -> Tensor:
    return maps.new_full((len(maps),), 1 / len(maps))
