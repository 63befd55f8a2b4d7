"""What a person gives for a setting, checked against its type and range."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from reprlib import Repr
from typing import Any, Literal, get_args, get_origin

LARGEST = 2**31 - 1  # of whole numbers that have no smaller bound
EXPECTED = {bool: "true or false", int: "a whole number", float: "a finite number", str: "a text"}


class SettingsError(ValueError):
    """A setting that does not exist or cannot be; the message says what was given and what is allowed."""


def shown(value: Any) -> str:
    """A value for a message: short, however long or deep it is."""
    short = Repr()
    short.maxlevel, short.maxstring, short.maxother, short.maxlong = 3, 80, 80, 40
    try:
        return short.repr(value)
    except ValueError:  # of whole numbers of more than 4300 digits Python writes none
        return f"a {type(value).__name__} of too many digits"


def read_json(text: str, place: str) -> Any:
    """What a JSON text says. Raises SettingsError, also for one too deep or with numbers too long."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise SettingsError(f"{place} is no JSON: {reason}") from error


def checked(value: Any, hint: Any, place: str) -> Any:
    """The value as its type has it: lists become tuples, whole numbers where any will do become floats.

    hint: bool, int, float, str, a Literal, a tuple of texts or of Literals, or Any: a number, a text, a list
    of numbers, or a mapping of names to these. Raises SettingsError.
    """
    if hint is Any:
        return _plain(value, place)
    if get_origin(hint) is Literal:
        return _one_of(value, get_args(hint), place)
    if get_origin(hint) is tuple:
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{place} is {shown(value)}; expected a list")
        return tuple(checked(item, get_args(hint)[0], place) for item in value)
    if hint in (int, float):
        return _number(value, hint, place)
    if not isinstance(value, hint):
        raise SettingsError(f"{place} is {shown(value)}; expected {EXPECTED[hint]}")
    return value


def within(value: Any, low: float | None, high: float | None, place: str) -> None:
    """Raise SettingsError for a number out of its range, whose ends belong to it."""
    if (low is not None and value < low) or (high is not None and value > high):
        raise SettingsError(f"{place} is {shown(value)}; expected {span(low, high)}")


def span(low: float | None, high: float | None) -> str:
    """A range in words."""
    if high is None:
        return f"{low:g} or more"
    return f"up to {high:g}" if low is None else f"{low:g} to {high:g}"


def _one_of(value: Any, allowed: tuple[Any, ...], place: str) -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise SettingsError(f"{place} is {shown(value)}; allowed: {', '.join(allowed)}")
    return value


def _number(value: Any, hint: type, place: str) -> Any:
    if not isinstance(value, (int, float) if hint is float else int) or isinstance(value, bool):
        raise SettingsError(f"{place} is {shown(value)}; expected {EXPECTED[hint]}")
    if hint is int and abs(value) > LARGEST:
        raise SettingsError(f"{place} is {shown(value)}; expected a whole number up to {LARGEST}")
    try:
        number = hint(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise SettingsError(f"{place} is {shown(value)}; expected {EXPECTED[hint]}")
    return number


def _plain(value: Any, place: str) -> Any:
    """A number, a text, a list of numbers, or names with any of these but texts."""
    if isinstance(value, str):
        return value
    parts = value.values() if isinstance(value, Mapping) else [value]
    for part in parts:
        for item in part if isinstance(part, list | tuple) else [part]:
            if isinstance(item, bool) or not isinstance(item, int | float):
                raise SettingsError(
                    f"{place} is {shown(value)}; expected a number such as 0.8, a list of them, or a text"
                )
            _number(item, float, place)
    return value
