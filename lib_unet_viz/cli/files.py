"""Files that commands write: all of them in the end, or none."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from PIL import Image

from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.drawing import naming
from lib_unet_viz.drawing.render import Rendered, animation, by_step
from lib_unet_viz.trace import Selection, Trace
from lib_unet_viz.writing import is_utf8, staged


class OutputError(ValueError):
    """Nothing can be written where it was asked for."""


def dump(path: Path) -> Trace:
    """What a dump holds."""
    return load_trace(path)


def selection(options: Namespace) -> Selection:
    """Which of a dump's rows the options mean."""
    sub = None if options.sub is None else options.sub - 1
    return Selection(options.image, options.half, options.pass_, sub)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder to write into; its files move into `folder` if nothing goes wrong, and are gone otherwise.

    Raises OutputError before anything is done where nothing can be written.
    """
    there = _there(folder)
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(staged(there))
        except OSError as error:
            raise OutputError(f"cannot write to {folder}: {error.strerror} in {there}") from error
        yield temporary
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(temporary.iterdir()):
            file.replace(folder / file.name)


def _there(folder: Path) -> Path:
    """The folder, or what of the path to it is there. OutputError where that is no folder, or cannot be."""
    if not is_utf8(folder.absolute()):
        raise OutputError(f"cannot write to {folder}: the path is no UTF-8, which safetensors wants")
    for path in (folder, *folder.absolute().parents):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise OutputError(f"cannot write to {str(folder)[:200]}: {error.strerror}") from error
        if path.is_dir():
            return path
        what = "a link to nothing" if path.is_symlink() and not path.exists() else "a file"
        raise OutputError(f"cannot write to {folder}: {path} is {what}, not a folder")
    raise OutputError(f"cannot write to {folder}: there is no such drive")


def picture(path: Path) -> Path:
    """Where one picture goes: a PNG's name, which no folder has."""
    return writable(path, ".png")


def writable(path: Path, *endings: str) -> Path:
    """Where one file goes: a name that ends in one of these, which no folder has. Raises OutputError."""
    if path.suffix.lower() not in endings:
        raise OutputError(f"{path} does not end in {' or '.join(endings)}")
    if path.is_dir():
        raise OutputError(f"{path} is a folder; the name of a file is needed")
    _there(path.parent)
    return path


def animate(made: Sequence[tuple[Rendered, Path]], folder: Path, options: Namespace) -> None:
    """An animation of each map that was drawn at several steps, if it is asked for, as WebP or GIF."""
    if not (options.animate or options.gif):
        return
    at = {rendered.key: path for rendered, path in made}
    for group in by_step(rendered for rendered, _ in made):
        if len(group) > 1:
            path = folder / f"{naming.over_steps(group[0].key)}.{'gif' if options.gif else 'webp'}"
            animation([_opened(at[item.key]) for item in group], path)


def _opened(path: Path) -> Image.Image:
    """The sheets are read again: holding hundreds of them open would take more memory than the maps."""
    with Image.open(path) as image:
        return image.convert("RGB")
