"""Write the reference of the public names from their docstrings, and the table of settings in docs/webui.md:
`python docs/reference.py`.
"""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lib_unet_viz
from lib_unet_viz.hosts import base, diffusers
from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.entry import SCRIPT, Entry, entries
from lib_unet_viz.settings.values import EXPECTED, span

PAGE = Path(__file__).parent / "api.md"
SETTINGS_PAGE = Path(__file__).parent / "webui.md"
START, END = "<!-- settings: made by python docs/reference.py -->", "<!-- end of settings -->"
HEAD = """# Every public name

Made by `python docs/reference.py` from the docstrings of `import lib_unet_viz as viz`, and of the host for
diffusers' pipelines, `from lib_unet_viz.hosts import diffusers as host`; at the end, what
[a host of one's own](writing-a-host.md) is made of, `from lib_unet_viz.hosts import base`. Steps count from 1
for people and in files, from 0 in code; sizes are (height, width); axes stand in the order (image, head,
token, channel, y, x).
"""


def page() -> str:
    """The whole page."""
    modules = {"viz": lib_unet_viz, "host": diffusers, "base": base}
    text = "".join(part for alias, module in modules.items() for part in _module(alias, module))
    return f"{HEAD}\n{text.rstrip()}\n"


def _module(alias: str, module: ModuleType) -> Iterator[str]:
    yield f"## {alias}: `{module.__name__}`\n\n"
    for name in module.__all__:
        value = getattr(module, name)
        if not name.startswith("__") and (module is not base or name not in lib_unet_viz.__all__):
            yield from _entry(f"{alias}.{name}", value, depth=3)
            if inspect.isclass(value):
                for member, found in _members(value):
                    yield from _entry(f"{name}.{member}", found, depth=4)


def settings_page() -> str:
    """docs/webui.md with its table made anew from the table of settings."""
    before, after = SETTINGS_PAGE.read_text(encoding="utf-8").split(START)
    return f"{before}{START}\n{''.join(_settings())}{END}{after.split(END)[1]}"


def _settings() -> Iterator[str]:
    yield "| name | what it does | values | default | X/Y/Z axis |\n| --- | --- | --- | --- | --- |\n"
    for entry in entries(Settings.off()):
        section = entry.path.split(".")[0]
        repeated = ".color." in entry.path and section != "features"
        known = section == "difference" and entry.name not in ("enabled", "baseline", "dump")
        if SCRIPT not in entry.places or repeated or known:
            continue
        name = entry.path.replace("features.color", "….color")
        default = f"`{json.dumps(entry.default, ensure_ascii=False)}`" if entry.default != "" else "blank"
        cells = (f"`{name}`", entry.about.help, _values(entry), default, entry.about.axis)
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def _values(entry: Entry) -> str:
    about = entry.about
    if entry.allowed:
        meant = {name: f" ({meaning})" for name, meaning in about.meanings.items()}
        names = ", ".join(f"`{name}`{meant.get(name, '')}" for name in entry.allowed)
        return f"list of {names}" if entry.listed else names
    if entry.hint in (int, float) and about.low is not None and about.low > -1e9:
        return span(about.low, about.high)
    blank = f"; blank: {about.blank}" if about.blank else ""
    other = f"{len(about.labels)} texts" if about.labels else "fractions, as JSON"
    return EXPECTED.get(entry.hint, other) + blank


def _members(kind: type) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that the class itself has, if they are documented."""
    for name, value in vars(kind).items():
        found = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and (callable(found) or isinstance(found, property)) and found.__doc__:
            yield name, found


def _entry(name: str, value: Any, *, depth: int) -> Iterator[str]:
    yield f"{'#' * depth} `{name}{_signature(value)}`\n\n"
    text = inspect.getdoc(value) or ""
    if inspect.isclass(value) and issubclass(value, Exception | tuple) and not text:
        return
    yield f"{_as_markdown(text)}\n\n"


def _signature(value: Any) -> str:
    if isinstance(value, property):
        return ""
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [
        each.replace(annotation=inspect.Parameter.empty, default=_Default(each.default))
        if each.default is not inspect.Parameter.empty
        else each.replace(annotation=inspect.Parameter.empty)
        for each in signature.parameters.values()
        if each.name not in ("self", "cls")
    ]
    return str(inspect.Signature(parameters))


class _Default:
    """A default as one line, without addresses of memory."""

    def __init__(self, value: Any) -> None:
        self._text = re.sub(r"<factory>|<[^>]*>", "…", repr(value))

    def __repr__(self) -> str:
        return self._text if len(self._text) <= 40 else "…"


def _as_markdown(text: str) -> str:
    """A docstring; its doctests and indented parts as code."""
    blocks = re.split(r"\n\n+", text)
    return "\n\n".join(
        f"```python\n{textwrap.dedent(block)}\n```" if block.startswith((">>>", "    ")) else block
        for block in blocks
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SETTINGS_PAGE.write_text(settings_page(), encoding="utf-8")
