"""From a trace and the settings to finished pictures: what the page shows and the command line writes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import numpy as np
from PIL import Image, ImageDraw

from lib_unet_viz.drawing import labels
from lib_unet_viz.drawing.color import Colorizer, Colormap
from lib_unet_viz.drawing.montage import BACKGROUND, BRIGHT, LABEL, montage
from lib_unet_viz.drawing.norm import Linear
from lib_unet_viz.drawing.render import COVER, FAINT, Rendered, grey, mask, overlay, render
from lib_unet_viz.maps import segmentation, self_attention, soundness, strength
from lib_unet_viz.maps.words import DEFAULT, HeatMap, Method, cross_maps, word_maps
from lib_unet_viz.notation.specs import BlockSpec, StepSpec
from lib_unet_viz.trace import (
    FIRST,
    AttentionMap,
    AttentionMaps,
    FeatureMap,
    FeatureMaps,
    Key,
    Selection,
    Trace,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from lib_unet_viz.settings import AttentionSettings, FeatureSettings

M = TypeVar("M", bound=FeatureMap)
_WORD_SIDE, _SPACE = 256, 6  # pixels of a word's picture, and between two
Mode = Literal["masked", "grey", "overlay"]
HEAT_BAR = Colorizer(Linear(0, 1), Colormap.plasma(), per_cell=False)
MODES: tuple[Mode, ...] = get_args(Mode)


def chosen_features(trace: Trace, settings: FeatureSettings) -> list[FeatureMap]:
    """The recorded features that the settings name; none where switched off. SpecError for a wrong spec."""
    if not settings.enabled:
        return []
    maps = [item for item in trace.features if item.key.half in settings.halves]
    return _named(maps, trace, blocks=settings.blocks, steps=settings.steps)


def chosen_attention(trace: Trace, settings: AttentionSettings) -> list[AttentionMap]:
    """The recorded attentions that the settings name; none where switched off. SpecError for a wrong spec.

    Means over heads and steps, which heat maps are made of, are chosen only where nothing else was recorded.
    """
    if not settings.enabled:
        return []
    maps = [item for item in trace.attention if item.key.step is not None] or list(trace.attention)
    fitting = [
        item
        for item in maps
        if item.key.half in settings.halves
        and item.key.what in settings.parts
        and item.key.kind in settings.kinds
    ]
    return _named(fitting, trace, blocks=settings.blocks, steps=settings.steps)


def feature_sheet(trace: Trace, item: FeatureMap, settings: FeatureSettings) -> Rendered:
    """One feature as a montage of its channels, or their average."""
    average = None if settings.average == "none" else settings.average
    return render(_part(trace, features=[item]), Colorizer.from_settings(settings.color), average=average)[0]


def attention_sheet(trace: Trace, item: AttentionMap, settings: AttentionSettings) -> Rendered:
    """One attention as a grid of heads and tokens, or of heads and channels."""
    return render(_part(trace, attention=[item]), Colorizer.from_settings(settings.color))[0]


def feature_sheets(trace: Trace, settings: FeatureSettings) -> list[Rendered]:
    """One montage of channels for each recorded feature that the settings name; none where switched off."""
    return [feature_sheet(trace, item, settings) for item in chosen_features(trace, settings)]


def attention_sheets(trace: Trace, settings: AttentionSettings) -> list[Rendered]:
    """A grid of heads and tokens for each recorded attention that the settings name; none if switched off."""
    return [attention_sheet(trace, item, settings) for item in chosen_attention(trace, settings)]


def heat_overlays(
    trace: Trace, *, method: Method = DEFAULT, selection: Selection = FIRST, one_scale: bool = False
) -> list[tuple[Image.Image, HeatMap]]:
    """Each word's heat over the trace's picture; weak words last, and faint.

    one_scale: all words on the strongest one's scale, instead of each on its own. Raises ValueError where the
    trace has no picture or no cross-attention.
    """
    heats = word_maps(trace, method=method, selection=selection)
    return [(drawn, heat) for drawn, heat in _word_pictures(_picture(trace), heats, one_scale=one_scale)]


def word_sheet(
    trace: Trace,
    picture: Image.Image,
    *,
    method: Method = DEFAULT,
    selection: Selection = FIRST,
    caption: str = "",
    one_scale: bool = False,
) -> Image.Image:
    """Each word's heat over one of the run's pictures, side by side, the word and its strength under it.

    AND sub-prompts follow each other, unless one is selected; weak words come last, and faint. one_scale: all
    words on the strongest one's scale. Raises ValueError where the trace has no cross-attention of what is
    selected. The caption also names what is left out as it holds NaN.
    """
    side = _WORD_SIDE / max(picture.size)
    small = picture.convert("RGB").resize((round(picture.width * side), round(picture.height * side)))
    subs = sorted({item.key.sub for item in trace.attention}) if selection.sub is None else [selection.sub]
    cells = [
        _under(drawn, word_label(heat))
        for sub in subs
        for drawn, heat in _word_pictures(
            small,
            word_maps(trace, method=method, selection=replace(selection, sub=sub), picture=picture),
            one_scale=one_scale,
        )
    ]
    if not cells:
        raise ValueError("the prompt has no words to show")
    left_out = soundness.describe(cross_maps(trace, selection=selection))
    caption = "\n".join(part for part in (caption, left_out) if part)
    return montage(np.stack(cells), caption=caption, gap=_SPACE, colorbar=HEAT_BAR)


def word_label(heat: HeatMap) -> str:
    """A word and its strength."""
    return f"{heat.word}  {heat.strength:.2f}"


def _word_pictures(
    picture: Image.Image, heats: Sequence[HeatMap], *, one_scale: bool
) -> Iterator[tuple[Image.Image, HeatMap]]:
    for heat in strength.ordered(heats):
        if one_scale:
            yield word_picture(picture, heat, scale=strength.share(heat, heats)), heat
        else:
            cover = FAINT if strength.is_weak(heat, heats) else COVER
            yield overlay(picture, heat.resized((picture.height, picture.width)), cover=cover), heat


def _under(picture: Image.Image, word: str) -> NDArray[np.uint8]:
    """A picture with a word below it, (y, x, rgb)."""
    mask = LABEL.mask(LABEL.fit(word, picture.width))
    page = Image.new("RGB", (picture.width, picture.height + mask.height + _SPACE), BACKGROUND)
    page.paste(picture, (0, 0))
    page.paste(BRIGHT, ((page.width - mask.width) // 2, picture.height + _SPACE // 2), mask)
    return np.asarray(page)


def word_picture(
    picture: Image.Image, heat: HeatMap, mode: Mode = "overlay", *, scale: float = 1.0
) -> Image.Image:
    """A word's heat shown on, or beside, the picture it was found in: of the picture's size.

    masked: the picture, lit where the heat is; grey: the heat alone; overlay: the heat's colours over it.
    scale: its largest value, in [0, 1]; see `strength.share`.
    """
    size = (picture.height, picture.width)
    values = heat.resized(size) * scale
    if mode == "grey":
        return grey(values, size)
    return (mask if mode == "masked" else overlay)(picture, values)


def look_picture(
    trace: Trace,
    at: tuple[float, float],
    *,
    site: str | None = None,
    head: int | None = None,
    step: int | None = None,
    selection: Selection = FIRST,
) -> Image.Image:
    """Where the place at (y, x), fractions of the picture's sides, looks to; the place itself is ringed.

    See `self_attention.look`; it raises ValueError for what the trace does not hold, or without a picture.
    """
    picture = _picture(trace)
    found = self_attention.look(trace, at, site=site, head=head, step=step, selection=selection)
    heat = HeatMap("", (), found).resized((picture.height, picture.width))
    drawn = overlay(picture, heat)
    y, x = at[0] * picture.height, at[1] * picture.width
    draw, width = ImageDraw.Draw(drawn), max(1, min(picture.size) // 128)
    for radius, color in ((4 * width, "black"), (3 * width, "white")):
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=color, width=width)
    return drawn


def components_picture(trace: Trace, *, selection: Selection = FIRST) -> Image.Image:
    """Three principal components of the self-attention as red, green and blue, of the picture's size."""
    colors = self_attention.components(*_looks(trace.view(selection)))
    image = Image.fromarray(np.rint(colors * 255).astype(np.uint8))
    return image.resize(_picture(trace).size, Image.Resampling.BICUBIC)


