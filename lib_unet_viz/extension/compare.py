"""A generation with its layer prompts and one without, from the same seeds: what each block made of them."""

from __future__ import annotations

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass, replace
from typing import Any

from modules import processing

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import difference, naming
from lib_unet_viz.extension import paths, results
from lib_unet_viz.extension.results import Part, Sheet
from lib_unet_viz.hosts.webui.generation import Generation
from lib_unet_viz.hosts.webui.loaded import loaded_unet
from lib_unet_viz.settings import DifferenceSettings, Settings
from lib_unet_viz.trace import FeatureMaps, Trace

LABELS = ("without layer prompts", "with layer prompts")


@dataclass(frozen=True)
class Compared:
    """What both runs recorded, and the pictures without layer prompts."""

    given: Trace
    plain: Trace
    pictures: list[Any]

    def sheets(self, p: Any, settings: Settings, index: int, picture: Any) -> Iterator[Part]:
        """Of one picture: it without and with layer prompts, then the changes in each block."""
        if index >= len(self.pictures):
            return  # interrupted
        before = _one(self.plain, index, self.pictures[index])
        after = _one(self.given, index, picture)
        changed, asked = difference.difference(before, after), settings.difference
        if asked.dump:  # before any sheet: of these only as many are drawn as are wanted
            stem = f"{paths.dump_name(p)}-difference-image{index + 1}"
            yield f"wrote {save_trace(changed, paths.new_file(paths.folder(asked.path), stem))}"
        drawn = difference.comparison(before, after, labels=LABELS)
        yield Sheet(drawn, "difference", "without and with layer prompts")
        for item in difference.feature_sheets(changed, asked):
            title = item.caption.partition("\n")[0]
            yield Sheet(item.image, f"difference-{naming.name(item.key)}", f"{difference.SIGNED} {title}")


def recorded(settings: Settings) -> Settings:
    """What both runs record for the comparison: features, by the differences' own blocks and steps."""
    asked: DifferenceSettings = settings.difference
    return replace(Settings.off(), features=asked, budget_mb=settings.budget_mb)


def again(p: Any, settings: Settings, given: Generation) -> Compared:
    """Generate once more, without the layer prompts of the run that `given` recorded.

    Seeds, styles and wildcards are those of that run: its prompts as they were expanded.
    """
    other = _plain(p, settings)
    with Generation(other, recorded(settings)) as plain:
        without = processing.process_images(other)
    pictures = [block[0] for block in results.blocks_of(without)[0]]
    return Compared(given.trace, plain.trace, pictures)


def _plain(p: Any, settings: Settings) -> Any:
    """The same generation with prompts that all blocks read."""
    other, layout = copy(p), loaded_unet(p.sd_model).layout
    which = settings.difference.baseline

    def read(texts: list[str]) -> list[str]:
        return [difference.baseline(text, layout, which) for text in texts]

    other.prompt, other.negative_prompt = read(p.all_prompts), read(p.all_negative_prompts)
    if getattr(p, "enable_hr", False):
        other.hr_prompt, other.hr_negative_prompt = read(p.all_hr_prompts), read(p.all_hr_negative_prompts)
    other.seed, other.subseed = list(p.all_seeds), list(p.all_subseeds)
    other.styles, other.extra_generation_params = [], dict(p.extra_generation_params)
    return other


def _one(trace: Trace, index: int, picture: Any) -> Trace:
    """One picture's part of a recording."""
    features = FeatureMaps(item for item in trace.features if item.key.image == index)
    return Trace(features=features, meta=trace.meta_of(index), picture=picture)
