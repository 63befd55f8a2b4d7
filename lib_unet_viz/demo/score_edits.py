"""How well one word is swapped in the bundled model's pictures, and how much of the rest stays as it was.

Captions of two different objects on plain backgrounds; in each, one word that it holds once is swapped for a
word of neither object, a shape and a colour by turns, such that the articles before it stay right. Each
method makes a source and a target picture from one seed:

    none            plain generation of both captions
    replace         prompt-to-prompt
    replace_blend   prompt-to-prompt with local blend

No caption is left out of the shares, not even where the source lacks an object. An object's pixels are the
largest region of its colour in the source picture; where that is smaller than score_maps.SMALLEST the object
was not drawn, what needs its pixels is not measured, and `measured` says of how many captions it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import torch
from torch.nn import functional

from lib_unet_viz.demo.edit_metrics import Background, background, mse_in, pooled_psnr, psnr
from lib_unet_viz.demo.scenes import COLORS, SHAPES, Scene
from lib_unet_viz.demo.score_maps import CFG, SMALLEST, STEPS, held_out, masks_by_color
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.settings import EditSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from PIL import Image

    from lib_unet_viz.demo.scorer import Scorer
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    Picture8 = NDArray[np.uint8]
    Picture = Picture8 | Image.Image
    Mask = NDArray[np.bool_]

PLAIN = "none"
METHODS = (PLAIN, "replace", "replace_blend")
MARGIN = 8  # pixels around the swapped object in which its successor may lie

# Prompt, (old word, new word), method, seed: the source and the target picture, 8 bits (y, x, rgb).
Edit = Callable[[str, tuple[str, str], str, int], "tuple[Picture, Picture]"]
Kind = tuple[str, str]  # color, shape


class Swapped(Protocol):
    """A caption and the word that is swapped in it."""

    @property
    def caption(self) -> str: ...
    @property
    def old(self) -> str: ...
    @property
    def new(self) -> str: ...
    @property
    def target(self) -> str:
        """The caption with the new word."""


AnySwap = TypeVar("AnySwap", bound=Swapped)


@dataclass(frozen=True)
class Swap:
    """A caption and the word that is swapped in it; what the swapped object becomes, and the other object."""

    caption: str
    old: str
    new: str
    before: Kind
    after: Kind
    other: Kind

    @property
    def target(self) -> str:
        """The caption with the new word."""
        return re.sub(rf"\b{self.old}\b", self.new, self.caption)


@dataclass(frozen=True)
class Judged:
    """One edit: are the two objects in the source, the swapped and the other one in the target; what stayed.

    error: mean squared error over the other object's pixels; None where it, or the background, is unknown.
    """

    shown: bool
    swapped: bool
    other: bool
    error: float | None
    background: Background | None


def edits(
    model: Pipeline,
    scorer: Scorer,
    *,
    count: int,
    seed: int,
    make: Edit | None = None,
    methods: Sequence[str] = METHODS,
    progress: Callable[[float], None] = lambda done: None,
) -> dict[str, dict[str, Any]]:
    """Every method on the same captions; `make` (`by_attention`) makes the pictures of all but `none`.

    Returns by method: swapped_found, other_found: shares of targets in which the scorer finds the swapped
    and the other object; source_shown: of sources, both objects; other_psnr_db: mean PSNR over the other
    object's pixels, each at most edit_metrics.CAP, and other_pooled_psnr_db: that of the mean error;
    measured: captions in both; background: mean psnr_db, ssim and mse (edit_metrics.background) of the other
    object and of all that is not near the swapped one, and its captions; captions: all. None where nothing
    could be measured. `progress(done)`, done in [0, 1].
    """
    look = partial(judge, scorer)
    drawn = swaps(count=count, seed=seed)
    return measured(model, drawn, look, seed=seed, make=make, methods=methods, progress=progress)


def measured(
    model: Pipeline,
    drawn: Sequence[AnySwap],
    look: Callable[[AnySwap, Picture8, Picture8], Judged],
    *,
    seed: int,
    make: Edit | None,
    methods: Sequence[str],
    progress: Callable[[float], None],
) -> dict[str, dict[str, Any]]:
    """By method, the summary of what `look` says of each swap's source and target."""
    make = make or partial(by_attention, model)
    found: dict[str, dict[str, Any]] = {}
    for number, method in enumerate(methods):
        judged = []
        for index, swap in enumerate(drawn):
            pictures = _make(model, make, swap, method=method, seed=seed + index)
            source, target = map(np.asarray, pictures)
            judged.append(look(swap, source, target))
            progress((number + (index + 1) / len(drawn)) / len(methods))
        found[method] = summary(judged)
    return found


def swaps(*, count: int, seed: int) -> list[Swap]:
    """Held-out captions, each with a swap; a function of the seed."""
    rng = np.random.default_rng((seed, 2002))
    held = held_out(objects=2, count=count, seed=seed + 2, pattern="plain")
    return [_swap(scene, text, index, rng) for index, (scene, text) in enumerate(held)]


