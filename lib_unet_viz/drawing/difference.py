"""What changed between two runs: the differences b - a of their maps and pictures. No model is needed.

    changed = difference(load_trace("a.safetensors"), load_trace("b.safetensors"))
    changed.features.one(block="OUT11", step=20)     # FeatureMap (channel, y, x) of b - a

The result is a trace like any other: it can be drawn, saved and read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from lib_unet_viz.drawing import sheets
from lib_unet_viz.drawing.montage import montage
from lib_unet_viz.drawing.norm import finite, number
from lib_unet_viz.drawing.render import Rendered
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import HasLayout, Layout
from lib_unet_viz.settings import AttentionSettings, Baseline, ColorSettings, FeatureSettings
from lib_unet_viz.trace import AttentionMap, AttentionMaps, FeatureMap, FeatureMaps, Key, Trace

M = TypeVar("M", bound=FeatureMap)

SIGNED, ABSOLUTE = "b − a", "|b − a|"
DISTANCE = "RMS over RGB, 0 to 255"
_COMPARED = ("prompt", "negative", "seed", "steps", "cfg", "model")


class DifferenceError(ValueError):
    """Two traces or pictures have nothing that can be compared; the message says why."""


def difference(before: Trace, after: Trace, *, absolute: bool = False) -> Trace:
    """A trace of b - a (absolute: |b - a|) in float32, of every map that both traces hold, b being `after`.

    Its picture is |b - a| of the pictures. `meta` is that of b, with `difference` (what the values are) and
    `compared` (prompt, seed and so on of both). Maps of one of them only, or of different shapes, are left
    out, which a note says. Raises DifferenceError where nothing is left.
    """
    notes: list[str] = []
    features = FeatureMaps(_differences(before.features, after.features, notes, absolute=absolute))
    attention = AttentionMaps(_differences(before.attention, after.attention, notes, absolute=absolute))
    if not features and not attention:
        has = [f"{trace.features}, {trace.attention}" for trace in (before, after)]
        raise DifferenceError(f"nothing to compare: the one holds {has[0]}; the other {has[1]}")
    if attention and _read(before) != _read(after):
        notes.append("the prompts differ: tokens are compared by their positions, and named as in b")
    runs = [{name: trace.meta[name] for name in _COMPARED if name in trace.meta} for trace in (before, after)]
    what = ABSOLUTE if absolute else SIGNED
    meta = replace(after.meta, difference=what, compared=dict(zip("ab", runs, strict=True)))
    trace = Trace(features=features, attention=attention, meta=meta, notes=notes)
    if before.picture is not None and after.picture is not None:
        trace.picture = picture_difference(before.picture, after.picture)
    return trace


def baseline(prompt: str, layout: Layout | HasLayout | Iterable[str], which: Baseline) -> str:
    """The prompt without its layers: "common", the text that most blocks read, or "erased", without groups.

    SpecError for what cannot be read.
    """
    layers = LayerPrompt.parse(prompt)
    return layers.common(layout) if which == "common" else layers.erased


def picture_difference(before: Image.Image, after: Image.Image) -> Image.Image:
    """|b - a| of each pixel's red, green and blue. DifferenceError for pictures of different sizes."""
    return Image.fromarray(np.abs(_signed(before, after)).astype(np.uint8))


def rms(before: Image.Image, after: Image.Image) -> float:
    """How far two pictures are apart: root mean square over pixels and RGB, in [0, 255]."""
    return float(np.sqrt(np.mean(_signed(before, after).astype(np.float64) ** 2)))


def brightened(pictures: Iterable[Image.Image]) -> tuple[list[Image.Image], float]:
    """Differences, each value times the same factor, so that the largest is 255; and that factor."""
    arrays = [np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures]
    largest = max((float(array.max()) for array in arrays), default=0.0)
    factor = 255 / largest if largest else 1.0
    return [Image.fromarray(np.round(array * factor).astype(np.uint8)) for array in arrays], factor


def comparison(before: Trace, after: Trace, *, labels: tuple[str, str] = ("a", "b")) -> Image.Image:
    """Both pictures and their difference beside each other. DifferenceError where one has no picture."""
    if before.picture is None or after.picture is None:
        raise DifferenceError("one of the two has no picture")
    [changed], factor = brightened([picture_difference(before.picture, after.picture)])
    pictures = [before.picture.convert("RGB"), after.picture.convert("RGB"), changed]
    distance = number(rms(before.picture, after.picture))
    return montage(
        np.stack([np.asarray(picture) for picture in pictures]),
        columns=3,
        gap=4,
        column_labels=[*labels, f"change × {number(factor)}"],
        caption=f"{labels[1]}  −  {labels[0]}\ndistance {distance} ({DISTANCE})",
    )


