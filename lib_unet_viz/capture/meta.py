"""What `Trace.meta` holds, by name, and whether what a file says of it is of that kind."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any], bool]

BLOCK = re.compile(r"(IN|M|OUT)\d\d")
LARGEST = 10**6  # of steps, sizes and places


class MetaError(ValueError):
    """An entry is not of its kind; the message says which, what it may be and what it is."""


def check(meta: Mapping[str, Any]) -> None:
    """Raise MetaError for a known entry that is not of its kind. Unknown entries may be anything."""
    for name, value in meta.items():
        allowed, fits = KNOWN.get(name, ("", _anything))
        if not fits(value):
            raise MetaError(f"{name} is {value!r:.100}, but has to be {allowed}")


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


_TOKENS = ("texts for each half", _dict(_texts))
_STEPS = (f"a whole number up to {LARGEST}", whole)
_SIZE = (f"[height, width], each from 1 to {LARGEST}", size)
_SIGMAS = ("a list of numbers", _list(_or_null(number)))
_TEXT = ("a text", _or_null(text))
_SEED = ("a number", _or_null(number))
_TIMESTEP = ("a number, or a list of them", lambda value: number(value) or _list(number)(value))

KNOWN: Mapping[str, tuple[str, Check]] = {
    "prompt": _TEXT,
    "negative": _TEXT,
    "model": _TEXT,
    "sampler": _TEXT,
    "asked_of": _TEXT,
    "difference": _TEXT,
    "seed": _SEED,
    "cfg": _SEED,
    "noise_seed": _SEED,
    "timestep": _TIMESTEP,
    "blocks": ("a list of blocks' names", _list(_block)),
    "steps": _STEPS,
    "steps_hires": _STEPS,
    "sigmas": _SIGMAS,
    "sigmas_hires": _SIGMAS,
    "size": _SIZE,
    "size_hires": _SIZE,
    "picture_size": _SIZE,
    "tokens": _TOKENS,
    "tokens_hires": _TOKENS,
    "tokens_by_block": ("texts for each half of each block", _dict(_dict(_texts))),
    "images": ("a list of entries for each image", _images),
    "compared": ("what is known of either run", _dict(_dict(_anything))),
}
"""What each entry may be, in words, and whether a value is that."""
