"""The table of settings as a JSON schema, for the documentation of routes."""

from __future__ import annotations

from typing import Any, get_args

from lib_unet_viz.settings.entry import Entry, entries
from lib_unet_viz.settings.run import Settings
from lib_unet_viz.settings.values import EXPECTED

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def schema(kind: type[Settings], place: str) -> dict[str, Any]:
    """Of the settings that apply in a place, such as `entry.TRACE_ROUTE`, as objects in objects.

    Defaults are those of a request, in which a section that is named is on and the others are off.
    """
    found: dict[str, Any] = _object()
    for entry in entries(kind.off()):
        if place in entry.places:
            *sections, name = entry.path.split(".")
            inner = found
            for section in sections:
                inner = inner["properties"].setdefault(section, _object())
            inner["properties"][name] = _described(entry)
    return found


def _object() -> dict[str, Any]:
    return {"type": "object", "properties": {}, "additionalProperties": False}


def _described(entry: Entry) -> dict[str, Any]:
    default = list(entry.default) if entry.listed else entry.default
    on = entry.name == "enabled"  # where its section is named
    found = {**_type(entry), "title": entry.about.label, "description": entry.about.help}
    low, high = entry.about.low, entry.about.high
    if low is not None:
        found["minimum"] = low
    if high is not None:
        found["maximum"] = high
    return {**found, "default": True if on else default}


def _type(entry: Entry) -> dict[str, Any]:
    one: dict[str, Any] = {"type": "string", "enum": list(entry.allowed)} if entry.allowed else {}
    if entry.listed:
        return {"type": "array", "items": one or {"type": _TYPES[get_args(entry.hint)[0]]}}
    return one or ({"type": _TYPES[entry.hint]} if entry.hint in EXPECTED else {})
