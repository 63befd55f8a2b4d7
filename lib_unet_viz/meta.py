"""What is known of a run, by name, and whether what a file says of it is of its kind."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

Check = Callable[[Any], bool]
Texts = Sequence[str] | Sequence[Sequence[str]]  # of a prompt's tokens, or of each prompt's that AND joins
Tokens = Mapping[str, Texts]  # by half: cond, uncond

BLOCK = re.compile(r"(IN|M|OUT)\d\d")
LARGEST = 10**6  # of steps, sizes and places


class MetaError(ValueError):
    """An entry is not of its kind; the message says which, what it may be and what it is."""


def check(meta: Mapping[str, Any]) -> None:
    """Raise MetaError for a known entry that is not of its kind. Unknown entries may be anything."""
    for known in fields(Meta):
        value = meta.get(known.name)
        if known.metadata and known.name in meta and not known.metadata["fits"](value):
            raise MetaError(f"{known.name} is {value!r:.100}, but has to be {known.metadata['allowed']}")


def text(value: Any) -> bool:
    return isinstance(value, str)


def number(value: Any) -> bool:
    """Finite, and no bool."""
    try:
        return type(value) in (int, float) and math.isfinite(value)
    except OverflowError:  # whole numbers of hundreds of digits
        return False


def whole(value: Any) -> bool:
    return type(value) is int and 0 <= value <= LARGEST


def size(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(whole(side) and side > 0 for side in value)


def _shape(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 3 and all(whole(side) and side > 0 for side in value)


def _anything(_: Any) -> bool:
    return True


def _or_null(fits: Check) -> Check:
    return lambda value: value is None or fits(value)


def _list(fits: Check) -> Check:
    return lambda value: isinstance(value, list) and all(map(fits, value))


def _dict(fits: Check) -> Check:
    return lambda value: isinstance(value, dict) and all(map(fits, value.values()))


def _block(value: Any) -> bool:
    return isinstance(value, str) and BLOCK.fullmatch(value) is not None


def _texts(value: Any) -> bool:
    """Of one prompt, or of each that AND joins."""
    return _list(text)(value) or _list(_list(text))(value)


def _images(value: Any) -> bool:
    if not _list(_dict(_anything))(value):
        return False
    for each in value:
        check(each)
    return True


def _entry(allowed: str, fits: Check) -> Any:
    """A field that is not known unless it is given. allowed: what it may be in a file, in words."""
    return field(default=None, metadata={"allowed": allowed, "fits": fits})


def _text() -> Any:
    return _entry("a text", _or_null(text))


def _number() -> Any:
    return _entry("a number", _or_null(number))


def _steps() -> Any:
    return _entry(f"a whole number up to {LARGEST}", whole)


def _sigmas() -> Any:
    return _entry("a list of numbers", _list(_or_null(number)))


def _size() -> Any:
    return _entry(f"[height, width], each from 1 to {LARGEST}", size)


def _shapes() -> Any:
    return _entry("[channels, height, width] for each block", _or_null(_dict(_shape)))


def _tokens() -> Any:
    return _entry("texts for each half", _dict(_texts))


@dataclass(frozen=True, eq=False)
class Meta(Mapping[str, Any]):
    """What is known of a run; None: not known. It is also a mapping of all that is known, by the same
    names; a dump holds that as JSON.

    prompt, negative, seed, tokens: of the only image, or the first. blocks: the model's names. shapes:
    (channels, height, width) of what each block puts out. sigmas: of each step of the first pass, None
    where it was not run. size: (height, width) of the latent; picture_size: in pixels. tokens: by half,
    the texts, or a list of texts for each prompt that AND joins. tokens_by_block: of blocks that read
    another text. steps_hires and the like: of the hires pass. timestep, noise_seed: of a look into a
    picture. asked_of: the prompt of the run that other words were asked of. difference: which two runs
    this is one of; compared: what is known of each. images: where those of a batch differ, what is known
    of each, which takes precedence. more: what a host adds, and what dumps of other versions hold
    besides; it stays when they are written again.
    """

    prompt: str | None = _text()
    negative: str | None = _text()
    seed: float | None = _number()
    cfg: float | None = _number()
    sampler: str | None = _text()
    model: str | None = _text()
    blocks: Sequence[str] | None = _entry("a list of blocks' names", _list(_block))
    shapes: Mapping[str, Sequence[int]] | None = _shapes()
    shapes_hires: Mapping[str, Sequence[int]] | None = _shapes()
    steps: int | None = _steps()
    steps_hires: int | None = _steps()
    sigmas: Sequence[float | None] | None = _sigmas()
    sigmas_hires: Sequence[float | None] | None = _sigmas()
    size: Sequence[int] | None = _size()
    size_hires: Sequence[int] | None = _size()
    picture_size: Sequence[int] | None = _size()
    tokens: Tokens | None = _tokens()
    tokens_hires: Tokens | None = _tokens()
    tokens_by_block: Mapping[str, Tokens] | None = _entry(
        "texts for each half of each block", _dict(_dict(_texts))
    )
    timestep: int | Sequence[int] | None = _entry(
        "a number, or a list of them", lambda value: number(value) or _list(number)(value)
    )
    noise_seed: int | None = _number()
    asked_of: str | None = _text()
    difference: str | None = _text()
    compared: Mapping[str, Mapping[str, Any]] | None = _entry(
        "what is known of either run", _dict(_dict(_anything))
    )
    images: Sequence[Mapping[str, Any]] | None = _entry("a list of entries for each image", _images)
    more: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Meta:
        """From entries by name, known or not."""
        names = {known.name for known in fields(cls) if known.metadata}
        more = {name: value for name, value in values.items() if name not in names}
        return cls(**{name: values[name] for name in names & set(values)}, more=more)

    def of_image(self, image: int) -> Meta:
        """As it is for one image of the batch."""
        images = self.images or ()
        own = images[image] if image < len(images) else {}
        return Meta.of({**replace(self, images=None), **own})

    def __getitem__(self, name: str) -> Any:
        return self._known()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known())

    def __len__(self) -> int:
        return len(self._known())

    def _known(self) -> dict[str, Any]:
        values = {known.name: getattr(self, known.name) for known in fields(self) if known.metadata}
        return {**{name: value for name, value in values.items() if value is not None}, **self.more}
