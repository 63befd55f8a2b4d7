"""A generation with edits of its prompt: source and targets as pictures, then sheets of what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from modules import processing, shared
from PIL import Image

from lib_unet_viz.drawing import edit_sheets
from lib_unet_viz.drawing.edit_sheets import Case
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.extension import results
from lib_unet_viz.extension.results import Sheet
from lib_unet_viz.hosts.webui.edit import EditRun
from lib_unet_viz.hosts.webui.generation import Generation
from lib_unet_viz.hosts.webui.loaded import loaded_unet
from lib_unet_viz.settings import EditSettings, Settings, SettingsError

ALONG = {
    "steps": (edit_sheets.STEPS,),
    "blocks": (edit_sheets.BLOCKS,),
    "both": (edit_sheets.STEPS, edit_sheets.BLOCKS),
}


def run(p: Any, settings: Settings, infotext_params: Mapping[str, Any]) -> Any:
    """Generate with edits; the webui's result, with sheets. told: for the infotext.

    Raises SettingsError, SpecError and EditError for what cannot be edited.
    """
    if settings.difference.enabled:
        raise SettingsError("a difference is one of layer prompts, which an edit's prompt may not have")
    edit = EditRun(p, settings.edit)
    with edit.batch.asked():
        p.extra_generation_params.update(infotext_params, **edit.batch.infotext())
        with Generation(p, settings, edit=edit) as generation:
            processed = processing.process_images(p)
    sheets = _Sheets(edit, _pictures(processed), _sweep(p, settings.edit))
    results.report(processed, p, generation.trace, settings, sheets).show(processed)
    return processed


@dataclass(frozen=True)
class _Sheets:
    """The sheets of an edit run; those of a batch come after its last picture."""

    edit: EditRun
    pictures: list[Image.Image]
    swept: Image.Image | None

    def __call__(self, index: int, picture: Image.Image) -> Iterator[Sheet]:
        number, place = divmod(index, self.edit.batch.size)
        if place + 1 < self.edit.batch.size:
            return
        batch = self.pictures[number * self.edit.batch.size : index + 1]
        made = self.edit.edited(number, batch)
        if made is not None:
            yield from _drawn(made)
        if self.swept is not None and not number:
            yield Sheet(self.swept, "edit-sweep", "edit from 0 % to 100 %")


def _drawn(made: Edited) -> Iterator[Sheet]:
    yield Sheet(edit_sheets.comparison(made), "edit", "source and targets of an edit")
    for target in range(1, len(made.pictures)):
        masks = edit_sheets.mask_sheet(made, target)
        if masks is not None:
            yield Sheet(masks, f"edit-mask-{target}", f"where target {target} may change the picture")


def _sweep(p: Any, settings: EditSettings) -> Image.Image | None:
    """The first picture with its first target, in every case of a sweep; None if interrupted or not asked."""
    if settings.sweep not in ALONG:
        return None
    cases = edit_sheets.cases(settings, loaded_unet(p.sd_model), ALONG[settings.sweep])
    shared.state.job_count += len(cases)
    try:
        return edit_sheets.sweep(cases, partial(_case, p), _tell)[1]
    except _Interrupted:
        return None


class _Interrupted(Exception):
    """The person who asked has seen enough."""


def _tell(done: int, total: int, case: Case) -> None:
    shared.state.textinfo = f"Sweep {done + 1} of {total}: {case.percent} % of the {case.along}"


def _case(p: Any, settings: EditSettings) -> Edited:
    """The first picture and its first target, which are not saved."""
    other = copy(p)
    other.batch_size = other.n_iter = 1
    other.seed, other.subseed = p.all_seeds[0], p.all_subseeds[0]
    other.do_not_save_samples = other.do_not_save_grid = True
    other.extra_generation_params = {}
    edit = EditRun(other, settings, targets=1)
    with edit.batch.asked(), Generation(other, replace(Settings.off(), edit=settings), edit=edit):
        processed = processing.process_images(other)
    if shared.state.interrupted or shared.state.stopping_generation:
        raise _Interrupted
    made = edit.edited(0, _pictures(processed))
    if made is None:
        raise _Interrupted
    return made


def _pictures(processed: Any) -> list[Image.Image]:
    return [block[0] for block in results.blocks_of(processed)[0]]
