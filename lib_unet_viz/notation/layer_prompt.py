"""Layer prompts: one prompt in which each U-Net block reads its own text.

    prompt = (text | group)*
    group  = "(~:" choice (";" choice)* [";"] ":~)"
    choice = (blocks | "_") ":" text              blocks: as in `grammar`, not blank, of whole blocks

`a (~: IN00-OUT11: cute ; M00: excellent :~) girl` reads `a  cute  girl` in all blocks but M00. Where choices
overlap the later one counts; `_` counts where no other choice of its group does, wherever it stands; a block
that nothing names reads nothing at the group's place. Spaces and line breaks may stand after `(~:`, on both
sides of the blocks, after `;`, and between a last `;` and `:~)`; all others belong to the text. `\\;` is a
semicolon in the text; no other escape is touched. The notation is that of the webui extension "Dump U-Net".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from lib_unet_viz.notation.specs import BlockSpec, HasLayout, Layout, SpecError

OPEN, CLOSE = "(~:", ":~)"
OTHERWISE = "_"
_MARKER = re.compile(r"\(~:|:~\)")
_SPACE = re.compile(r"\s*")
# What Dynamic Prompts expands later ({{ jinja }}, {% jinja %}, ${variable}, {a|b}, __wildcard__) may hold
# colons. None holds its own beginning, so that what is never closed is read once.
_TEMPLATE = r"\{\{(?:(?!\{\{).)*?\}\}|\{%(?:(?!\{%).)*?%\}|\$?\{[^{}]*\}|__[^\s:;]+?__"
_BLOCKS = re.compile(rf"(?:{_TEMPLATE}|[^:;])*", re.DOTALL)
_PENDING = re.compile(_TEMPLATE, re.DOTALL)
_TEXT = re.compile(r"(?:\\;|[^;])*", re.DOTALL)


@dataclass(frozen=True)
class _Choice:
    """Some blocks and what they read. `blocks` is None for `_`, and for what is not expanded yet."""

    spec: str
    start: int
    blocks: BlockSpec | None
    text: str

    @property
    def pending(self) -> bool:
        return self.blocks is None and self.spec != OTHERWISE

    def names(self, whole: str, layout: Layout) -> Iterable[str]:
        """The blocks chosen; SpecError, with its place in the whole prompt, on one that the layout lacks."""
        if self.blocks is None:
            return ()
        try:
            return self.blocks.names(layout)
        except SpecError as error:
            raise _moved(error, whole, self.start) from None


_Group = tuple[_Choice, ...]


@dataclass(frozen=True)
class LayerPrompt:
    """A prompt, read: `LayerPrompt.parse(text).per_block(unet)` says what each block reads.

    >>> LayerPrompt.parse("a (~: IN00-OUT11: cute; M00: excellent :~) girl").per_block(["IN00", "M00"])
    {'IN00': 'a  cute girl', 'M00': 'a  excellent  girl'}

    lenient: blocks may be templates that another extension expands before the run; `pending` names them.
    """

    text: str
    lenient: bool = False
    _parts: tuple[str | _Group, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_parts", tuple(_Reader(self.text, self.lenient).parts()))

    @classmethod
    def parse(cls, text: str, *, lenient: bool = False) -> LayerPrompt:
        """Reads the notation above; SpecError with the place in the whole prompt if it cannot be read."""
        return cls(text, lenient)

    @property
    def plain(self) -> bool:
        """Whether there is no group: every block reads the text as it stands."""
        return not any(self._groups())

    @property
    def erased(self) -> str:
        """The text without its groups."""
        return "".join(part for part in self._parts if isinstance(part, str))

    @property
    def pending(self) -> list[str]:
        """Blocks that are known only after templates and wildcards are expanded, as written."""
        return [choice.spec for group in self._groups() for choice in group if choice.pending]

    def per_block(self, layout: Layout | HasLayout | Iterable[str]) -> dict[str, str]:
        """What each block reads, in the layout's order, also blocks without cross-attention.

        SpecError, with its place in the whole prompt, on a block that the layout lacks.
        """
        layout = Layout.of(layout)
        parts = [part if isinstance(part, str) else self._read(part, layout) for part in self._parts]
        return {
            name: "".join(part if isinstance(part, str) else part.get(name, "") for part in parts)
            for name in layout.names
        }

    def distinct(self, layout: Layout | HasLayout | Iterable[str]) -> dict[str, tuple[str, ...]]:
        """Each text that a cross-attention reads, to the blocks that read it, in the layout's order."""
        layout = Layout.of(layout)
        found: dict[str, tuple[str, ...]] = {}
        for name, text in self.per_block(layout).items():
            if layout.depth.get(name) != 0:
                found[text] = (*found.get(text, ()), name)
        return found

    def common(self, layout: Layout | HasLayout | Iterable[str]) -> str:
        """The text that most blocks with cross-attention read; where several do, the first."""
        found = self.distinct(layout)
        return max(found, key=lambda text: len(found[text]), default=self.erased)

    def _groups(self) -> Iterator[_Group]:
        return (part for part in self._parts if not isinstance(part, str))

    def _read(self, group: _Group, layout: Layout) -> dict[str, str]:
        otherwise = [choice.text for choice in group if choice.spec == OTHERWISE]
        texts = dict.fromkeys(layout.names, otherwise[-1]) if otherwise else {}
        for choice in group:
            texts.update(dict.fromkeys(choice.names(self.text, layout), choice.text))
        return texts


