"""Pictures of a trace: `render(trace, Colorizer(...))`; heat over a picture; files.

Everything here is arrays and PIL images: no model, no host.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib_unet_viz.drawing.color import Bytes, Colorizer, Colormap, average
from lib_unet_viz.drawing.montage import BACKGROUND, check_size, montage, page_columns
from lib_unet_viz.drawing.norm import finite, number
from lib_unet_viz.notation import tokens
from lib_unet_viz.writing import replacing

if TYPE_CHECKING:
    from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace

__all__ = ["Rendered", "animation", "by_step", "grey", "mask", "montage", "overlay", "render", "save_png"]

Floats = NDArray[np.float32]

_CHANNELS_IN_A_ROW = 40
# Self-attention has a picture for every position, thousands of them: so many are shown, evenly spread.
_POSITIONS_A_SIDE = 6
COVER, FAINT, DIMMED = 0.85, 0.35, 0.6  # of heat over a picture, of a weak word's; the picture below


@dataclass(frozen=True)
class Rendered:
    """One map as a picture. `caption` is what stands above it; `key` says which map it is."""

    image: Image.Image
    caption: str
    key: Key


@dataclass(frozen=True)
class _Sheet:
    """Pictures (n, y, x) in the order of a grid, and what to write at them."""

    planes: Floats
    columns: int
    column_labels: Sequence[str]
    row_labels: Sequence[str]
    contents: str


def render(trace: Trace, colorizer: Colorizer, *, average: str | None = None) -> list[Rendered]:
    """One picture for each map of the trace, in its order, features first.

    Features are a grid of channels; QK is heads x tokens, one row a head, one column a token; Q and VQK are
    heads x channels; K is one picture a head, tokens x channels. average: "mean", "1-norm" or "2-norm" over
    the channels, or over the heads where there are none; K has no average; None or "none": show all.
    ColorError on another word.
    """
    how = None if average in (None, "none") else average
    features = (_rendered(trace, item, _feature_sheet(item, how), colorizer) for item in trace.features)
    attention = (
        _rendered(trace, item, _attention_sheet(item, how, _token_labels(trace, item)), colorizer)
        for item in trace.attention
    )
    return list(chain(features, attention))


def _rendered(trace: Trace, item: FeatureMap, sheet: _Sheet, colorizer: Colorizer) -> Rendered:
    count, height, width = sheet.planes.shape
    check_size(count, (height, width), columns=sheet.columns)
    caption = f"{_title(trace, item)}\n{sheet.contents}, {_range(sheet.planes)}"
    fitted = colorizer.fit(sheet.planes)
    image = montage(
        fitted(sheet.planes),
        columns=sheet.columns,
        column_labels=sheet.column_labels,
        row_labels=sheet.row_labels,
        caption=caption,
        colorbar=fitted,
    )
    return Rendered(image, caption, item.key)


def _title(trace: Trace, item: FeatureMap) -> str:
    """Block, layer, what, step, sigma; image, half, sub-prompt and pass where they are not the usual ones."""
    key = item.key
    total = trace.meta.steps
    of_total = f" of {total}" if isinstance(total, int) else ""
    words = [
        key.block if key.layer is None else f"{key.block}.{key.layer}",
        "features" if key.what == "features" else f"{key.kind}-attention {key.what}",
        trace.meta.difference or "",
        "mean over steps" if key.step is None else f"step {key.step + 1}{of_total}",
        "" if item.sigma is None else f"sigma {number(item.sigma)}",
        "hires pass" if key.pass_ == "hires" else "",
        {"cond": "", "uncond": "unconditional"}.get(key.half, key.half),
        f"image {key.image + 1}" if key.image else "",
        f"sub-prompt {key.sub + 1}" if key.sub else "",
    ]
    return "  ·  ".join(word for word in words if word)


def _range(planes: Floats) -> str:
    known = finite(planes)
    wrong = _not_finite(planes)
    note = f" ({wrong} not finite)" if wrong else ""
    return f"values {number(float(known.min()))} to {number(float(known.max()))}{note}"


def _not_finite(values: Floats) -> int:
    return values.size - int(np.isfinite(values).sum())


def _averaged(how: str, over: str, data: Floats) -> str:
    """What was averaged, and how much of it was left out."""
    wrong = _not_finite(data)
    return f"{how} over {over}" + (f" (not finite and left out: {wrong})" if wrong else "")


def _token_labels(trace: Trace, item: AttentionMap) -> list[str]:
    """The tokens' texts; after the first EOS, what only fills the chunk is called "pad"."""
    texts = trace.token_texts(item)
    return [_token_label(text, before=texts[:place]) for place, text in enumerate(texts)]


