"""What a recording holds: maps with named axes, and what is known about the run. No model, no host, no hooks.

Axes come in one order, (head, token, channel, y, x), subsets as needed:

    features         (channel, y, x)
    attention QK     (head, token, y, x)      softmax over all tokens: each (head, y, x) sums to 1 over tokens
    attention Q      (head, channel, y, x)
    attention K      (head, token, channel)
    attention VQK    (head, channel, y, x)    the mixed values, before the output layer

In cross-attention the tokens are the prompt's, in self-attention the positions of the same block, row by row.
A `Key` counts steps from 0; whatever a person types, reads or finds in a file counts from 1.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, overload

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lib_unet_viz import labelled, notebook
from lib_unet_viz.meta import Meta

if TYPE_CHECKING:
    from xarray import DataTree

What = Literal["features", "Q", "K", "QK", "VQK"]
Kind = Literal["cross", "self"]
Half = Literal["cond", "uncond", "perturbed"]  # perturbed: without self-attention, of PAG
Pass = Literal["first", "hires"]
Planes = npt.NDArray[np.float32]
_ROWS = 20  # of a table in a notebook

AXES: Mapping[str, tuple[str, ...]] = {
    "features": ("channel", "y", "x"),
    "QK": ("head", "token", "y", "x"),
    "Q": ("head", "channel", "y", "x"),
    "K": ("head", "token", "channel"),
    "VQK": ("head", "channel", "y", "x"),
}


@dataclass(frozen=True)
class Key:
    """Says which map it is. `step` counts from 0; None: a mean over steps. `layer`, `kind`: of attention."""

    block: str
    what: What
    layer: int | None = None
    kind: Kind | None = None
    step: int | None = None
    pass_: Pass = "first"
    image: int = 0
    half: Half = "cond"
    sub: int = 0

    def labels(self) -> dict[str, str | int | None]:
        """The key as people read and ask for it: steps count from 1."""
        step = None if self.step is None else self.step + 1
        return {**vars(self), "step": step}

    def __str__(self) -> str:
        site = self.block if self.layer is None else f"{self.block}.{self.layer} {self.kind} {self.what}"
        step = "mean over steps" if self.step is None else f"step {self.step + 1}"
        hires = " (hires)" if self.pass_ == "hires" else ""
        sub = f" sub-prompt {self.sub}" if self.sub else ""
        return f"{site} {step}{hires} image {self.image} {self.half}{sub}"


@dataclass(frozen=True)
class Selection:
    """Which rows of a run are meant; None: the first that is there, cond before uncond, first before hires.

    image: from 0, of a batch. sub: which of the prompts that AND joins, from 0.
    """

    image: int | None = None
    half: Half | None = None
    pass_: Pass | None = None
    sub: int | None = None

    def __str__(self) -> str:
        words = {"image": self.image, "half": self.half, "pass": self.pass_, "sub-prompt": self.sub}
        return ", ".join(f"{name} {value}" for name, value in words.items() if value is not None) or "any row"


FIRST = Selection()


@dataclass(frozen=True)
class Stored:
    """Data that is read from a file when it is first asked for."""

    shape: tuple[int, ...]
    nbytes: int
    read: Callable[[], torch.Tensor] = field(repr=False)


class FeatureMap:
    """One block's output for one row of one step, (channel, y, x); also the base of `AttentionMap`.

    `data` is a tensor on the CPU, float16 or float32; `sigma` is the step's noise level, None in a mean.
    """

    def __init__(self, key: Key, data: torch.Tensor | Stored, sigma: float | None = None) -> None:
        if len(data.shape) != len(AXES[key.what]):
            shape = tuple(data.shape)
            raise ValueError(f"{key.what} has the axes {AXES[key.what]}, but the data's shape is {shape}")
        self.key = key
        self.sigma = sigma
        self._held = data

    @cached_property
    def data(self) -> torch.Tensor:
        return self._held.read() if isinstance(self._held, Stored) else self._held

    @property
    def axes(self) -> tuple[str, ...]:
        return AXES[self.key.what]

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of `axes`; known without reading the data."""
        return tuple(self._held.shape)

    @property
    def nbytes(self) -> int:
        held = self._held
        return held.nbytes if isinstance(held, Stored) else held.numel() * held.element_size()

    def numpy(self) -> Planes:
        """The data as float32, with `axes`."""
        return self.data.float().numpy()

    def planes(self) -> Planes:
        """The data as pictures (n, y, x) in float32: n runs over all other axes, the last of them fastest.

        K has no positions: its pictures are (head, token, channel), a token a row.
        """
        return self.numpy().reshape(-1, *self.shape[-2:])

    def __repr__(self) -> str:
        lengths = ", ".join(f"{axis} {length}" for axis, length in zip(self.axes, self.shape, strict=True))
        return f"{type(self).__name__}({self.key}: {lengths})"

    def _repr_html_(self) -> str:
        """For notebooks: what it is, and the mean of its pictures over all other axes in grey."""
        mean = notebook.grey(self.planes().mean(axis=0))
        return notebook.paragraph(repr(self)) + notebook.picture(mean, alt=f"mean of {self.key}")


