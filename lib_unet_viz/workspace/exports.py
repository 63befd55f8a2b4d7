"""A run's arrays in files for other programs: `.npz` without pickle, or a dump, which is `.safetensors`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import naming
from lib_unet_viz.trace import Trace
from lib_unet_viz.workspace.measures import unread
from lib_unet_viz.writing import replacing

ABOUT = "unet_viz"  # the array of an .npz that says in JSON what the others are
KINDS = (".npz", ".safetensors")


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
    text = np.array(json.dumps(about, ensure_ascii=False))
    with replacing(path) as beside, beside.open("wb") as file:
        np.savez_compressed(file, **{ABOUT: text}, **arrays)
    return path


def _tokens(item: Any) -> list[int] | None:
    """The tokens that were kept, where not all were."""
    kept = getattr(item, "tokens", None)
    return None if kept is None else list(kept)