@dataclass
class _Reader:
    """Reads one prompt from left to right."""

    text: str
    lenient: bool
    at: int = 0

    def parts(self) -> Iterator[str | _Group]:
        while self.at < len(self.text):
            marker = _MARKER.search(self.text, self.at)
            start = marker.start() if marker else len(self.text)
            if marker and marker[0] == CLOSE:
                raise SpecError(f"no {OPEN} is open here", self.text, *marker.span())
            if start > self.at:
                yield self.text[self.at : start]
            self.at = start
            if marker:
                yield self._group(start)

    def _group(self, start: int) -> _Group:
        end = self._end(start)
        choices: list[_Choice] = []
        self._move(start + len(OPEN))
        while not choices or self.at < end:
            choices.append(self._choice(end))
        self.at = end + len(CLOSE)
        return tuple(choices)

    def _end(self, start: int) -> int:
        """Where the group's `:~)` stands."""
        marker = _MARKER.search(self.text, start + len(OPEN))
        if marker is None:
            raise SpecError(f"{OPEN} is not closed", self.text, start, start + len(OPEN), (CLOSE,))
        if marker[0] == OPEN:
            message = f"{OPEN} stands inside another one; close that first"
            raise SpecError(message, self.text, *marker.span(), (CLOSE,))
        return marker.start()

    def _choice(self, end: int) -> _Choice:
        start = self.at
        spec = self._until(_BLOCKS, end).rstrip()
        choice = _Choice(spec, start, self._blocks(spec, start), "")
        if self.at < end and self.text[self.at] == ":":
            self.at += 1
            choice = replace(choice, text=self._until(_TEXT, end).replace("\\;", ";"))
        elif not choice.pending:
            message = "a colon and the text for these blocks are missing"
            raise SpecError(message, self.text, start + len(spec), allowed=(":",))
        if self.at < end:
            self._move(self.at + 1)
        return choice

    def _blocks(self, spec: str, start: int) -> BlockSpec | None:
        if spec == OTHERWISE or (self.lenient and _PENDING.search(spec)):
            return None
        allowed = ("IN00", "IN00,M00", "IN00-OUT11", "IN00-OUT11(+2)", OTHERWISE)
        if not spec:
            raise SpecError("blocks are expected here", self.text, start, allowed=allowed)
        if "." in spec:
            at = start + spec.index(".")
            raise SpecError("a prompt is for whole blocks, not for a transformer layer", self.text, at)
        try:
            return BlockSpec.parse(spec)
        except SpecError as error:
            raise _moved(error, self.text, start, ": and the text") from None

    def _until(self, pattern: re.Pattern[str], end: int) -> str:
        match = pattern.match(self.text, self.at, end)
        found = match[0] if match else ""
        self.at += len(found)
        return found

    def _move(self, to: int) -> None:
        match = _SPACE.match(self.text, to)
        self.at = match.end() if match else to


def _moved(error: SpecError, whole: str, by: int, *allowed: str) -> SpecError:
    """The error of a part that begins at `by`, with its place in the whole prompt."""
    return SpecError(error.message, whole, error.position + by, error.end + by, (*error.allowed, *allowed))