def feature_sheets(changed: Trace, settings: FeatureSettings) -> list[Rendered]:
    """A sheet for each feature difference that the settings name; 0 is no change in each: see `centered`."""
    items = sheets.chosen_features(changed, settings)
    return [feature_sheet(changed, item, settings) for item in items]


def feature_sheet(changed: Trace, item: FeatureMap, settings: FeatureSettings) -> Rendered:
    """One feature difference as a montage of its channels, or their average."""
    color = centered(settings.color, item)
    return sheets.feature_sheet(_said(changed, color), shown(item, color), replace(settings, color=color))


def attention_sheet(changed: Trace, item: AttentionMap, settings: AttentionSettings) -> Rendered:
    """One attention's difference as a grid of heads and tokens, or of heads and channels."""
    color = centered(settings.color, item)
    return sheets.attention_sheet(_said(changed, color), shown(item, color), replace(settings, color=color))


def centered(color: ColorSettings, item: FeatureMap) -> ColorSettings:
    """Colours in which 0 stands for no change: an automatic range goes from 0, or -m, to m, the largest |v|.

    It is one range for the whole sheet, so that its channels compare. Other transforms stay as they are.
    """
    if not color.transform.startswith("Auto"):
        return color
    largest = float(np.abs(finite(item.numpy())).max()) or 1.0
    low = 0.0 if color.method == "White/Black" else -largest
    return replace(color, transform="Linear", minimum=low, maximum=largest)


def shown(item: M, color: ColorSettings) -> M:
    """The map whose colours are drawn: White/Black shows the size of a change."""
    if color.method != "White/Black":
        return item
    return _like(item, item.key, np.abs(item.numpy()))


def _said(changed: Trace, color: ColorSettings) -> Trace:
    """The trace whose title says what is drawn."""
    what = ABSOLUTE if color.method == "White/Black" else changed.meta.difference or SIGNED
    return replace(changed, meta=replace(changed.meta, difference=what))


def _read(trace: Trace) -> list[Any]:
    """The tokens that the blocks read."""
    return [trace.meta.tokens, trace.meta.tokens_by_block, trace.meta.images]


def _differences(before: Iterable[M], after: Iterable[M], notes: list[str], *, absolute: bool) -> Iterator[M]:
    there, wanted = _by_place(before), _by_place(after)
    for place, item in wanted.items():
        other = there.get(place)
        if other is None or other.shape != item.shape:
            continue
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinities stay what they are
            values = item.numpy() - other.numpy()
        yield _like(item, item.key, np.abs(values) if absolute else values)
    unmatched = [
        str(place)
        for place in {**there, **wanted}
        if place not in there or place not in wanted or there[place].shape != wanted[place].shape
    ]
    if unmatched:
        some = "; ".join(unmatched[:3]) + ("; …" if len(unmatched) > 3 else "")
        notes.append(f"not compared, as they are in one of the two only or of another shape: {some}")


def _by_place(maps: Iterable[M]) -> dict[Key, M]:
    """Maps by key; where there is one image only, its number in its batch does not matter."""
    listed = list(maps)
    single = len({item.key.image for item in listed}) == 1
    return {replace(item.key, image=0) if single else item.key: item for item in listed}


def _like(item: M, key: Key, values: npt.NDArray[np.float32]) -> M:
    """A map of the same kind with other values."""
    data = torch.from_numpy(np.ascontiguousarray(values))
    if isinstance(item, AttentionMap):
        return type(item)(key, data, item.sigma, tokens=item.tokens)
    return type(item)(key, data, item.sigma)


def _signed(before: Image.Image, after: Image.Image) -> npt.NDArray[np.int16]:
    """b - a (y, x, channel) in [-255, 255]."""
    if before.size != after.size:
        sizes = [f"{picture.height} x {picture.width}" for picture in (before, after)]
        raise DifferenceError(f"pictures of {sizes[0]} and of {sizes[1]} pixels cannot be compared")
    one, other = (np.asarray(picture.convert("RGB"), dtype=np.int16) for picture in (before, after))
    return other - one
