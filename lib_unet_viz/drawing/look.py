"""A look into a picture as it is shown: which layers it is of, the map of some of its words, and a drawing.

What these need is imported by the first one, so that a page starts sooner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from PIL import Image

from lib_unet_viz.maps.aggregation import DEFAULT, MIDDLE
from lib_unet_viz.notation import tokens
from lib_unet_viz.settings import Method
from lib_unet_viz.trace import Trace

if TYPE_CHECKING:
    from lib_unet_viz.maps.words import HeatMap
    from lib_unet_viz.sampling.model import Model

HEAT, LABEL_MAP = "heat overlay", "label map"
MODES = ("masked", "greyscale", HEAT, "mask", LABEL_MAP)
ALL_LAYERS, NEAR_LAYERS = "all", "16 x 16"
SHOWN_SIZE = 768  # the result has at most this many pixels squared; the model looks at a smaller copy


def layer_choices(model: Model) -> dict[str, str]:
    """What the list of layers offers, to block specs: all, those of 16 x 16, and each one."""
    from lib_unet_viz.maps import vxa

    choices = {ALL_LAYERS: "", NEAR_LAYERS: vxa.default_layers(model)}
    for block in model.unet.blocks.values():
        layers = [site.layer for site in block.sites if site.kind == "cross"]
        for layer in layers:
            spec = block.name if len(layers) == 1 else f"{block.name}.{layer}"
            origin = " (the original's default)" if block.name == MIDDLE else ""
            choices[spec + origin] = spec
    return choices


def block_spec(choices: Mapping[str, str], layers: Sequence[str]) -> str:
    """Block spec of the layers chosen; blank is all. Raises ValueError for one that the model lacks."""
    for layer in layers:
        if layer not in choices:
            raise ValueError(f"this model has no layer {layer!r}; it has {', '.join(list(choices)[2:])}")
    specs = [choices[layer] for layer in layers]
    return "" if "" in specs else ",".join(specs)


def draw(trace: Trace, heat: HeatMap, mode: str, *, method: Method = DEFAULT) -> Image.Image:
    """The trace's picture with a map, as one of `MODES`. Raises ValueError for a trace without a picture.

    method: of the maps of all words, which a label map is made of.
    """
    from lib_unet_viz.drawing import labels, render, sheets
    from lib_unet_viz.maps import segmentation
    from lib_unet_viz.maps.words import word_maps

    base = trace.picture
    if base is None:
        raise ValueError("this look has no picture")
    if mode == LABEL_MAP:
        return sheets.label_picture(trace, word_maps(trace, method=method), threshold=segmentation.OTSU)
    size = (base.height, base.width)
    if mode == "mask":
        return labels.mask_picture(segmentation.mask(heat, size))
    values = heat.resized(size)
    if mode == "masked":
        return render.mask(base, values)
    return render.grey(values, size) if mode == "greyscale" else render.overlay(base, values)


def heat_map(
    trace: Trace,
    positions: Sequence[int] | None = None,
    *,
    method: Method = DEFAULT,
    original: bool = False,
) -> tuple[HeatMap, str]:
    """The summed map of the tokens at some positions of the prompt, and their names.

    positions: None is all that stand for text. original: as the extension VXA did, which counted the
    sentence's end and the padding where none was named, and did not scale the maps of one layer; no method
    counts.
    """
    from lib_unet_viz.maps.words import word_maps

    texts = trace.meta["tokens"]["cond"]
    asked = positions
    if positions is None:
        positions = range(1, len(texts)) if original else tokens.content(texts)
    if not positions:
        raise ValueError("the prompt has no tokens")
    names = ["all tokens, with end and padding" if original else "all tokens"]
    if trace.meta.asked_of:
        names = [trace.meta["prompt"]]
    elif asked is not None:
        names = [f"{index} {tokens.readable(texts[index])}" for index in positions]
    if original:
        method = "vxa" if layers(trace) == 1 else "daam"
    found = word_maps(trace, {"": tuple(positions)}, method=method)
    return found[0], " + ".join(names)


def layers(trace: Trace) -> int:
    """How many layers' cross-attention a trace holds."""
    from lib_unet_viz.maps.words import cross_maps

    return len({(item.key.block, item.key.layer) for item in cross_maps(trace)})
