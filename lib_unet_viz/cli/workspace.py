"""What the commands `page` and `export` do, from their parsed options."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from lib_unet_viz.cli import files, progress
from lib_unet_viz.cli.commands import say
from lib_unet_viz.workspace import exports
from lib_unet_viz.workspace import page as pages
from lib_unet_viz.workspace.bundle import Bundle
from lib_unet_viz.workspace.contents import Choice
from lib_unet_viz.writing import replacing

MEGABYTE = 1_000_000


def page(options: Namespace) -> None:
    """One HTML file of a dump, or of two."""
    out = files.writable(options.out, ".html", ".htm")
    most = options.megabytes * MEGABYTE
    paths = [path for path in (options.dump, options.other) if path is not None]
    traces = [files.dump(path) for path in paths]
    with progress.waiting("reading"):
        bundle = Bundle.of(
            traces,
            names=_names(paths),
            selection=files.selection(options),
            choice=Choice(options.blocks, options.at),
            most=pages.room(most),
        )
        text = pages.text(bundle, most=most)
    with replacing(out) as beside:
        beside.write_text(text, encoding="utf-8")
    for note in dict.fromkeys(note for run in bundle.manifest["runs"] for note in run["notes"]):
        say(f"note: {note}")
    say(str(out))


def export(options: Namespace) -> None:
    """The arrays of one image of a dump."""
    out = files.writable(options.out, *exports.KINDS)
    view = files.dump(options.dump).view(files.selection(options))
    say(str(exports.save_arrays(Choice(options.blocks, options.at).trace(view), out)))


def _names(paths: Sequence[Path]) -> Sequence[str]:
    """What two runs are called: by their files, or by their folders where those are named alike."""
    stems, folders = [path.stem for path in paths], [path.absolute().parent.name for path in paths]
    return stems if len(set(stems)) == len(paths) else folders
