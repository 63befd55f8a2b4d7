"""A bundle as one HTML text: style, script and numbers are within it, so that it opens from disk.

Whatever comes from a run is data: the manifest is JSON in which nothing can end its element, the numbers are
base64, the title is escaped; a Content-Security-Policy in the shell forbids all requests.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any, Literal

from lib_unet_viz.workspace.bundle import Bundle, BundleError

Theme = Literal["", "light", "dark"]

LARGEST = 20_000_000  # bytes of a page
_PARTS = ("html", "css", "js")
_PLACE = re.compile(r"\{\{(title|style|manifest|numbers|script)\}\}")
# What could end the element, begin a comment in it, or be no character of a script.
_UNSAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}


def text(bundle: Bundle, *, theme: Theme = "", most: int | None = None) -> str:
    """The page. theme: light or dark whatever the browser prefers; blank: as the browser prefers.

    most: bytes that it may take; BundleError for more, which only a run with very long texts needs: what the
    maps take is `Bundle.of`'s affair.
    """
    shell, style, script = map(_static, _PARTS)
    found = {
        "title": html.escape(f"{bundle.manifest['title']} – U-Net Viz"),
        "style": style,
        "manifest": json_text(bundle.manifest),
        "numbers": base64.b64encode(bundle.numbers).decode("ascii"),
        "script": script,
    }
    shown = shell.replace("<html ", f'<html data-theme="{theme}" ', 1) if theme else shell
    whole = _PLACE.sub(lambda place: found[place[1]], shown)
    if most is not None and len(whole.encode()) > most:
        needed, texts = len(whole.encode()), len(found["manifest"].encode())
        raise BundleError(f"the page needs {needed:,} bytes, {texts:,} of them texts; allowed: {most:,}")
    return whole


def json_text(values: Mapping[str, Any]) -> str:
    """JSON that may stand in a script element of HTML. ValueError for NaN and infinities."""
    return json.dumps(values, ensure_ascii=False, allow_nan=False).translate(_UNSAFE)


def room(most: int = LARGEST) -> int:
    """Bytes of numbers for which a page of so many bytes has room."""
    return max(0, (most - sum(len(_static(part).encode()) for part in _PARTS) - _MANIFEST) * 3 // 4)


_MANIFEST = 500_000  # bytes that are kept free for it


@cache
def _static(kind: str) -> str:
    return resources.files("lib_unet_viz.workspace").joinpath(f"static/workspace.{kind}").read_text("utf-8")
