"""Names of files that show or hold maps."""

from __future__ import annotations

import re

from lib_unet_viz.trace import Key

_MOST = 120  # bytes of a text; folders take names of 255


def plain(text: str) -> str:
    """Whatever a text says, a name that stays in its folder and that file systems take, with a suffix."""
    return _short(re.sub(r"[^\w.-]", "_", text)).lstrip(".") or "_"


def _short(text: str) -> str:
    return text.encode("utf-8", "ignore")[:_MOST].decode("utf-8", "ignore")


def name(key: Key) -> str:
    """A map's file name without suffix, such as ``M00.0-cross-QK-step020``; steps count from 1."""
    site = key.block if key.layer is None else f"{key.block}.{key.layer}-{key.kind}"
    parts = [
        site,
        key.what,
        "mean" if key.step is None else f"step{key.step + 1:03}",
        "" if key.half == "cond" else key.half,
        "hires" if key.pass_ == "hires" else "",
        f"image{key.image + 1}" if key.image else "",
        f"sub{key.sub + 1}" if key.sub else "",
    ]
    return plain("-".join(part for part in parts if part))


def over_steps(key: Key) -> str:
    """A file name without suffix for a map at all of its steps."""
    return re.sub(r"-step\d+", "", name(key))


def word(number: int, text: str) -> str:
    """A word's file name without suffix: its place in the prompt, then its letters."""
    letters = _short(re.sub(r"[^\w#]+", "", text))
    return f"heat-{number:02}" + (f"-{letters}" if letters else "")
