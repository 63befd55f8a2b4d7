"""What the commands `page` and `export` do, from their parsed options."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lib_unet_viz.cli import files, progress
from lib_unet_viz.cli.commands import say
from lib_unet_viz.trace import AttentionMap, AttentionMaps, FeatureMaps, Trace
from lib_unet_viz.workspace import exports
from lib_unet_viz.workspace import page as pages
from lib_unet_viz.workspace.bundle import NAMES, Bundle
from lib_unet_viz.workspace.contents import Choice
from lib_unet_viz.writing import replacing

MEGABYTE = 1_000_000


def page(options: Namespace) -> None:
    """One HTML file of a dump, or of two."""
    out = files.writable(options.out, ".html", ".htm")
    paths = [path for path in (options.dump, options.other) if path is not None]
    traces = [files.dump(path) for path in paths]
    with progress.waiting("reading"):
        bundle = Bundle.of(
            traces,
            names=_names(paths),
            selection=files.selection(options),
            choice=Choice(options.blocks, options.at),
            most=pages.room(options.megabytes * MEGABYTE),
        )
    with replacing(out) as beside:
        beside.write_text(pages.text(bundle), encoding="utf-8")
    for note in dict.fromkeys(note for run in bundle.manifest["runs"] for note in run["notes"]):
        say(f"note: {note}")
    say(str(out))


def export(options: Namespace) -> None:
    """The arrays of one image of a dump."""
    out = files.writable(options.out, *exports.KINDS)
    say(str(exports.save_arrays(_chosen(files.dump(options.dump), options), out)))


def _chosen(dump: Trace, options: Namespace) -> Trace:
    view = dump.view(files.selection(options))
    maps = Choice(options.blocks, options.at).of(view)
    if not maps:
        raise ValueError(f"nothing in {options.dump} fits; it holds {dump.features}, {dump.attention}")
    attention = [item for item in maps if isinstance(item, AttentionMap)]
    features = [item for item in maps if not isinstance(item, AttentionMap)]
    return replace(view, features=FeatureMaps(features), attention=AttentionMaps(attention))


def _names(paths: Sequence[Path]) -> Sequence[str]:
    """What two runs are called: their files, or else their folders, or else A and B."""
    stems, folders = [path.stem for path in paths], [path.absolute().parent.name for path in paths]
    return next((names for names in (stems, folders) if len(set(names)) == len(paths)), NAMES)