class AttentionMap(FeatureMap):
    """One attention's Q, K, QK or VQK for one row of one step, or QK's mean over heads and steps (one head).

    `tokens` names the tokens that were kept, in order; None: all of them.
    """

    def __init__(
        self,
        key: Key,
        data: torch.Tensor | Stored,
        sigma: float | None = None,
        *,
        tokens: Sequence[int] | None = None,
    ) -> None:
        super().__init__(key, data, sigma)
        self.tokens = None if tokens is None else tuple(tokens)


class MapLookupError(LookupError, ValueError):
    """No map fits what was asked for, or more than one; the message says what there is."""


M = TypeVar("M", bound=FeatureMap)


class Maps(Sequence[M], Generic[M]):
    """Maps in the order in which they were recorded; `one` and `all` ask by key. Steps count from 1 here."""

    def __init__(self, maps: Iterable[M] = ()) -> None:
        self._maps = list(maps)

    def add(self, item: M) -> None:
        self._maps.append(item)

    @overload
    def __getitem__(self, index: int) -> M: ...
    @overload
    def __getitem__(self, index: slice) -> Maps[M]: ...
    def __getitem__(self, index: int | slice) -> M | Maps[M]:
        return type(self)(self._maps[index]) if isinstance(index, slice) else self._maps[index]

    def __len__(self) -> int:
        return len(self._maps)

    def __iter__(self) -> Iterator[M]:
        return iter(self._maps)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({len(self)}: {_offer(self._maps) if self else 'empty'})"

    def _repr_html_(self) -> str:
        """For notebooks: the first maps in a table, without reading their data."""
        shown = self._maps[:_ROWS]
        rows = [(item.key, " × ".join(item.axes), " × ".join(map(str, item.shape))) for item in shown]
        more = len(self) - len(shown)
        rest = notebook.paragraph(f"and {more} more") if more else ""
        title = notebook.paragraph(f"{type(self).__name__}: {len(self)}")
        return title + notebook.table(("map", "axes", "lengths"), rows) + rest

    def all(
        self,
        *,
        block: str | None = None,
        step: int | None = None,
        what: What | None = None,
        layer: int | None = None,
        kind: Kind | None = None,
        half: Half | None = None,
        image: int | None = None,
        sub: int | None = None,
        pass_: Pass | None = None,
    ) -> Maps[M]:
        """The maps that fit; what is left out may be anything. `step` counts from 1."""
        given = {
            "block": block,
            "step": step,
            "what": what,
            "layer": layer,
            "kind": kind,
            "half": half,
            "image": image,
            "sub": sub,
            "pass_": pass_,
        }
        return self._select({name: value for name, value in given.items() if value is not None})

    def one(
        self,
        *,
        block: str | None = None,
        step: int | None = None,
        what: What | None = None,
        layer: int | None = None,
        kind: Kind | None = None,
        half: Half | None = None,
        image: int | None = None,
        sub: int | None = None,
        pass_: Pass | None = None,
    ) -> M:
        """The map that fits; raises MapLookupError if none does, or if what is left out is ambiguous."""
        found = self.all(
            block=block,
            step=step,
            what=what,
            layer=layer,
            kind=kind,
            half=half,
            image=image,
            sub=sub,
            pass_=pass_,
        )
        if len(found) == 1:
            return found[0]
        if found:
            raise MapLookupError(f"{len(found)} maps fit; say which: {_offer(found, only_differing=True)}")
        if self:
            raise MapLookupError(f"no map fits; there are: {_offer(self._maps)}")
        raise MapLookupError("nothing was recorded here")

    def _select(self, wanted: Mapping[str, str | int]) -> Maps[M]:
        return type(self)(item for item in self._maps if wanted.items() <= item.key.labels().items())