def _swap(scene: Scene, text: str, index: int, rng: np.random.Generator) -> Swap:
    """The index says by turns whether a shape or a colour is swapped; chance, which and for what."""
    place, words = (0, tuple(COLORS)) if index % 2 else (1, SHAPES)
    possible = []
    for thing, other in (scene.things, scene.things[::-1]):
        before, there = (thing.color, thing.shape), (other.color, other.shape)
        for new in words:
            after = (before[0], new) if place else (new, before[1])
            possible.append(Swap(text, before[place], new, before, after, there))
    fitting = [swap for swap in possible if _fits(swap)]
    return fitting[rng.integers(len(fitting))]


def _fits(swap: Swap) -> bool:
    """Is it one word of the caption and a new one, and are the articles still right?"""
    once = len(re.findall(rf"\b{swap.old}\b", swap.caption)) == 1
    wrong = re.search(r"\ba [aeiou]|\ban [^aeiou]", swap.target)
    return once and swap.new not in (*swap.before, *swap.other) and not wrong


def _make(model: Pipeline, make: Edit, swap: Swapped, *, method: str, seed: int) -> tuple[Picture, Picture]:
    if method != PLAIN:
        return make(swap.caption, (swap.old, swap.new), method, seed)
    source, target = (
        model.picture(text, steps=STEPS, cfg=CFG, seed=seed) for text in (swap.caption, swap.target)
    )
    return source, target


def by_attention(
    model: Pipeline, prompt: str, swap: tuple[str, str], method: str, seed: int
) -> tuple[Picture, Picture]:
    """What this package makes of a swap, with its defaults."""
    settings = EditSettings(edits=" -> ".join(swap), blend=method == "replace_blend")
    source, target = edit(model, prompt, settings, steps=STEPS, cfg=CFG, seed=seed).pictures
    return source, target


def judge(scorer: Scorer, swap: Swap, source: NDArray[np.uint8], target: NDArray[np.uint8]) -> Judged:
    """What the scorer finds in the source and in the target (y, x, rgb), and how much of the rest stayed."""
    before, after = scorer.found(np.stack([source, target]))
    other, old = (object_mask(source, color) for color in (swap.other[0], swap.before[0]))
    kept = None if old is None else _away(old) if other is None else _away(old) | other
    return Judged(
        shown={swap.before, swap.other} <= before,
        swapped=swap.after in after,
        other=swap.other in after,
        error=None if other is None else mse_in(source, target, other),
        background=None if kept is None else background(source, target, kept),
    )


def object_mask(picture: NDArray[np.uint8], color: str) -> Mask | None:
    """The largest region of a colour (y, x), None where it is too small; `masks_by_color` says what has it.

    The colour's other regions are no object: two colours mix at an edge to what may be near a third one.
    """
    masks = masks_by_color(picture, [color])
    if masks is None:
        return None
    mask = torch.from_numpy(masks[0])
    names = torch.arange(1, mask.numel() + 1, dtype=torch.float32).reshape(mask.shape) * mask
    while not torch.equal(names, wider := _widened(names) * mask):
        names = wider
    regions, sizes = names[mask].unique(return_counts=True)
    largest: Mask = (names == regions[sizes.argmax()]).numpy()
    return largest if largest.mean() >= SMALLEST else None


def _widened(values: torch.Tensor) -> torch.Tensor:
    """The largest value of each pixel's neighbourhood of 3 x 3."""
    found: torch.Tensor = functional.max_pool2d(values[None, None], 3, stride=1, padding=1)
    return found[0, 0]


def _away(mask: Mask) -> Mask:
    """All but the rectangle around an object's mask, with its margin."""
    kept = np.ones_like(mask)
    y, x = (slice(max(0, at.min() - MARGIN), at.max() + 1 + MARGIN) for at in mask.nonzero())
    kept[y, x] = False
    return kept


def summary(judged: Sequence[Judged]) -> dict[str, Any]:
    """Shares and means, as `edits` describes them."""
    errors = [each.error for each in judged if each.error is not None]
    backgrounds = [asdict(each.background) for each in judged if each.background is not None]
    return {
        "swapped_found": float(np.mean([each.swapped for each in judged])),
        "other_found": float(np.mean([each.other for each in judged])),
        "source_shown": float(np.mean([each.shown for each in judged])),
        "other_psnr_db": _mean([psnr(error) for error in errors]),
        "other_pooled_psnr_db": pooled_psnr(errors) if errors else None,
        "measured": len(errors),
        "background": {
            f"{name}_db" if name == "psnr" else name: _mean([each[name] for each in backgrounds])
            for name in ("psnr", "ssim", "mse")
        }
        | {"measured": len(backgrounds)},
        "captions": len(judged),
    }


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