def _token_label(text: str, *, before: Sequence[str]) -> str:
    start = max((place for place, other in enumerate(before) if other == tokens.BOS), default=0)
    filling = tokens.EOS in before[start:] and text != tokens.BOS
    return "pad" if filling else tokens.readable(text)


def _feature_sheet(item: FeatureMap, how: str | None) -> _Sheet:
    data = item.numpy()
    count, height, width = data.shape
    size = f"{height} x {width}"
    if how is not None:
        return _Sheet(average(data, how), 1, (), (), f"{_averaged(how, f'{count} channels', data)}, {size}")
    columns = page_columns(count, (height, width))
    firsts = [f"{first}" for first in range(0, count, columns)]
    return _Sheet(data, columns, (), firsts, f"{_count(count, 'channel')}, {size}")


def _attention_sheet(item: AttentionMap, how: str | None, labels: Sequence[str]) -> _Sheet:
    data = item.numpy()
    if item.key.what == "QK":
        return _token_sheet(item, data, how, labels)
    heads = data.shape[0]
    if item.key.what == "K":
        _, rows, columns = data.shape
        names = [f"head {head}" for head in range(heads)]
        contents = f"{_count(heads, 'head')}, {rows} tokens down x {columns} channels across"
        return _Sheet(data, heads, names, (), contents)
    return _head_channel_sheet(data, how)


def _token_sheet(item: AttentionMap, data: Floats, how: str | None, labels: Sequence[str]) -> _Sheet:
    """QK (head, token, y, x): one row a head, one column a token."""
    heads, count, height, width = data.shape
    what = _count(count, "token")
    if item.key.kind == "self":
        shown, labels = _spread(height, width) if count == height * width else (range(count), ())
        data = data[:, list(shown)]
        what = f"{len(shown)} of {_count(count, 'position')} (row,column)"
    rows = [f"head {head}" for head in range(heads)]
    who = "mean over heads" if heads == 1 and item.key.step is None else _count(heads, "head")
    if how is not None:
        data, rows, who = average(data, how), [], _averaged(how, who, data)
    contents = f"{who}, {what}, {height} x {width}"
    names = labels if len(labels) == data.shape[1] else [f"{token}" for token in range(data.shape[1])]
    return _Sheet(
        data.reshape(-1, height, width), data.shape[1], names, rows if len(rows) > 1 else (), contents
    )


def _spread(height: int, width: int) -> tuple[Sequence[int], Sequence[str]]:
    """Positions on an even grid, as indices and as "row,column"."""
    places = [(i + 0.5) / _POSITIONS_A_SIDE for i in range(_POSITIONS_A_SIDE)]
    ys, xs = (sorted({int(place * length) for place in places}) for length in (height, width))
    return [y * width + x for y in ys for x in xs], [f"{y},{x}" for y in ys for x in xs]


def _head_channel_sheet(data: Floats, how: str | None) -> _Sheet:
    """Q and VQK (head, channel, y, x): heads below each other, each on as many rows as its channels need."""
    heads, count, height, width = data.shape
    contents = f"{_count(heads, 'head')}, {_count(count, 'channel')}, {height} x {width}"
    if how is not None:
        names = [f"head {head}" for head in range(heads)]
        planes = average(data, how, axis=1).reshape(heads, height, width)
        return _Sheet(planes, heads, names, (), _averaged(how, f"the channels of {contents}", data))
    columns = max(c for c in range(1, min(count, _CHANNELS_IN_A_ROW) + 1) if count % c == 0)
    firsts = range(0, count, columns)
    rows = [f"head {head}" + f", {first}+" * (len(firsts) > 1) for head in range(heads) for first in firsts]
    return _Sheet(data.reshape(-1, height, width), columns, (), rows, contents)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def by_step(rendered: Iterable[Rendered]) -> list[list[Rendered]]:
    """Pictures that differ in nothing but the step, together and in order of steps: one animation each."""
    groups: dict[Key, list[Rendered]] = {}
    for item in rendered:
        groups.setdefault(dataclasses.replace(item.key, step=None), []).append(item)
    return [sorted(group, key=lambda item: item.key.step or 0) for group in groups.values()]


