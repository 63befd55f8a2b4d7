"""Block specs and step specs: which U-Net blocks and which sampling steps a person asks for.

    blocks = blank | item ("," item)*
    item   = block | block "-" block ["(" "+" number ")"]
    block  = ("IN" | "M" | "OUT") number ["." number]        .number: one transformer layer, from 0

    steps  = blank | item ("," item)*
    item   = number | number "-" number ["(" "+" number ")"]

Blank means all; at most 1,000 items; a range includes both ends and may be written backwards; spaces may
stand between any two parts; letters may be small. The notation is that of the webui extension "Dump U-Net".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import NoReturn, Protocol, runtime_checkable

from lib_unet_viz.notation.errors import SpecError as SpecError

_BLOCK = re.compile(r"(IN|M|OUT)\s*([0-9]+)(?:\s*\.\s*([0-9]+))?", re.IGNORECASE)
_NAME = re.compile(r"(IN|M|OUT)([0-9]+)")
_NUMBER = re.compile(r"([0-9]+)")
_WORD = re.compile(r"[^\s,()+-]+|.", re.DOTALL)
_SPACE = re.compile(r"\s*")
_PARTS = ("IN", "M", "OUT")
# Far above any sampler's step count, and small enough that a list of every step of a range stays small.
_LARGEST = 99_999
_MOST_ITEMS = 1_000


@runtime_checkable
class HasLayout(Protocol):
    """What knows its blocks, such as `UNet`."""

    @property
    def layout(self) -> Layout: ...


@dataclass(frozen=True)
class Layout:
    """The blocks of one model: `names` in the order IN.., M.., OUT..; `depth` = transformer layers per block.

    Depth 0 says that no prompt reaches the block; a block missing from `depth` has an unknown depth.
    """

    names: tuple[str, ...]
    depth: Mapping[str, int] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, source: Layout | HasLayout | Iterable[str]) -> Layout:
        """The layout of a `Layout`, of what has one, or of block names; ValueError on other names."""
        if isinstance(source, Layout):
            return source
        if isinstance(source, HasLayout):
            return source.layout
        return cls(tuple(sorted(dict.fromkeys(source), key=_order)))


def _order(name: str) -> tuple[int, int]:
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"{name!r} is not a block name; block names look like IN00, M00, OUT11")
    return _PARTS.index(match[1]), int(match[2])


@dataclass(frozen=True)
class _Atom:
    """One block or step as written: `part` is IN, M or OUT (empty for a step)."""

    part: str
    number: int
    layer: int | None
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.part}{self.number:02d}"


@dataclass(frozen=True)
class _Item:
    """A range from `first` to `last`, every `stride`-th; a single atom is a range from itself to itself."""

    first: _Atom
    last: _Atom
    stride: int


@dataclass
class _Reader:
    """Reads one text from left to right; `what` names an atom in messages, `atom` matches one."""

    text: str
    what: str
    atom: re.Pattern[str]
    at: int = 0

    def items(self) -> tuple[_Item, ...]:
        self._skip()
        if self.at == len(self.text):
            return ()
        found = [self._item()]
        while self._take(","):
            if len(found) == _MOST_ITEMS:
                self._fail(f"a text names at most {_MOST_ITEMS:,} {self.what}s and ranges", ())
            found.append(self._item())
        if self.at < len(self.text):
            self._fail("this does not belong here", (",", "-", "(+number) after a range"))
        return tuple(found)

    def _item(self) -> _Item:
        first = self._atom()
        is_range = self._take("-")
        last = self._atom() if is_range else first
        if is_range and (first.layer is not None or last.layer is not None):
            at = first if first.layer is not None else last
            message = "a range takes whole blocks, not a transformer layer"
            raise SpecError(message, self.text, at.start, at.end)
        return _Item(first, last, self._stride(is_range=is_range))

    def _stride(self, *, is_range: bool) -> int:
        start = self.at
        if not self._take("("):
            return 1
        if not is_range:
            raise SpecError(f"(+number) follows a range of {self.what}s only", self.text, start)
        if not self._take("+"):
            self._fail("after the bracket a + is missing", ("(+2)",))
        match = _NUMBER.match(self.text, self.at)
        if match is None:
            self._fail("after the + a number is missing", ("(+2)",))
        stride = self._number(match, 1)
        if stride == 0:
            raise SpecError("(+0) would never advance", self.text, *match.span(), ("(+1) and up",))
        self._move(match.end())
        if not self._take(")"):
            self._fail("a closing bracket is missing", (")",))
        return stride

    def _atom(self) -> _Atom:
        match = self.atom.match(self.text, self.at)
        if match is None:
            example = ("IN00", "M00", "OUT11", "…") if self.atom is _BLOCK else ("1", "2", "…")
            self._fail(f"a {self.what} is expected here", example)
        start = self.at
        self._move(match.end())
        if self.atom is _NUMBER:
            return _Atom("", self._number(match, 1), None, start, match.end())
        layer = None if match[3] is None else self._number(match, 3)
        return _Atom(match[1].upper(), self._number(match, 2), layer, start, match.end())

    def _number(self, match: re.Match[str], group: int) -> int:
        digits = match[group].lstrip("0") or "0"
        if len(digits) > len(str(_LARGEST)):
            start, end = match.span(group)
            raise SpecError("this number is too large", self.text, start, end, (f"up to {_LARGEST}",))
        return int(digits)

    def _take(self, char: str) -> bool:
        if not self.text.startswith(char, self.at):
            return False
        self._move(self.at + 1)
        return True

    def _move(self, to: int) -> None:
        self.at = to
        self._skip()

    def _skip(self) -> None:
        match = _SPACE.match(self.text, self.at)
        self.at = match.end() if match else self.at

    def _fail(self, message: str, allowed: Sequence[str]) -> NoReturn:
        word = _WORD.match(self.text, self.at)
        raise SpecError(message, self.text, self.at, word.end() if word else None, allowed)


@dataclass(frozen=True)
class BlockSpec:
    """Which blocks: `BlockSpec.parse("IN00-OUT11(+2), M00").names(unet)`. Blank text means every block.

    >>> BlockSpec.parse("in0 - in3 (+2)").names(["IN00", "IN01", "IN02", "IN03", "M00"])
    ['IN00', 'IN02']
    """

    text: str = ""
    _items: tuple[_Item, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_items", _Reader(self.text, "block", _BLOCK).items())

    @classmethod
    def parse(cls, text: str) -> BlockSpec:
        """Reads the notation above; SpecError with the place if it cannot be read."""
        return cls(text)

    def names(self, layout: Layout | HasLayout | Iterable[str]) -> list[str]:
        """The blocks in the layout's order, each once; SpecError on a name that the layout lacks."""
        layout = Layout.of(layout)
        chosen = {index for index, _, _ in self._selected(layout)}
        return [name for index, name in enumerate(layout.names) if index in chosen]

    def sites(self, layout: Layout | HasLayout | Iterable[str]) -> list[tuple[str, int | None]]:
        """As `names`, each with the layer asked for: `IN07.1` -> ("IN07", 1), `IN07` -> ("IN07", None).

        A block asked for whole and by layer is whole. SpecError if a block lacks the layer.
        """
        layout = Layout.of(layout)
        chosen: dict[int, set[int]] = {}
        whole: set[int] = set()
        for index, layer, atom in self._selected(layout):
            if layer is None:
                whole.add(index)
            else:
                self._check_layer(layout, atom)
                chosen.setdefault(index, set()).add(layer)
        sites: list[tuple[str, int | None]] = []
        for index, name in enumerate(layout.names):
            layers = [None] if index in whole else sorted(chosen.get(index, ()))
            sites.extend((name, layer) for layer in layers)
        return sites

    def _selected(self, layout: Layout) -> Iterable[tuple[int, int | None, _Atom]]:
        """Index in the layout, transformer layer (None: all of them), and where the text says so."""
        if not self._items:
            nowhere = _Atom("", 0, None, 0, 0)
            yield from ((index, None, nowhere) for index in range(len(layout.names)))
        for item in self._items:
            low, high = sorted((self._index(layout, item.first), self._index(layout, item.last)))
            for index in range(low, high + 1, item.stride):
                yield index, item.first.layer, item.first

    def _index(self, layout: Layout, atom: _Atom) -> int:
        if atom.name not in layout.names:
            message = f"this model has no block {atom.name}"
            raise SpecError(message, self.text, atom.start, atom.end, layout.names)
        return layout.names.index(atom.name)

    def _check_layer(self, layout: Layout, atom: _Atom) -> None:
        depth = layout.depth.get(atom.name)
        if depth is None or (atom.layer or 0) < depth:
            return
        layers = [f"{atom.name}.{layer}" for layer in range(depth)]
        plural = "layer" if depth == 1 else "layers"
        has = f"{depth} transformer {plural}, counted from 0" if depth else "no attention"
        message = f"{atom.name}.{atom.layer} is not there: {atom.name} has {has}"
        raise SpecError(message, self.text, atom.start, atom.end, layers)


