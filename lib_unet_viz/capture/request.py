"""What to record, what a U-Net call is, and how many bytes a recording will take."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, cast, get_args

import torch
from torch import nn

from lib_unet_viz.notation.specs import BlockSpec, LateSteps, SpecError, StepSpec
from lib_unet_viz.trace import Half, Kind, Pass, What
from lib_unet_viz.unet import AttentionSite, Block, UNet

T = TypeVar("T", bound=str)

_WHAT = ("Q", "K", "QK", "VQK")
WHOLE = 32 * 32  # positions of a layer whose whole self-attention is kept for word maps
REFINING = LateSteps(4)  # of a run in which it is, as `benchmarks/heatmaps.py --steps` found


class BudgetError(ValueError):
    """A recording or file would be larger than allowed; `needed` and `budget` are bytes."""

    def __init__(self, needed: int, budget: int) -> None:
        super().__init__(
            f"the maps need {needed / 1e6:.1f} MB ({needed} bytes), more than the budget of "
            f"{budget / 1e6:.1f} MB ({budget} bytes); ask for fewer blocks or steps, or raise the budget"
        )
        self.needed = needed
        self.budget = budget


@dataclass(frozen=True)
class Row:
    """One row of a U-Net call's batch: which image, which half of the guidance, which AND sub-prompt."""

    image: int
    half: Half
    sub: int = 0


@dataclass(frozen=True)
class Call:
    """What one forward of the U-Net is, as the host says.

    `step` counts from 0 and is one of `total` sampling steps; `rows` has one entry per row of the batch, in
    order; `size` is the latent's (height, width); a `sigma` of None is not known.
    """

    step: int
    total: int
    sigma: float | None
    rows: tuple[Row, ...]
    size: tuple[int, int]
    pass_: Pass = "first"

    @property
    def attending(self) -> int:
        """How many rows a self-attention has that perturbs: the perturbed ones, the last, look at nothing."""
        return sum(row.half != "perturbed" for row in self.rows)


class Calls(Protocol):
    """Asked once before each forward of the U-Net, with its arguments; None: do not record this one."""

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None: ...