# Heat on a picture ----------------------------------------------------------------------------------------


def overlay(
    picture: Image.Image, heat: NDArray[Any], *, colormap: Colormap | None = None, cover: float = COVER
) -> Image.Image:
    """The picture, grey and dimmed, with heat (y, x) in [0, 1] over it in `colormap` (plasma).

    How much the heat covers follows its value, up to `cover`: so colour alone says how hot it is, whatever
    the picture's own colours are.
    """
    full = _stretched(heat, (picture.height, picture.width))
    colors = (colormap or Colormap.plasma())(full).astype(np.float32)
    luma = _pixels(picture) @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32)  # ITU-R BT.601
    covered = full[..., None] * np.float32(cover)
    return _image(luma * np.float32(DIMMED) * (1 - covered) + colors * covered)


def mask(picture: Image.Image, heat: NDArray[Any]) -> Image.Image:
    """The picture, as bright as heat (y, x) in [0, 1] is at each place."""
    return _image(_pixels(picture) * _stretched(heat, (picture.height, picture.width))[..., None])


def grey(heat: NDArray[Any], size: tuple[int, int]) -> Image.Image:
    """Heat (y, x) in [0, 1] as a grey picture of `size` (height, width): black 0, white 1."""
    full = _stretched(heat, size)
    return _image(np.repeat(full[..., None] * 255, 3, axis=2))


def _stretched(heat: NDArray[Any], size: tuple[int, int]) -> Floats:
    values = finite(heat)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"heat of shape {values.shape}; expected (y, x)")
    height, width = size
    enlarged = Image.fromarray(np.clip(values, 0, 1)).resize((width, height), Image.Resampling.BICUBIC)
    return np.clip(np.asarray(enlarged, dtype=np.float32), 0, 1)


def _pixels(picture: Image.Image) -> Floats:
    return np.asarray(picture.convert("RGB"), dtype=np.float32)


def _image(pixels: Floats) -> Image.Image:
    rounded: Bytes = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
    return Image.fromarray(rounded)


# Files ----------------------------------------------------------------------------------------------------


def save_png(image: Image.Image, path: str | os.PathLike[str]) -> Path:
    """Writes a PNG, whole or not at all; makes the folder."""
    return _written(path, lambda file: image.save(file, format="PNG"))


def animation(frames: Iterable[Image.Image], path: str | os.PathLike[str], *, ms: int = 400) -> Path:
    """Writes an animation that repeats for ever, `ms` a frame, whole or not at all.

    It is a WebP without loss, or a GIF of 256 colours a frame where the path ends so. Smaller frames stand at
    the upper left of the largest's size. ValueError on no frames, or a size that WebP has not.
    """
    pictures = [frame.convert("RGB") for frame in frames]
    if not pictures:
        raise ValueError("an animation needs at least one frame")
    size = max(p.width for p in pictures), max(p.height for p in pictures)
    gif = Path(path).suffix.lower() == ".gif"
    if max(size) > 16383 and not gif:
        raise ValueError(f"frames of {size[1]} x {size[0]} pixels; WebP holds up to 16383 a side")
    padded = (_padded(picture, size) for picture in pictures)
    first, *rest = (picture.quantize(256) for picture in padded) if gif else padded
    options: dict[str, Any] = {"save_all": True, "append_images": rest, "duration": ms, "loop": 0}
    if gif:
        return _written(path, lambda file: first.save(file, format="GIF", optimize=False, **options))
    return _written(path, lambda file: first.save(file, format="WEBP", lossless=True, method=2, **options))


def _padded(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    if picture.size == size:
        return picture
    page = Image.new("RGB", size, BACKGROUND)
    page.paste(picture, (0, 0))
    return page


def _written(path: str | os.PathLike[str], write: Callable[[BinaryIO], None]) -> Path:
    """Writes beside the target first, so that a reader never meets half a file."""
    target = Path(path)
    with replacing(target) as partial, partial.open("wb") as file:
        write(file)
    return target
