"""Files that commands write: all of them in the end, or none."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from lib_unet_viz.render import Rendered, animation, by_step
from lib_unet_viz.trace import Key


class OutputError(ValueError):
    """Nothing can be written where it was asked for."""


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder to write into; its files move into `folder` if nothing goes wrong, and are gone otherwise.

    Raises OutputError before anything is done where nothing can be written.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise OutputError(f"cannot write to {folder}: {there} is a file, not a folder")
    try:
        temporary = tempfile.TemporaryDirectory(prefix=".unet-viz-", dir=there)
    except OSError as error:
        raise OutputError(f"cannot write to {folder}: {error.strerror} in {there}") from error
    with temporary as name:
        yield Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(name).iterdir()):
            file.replace(folder / file.name)


def picture(path: Path) -> Path:
    """Where one picture goes: a PNG's name, which no folder has."""
    if path.suffix.lower() != ".png":
        raise OutputError(f"{path} does not end in .png")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the name of a file is needed")
    return path


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
    return "-".join(part for part in parts if part)


def word(number: int, text: str) -> str:
    """A word's file name without suffix: its place in the prompt, then its letters."""
    letters = re.sub(r"[^\w#]+", "", text)
    return f"heat-{number:02}" + (f"-{letters}" if letters else "")


def animate(made: Sequence[tuple[Rendered, Path]], folder: Path) -> None:
    """An animated WebP of each map that was drawn at several steps."""
    at = {rendered.key: path for rendered, path in made}
    for group in by_step(rendered for rendered, _ in made):
        if len(group) > 1:
            stem = re.sub(r"-step\d+", "", name(group[0].key))
            animation([_opened(at[item.key]) for item in group], folder / f"{stem}.webp")


def _opened(path: Path) -> Image.Image:
    """The sheets are read again: holding hundreds of them open would take more memory than the maps."""
    with Image.open(path) as image:
        return image.convert("RGB")
