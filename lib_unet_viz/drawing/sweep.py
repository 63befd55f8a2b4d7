"""Block sweep: what a word does in each block alone, and what is missing where one block does not read it.

    swept = run(Sweep.of("a big red circle", "red", unet), draw)     # draw: a case to its picture
    swept.sheet(), swept.chart()

It is what the Jinja template of the older extension's README does by hand: a picture for each block.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib_unet_viz.drawing.bars import bar_chart
from lib_unet_viz.drawing.difference import DISTANCE, brightened, picture_difference, rms
from lib_unet_viz.drawing.montage import BACKGROUND, montage, stacked
from lib_unet_viz.drawing.norm import number
from lib_unet_viz.drawing.render import save_png
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import HasLayout, Layout
from lib_unet_viz.writing import replacing

WITH, WITHOUT = "with", "without"
ONLY, BUT = "in this block alone", "in all but this block"
REPORT, SHEET, CHART = "sweep.json", "sheet.png", "chart.png"
_COLUMNS, _SIDE = 9, 128  # of a band of the sheet; of a picture in it, in pixels


class SweepError(ValueError):
    """The prompt, the word or the folder does not fit a sweep; the message says why."""


@dataclass(frozen=True)
class Case:
    """One picture of a sweep. `name`: with, without, only-IN04, but-IN04; the prompt has layers."""

    name: str
    prompt: str


@dataclass(frozen=True)
class Sweep:
    """A word in a prompt, and the blocks that can read it."""

    prompt: str
    word: str
    blocks: tuple[str, ...]

    @classmethod
    def of(cls, prompt: str, word: str, layout: Layout | HasLayout | Iterable[str]) -> Sweep:
        """The sweep over a model's blocks with cross-attention.

        The word's places in the prompt become groups; if it has none, the word comes after the prompt.
        Raises SweepError for a blank word or a prompt with groups of its own, SpecError for a wrong notation.
        """
        layout = Layout.of(layout)
        if not word.strip():
            raise SweepError("the word is empty: write what each block is to read or not to read")
        if not LayerPrompt.parse(prompt).plain:
            raise SweepError("the prompt of a sweep has no groups (~: … :~): the sweep puts them there")
        blocks = tuple(name for name in layout.names if layout.depth.get(name) != 0)
        if not blocks:
            raise SweepError("no block has cross-attention")
        sweep = cls(prompt, word.strip(), blocks)
        LayerPrompt.parse(sweep.cases[-1].prompt)
        return sweep

    @property
    def cases(self) -> list[Case]:
        """The pictures to make: without the word, with it, and two for each block."""
        return [
            Case(WITHOUT, self._placed("(~:_::~)")),
            Case(WITH, self._placed("(~:_:WORD:~)")),
            *(Case(f"only-{name}", self._placed(f"(~:{name}:WORD:~)")) for name in self.blocks),
            *(Case(f"but-{name}", self._placed(f"(~:{name}:;_:WORD:~)")) for name in self.blocks),
        ]

    def _placed(self, group: str) -> str:
        def filled(word: str) -> str:
            return group.replace("WORD", word.replace(";", "\\;"))

        pattern = rf"(?<!\w){re.escape(self.word)}(?!\w)"
        text, count = re.subn(pattern, lambda m: filled(m[0]), self.prompt, flags=re.IGNORECASE)
        if count:
            return text
        return f"{self.prompt}, {filled(self.word)}" if self.prompt.strip() else filled(self.word)


@dataclass(frozen=True)
class Swept:
    """A sweep and its pictures by the cases' names."""

    sweep: Sweep
    pictures: Mapping[str, Image.Image]

    @property
    def alone(self) -> list[float]:
        """Block by block, how far the word in it alone moves the picture without the word; see `rms`."""
        return [rms(self.pictures[WITHOUT], self.pictures[f"only-{name}"]) for name in self.sweep.blocks]

    @property
    def missing(self) -> list[float]:
        """Block by block, how far leaving the word out there moves the picture with the word; see `rms`."""
        return [rms(self.pictures[WITH], self.pictures[f"but-{name}"]) for name in self.sweep.blocks]

    def report(self) -> dict[str, Any]:
        """The distances as plain data."""
        pairs = zip(self.sweep.blocks, self.alone, self.missing, strict=True)
        return {
            "distance": DISTANCE,
            "with_and_without": rms(self.pictures[WITHOUT], self.pictures[WITH]),
            "blocks": {name: {"alone": alone, "missing": missing} for name, alone, missing in pairs},
        }

    def chart(self) -> Image.Image:
        """How much each block changed the picture, as bars."""
        everywhere = rms(self.pictures[WITHOUT], self.pictures[WITH])
        caption = (
            f"How much each block changes the picture: “{self.sweep.word}”\n"
            f"{DISTANCE}; in all blocks at once: {everywhere:.1f}. “{self.sweep.prompt}”"
        )
        series = {f"the word {ONLY}": self.alone, f"the word {BUT}": self.missing}
        return bar_chart(self.sweep.blocks, series, caption=caption)

    def sheet(self) -> Image.Image:
        """All pictures and their differences, a column a block."""
        blocks, small = self.sweep.blocks, {name: _small(p) for name, p in self.pictures.items()}
        changes = {f"only-{name}": (WITHOUT, f"only-{name}") for name in blocks}
        changes |= {f"but-{name}": (WITH, f"but-{name}") for name in blocks} | {WITH: (WITHOUT, WITH)}
        bright, factor = brightened(picture_difference(small[a], small[b]) for a, b in changes.values())
        changed = dict(zip(changes, bright, strict=True))
        word = self.sweep.word
        head = montage(
            _cells([small[WITHOUT], small[WITH], changed[WITH]]),
            columns=3,
            gap=4,
            column_labels=[f"without “{word}”", f"with “{word}”", "change"],
            caption=f"“{word}” in “{self.sweep.prompt}”, block by block\n"
            f"alone: the word in this block alone, and its change from the picture without the word. "
            f"all but: the word in all blocks but this one, and the change from the picture with it. "
            f"Changes are shown {number(factor)} times as bright.",
        )
        columns = math.ceil(len(blocks) / math.ceil(len(blocks) / _COLUMNS))
        starts = range(0, len(blocks), columns)
        bands = [self._band(blocks[at : at + columns], small, changed, columns=columns) for at in starts]
        return stacked([head, *bands])

    def _band(
        self,
        blocks: tuple[str, ...],
        small: Mapping[str, Image.Image],
        changed: Mapping[str, Image.Image],
        *,
        columns: int,
    ) -> Image.Image:
        """Some blocks, a column each: the picture of the word alone, its change, all but, its change."""
        blank = Image.new("RGB", small[WITH].size, BACKGROUND)
        rows = [
            [images[f"{what}-{name}"] for name in blocks] + [blank] * (columns - len(blocks))
            for what in ("only", "but")
            for images in (small, changed)
        ]
        return montage(
            _cells([image for row in rows for image in row]),
            columns=columns,
            gap=2,
            column_labels=[*blocks, *[""] * (columns - len(blocks))],
            row_labels=["alone", "change", "all but", "change"],
        )


