"""Texts with places in braces."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PLACE = re.compile(r"\{\{|\}\}|\{(\w+)\}")


class StudyError(ValueError):
    """A study, or what it asks for, is wrong; the message says what and what is allowed."""


def filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its places in braces filled; {{ and }} stand for braces. Raises StudyError."""

    def value(match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0][0]
        if match[1] not in values:
            raise StudyError(f"{text!r} names {match[0]}; there are {', '.join(values)}")
        return values[match[1]]

    return _PLACE.sub(value, text)