@dataclass(frozen=True)
class StepSpec:
    """Which sampling steps, counted from 1: `StepSpec.parse("1,5-20(+5)")`. Blank text means every step.

    >>> StepSpec.parse("1, 5-20(+5)").steps(total=12), StepSpec.parse("1, 5-20(+5)").beyond(12)
    ([1, 5, 10], [15, 20])
    """

    text: str = ""
    _items: tuple[_Item, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        items = _Reader(self.text, "step", _NUMBER).items()
        for atom in (atom for item in items for atom in (item.first, item.last)):
            if atom.number == 0:
                raise SpecError("steps count from 1", self.text, atom.start, atom.end, ("1", "2", "…"))
        object.__setattr__(self, "_items", items)

    @classmethod
    def parse(cls, text: str) -> StepSpec:
        """Reads the notation above; SpecError with the place if it cannot be read, or on a step below 1."""
        return cls(text)

    def steps(self, total: int) -> list[int]:
        """The steps of a run of `total` steps that the spec names, sorted, in 1..total."""
        return self._between(1, total) if self._items else list(range(1, total + 1))

    def beyond(self, total: int) -> list[int]:
        """The steps that the spec names and a run of `total` steps does not reach, sorted."""
        return self._between(total + 1, max((numbers[-1] for numbers in self._ranges()), default=total))

    def _between(self, first: int, last: int) -> list[int]:
        """The steps from `first` to `last` that the spec names, sorted."""
        there = bytearray(last + 1)
        for numbers in self._ranges():
            chosen = range(numbers.start, min(numbers.stop, last + 1), numbers.step)
            there[chosen.start : chosen.stop : chosen.step] = b"\1" * len(chosen)
        return list(compress(range(first, last + 1), there[first:]))

    def includes(self, step: int, total: int) -> bool:
        """Whether `step` (from 1) is among `steps(total)`."""
        if not 1 <= step <= total:
            return False
        return not self._items or any(step in numbers for numbers in self._ranges())

    def _ranges(self) -> Iterable[range]:
        for item in self._items:
            low, high = sorted((item.first.number, item.last.number))
            yield range(low, high + 1, item.stride)


@dataclass(frozen=True)
class LateSteps:
    """`count` steps, evenly over the last third of a run and with its last one; all of a run of no more.

    >>> LateSteps(4).steps(total=20), LateSteps(4).steps(6), LateSteps(4).steps(2)
    ([14, 16, 18, 20], [3, 4, 5, 6], [1, 2])
    """

    count: int

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"{self.count} late steps: at least 2 are needed")

    @property
    def text(self) -> str:
        """What is asked for, in words."""
        return f"{self.count} steps of the last third"

    def steps(self, total: int) -> list[int]:
        """The steps of a run of `total` steps, sorted, in 1..total."""
        if total <= self.count:
            return list(range(1, total + 1))
        span = max(round(total / 3), self.count) - 1
        gaps = self.count - 1
        return [total - round(span * back / gaps) for back in range(gaps, -1, -1)]

    def beyond(self, total: int) -> list[int]:
        """None: these steps are in any run."""
        return []

    def includes(self, step: int, total: int) -> bool:
        """Whether `step` (from 1) is among `steps(total)`."""
        return step in self.steps(total)
