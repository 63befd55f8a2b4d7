"""gradio, imported without the work that it does for editors alone."""

from __future__ import annotations

import inspect
from importlib.metadata import version


def import_gradio() -> None:
    """Import gradio without its type stubs: a second less, of two and a half.

    At each import it parses its own sources, to write `.pyi` files beside them, but for components whose
    source it cannot find (gradio/component_meta.py, `create_or_modify_pyi`). So it is told that there is
    none, in the versions that take that for an answer.
    """
    if not version("gradio").startswith("6."):
        return
    found = inspect.getfile
    inspect.getfile = _no_source  # type: ignore[assignment]
    try:
        import gradio as gradio
    finally:
        inspect.getfile = found


def _no_source(_: object) -> str:
    raise OSError("sources are not looked for while gradio is imported")
