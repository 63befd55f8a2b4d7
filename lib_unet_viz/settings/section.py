"""A group of settings that is right if it exists, whoever made it; and how one is filled from plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeVar, get_args

from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings.entry import About, about_of, types
from lib_unet_viz.settings.values import SettingsError, checked, shown, within

S = TypeVar("S", bound="Section")


@dataclass(frozen=True)
class Section:
    """Its settings have the right types and ranges; texts that are in use can be read. `place`: in messages.

    Raises SettingsError, and SpecError with its place for a text that cannot be read.
    """

    place: ClassVar[str] = "settings"

    def __post_init__(self) -> None:
        for name, value in self._right(vars(self), self.place).items():
            object.__setattr__(self, name, value)

    def filled(self: S, values: Any, place: str | None = None) -> S:
        """A copy with `values`, plain data by name, in it."""
        place = place or self.place
        if not isinstance(values, Mapping):
            raise SettingsError(f"{place} is {shown(values)}; expected an object with names and values")
        changes = dict(vars(self))
        for name, value in values.items():
            if name not in changes:
                raise SettingsError(f"{place} has no {shown(name)}; allowed: {', '.join(changes)}")
            current = changes[name]
            inner = isinstance(current, Section)
            changes[name] = current.filled(value, f"{place}.{name}") if inner else value
        return type(self)(**self._right(changes, place))

    @classmethod
    def _right(cls, values: Mapping[str, Any], place: str) -> dict[str, Any]:
        hints, found = types(cls), dict(values)  # type: ignore[arg-type]
        for each in fields(cls):
            where = f"{place}.{each.name}"
            if issubclass(kind := _plain_type(hints[each.name]), Section):
                if not isinstance(values[each.name], kind):
                    raise SettingsError(f"{where} is {shown(values[each.name])}; expected {kind.__name__}")
                continue
            about = about_of(each)
            found[each.name] = value = checked(values[each.name], hints[each.name], where)
            if isinstance(value, int | float):
                within(value, about.low, about.high, where)
            if about.labels and len(value) != len(about.labels):
                raise SettingsError(f"{where} has {len(value)} entries; expected {len(about.labels)}")
        for each in fields(cls):
            if cls._in_use(each.name, found):
                _read(found[each.name], about_of(each), hints[each.name], f"{place}.{each.name}")
        cls._together(found, place)
        return found

    @classmethod
    def _in_use(cls, name: str, values: Mapping[str, Any]) -> bool:
        """Whether the setting matters: its section is on, and what it belongs to is chosen."""
        about = about_of(cls.__dataclass_fields__[name])
        on = values.get(about.switch, True)
        return bool(on) and (about.only is None or values[about.only[0]] in about.only[1])

    @classmethod
    def _together(cls, values: Mapping[str, Any], place: str) -> None:
        """Raise SettingsError for settings that do not go together."""


def _plain_type(hint: Any) -> type:
    return hint if isinstance(hint, type) else object


def _read(value: Any, about: About, hint: Any, place: str) -> None:
    """A list needs an entry; texts are read by what understands them."""
    if value == ():
        names = ", ".join(map(str, get_args(get_args(hint)[0])))
        raise SettingsError(f"{place} is empty; at least one of {names} is needed")
    for each in value if isinstance(value, tuple) else (value,):
        if about.read is not None:
            try:
                about.read(each)
            except SpecError:
                raise
            except ValueError as error:
                raise SettingsError(f"{place}: {error}") from None
