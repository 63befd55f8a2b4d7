"""What a study measures of each run: measures by name, each with its definition and options.

Another is one dataclass more, in `MEASURES` or, from another package, an entry point of the group
`lib_unet_viz.measures`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch

from lib_unet_viz.demo import edit_metrics, score_maps
from lib_unet_viz.demo.localisation import judge
from lib_unet_viz.demo.scenes import COLORS, SHAPES
from lib_unet_viz.drawing.difference import rms
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import word_maps
from lib_unet_viz.notation import tokens as token_module
from lib_unet_viz.studies.templates import StudyError, filled

if TYPE_CHECKING:
    from PIL import Image

    from lib_unet_viz.demo.scorer import Scorer
    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.trace import Trace

GROUP = "lib_unet_viz.measures"
RELATIONS = ("left of", "right of", "above", "below")
M = TypeVar("M", bound="Measure")


@dataclass(frozen=True)
class Run:
    """A picture that was made and what was recorded of it.

    reference: the reference variant's; None for itself. edited: of a
    variant with edits, of which nothing is recorded. scorer: the bundled model's judge.
    """

    picture: Image.Image
    trace: Trace
    scorer: Scorer
    reference: Run | None = None
    edited: Edited | None = None


@dataclass(frozen=True)
class Value:
    """One number. of: what it is of, if a measure has several; head from 0, step from 1."""

    value: float
    of: str = ""
    at_block: str | None = None
    head: int | None = None
    step: int | None = None


@dataclass(frozen=True)
class Measure(ABC):
    """A measure and its options, texts whose places in braces are filled for each run."""

    name: ClassVar[str]

    def settings(self, steps: int) -> dict[str, Any]:
        """What has to be recorded for it in a run of so many steps, as `Settings.from_dict` reads it."""
        return {}

    @abstractmethod
    def values(self, run: Run) -> Iterator[Value]:
        """The numbers of one run; none where it says nothing of such a run."""

    def filled(self: M, values: Mapping[str, str]) -> M:
        """With the places of its options filled. Raises StudyError for wrong options."""
        options = {each.name: filled(getattr(self, each.name), values) for each in fields(self)}
        return replace(self, **options)


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@dataclass(frozen=True)
class Distance(Measure):
    """How far a picture is from the reference's.

    `rms`, the root mean square over RGB in [0, 255]; `ssim`, the structural similarity, 1 for equal pictures
    (Wang et al. 2004).
    """

    name = "distance"

    def values(self, run: Run) -> Iterator[Value]:
        if run.reference is not None:
            before, after = (np.asarray(each.picture.convert("RGB")) for each in (run.reference, run))
            yield Value(rms(run.reference.picture, run.picture), "rms")
            everywhere = np.ones(before.shape[:2], dtype=bool)
            yield Value(edit_metrics.background(before, after, everywhere).ssim, "ssim")


@dataclass(frozen=True)
class Features(Measure):
    """How much each block's output at the last step differs from the reference's: |f - r| / |r|, 2-norms over
    channels and places, 0 for equal features.
    """

    name = "features"

    def settings(self, steps: int) -> dict[str, Any]:
        return {"features": {"enabled": True, "blocks": "", "steps": str(steps), "halves": ["cond"]}}

    def values(self, run: Run) -> Iterator[Value]:
        if run.reference is None or run.edited is not None:
            return
        before = {item.key: item for item in run.reference.trace.features}
        for item in run.trace.features:
            if item.key in before and item.key.step is not None:
                reference = before[item.key].data.float()
                change = (item.data.float() - reference).norm() / reference.norm()
                yield Value(float(change), at_block=item.key.block, step=item.key.step + 1)


@dataclass(frozen=True)
class Found(Measure):
    """Whether the bundled model's judge finds each of `words`: 1 or 0.

    words: by commas, each a colour, a shape or both.
    """

    name = "found"
    words: str = "{word}"

    def values(self, run: Run) -> Iterator[Value]:
        [kinds] = run.scorer.found(np.array(run.picture.convert("RGB"))[None])
        for phrase in _listed(self.words):
            yield Value(float(any(set(phrase.split()) <= set(kind) for kind in kinds)), phrase)

    def filled(self, values: Mapping[str, str]) -> Found:
        found = super().filled(values)
        wrong = [word for word in found.words.replace(",", " ").split() if word not in (*COLORS, *SHAPES)]
        if wrong:
            raise StudyError(f"the judge knows no {wrong[0]!r}; it knows {', '.join((*COLORS, *SHAPES))}")
        return found


@dataclass(frozen=True)
class Place(Measure):
    """Whether `first` stands to `second`, two colours, as `relation` says, by the middles of what has these
    colours: 1 or 0; nothing where one of them is missing, or without a relation.
    """

    name = "place"
    first: str = "{first}"
    second: str = "{second}"
    relation: str = "{relation}"

    def values(self, run: Run) -> Iterator[Value]:
        if not self.relation:
            return
        masks = score_maps.masks_by_color(np.asarray(run.picture.convert("RGB")), [self.first, self.second])
        if masks is not None:
            (y, x), (other_y, other_x) = (np.argwhere(mask).mean(0) for mask in masks)
            holds = {
                "left of": x < other_x,
                "right of": x > other_x,
                "above": y < other_y,
                "below": y > other_y,
            }
            yield Value(float(holds[self.relation]), f"{self.first} {self.relation} {self.second}")

    def filled(self, values: Mapping[str, str]) -> Place:
        found = super().filled(values)
        for given, known in ((found.first, COLORS), (found.second, COLORS), (found.relation, RELATIONS)):
            if found.relation and given not in known:
                raise StudyError(f"a place knows no {given!r}; allowed: {', '.join(known)}")
        return found


@dataclass(frozen=True)
class WordMaps(Measure):
    """How well the heat maps of `words` find what has the colours `colors`, one colour a word.

    `pointing`, 1 where the map's maximum lies inside, and `miou`, the overlap of the map above half of its
    range with the colour's pixels; nothing where a colour is missing in the picture.
    """

    name = "word_maps"
    words: str = "{word}"
    colors: str = "{color}"

    def settings(self, steps: int) -> dict[str, Any]:
        return {"heatmaps": True}

    def values(self, run: Run) -> Iterator[Value]:
        picture = np.asarray(run.picture.convert("RGB"))
        masks = None if run.edited else score_maps.masks_by_color(picture, _listed(self.colors))
        if masks is None:
            return
        words = vxa.positions(run.trace, _listed(self.words))
        for heat, mask in zip(word_maps(run.trace, words), masks, strict=True):
            marks = judge(heat.resized(mask.shape), mask)
            yield Value(marks.pointing, f"{heat.word}: pointing")
            yield Value(marks.miou, f"{heat.word}: miou")

    def filled(self, values: Mapping[str, str]) -> WordMaps:
        found = super().filled(values)
        words, colors = _listed(found.words), _listed(found.colors)
        if len(words) != len(colors) or not set(colors) <= set(COLORS):
            raise StudyError(
                f"word maps of {words} in {colors}: a colour for each word; allowed: {', '.join(COLORS)}"
            )
        return found


@dataclass(frozen=True)
class Strength(Measure):
    """A word's share among all words of the prompt in cross-attention, in [0, 1], by block, head and step.

    The mean over places and over a block's layers that read the word; `cat#2` is a word's second place.
    steps: a step spec, blank for all.
    """

    name = "strength"
    words: str = "{word}"
    steps: str = ""

    def settings(self, steps: int) -> dict[str, Any]:
        return {
            "attention": {
                "enabled": True,
                "blocks": "",
                "steps": self.steps,
                "parts": ["QK"],
                "kinds": ["cross"],
            }
        }

    def values(self, run: Run) -> Iterator[Value]:
        sums: dict[tuple[str, str, int], list[torch.Tensor]] = {}
        for item in run.trace.attention:
            if (
                item.key.what == "QK"
                and item.key.kind == "cross"
                and item.key.half == "cond"
                and item.key.step is not None
            ):
                texts = run.trace.token_texts(item)
                shares = item.data.float().flatten(2).mean(-1)  # head, token
                content = shares[:, token_module.content(texts)].sum(-1)
                positions = token_module.named(texts)
                for word in [word for word in _listed(self.words) if word in positions]:
                    at = positions[word]
                    share = shares[:, list(at)].sum(-1) / content
                    sums.setdefault((word, item.key.block, item.key.step), []).append(share)
        missing = set(_listed(self.words)) - {word for word, _, _ in sums}
        if missing and run.edited is None:
            raise StudyError(
                f"no text of the prompt holds {', '.join(sorted(missing))}: strength has no word"
            )
        for (word, block, step), layers in sums.items():
            for head, value in enumerate(torch.stack(layers).mean(0).tolist()):
                yield Value(value, word, at_block=block, head=head, step=step + 1)


@dataclass(frozen=True)
class Outside(Measure):
    """What an edit kept outside of its mask at the last step.

    The PSNR in dB of these pixels, at most 60; nothing without local blend.
    """

    name = "outside"

    def values(self, run: Run) -> Iterator[Value]:
        masks = run.edited.masks.get(1) if run.edited else None
        if run.edited is None or not masks:
            return
        before, after = (np.asarray(picture.convert("RGB")) for picture in run.edited.pictures[:2])
        mask = torch.nn.functional.interpolate(masks[-1][1][None, None].float(), before.shape[:2])[0, 0] > 0
        if not mask.all():
            yield Value(edit_metrics.psnr_in(before, after, ~mask.numpy()), "psnr")


MEASURES: dict[str, type[Measure]] = {
    kind.name: kind for kind in (Distance, Features, Found, Place, WordMaps, Strength, Outside)
}


def of_others() -> dict[str, type[Measure]]:
    """Measures that other packages bring, by the names of their entry points."""
    return {each.name: each.load() for each in entry_points(group=GROUP)}
