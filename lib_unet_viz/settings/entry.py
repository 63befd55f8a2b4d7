"""What the table says of a setting (`About`), and the table as a list (`Entry`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin, get_type_hints

KEY = "setting"  # of a dataclass field's metadata

PAGE = "the page"
SCRIPT = "the webui's script"
ALWAYS_ON = "the always-on script"
TRACE = "unet-viz trace"
RENDER = "unet-viz render"
DIFF = "unet-viz diff"
EDIT = "unet-viz edit"
TRACE_ROUTE = "/unet-viz/v1/trace"
EDIT_ROUTE = "/unet-viz/v1/edit"

WEBUI = frozenset({SCRIPT, ALWAYS_ON})
DRAWN = frozenset({PAGE, TRACE, RENDER, DIFF}) | WEBUI  # where sheets are made
EVERYWHERE = DRAWN | {EDIT, TRACE_ROUTE, EDIT_ROUTE}


@dataclass(frozen=True)
class About:
    """What the table says of a setting.

    label: of its component; help: what it does, as a phrase; hint: examples, under its component.
    blank: what an empty text means. low, high: what is allowed; slider: ends and step of one, where it is no
    text box. read: raises ValueError for a text that cannot be (a spec, a formula).
    words: what people see, and the value that it stands for; meanings: of values, a phrase each.
    choices: suggested values of a text. labels: of a fixed number of texts. lines, placeholder: of a text
    box.
    needs: values that are offered only where a module is installed.
    only: another setting of the section, and those of its values with which this one matters.
    switch: the setting of the section that turns this one on.
    flag: of the command line, where `metavar` stands for the value; a switch's turns it from its default.
    flag_help: where the flag's help has to say something else.
    axis: the name under which a plot varies it; blank: it may not. places: where it applies.
    """

    label: str = ""
    help: str = ""
    hint: str = ""
    blank: str = ""
    low: float | None = None
    high: float | None = None
    slider: tuple[float, float, float] | None = None
    read: Callable[[Any], object] | None = None
    words: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    meanings: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    choices: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    lines: int = 1
    placeholder: str = ""
    needs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    only: tuple[str, tuple[Any, ...]] | None = None
    switch: str = "enabled"
    flag: str = ""
    metavar: str = ""
    flag_help: str = ""
    axis: str = ""
    places: frozenset[str] = DRAWN


def setting(default: Any, label: str, help: str, **more: Any) -> Any:
    """A setting: its default, and what `About` says of it."""
    return field(default=default, metadata={KEY: About(label, help, **more)})


def part(factory: Callable[[], Any], *, places: frozenset[str] = EVERYWHERE) -> Any:
    """A section of others, which apply in these places at most."""
    return field(default_factory=factory, metadata={KEY: About(places=places)})


def about_of(of: Field[Any]) -> About:
    """What the table says of a dataclass's field."""
    found: About = of.metadata.get(KEY) or About(label=of.name)
    return found


@dataclass(frozen=True)
class Entry:
    """A setting by its path, such as `features.color.gain`; places: where it and its sections apply."""

    path: str
    hint: Any
    default: Any
    about: About
    places: frozenset[str]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return self.path.rpartition(".")[2]

    @property
    def allowed(self) -> tuple[str, ...]:
        """The values that it, or each item of it, may have; none: any of its type."""
        inner = get_args(self.hint)[0] if self.listed else self.hint
        return get_args(inner) if get_origin(inner) is Literal else ()

    @property
    def listed(self) -> bool:
        """Whether it is a list."""
        return get_origin(self.hint) is tuple

    @property
    def dest(self) -> str:
        """The name of its flag's value among parsed options."""
        return self.about.flag.lstrip("-").replace("-", "_")


def entries(section: Any, above: str = "", places: frozenset[str] = EVERYWHERE) -> Iterator[Entry]:
    """The settings of a section, given as a class or as a value whose settings are the defaults, in order."""
    kind = section if isinstance(section, type) else type(section)
    hints = types(kind)
    for each in fields(kind):
        path, about = f"{above}{each.name}", about_of(each)
        usual = _default(each) if isinstance(section, type) else getattr(section, each.name)
        if hasattr(hints[each.name], "__dataclass_fields__"):
            yield from entries(usual, f"{path}.", places & about.places)
        else:
            yield Entry(path, hints[each.name], usual, about, places & about.places)


def entry_at(section: Any, path: str) -> Entry:
    """The setting of a path. Raises StopIteration where there is none."""
    return next(entry for entry in entries(section) if entry.path == path)


@cache
def types(kind: type) -> Mapping[str, Any]:
    """The types of a section's settings, by name."""
    return get_type_hints(kind)


def _default(of: Field[Any]) -> Any:
    return of.default if of.default_factory is MISSING else of.default_factory()


def value_at(settings: Any, path: str) -> Any:
    """The value of a path; a list's items are named by their numbers."""
    for name in path.split("."):
        settings = settings[int(name)] if name.isdigit() else getattr(settings, name)
    return settings


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values by path as objects in objects."""
    found: dict[str, Any] = {}
    for path, value in values.items():
        *above, name = path.split(".")
        place = found
        for step in above:
            place = place.setdefault(step, {})
        place[name] = value
    return found
