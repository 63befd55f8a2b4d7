"""Names of files that show or hold maps."""

from __future__ import annotations

import re

from lib_unet_viz.trace import Key


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
    # Keys of dumps are checked as they are read; this holds whatever a key says within its folder.
    return re.sub(r"[^\w.-]", "_", "-".join(part for part in parts if part))


def word(number: int, text: str) -> str:
    """A word's file name without suffix: its place in the prompt, then its letters."""
    letters = re.sub(r"[^\w#]+", "", text)
    return f"heat-{number:02}" + (f"-{letters}" if letters else "")
