"""Write the reference of the public names from their docstrings: `python docs/reference.py`."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import lib_unet_viz
from lib_unet_viz.hosts import base, diffusers

PAGE = Path(__file__).parent / "api.md"
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