def segments_picture(trace: Trace, *, selection: Selection = FIRST) -> Image.Image:
    """Segments of the self-attention that nobody asked for, over the picture, numbered by their size."""
    picture = _picture(trace)
    small = self_attention.segments(*_looks(trace.view(selection)))
    large = Image.fromarray(small.astype(np.int32)).resize(picture.size, Image.Resampling.NEAREST)
    names = [f"{number + 1}" for number in range(int(small.max()) + 1)]
    return labels.label_picture(np.asarray(large, dtype=np.int64), names, picture=picture)


def label_picture(trace: Trace, heats: Sequence[HeatMap], *, threshold: float | str) -> Image.Image:
    """All words' masks over the picture, with a legend; weak words and punctuation get none.

    Raises ValueError for a threshold that cannot be, or without a picture.
    """
    picture = _picture(trace)
    heats = [heat for heat in heats if not _is_punctuation(heat.word)] or heats
    heats = [heat for heat in heats if not strength.is_weak(heat, heats)]
    found = segmentation.labels(heats, (picture.height, picture.width), threshold=threshold)
    return labels.label_picture(found, [heat.word for heat in heats], picture=picture)


def _picture(trace: Trace) -> Image.Image:
    if trace.picture is None:
        raise ValueError("the trace has no picture to draw over")
    return trace.picture


def _is_punctuation(word: str) -> bool:
    """Whether it is a comma, a full stop and the like; ",#2" is the second comma."""
    return not any(map(str.isalnum, word.partition("#")[0]))


def _looks(trace: Trace) -> tuple[Tensor, tuple[int, int]]:
    found = self_attention.table(trace)
    if found is None:
        raise ValueError("the trace holds no self-attention of up to 32 x 32 positions: record it first")
    return found


def _named(maps: Iterable[M], trace: Trace, *, blocks: str, steps: str) -> list[M]:
    """The maps of the blocks and steps that the specs name; a mean over steps is of every step.

    Block specs are read against the model's blocks, which the trace's meta lists; if it does not, all fit.
    """
    spec, total = StepSpec.parse(steps), trace.meta.steps or 0
    model = trace.meta.blocks
    sites = None if model is None else BlockSpec.parse(blocks).sites(model)
    return [
        item
        for item in maps
        if (sites is None or _among(item.key, sites))
        and (item.key.step is None or spec.includes(item.key.step + 1, max(total, item.key.step + 1)))
    ]


def _among(key: Key, sites: Iterable[tuple[str, int | None]]) -> bool:
    return any(
        key.block == block and (None in (layer, key.layer) or layer == key.layer) for block, layer in sites
    )


def _part(
    trace: Trace, *, features: Iterable[FeatureMap] = (), attention: Iterable[AttentionMap] = ()
) -> Trace:
    """The same run, with only these maps."""
    return Trace(
        features=FeatureMaps(features),
        attention=AttentionMaps(attention),
        meta=trace.meta,
        notes=trace.notes,
        picture=trace.picture,
    )