@dataclass(frozen=True, init=False)
class Capture:
    """What to keep of a run.

    blocks, steps: as `BlockSpec` and `StepSpec` (or `LateSteps`), or texts of these; blank is all.
    what: of attentions, any of Q, K, QK, VQK. kinds: cross, self.
    halves: cond, uncond, perturbed. images: indices; None all.
    tokens: of cross-attention's QK, only these tokens (indices into the context, from 0); None all.
    mean: QK averaged over heads and recorded steps, a running sum in float32: constant memory. In
    self-attention each head weighs what it tells (`attention.informed_mean`).
    most: only attentions of at most so many positions, such as 32 * 32; None all.
    middle: of a block's several transformer layers (SDXL: up to ten) only the middle one; one that `blocks`
    names, such as IN07.3, is recorded all the same.

    Raises SpecError for a bad spec, ValueError for a word that is not allowed.
    """

    blocks: BlockSpec
    steps: StepSpec | LateSteps
    what: frozenset[What]
    kinds: frozenset[Kind]
    halves: frozenset[Half]
    images: tuple[int, ...] | None
    tokens: tuple[int, ...] | None
    mean: bool
    most: int | None
    middle: bool

    def __init__(
        self,
        blocks: BlockSpec | str = "",
        steps: StepSpec | LateSteps | str = "",
        *,
        what: Iterable[str] | str = "QK",
        kinds: Iterable[str] | str = "cross",
        halves: Iterable[str] | str = "cond",
        images: Iterable[int] | None = None,
        tokens: Iterable[int] | None = None,
        mean: bool = False,
        most: int | None = None,
        middle: bool = False,
    ) -> None:
        values: dict[str, Any] = {
            "blocks": BlockSpec.parse(blocks) if isinstance(blocks, str) else blocks,
            "steps": StepSpec.parse(steps) if isinstance(steps, str) else steps,
            "what": _words("what", what, _WHAT),
            "kinds": _words("kinds", kinds, get_args(Kind)),
            "halves": _words("halves", halves, get_args(Half)),
            "images": None if images is None else tuple(sorted(set(images))),
            "tokens": None if tokens is None else tuple(tokens),
            "mean": mean,
            "most": most,
            "middle": middle,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if mean and self.what != {"QK"}:
            raise ValueError(f"a mean is of QK only, not of {', '.join(sorted(self.what))}")

    def rows(self, call: Call) -> list[tuple[int, Row]]:
        """The rows of a call to keep, each with its place in the batch; none if the step is not asked for."""
        if not self.steps.includes(call.step + 1, call.total):
            return []
        return [(at, row) for at, row in enumerate(call.rows) if self.wants(row)]

    def wants(self, row: Row) -> bool:
        return row.half in self.halves and (self.images is None or row.image in self.images)

    def sites(self, unet: UNet) -> list[AttentionSite]:
        """The attentions to record; raises SpecError if the blocks asked for have none of the kinds."""
        found = [
            site
            for block, layer in self.blocks.sites(unet)
            for site in unet.attention(block)
            if site.kind in self.kinds and site.layer in self._layers(unet.blocks[block], layer)
        ]
        if not found:
            kinds = " or ".join(sorted(self.kinds))
            having = dict.fromkeys(site.block for site in unet.sites if site.kind in self.kinds)
            text = self.blocks.text
            raise SpecError(f"no {kinds}-attention in these blocks", text, 0, len(text), allowed=having)
        return found

    def _layers(self, block: Block, asked: int | None) -> range | tuple[int, ...]:
        """The transformer layers of a block to record, of which `asked` is the one that the spec names."""
        depth = len({site.layer for site in block.sites})
        if asked is not None:
            return (asked,)
        return (depth // 2,) if self.middle else range(depth)


def _words(name: str, given: Iterable[str] | str, allowed: tuple[T, ...] | tuple[str, ...]) -> frozenset[T]:
    words = [word.strip() for word in given.split(",")] if isinstance(given, str) else list(given)
    for word in words:
        if word not in allowed:
            raise ValueError(f"{name}: {word!r} is not one of {', '.join(allowed)}")
    if not words:
        raise ValueError(f"{name}: at least one of {', '.join(allowed)} is needed")
    return frozenset(cast("list[T]", words))


def word_captures(
    blocks: str = "",
    *,
    halves: Iterable[Half] = ("cond", "uncond"),
    refining: StepSpec | LateSteps | str = REFINING,
) -> tuple[Capture, ...]:
    """What a recorder is to keep for word maps: means over steps, some megabytes an image.

    refining: steps whose self-attention is kept; the maps are best, and cost least, with a few late ones.
    Self-attention is of one layer a block: SDXL's 60 tables of 32 x 32 places would take 250 MB an image and
    half, and several times the time of all the rest.
    """
    return (
        Capture(blocks, mean=True, halves=halves),
        Capture("", refining, kinds="self", mean=True, halves=halves, most=WHOLE, middle=True),
    )


def explore_captures(fine: str, *, blocks: str = "") -> tuple[Capture, ...]:
    """What a recorder is to keep so that other words and single places can be asked of a run.

    blocks: whose cross-attention. fine: whose self-attention, such as `maps.vxa.default_layers`.
    """
    return Capture(blocks, what="Q"), Capture(fine, kinds="self", what="Q,K")


def estimate(
    unet: UNet | nn.Module,
    *,
    features: Capture | None = None,
    attention: Capture | Iterable[Capture] | None = None,
    size: tuple[int, int],
    total: int,
    images: int = 1,
    tokens: int = 77,
) -> int:
    """Bytes that a recording will hold, for latents of `size` (height, width), `total` steps and `images`
    images.

    Exact for the first pass if each image has one prompt of `tokens` tokens; raises SpecError as recording
    would.
    """
    unet = UNet.of(unet)
    itemsize = bytes_of(stored_dtype(next(unet.module.parameters()).dtype))
    numbers = 0
    jobs = [
        *((capture, _feature_values) for capture in listed(features)),
        *((capture, _attention_values) for capture in listed(attention)),
    ]
    for capture, values in jobs:
        chosen = [image for image in range(images) if capture.images is None or image in capture.images]
        rows = len(chosen) * len(capture.halves)
        steps = 1 if capture.mean else len(capture.steps.steps(total))
        width = 4 if capture.mean else itemsize
        numbers += rows * steps * width * sum(values(unet, capture, size, tokens))
    return numbers


def stored_dtype(computed: torch.dtype) -> torch.dtype:
    """float16 stays; all else is kept as float32 (numpy has no bfloat16)."""
    return torch.float16 if computed == torch.float16 else torch.float32


def listed(captures: Capture | Iterable[Capture] | None) -> list[Capture]:
    """None, one or several captures, as a list."""
    if captures is None:
        return []
    return [captures] if isinstance(captures, Capture) else list(captures)


def bytes_of(dtype: torch.dtype) -> int:
    """Bytes of one number (torch 2.0 has no `dtype.itemsize`)."""
    return torch.finfo(dtype).bits // 8


def _feature_values(unet: UNet, capture: Capture, size: tuple[int, int], _: int) -> Iterator[int]:
    for name in capture.blocks.names(unet):
        channels, height, width = unet.blocks[name].shapes(size)[1]
        yield channels * height * width


def _attention_values(unet: UNet, capture: Capture, size: tuple[int, int], tokens: int) -> Iterator[int]:
    for site in capture.sites(unet):
        height, width = site.size(size)
        queries = height * width
        if capture.most is not None and queries > capture.most:
            continue
        keys = tokens if site.kind == "cross" else queries
        kept = len(capture.tokens) if capture.tokens is not None and site.kind == "cross" else keys
        each = {
            "QK": (1 if capture.mean else site.heads) * kept * queries,
            "Q": site.channels * queries,
            "K": site.channels * keys,
            "VQK": site.channels * queries,
        }
        yield sum(each[what] for what in capture.what)
