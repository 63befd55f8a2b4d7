"""How an edit is shown: pictures, masks, differences, and the sweep from 0 % to 100 %."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image
from torch import Tensor

from lib_unet_viz.drawing.difference import DISTANCE, brightened, picture_difference, rms
from lib_unet_viz.drawing.montage import BACKGROUND, montage
from lib_unet_viz.drawing.norm import number
from lib_unet_viz.editing import explanation
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.notation import edits
from lib_unet_viz.notation.specs import HasLayout, Layout
from lib_unet_viz.notation.windows import read_window
from lib_unet_viz.settings import EditSettings

PERCENTS = (0, 20, 40, 60, 80, 100)
STEPS, BLOCKS = "steps", "blocks"
_DIMMED = 0.25  # what lies outside of a mask


def changed(edited: Edited, target: int) -> float:
    """How far a target (from 1) is from the source: root mean square over pixels and RGB, in [0, 255]."""
    return rms(edited.pictures[0], edited.pictures[target])


def comparison(edited: Edited) -> Image.Image:
    """A column for the source and for each target: picture, mask where there is one, change of pixels."""
    source, *targets = [picture.convert("RGB") for picture in edited.pictures]
    blank = Image.new("RGB", source.size, BACKGROUND)
    changes, factor = brightened(picture_difference(source, target) for target in targets)
    rows = {"picture": [source, *targets]}
    given = _given(edited)
    if given is not None:
        rows["given mask"] = [dimmed(source, given), *(blank for _ in targets)]
    if edited.masks:
        masks = [edited.masks.get(at) for at in range(1, len(edited.pictures))]
        rows["may change"] = [blank, *(dimmed(source, mask[-1][1]) if mask else source for mask in masks)]
    rows[f"change × {number(factor)}"] = [blank, *changes]
    labels = ["source", *(f"target {at}" for at in range(1, len(edited.pictures)))]
    lines = [
        f"{label}: {target.summary}, changes by {number(changed(edited, at))}"
        for at, (label, target) in enumerate(zip(labels[1:], edited.request.targets, strict=True), start=1)
    ]
    return montage(
        _cells([picture for row in rows.values() for picture in row]),
        columns=len(edited.pictures),
        gap=4,
        column_labels=labels,
        row_labels=list(rows),
        caption=f"Edit of “{edited.request.source}”\n{'. '.join(lines)} ({DISTANCE})",
    )


def mask_sheet(edited: Edited, target: int) -> Image.Image | None:
    """A target's (from 1) mask at each blended step; None without a blend."""
    masks = edited.masks.get(target)
    if not masks:
        return None
    source = edited.pictures[0].convert("RGB")
    summary = edited.request.targets[target - 1].summary
    shares = [float(mask.float().mean()) for _, mask in masks]
    return montage(
        _cells(_small(dimmed(source, mask)) for _, mask in masks),
        columns=_COLUMNS,
        gap=4,
        row_labels=[f"{row[0][0]} to {row[-1][0]}" for row in _rows(masks)],
        caption=f"Where “{summary}” may change the picture, steps {masks[0][0]} to {masks[-1][0]}\n"
        f"outside of it the picture is the source's; share of the picture {shares[0]:.0%} to {shares[-1]:.0%}"
        f"\n{explanation.blended(edited.plan, target)}",
    )


def _given(edited: Edited) -> Tensor | None:
    """The mask of one's own as it was used, bool (y, x); None without one, or without a blended step."""
    own = edited.plan.blend and edited.plan.blend.own
    masks = next(iter(edited.masks.values()), None)
    if not own or not masks or edited.plan.blend is None:
        return None
    height, width = masks[0][1].shape
    return own.allows((height, width), edited.plan.blend.threshold)


def dimmed(picture: Image.Image, mask: Tensor) -> Image.Image:
    """The picture, dark where the mask, bool (y, x), is not."""
    inside = Image.fromarray(mask.numpy().astype(np.uint8) * 255).resize(
        picture.size, Image.Resampling.NEAREST
    )
    dark = picture.point(lambda value: int(value * _DIMMED))
    return Image.composite(picture, dark, inside)


@dataclass(frozen=True)
class Case:
    """One picture of a sweep: the source's attention in a share of the steps or of the blocks."""

    along: str
    percent: int
    settings: EditSettings = field(compare=False)  # may hold lists


def cases(
    settings: EditSettings, layout: Layout | HasLayout, along: Iterable[str] = (STEPS, BLOCKS)
) -> list[Case]:
    """The pictures of a sweep from 0 % to 100 %: of the steps, the first ones; of the blocks, likewise.

    Of the first target alone.
    """
    settings = replace(settings, edits=edits.first(settings.edits))
    layout = Layout.of(layout)
    names = [name for name in layout.names if layout.depth.get(name) != 0]
    none = replace(settings, cross_steps=0.0, self_steps=0.0)

    def case(which: str, percent: int) -> EditSettings:
        if not percent:
            return none
        if which == BLOCKS:
            return replace(settings, blocks=",".join(names[: max(1, round(len(names) * percent / 100))]))
        share = percent / 100
        return replace(settings, cross_steps=share, self_steps=_until(settings, share))

    return [Case(which, percent, case(which, percent)) for which in along for percent in PERCENTS]


def sweep_sheet(request: Request, source: Image.Image, pictures: Mapping[Case, Image.Image]) -> Image.Image:
    """The first target with 0 % to 100 % of the steps, or of the blocks, a row each."""
    rows = list(dict.fromkeys(case.along for case in pictures))
    cells = [
        _small(picture.convert("RGB"))
        for along in rows
        for picture in (source, *(pictures[case] for case in pictures if case.along == along))
    ]
    return montage(
        _cells(cells),
        columns=1 + len(PERCENTS),
        gap=4,
        column_labels=["source", *(f"{percent} %" for percent in PERCENTS)],
        row_labels=[f"of the {along}" for along in rows],
        caption=f"“{request.targets[0].summary}” in “{request.source}”\n"
        "the source's attention in the first 0 % to 100 % of the steps or of the blocks",
    )


def sweep(
    found: Sequence[Case], draw: Callable[[EditSettings], Edited], progress: Callable[[int, int, Case], None]
) -> tuple[Edited, Image.Image]:
    """Draw the cases one after another; the last one, and the sheet of all. `progress` comes before each."""
    pictures: dict[Case, Image.Image] = {}
    for done, case in enumerate(found):
        progress(done, len(found), case)
        edited = draw(case.settings)
        pictures[case] = edited.pictures[1]
    return edited, sweep_sheet(edited.request, edited.pictures[0], pictures)


def _until(settings: EditSettings, share: float) -> list[float]:
    """The self-attention's window, not longer than a share of the steps."""
    start, end = read_window(settings.self_steps)
    return [min(start, share), min(end, share)]


_SIDE, _COLUMNS = 160, 8  # of a sheet of many: of a picture, in pixels; pictures in a row


def _rows(masks: Sequence[tuple[int, Tensor]]) -> list[Sequence[tuple[int, Tensor]]]:
    return [masks[at : at + _COLUMNS] for at in range(0, len(masks), _COLUMNS)]


def _small(picture: Image.Image) -> Image.Image:
    """At most so large as a sheet of many shows it."""
    if max(picture.size) <= _SIDE:
        return picture
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE), Image.Resampling.LANCZOS)
    return small


def _cells(pictures: Iterable[Image.Image]) -> np.ndarray:
    """(n, y, x, 3) uint8."""
    return np.stack([np.asarray(picture) for picture in pictures])