def run(
    sweep: Sweep,
    draw: Callable[[Case], Image.Image],
    *,
    folder: Path | None = None,
    made_with: Mapping[str, Any] | None = None,
    progress: Callable[[int, int, Case], None] | None = None,
) -> Swept:
    """Draw all cases. `progress(done, total, case)` is called before each; stop by an exception out of it.

    folder: each picture is kept there as soon as it is made, and those that are there are not made again;
    in the end the sheet, the chart and the distances are written as well. made_with: what else pictures
    depend on, as plain data (seed, steps, model). Raises SweepError where the folder holds another sweep.
    """
    head = {"prompt": sweep.prompt, "word": sweep.word, "blocks": list(sweep.blocks), **(made_with or {})}
    if folder is not None:
        _claim(folder, head, sweep.cases)
    pictures: dict[str, Image.Image] = {}
    for done, case in enumerate(sweep.cases):
        if progress is not None:
            progress(done, len(sweep.cases), case)
        pictures[case.name] = _kept(folder, case) or _keep(folder, case, draw(case))
    swept = Swept(sweep, pictures)
    if folder is not None:
        save_png(swept.sheet(), folder / SHEET)
        save_png(swept.chart(), folder / CHART)
        _write(folder / REPORT, {"sweep": head, **swept.report()})
    return swept


def _claim(folder: Path, head: dict[str, Any], cases: Iterable[Case]) -> None:
    """Note what the folder's pictures are of, or check that it is the same."""
    report, head = folder / REPORT, json.loads(json.dumps(head))
    if report.exists():
        try:
            there = json.loads(report.read_text(encoding="utf-8"))["sweep"]
            names = [name for name in {**there, **head} if there.get(name) != head.get(name)]
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise SweepError(f"{report} is not a sweep's: choose another folder") from error
        if names:
            differing = "; ".join(f"{name} {there.get(name)!r}, not {head.get(name)!r}" for name in names)
            raise SweepError(f"{folder} holds another sweep ({differing}): choose another folder")
        return
    foreign = [f"{case.name}.png" for case in cases if (folder / f"{case.name}.png").exists()]
    if foreign:
        raise SweepError(f"{folder} holds {foreign[0]}, but not what it is of: choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    _write(report, {"sweep": head})


def _write(path: Path, values: Mapping[str, Any]) -> None:
    """Whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _kept(folder: Path | None, case: Case) -> Image.Image | None:
    path = None if folder is None else folder / f"{case.name}.png"
    if path is None or not path.exists():
        return None
    with Image.open(path) as image:
        return image.convert("RGB")


def _keep(folder: Path | None, case: Case, picture: Image.Image) -> Image.Image:
    if folder is not None:
        save_png(picture, folder / f"{case.name}.png")
    return picture.convert("RGB")


def _small(picture: Image.Image) -> Image.Image:
    """At most so large as the sheet shows it."""
    scale = _SIDE / max(picture.size)
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS)


def _cells(pictures: Iterable[Image.Image]) -> Any:
    """(n, y, x, 3) uint8."""
    return np.stack([np.asarray(picture.convert("RGB")) for picture in pictures])