class FeatureMaps(Maps[FeatureMap]):
    """The block features of a trace."""


class AttentionMaps(Maps[AttentionMap]):
    """The attention maps of a trace."""


def as_image(item: M, image: int = 0) -> M:
    """The same map, without a copy of its data, as that of another image."""
    found = copy.copy(item)
    found.key = replace(item.key, image=image)
    return found


def _offer(maps: Iterable[FeatureMap], *, only_differing: bool = False) -> str:
    """The values that the maps' keys take, such as ``block IN00, M00; step 1, 2``."""
    labels = [item.key.labels() for item in maps]
    values = {name: list(dict.fromkeys(label[name] for label in labels)) for name in labels[0]}
    offered = {name: seen for name, seen in values.items() if seen != [None]}
    differing = {name: seen for name, seen in offered.items() if len(seen) > 1}
    chosen = differing if only_differing and differing else offered
    return "; ".join(f"{name} {', '.join(map(str, seen))}" for name, seen in chosen.items())


@dataclass
class Trace:
    """A recording of one run.

    meta: what is known of the run. notes: lines that the person who asked should read.
    """

    features: FeatureMaps = field(default_factory=FeatureMaps)
    attention: AttentionMaps = field(default_factory=AttentionMaps)
    meta: Meta = field(default_factory=Meta)
    notes: list[str] = field(default_factory=list)
    picture: Image.Image | None = None

    def _repr_html_(self) -> str:
        """For notebooks: the picture, the notes, and what was recorded, without reading the maps' data."""
        picture = notebook.picture(self.picture, alt="the run's picture") if self.picture else ""
        notes = "".join(map(notebook.paragraph, self.notes))
        return picture + notes + self.features._repr_html_() + self.attention._repr_html_()

    @property
    def nbytes(self) -> int:
        """Size of all maps."""
        return sum(item.nbytes for item in (*self.features, *self.attention))

    @property
    def images(self) -> list[int]:
        """Indices of the images that have maps."""
        return sorted({item.key.image for item in (*self.features, *self.attention)})

    def only(self, selection: Selection) -> Trace:
        """The same run with the maps that fit what the selection names. MapLookupError if none does."""
        wanted: dict[str, Any] = vars(selection)
        features, attention = self.features.all(**wanted), self.attention.all(**wanted)
        there = [*self.features, *self.attention]
        if there and not (features or attention):
            raise MapLookupError(f"no map is of {selection}; there are: {_offer(there)}")
        return replace(self, features=FeatureMaps(features), attention=AttentionMaps(attention))

    def view(self, selection: Selection = FIRST) -> Trace:
        """The same run with the maps of one image, half, sub-prompt and pass alone, as image 0 of its own.

        What is not named is chosen among attention, where there is some. Raises MapLookupError for what is
        not there, naming what is. A trace without maps is its own view. The picture, the first image's, is
        no other's.
        """
        keys = [item.key for item in self.attention or self.features]
        if not keys:
            return self
        for name, asked in vars(selection).items():
            there = sorted({getattr(key, name) for key in keys})
            meant = there[0] if asked is None else asked
            if meant not in there:
                held, what = ", ".join(map(str, there)), name.rstrip("_")
                raise MapLookupError(f"the trace holds no maps of {what} {meant}; there are: {held}")
            keys = [key for key in keys if getattr(key, name) == meant]
        first = keys[0]
        chosen = self.only(Selection(first.image, first.half, first.pass_, first.sub))
        return replace(
            chosen,
            features=FeatureMaps(map(as_image, chosen.features)),
            attention=AttentionMaps(map(as_image, chosen.attention)),
            meta=self.meta_of(first.image),
            picture=self.picture if first.image == self.images[0] else None,
        )

    def meta_of(self, image: int) -> Meta:
        """`meta` as it is for one image of the batch."""
        return self.meta.of_image(image)

    def token_texts(self, item: AttentionMap) -> list[str]:
        """The text of each token along the map's token axis; empty for self-attention or where it is not
        known.
        """
        texts = self.texts(item.key)
        if item.key.kind != "cross" or not texts:
            return []
        chosen = range(item.shape[1]) if item.tokens is None else item.tokens
        return [texts[token] if token < len(texts) else "" for token in chosen]

    def texts(self, key: Key) -> list[str]:
        """The texts of all tokens that the key's block reads in its row; empty where they are not known."""
        meta = self.meta_of(key.image)
        hires = meta.tokens_hires if key.pass_ == "hires" else None
        common = (hires or meta.tokens or {}).get(_reading(key.half)) or []
        return self._own_texts(key) or _of_sub(common, key.sub)

    def reads_its_own(self, item: AttentionMap) -> bool:
        """Whether the map's block read another text than that in `tokens`."""
        return bool(self._own_texts(item.key))

    def to_xarray(self, selection: Selection = FIRST) -> DataTree:
        """The maps of a selection as xarray's labelled arrays, all of which are read.

        A tree with a dataset for each site: `OUT11/features`, `M00/0/cross/QK`; their array `values` has the
        axis `step` (from 1) and those of the map, as (step, head, token, y, x). Coordinates: `sigma` along
        the steps; `token` the positions and `text` their texts; `y` and `x` the middles of places, from 0 to
        1. Means over steps stand beside, as `M00/0/cross/QK_mean`. The root's attributes say what is known of
        the run. Raises MapLookupError for what is not there, ImportError where xarray is not installed
        (`lib-unet-viz[notebook]`).
        """
        view = self.view(selection)
        leaves = [view._leaf(item) for item in (*view.features, *view.attention)]
        known = ("prompt", "negative", "seed", "cfg", "sampler", "model", "steps")
        return labelled.tree(leaves, {name: view.meta.get(name) for name in known})

    def _leaf(self, item: FeatureMap) -> labelled.Leaf:
        key, tokens, texts = item.key, None, list[str]()
        path = f"{key.block}/{key.what}"
        if isinstance(item, AttentionMap):
            path = f"{key.block}/{key.layer}/{key.kind}/{key.what}"
            if key.kind == "cross" and "token" in item.axes:
                tokens, texts = item.tokens or tuple(range(item.shape[1])), self.token_texts(item)
        step = None if key.step is None else key.step + 1
        return labelled.Leaf(path, item.axes, item.data.numpy(), step, item.sigma, tokens, texts)

    def _own_texts(self, key: Key) -> list[str]:
        by_block = self.meta_of(key.image).tokens_by_block or {}
        return _of_sub(by_block.get(key.block, {}).get(_reading(key.half)) or [], key.sub)


def _of_sub(texts: Any, sub: int) -> list[str]:
    """Of several prompts that AND joins, the tokens of one."""
    if texts and not isinstance(texts[0], str):
        texts = texts[sub] if sub < len(texts) else []
    return list(texts)


def _reading(half: Half) -> Half:
    """The half whose text the rows of a half read: perturbed ones read the prompt."""
    return "cond" if half == "perturbed" else half
