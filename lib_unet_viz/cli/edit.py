"""What the command `edit` does, from its parsed options."""

from __future__ import annotations

import json
import shutil
from argparse import Namespace
from dataclasses import asdict
from itertools import count
from math import isfinite
from typing import TYPE_CHECKING, Any

from lib_unet_viz.cli import choices, files, progress
from lib_unet_viz.cli.commands import load, say
from lib_unet_viz.drawing import difference, edit_sheets
from lib_unet_viz.drawing.pictures import opened
from lib_unet_viz.drawing.render import save_png
from lib_unet_viz.editing import explanation as edit_words
from lib_unet_viz.editing.own_mask import OwnMask
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.sampling.inversion import INVERSIONS
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.settings.entry import EDIT, nested

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline


def edit(options: Namespace) -> None:
    """A source picture and its targets, as files of a folder; with --align only how they are aligned."""
    settings = _settings(options)
    mask = None if options.mask is None else OwnMask.of(opened(options.mask, on="black"))
    request = Request.of(options.prompt, settings, mask=mask)
    if options.align:
        say(_aligned(request, load(options.model)))
        return
    own = {**_uploaded(options), "mask": mask}
    with files.staging(options.out) as folder:
        model = load(options.model)
        cases = _cases(options, settings, model)
        with progress.counting(1 + len(cases), "sampling") as now:
            draw = _draw(model, options, own, now)
            edited = draw(settings)
            if cases:
                save_png(edit_sheets.sweep(cases, draw, lambda *_: None)[1], folder / "sweep.png")
        _pictures(edited, folder)
        (folder / "edit.json").write_text(_record(edited, options, model), encoding="utf-8")
    _said(edited)
    say(f"{options.out}{'' if str(options.out).endswith('/') else '/'}")


def _settings(options: Namespace) -> EditSettings:
    values = nested(choices.given(options, EDIT))["edit"]
    return Settings.from_dict({"edit": {**values, "enabled": True}}).edit


def _aligned(request: Request, model: Pipeline) -> str:
    """Each target's prompt beside the source's, and what may change."""
    plan = request.plan(model.tokens)
    width = shutil.get_terminal_size((100, 24)).columns
    blocks = []
    for number, (target, asked) in enumerate(zip(plan.targets, request.targets, strict=True), start=1):
        title = f"target {number}: {asked.prompt}\n{'; '.join(asked.explained)}"
        blocks.append(
            f"{title}\n{edit_words.aligned(target, width=width)}\n{edit_words.blended(plan, number)}"
        )
    return "\n\n".join([*blocks, "\n".join(edit_words.facts(plan, model.unet))])


def _cases(options: Namespace, settings: EditSettings, model: Pipeline) -> list[edit_sheets.Case]:
    if settings.sweep == "none":
        return []
    both = (edit_sheets.STEPS, edit_sheets.BLOCKS)
    return edit_sheets.cases(settings, model.unet, both if settings.sweep == "both" else (settings.sweep,))


def _uploaded(options: Namespace) -> dict[str, Any]:
    """Of the picture to edit, where it is not to be made first."""
    if options.image is None:
        if options.inversion is not None:
            raise ValueError("--inversion is of a picture of yours: give one with --image")
        return {}
    if options.size is not None:
        raise ValueError("--size is of a picture that is made; --image keeps its own shape")
    return {
        "picture": opened(options.image),
        "inversion": options.inversion or INVERSIONS[0],
        "inverted": {},
    }


def _draw(
    model: Pipeline, options: Namespace, own: dict[str, Any], now: Callable[[float, str], None]
) -> Callable[[EditSettings], Edited]:
    """How one edit after another is drawn."""
    from lib_unet_viz.hosts.diffusers.edit import edit

    run = {name: getattr(options, name) for name in ("negative", "steps", "seed", "cfg", "size")}
    run |= own
    number = count(0)

    def draw(settings: EditSettings) -> Edited:
        before = next(number)

        def step(done: int, total: int, _: object) -> None:
            now(before + done / total, "sweeping" if before else "sampling")

        return edit(model, options.prompt, settings, progress=step, **run)

    return draw


def _pictures(edited: Edited, folder: Path) -> None:
    source, *targets = edited.pictures
    save_png(source, folder / "source.png")
    save_png(edit_sheets.comparison(edited), folder / "comparison.png")
    for number, target in enumerate(targets, start=1):
        save_png(target, folder / f"target-{number}.png")
        masks = edit_sheets.mask_sheet(edited, number)
        if masks is not None:
            save_png(masks, folder / f"mask-{number}.png")


def _record(edited: Edited, options: Namespace, model: Pipeline) -> str:
    """What was asked, and what came of it, as JSON."""
    width, height = edited.pictures[0].size
    errors = {name: error if isfinite(error) else None for name, error in edited.errors.items()}
    own = {"image": str(options.image), "inversion": options.inversion or INVERSIONS[0], "errors": errors}
    made = {"seed": options.seed}
    found = {
        "prompt": edited.request.source,
        "negative": options.negative,
        "model": model.name,
        **(made if options.image is None else own),
        **_mask_record(edited, options),
        "steps": options.steps,
        "cfg": options.cfg,
        "size": [height, width],
        "settings": asdict(edited.request.settings),
        "targets": [_target(edited, number) for number in range(1, len(edited.pictures))],
        "distance": difference.DISTANCE,
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"


def _mask_record(edited: Edited, options: Namespace) -> dict[str, str]:
    mask = edited.request.mask
    return {} if mask is None else {"mask": str(options.mask), "mask_digest": mask.digest}


def _target(edited: Edited, number: int) -> dict[str, Any]:
    """mask: by step, from 1, the share of the picture that may change."""
    asked = edited.request.targets[number - 1]
    masks = {step: float(mask.float().mean()) for step, mask in edited.masks.get(number, ())}
    return {
        "prompt": asked.prompt,
        "edits": asked.summary,
        "changed": edit_sheets.changed(edited, number),
        "mask": masks,
    }


def _said(edited: Edited) -> None:
    for number, target in enumerate(edited.request.targets, start=1):
        masks = edited.masks.get(number)
        share = f", in {float(masks[-1][1].float().mean()):.0%} of it" if masks else ""
        changed = edit_sheets.changed(edited, number)
        say(f"target {number}: {target.summary}: the picture changed by {changed:.1f}{share}")
    for name, error in edited.errors.items():
        say(f"reconstruction, {name}: {error:.3g}")
    for line in (f"distance: {difference.DISTANCE}", *edited.notes):
        say(line)
