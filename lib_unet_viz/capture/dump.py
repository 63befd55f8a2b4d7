"""A trace in a file: one `.safetensors` per image, which says itself what it holds and is read a map at a
time.

The file's metadata has one entry, `unet_viz`, in JSON:

    format   1
    version  of the package that wrote it
    meta     of the trace (prompt, seed, tokens, sigmas, ...), for this image
    notes    of the trace
    maps     a list: tensor (its name in the file), axes, sigma, tokens, and the key; steps count from 1

The picture, if there is one, is the tensor `picture` (y, x, channel), 8 bit RGB.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from lib_unet_viz.capture.request import BudgetError
from lib_unet_viz.meta import BLOCK, Meta, MetaError, check
from lib_unet_viz.trace import AXES, AttentionMap, FeatureMap, Half, Key, Kind, Pass, Stored, Trace
from lib_unet_viz.writing import is_utf8, replacing

FORMAT = 1
_ENTRY = "unet_viz"
_PICTURE = "picture"


class DumpError(ValueError):
    """A file cannot be written as asked, or is not a dump; the message says what was found."""


def save_trace(
    trace: Trace, path: str | Path, *, image: int | None = None, budget: int | None = None
) -> Path:
    """Write one image's maps to `path`; a missing folder is made, and a file is there whole or not at all.

    Returns the path, to which `.safetensors` is added if missing. `image` may be left out if there is only
    one.
    Raises BudgetError if the maps take more than `budget` bytes, DumpError if `image` is needed or not there.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        path = path.with_name(path.name + ".safetensors")
    image = _image(trace, image)
    maps = [item for item in (*trace.features, *trace.attention) if item.key.image == image]
    needed = sum(item.nbytes for item in maps)
    if budget is not None and needed > budget:
        raise BudgetError(needed, budget)
    tensors = {_name(item.key): item.data.contiguous() for item in maps}
    if len(tensors) < len(maps):
        raise DumpError(f"{len(maps) - len(tensors)} maps of image {image} have the key of another one")
    if trace.picture is not None:
        tensors[_PICTURE] = torch.from_numpy(np.array(trace.picture.convert("RGB")))
    head = {
        "format": FORMAT,
        "version": _version(),
        "meta": dict(trace.meta_of(image)),
        "notes": trace.notes,
        "maps": [_entry(item) for item in maps],
    }
    try:
        text = json.dumps(head, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DumpError(f"the trace's meta cannot be written as JSON: {error}") from error
    try:
        with replacing(path, durable=True) as temporary:
            save_file(tensors, temporary, metadata={_ENTRY: text})
    except SafetensorError as error:  # which is what a full disk is to safetensors
        raise DumpError(f"{path} cannot be written: {str(error)[:200]}") from error
    return path


def load_trace(path: str | Path) -> Trace:
    """The trace in a file that `save_trace` wrote. Each map's numbers are read when they are first used.

    Raises DumpError if there is no such file, or if it is something else.
    """
    path = Path(path)
    with _opened(path) as file:
        head = _head(path, file.metadata() or {}, list(file.keys()))
        trace = Trace(meta=Meta.of(head["meta"]), notes=list(head["notes"]))
        for entry in head["maps"]:
            _add(trace, path, file, entry)
        if _PICTURE in file.keys():  # noqa: SIM118  (safe_open is no mapping)
            trace.picture = _picture(path, file)
    return trace


def _image(trace: Trace, image: int | None) -> int:
    images = trace.images or [0]
    if image is None and len(images) > 1:
        raise DumpError(f"a file holds one image; this trace has the images {images}: say which")
    if image is not None and image not in images:
        raise DumpError(f"this trace has no image {image}; it has {images}")
    return images[0] if image is None else image


def _name(key: Key) -> str:
    """The tensor's name, such as ``step003/OUT04.0/cross/QK/cond``."""
    step = "mean" if key.step is None else f"step{key.step + 1:03}"
    hires = ["hires"] if key.pass_ == "hires" else []
    site = [key.block] if key.layer is None else [f"{key.block}.{key.layer}", str(key.kind)]
    sub = [f"sub{key.sub}"] if key.sub else []
    return "/".join([*hires, step, *site, key.what, key.half, *sub])


def _entry(item: FeatureMap) -> dict[str, Any]:
    tokens = {"tokens": item.tokens} if isinstance(item, AttentionMap) and item.tokens is not None else {}
    return {"tensor": _name(item.key), "axes": item.axes, "sigma": item.sigma, **item.key.labels(), **tokens}


def _version() -> str:
    import lib_unet_viz

    return str(getattr(lib_unet_viz, "__version__", "unknown"))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise DumpError(f"{path}: no such file")
    if not is_utf8(path):
        raise DumpError(f"{path} cannot be read: the path is no UTF-8, which safetensors wants")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        with path.open("rb") as foreign:
            start = foreign.read(8)
        raise DumpError(f"{path} is no dump: no safetensors file ({error}; it starts {start!r})") from error


def _head(path: Path, metadata: Mapping[str, str], names: list[str]) -> dict[str, Any]:
    if _ENTRY not in metadata:
        some = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        raise DumpError(f"{path} is no dump: its metadata has no {_ENTRY!r} entry; its tensors: {some}")
    try:
        head = json.loads(metadata[_ENTRY])
        if head["format"] != FORMAT:
            raise DumpError(f"{path} has dump format {head['format']}; this version reads format {FORMAT}")
        missing = {"meta", "notes", "maps"} - set(head)
    except (json.JSONDecodeError, KeyError, TypeError, RecursionError) as error:
        raise DumpError(f"{path}: its {_ENTRY!r} entry cannot be read ({str(error)[:200]})") from error
    if missing:
        raise DumpError(f"{path}: its {_ENTRY!r} entry lacks {', '.join(sorted(missing))}")
    kinds = {"notes": str, "maps": dict}
    lists = all(isinstance(head[name], list) for name in kinds)
    if not lists or not isinstance(head["meta"], dict):
        raise DumpError(f"{path}: its meta is no object, or its notes and maps are no lists")
    if not all(isinstance(each, kind) for name, kind in kinds.items() for each in head[name]):
        raise DumpError(f"{path}: its notes are no texts, or its maps no objects")
    try:
        check(head["meta"])
    except MetaError as error:
        raise DumpError(f"{path}: of its meta, {error}") from error
    return cast("dict[str, Any]", head)


def _picture(path: Path, file: Any) -> Image.Image:
    try:
        return Image.fromarray(file.get_tensor(_PICTURE).numpy())
    except (TypeError, ValueError, SafetensorError) as error:
        raise DumpError(f"{path}: its picture cannot be read ({str(error)[:200]})") from error


def _add(trace: Trace, path: Path, file: Any, entry: Mapping[str, Any]) -> None:
    try:
        name = entry["tensor"]
        key = _key(entry)
        part = file.get_slice(name)
        shape = tuple(part.get_shape())
        itemsize = {"F16": 2, "F32": 4}[part.get_dtype()]
        stored = Stored(shape, int(np.prod(shape)) * itemsize, partial(_read, path, name))
        if list(AXES[key.what]) != list(entry["axes"]):
            raise ValueError(f"unknown axes {entry['axes']} of {key.what}")
        _check(entry, "sigma", (float, int, type(None)))
        if key.what == "features":
            trace.features.add(FeatureMap(key, stored, entry["sigma"]))
        else:
            trace.attention.add(AttentionMap(key, stored, entry["sigma"], tokens=entry.get("tokens")))
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        some = f"{entry!r}"[:200]
        raise DumpError(f"{path}: the entry {some} cannot be read ({str(error)[:200]})") from error


def _key(entry: Mapping[str, Any]) -> Key:
    """A map's key, each label of which is what it may be: names of files are made of them."""
    words = {"what": tuple(AXES), "kind": (None, *get_args(Kind)), "half": get_args(Half)}
    words["pass_"] = get_args(Pass)
    for label, allowed in words.items():
        if entry[label] not in allowed:
            raise ValueError(f"{label} is not one of {', '.join(map(str, allowed))}")
    for label, least in {"layer": 0, "step": 1, "image": 0, "sub": 0}.items():
        value, optional = entry[label], label in ("layer", "step")
        if not (value is None and optional) and not (type(value) is int and least <= value <= 10**6):
            raise ValueError(f"{label} is no number from {least} on")
    if not isinstance(entry["block"], str) or not BLOCK.fullmatch(entry["block"]):
        raise ValueError("block is no block's name, such as IN04")
    labels = {label: entry[label] for label in Key.__dataclass_fields__}
    return Key(**{**labels, "step": None if labels["step"] is None else labels["step"] - 1})


def _check(values: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> None:
    if isinstance(values[name], bool) or not isinstance(values[name], kinds):
        raise TypeError(f"{name} is {type(values[name]).__name__}")


def _read(path: Path, name: str) -> torch.Tensor:
    with _opened(path) as file:
        return cast(torch.Tensor, file.get_tensor(name))
