"""`unet-viz maps`: of a dump, the heat, masks and labels of words, and what its self-attention shows."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING

from lib_unet_viz.cli import files
from lib_unet_viz.drawing import labels, naming, sheets
from lib_unet_viz.drawing.render import save_png
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import open_vocabulary as asking
from lib_unet_viz.maps import segmentation, soundness, strength
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.notation import tokens

if TYPE_CHECKING:
    from pathlib import Path

    from lib_unet_viz.trace import Trace


def write(options: Namespace) -> tuple[list[heatmap.HeatMap], str]:
    """The pictures asked for, as files of the folder `options.out`; the words, and what was left out."""
    dump = files.dump(options.dump).view(files.selection(options))
    if options.ask is not None:
        dump = asking.ask(dump, Pipeline.load(options.model), options.ask)
    with files.staging(options.out) as folder:
        heats = _words(dump, options, folder)
        if options.look is not None:
            place = {"site": options.layer, "head": options.head, "step": options.step}
            looked = sheets.look_picture(dump, options.look, **place)
            save_png(looked, folder / "look.png")
        if options.components:
            save_png(sheets.components_picture(dump), folder / "components.png")
        if options.segments:
            save_png(sheets.segments_picture(dump), folder / "segments.png")
    return heats, soundness.describe(item for item in dump.attention if item.key.what == "QK")


def _words(dump: Trace, options: Namespace, folder: Path) -> list[heatmap.HeatMap]:
    """heat-01-WORD.png and mask-01-WORD.png of each word, and all as labels.png."""
    words = None
    if options.words is not None:
        read = heatmap.cross_maps(dump, common=True)[0]
        words = tokens.select(dump.token_texts(read), options.words.split(","))
    heats = heatmap.word_maps(dump, words, method=options.method or heatmap.DEFAULT)
    if not heats:
        return heats  # an empty prompt has no words, but may have places
    if dump.picture is None:
        raise ValueError(f"{options.dump} has no picture to draw over")
    size = (dump.picture.height, dump.picture.width)
    for number, heat in enumerate(heats, start=1):
        name = naming.word(number, heat.word)
        scale = strength.share(heat, heats) if options.one_scale else 1.0
        drawn = sheets.word_picture(dump.picture, heat, options.mode, scale=scale)
        save_png(drawn, folder / f"{name}.png")
        found = segmentation.mask(heat, size, threshold=options.threshold)
        save_png(labels.mask_picture(found), folder / f"{name.replace('heat', 'mask', 1)}.png")
    save_png(sheets.label_picture(dump, heats, threshold=options.threshold), folder / "labels.png")
    return heats
