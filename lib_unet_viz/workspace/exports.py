"""A run's arrays in files for other programs: `.npz` without pickle, or a dump, which is `.safetensors`."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import naming, sheets
from lib_unet_viz.drawing.render import Rendered, animation, by_step, save_png
from lib_unet_viz.settings import AttentionPart, Half, Kind, Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.workspace.measures import unread
from lib_unet_viz.writing import replacing, staged

ABOUT = "unet_viz"  # the array of an .npz that says in JSON what the others are
KINDS = (".npz", ".safetensors")
MOST_SHEETS = 200
_ALL: dict[str, Any] = {"blocks": "", "steps": "", "halves": get_args(Half)}
_EVERYTHING = Settings.from_dict(
    {"features": _ALL, "attention": {**_ALL, "parts": get_args(AttentionPart), "kinds": get_args(Kind)}}
)


class ExportError(ValueError):
    """The file cannot be of the kind that its name says; the message names those that there are."""


def save_arrays(trace: Trace, path: Path) -> Path:
    """All maps of one image, by the ending of the file's name; it is there whole or not at all.

    An `.npz` has one array for each map, of the trace's own numbers and axes, the picture, and the text
    `unet_viz`: JSON of the run's meta, its notes, and each array's axes and key, where steps count from 1. A
    `.safetensors` is a dump. Raises ExportError for another ending, DumpError for a trace of several images.
    """
    if path.suffix == ".safetensors":
        return save_trace(trace, path)
    if path.suffix != ".npz":
        raise ExportError(f"{path.name} does not end in {' or '.join(KINDS)}")
    if len(trace.images) > 1:
        raise ExportError(f"a file holds one image; this trace has the images {trace.images}: say which")
    listed = [*trace.features, *trace.attention]
    maps = {naming.name(item.key): unread(item) for item in listed}
    if len(maps) < len(listed):
        raise ExportError(f"{len(listed) - len(maps)} maps have the key of another one")
    about = {
        "meta": dict(trace.meta),
        "notes": trace.notes,
        "maps": {
            name: {**item.key.labels(), "axes": item.axes, "sigma": item.sigma, "tokens": _tokens(item)}
            for name, item in maps.items()
        },
    }
    arrays: dict[str, Any] = {name: item.data.numpy() for name, item in maps.items()}
    if trace.picture is not None:
        arrays["picture"] = np.asarray(trace.picture.convert("RGB"))
    arrays[ABOUT] = np.array(json.dumps(about, ensure_ascii=False))
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **arrays)
    return path


def save_sheets(trace: Trace, path: Path, ending: str) -> Path:
    """A zip of all maps' sheets, as `.png`, or of their animations over the steps, as `.webp` or `.gif`.

    Colours are those of the settings' defaults. Raises ExportError for more than MOST_SHEETS, and for
    animations where nothing was recorded at several steps.
    """
    count = len(trace.features) + len(trace.attention)
    if count > MOST_SHEETS:
        raise ExportError(f"{count} sheets; at most {MOST_SHEETS} go into a file: choose blocks or steps")
    drawn = [*sheets.feature_sheets(trace, _EVERYTHING.features)]
    drawn += sheets.attention_sheets(trace, _EVERYTHING.attention)
    groups = [[each] for each in drawn] if ending == ".png" else [g for g in by_step(drawn) if len(g) > 1]
    if not groups:
        raise ExportError("there is nothing to draw: no map was recorded at several steps")
    with replacing(path) as beside, zipfile.ZipFile(beside, "w") as file:
        for group in groups:
            with staged(path.parent) as folder:
                made = _drawn(group, folder, ending)
                file.write(made, made.name)
    return path


def _drawn(group: Sequence[Rendered], folder: Path, ending: str) -> Path:
    """A sheet, or an animation of several."""
    key = group[0].key
    if ending == ".png":
        return save_png(group[0].image, folder / f"{naming.name(key)}.png")
    return animation([each.image for each in group], folder / f"{naming.over_steps(key)}{ending}")


def _tokens(item: Any) -> list[int] | None:
    """The tokens that were kept, where not all were."""
    kept = getattr(item, "tokens", None)
    return None if kept is None else list(kept)
