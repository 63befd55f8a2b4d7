"""Local blend: keep of a source picture what lies outside of the words that an edit is about.

Hertz et al. 2022, algorithm 1, lines 11 to 14, as LocalBlend of google/prompt-to-prompt has it: maps of the
words, summed over the steps so far, 3 x 3 max-pooled, divided by their maximum, above a threshold; the union
of the target's and the source's, and of those of several words. A mask of one's own narrows that further, or
is all that there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lib_unet_viz.attention import information
from lib_unet_viz.editing.alignment import Alignment, Pair
from lib_unet_viz.editing.own_mask import OwnMask
from lib_unet_viz.notation.tokens import content
from lib_unet_viz.settings import BlendMaps
from lib_unet_viz.unet import Size

_SIDES = (0, 1)  # of an alignment: the source, the target
_NOTHING = 1e-9
_Key = tuple[int, bool, int, int]  # image, whether it is wanted, side, number of the word


@dataclass(frozen=True)
class Blend:
    """What to blend by.

    words, subtract: for each target, words by their token positions in the source and in it; each word has a
    map of its own, and what those of `subtract` show is left out of the mask. own: nothing outside of it may
    change; without `words`, all inside. threshold: of the maps, and of `own`, whose maximum is 1. start:
    fraction of the steps before the first blend. maps: informative heads count more (`aggregation.informed`),
    or all alike as in the paper.
    """

    words: tuple[tuple[Pair, ...], ...] = ()
    subtract: tuple[tuple[Pair, ...], ...] = ()
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
        self._sums: dict[_Key, Tensor] = {}

    def clear(self) -> None:
        """Forget the maps, as before another pass."""
        self._sums.clear()

    def add(self, image: int, number: int, target: Alignment, maps: Sequence[Tensor], size: Size) -> None:
        """Add a layer's probabilities of the number-th target's source and its own, (head, token, position).

        image: the target's number in the batch. size: (height, width) of the positions.
        """
        blend = self.blend
        for side, prompt, shown in zip(_SIDES, (target.source, target.target), maps, strict=True):
            weights = _weights(shown, prompt.tokens) if blend.maps == "informed" else _alike(shown)
            for wanted, words in ((True, blend.words), (False, blend.subtract)):
                for word, pair in enumerate(words[number - 1] if words else ()):
                    if pair[side]:
                        key = (image, wanted, side, word)
                        each = torch.einsum("h,hp->p", weights, shown[:, list(pair[side])].sum(1))
                        self._sums[key] = self._sums.get(key, 0) + each.reshape(size)

    def mask(self, image: int, size: Size) -> Tensor:
        """Where a target may differ from its source, as seen so far: bool (y, x) of this size, on the CPU."""
        own, threshold = self.blend.own, self.blend.threshold
        allowed = torch.ones(size, dtype=torch.bool) if own is None else own.allows(size, threshold)
        if self.blend.words:
            allowed &= self._shown(image, size, wanted=True) & ~self._shown(image, size, wanted=False)
        return allowed

    def _shown(self, image: int, size: Size, *, wanted: bool) -> Tensor:
        """Where the words to blend by, or to leave out, are in a target or in its source."""
        found = torch.zeros(size, dtype=torch.bool)
        for key, total in self._sums.items():
            if key[:2] == (image, wanted):
                pooled = functional.max_pool2d(total.cpu()[None, None], 3, stride=1, padding=1)
                large = functional.interpolate(pooled, size=size)[0, 0]
                found |= large > self.blend.threshold * large.max()
        return found


def _weights(maps: Tensor, tokens: Sequence[str]) -> Tensor:
    """What each head tells for the attention that it pays to the text (head), as `aggregation.informed`."""
    return information(maps) / maps[:, content(tokens)].mean((1, 2)).clamp(min=_NOTHING)


def _alike(maps: Tensor) -> Tensor:
    return maps.new_full((len(maps),), 1 / len(maps))
