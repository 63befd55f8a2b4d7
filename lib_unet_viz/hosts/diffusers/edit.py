"""Prompt-to-prompt on a diffusers pipeline: a source picture and its targets, in one batch.

    edited = edit(Pipeline.load(), "a red circle", EditSettings(edits="red -> blue"), seed=1)
    edited.pictures                       # the source, then the targets

    edit(Pipeline.load(), "a red circle", EditSettings(edits="red -> blue"), picture=photo)

The latter is of a picture that the model did not make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.request import BudgetError, Call
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import Editing
from lib_unet_viz.editing.own_mask import Mask, fitting
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.editing.uploaded import edit_uploaded
from lib_unet_viz.hosts.diffusers import attached as host
from lib_unet_viz.hosts.diffusers.pipeline import Cancelled, Pipeline
from lib_unet_viz.maps.vxa import prepare, upright
from lib_unet_viz.sampling.inversion import Inversion, Trajectory
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.trace import Trace


class EveryCall:
    """The host's word on each forward; a further one of the same step, of a second-order scheduler, too."""

    def __init__(self, calls: host.PipelineCalls) -> None:
        self._calls = calls
        self._last: Call | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        call = self._calls(args, kwargs)
        if call is None and self._last is not None:
            sample: Tensor = args[0] if args else kwargs["sample"]
            call = replace(self._last, rows=self._calls.rows(len(sample)))
        self._last = call
        return call


Progress = Callable[[int, int, "Image.Image | None"], None]


def edit(
    model: Pipeline,
    prompt: str,
    settings: EditSettings,
    *,
    picture: Image.Image | None = None,
    inversion: Inversion = "direct",
    negative: str = "",
    steps: int = 30,
    seed: int = 0,
    cfg: float = 5.0,
    size: tuple[int, int] | None = None,
    arguments: Mapping[str, Any] = MappingProxyType({}),
    progress: Progress | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    inverted: dict[str, Trajectory] | None = None,
    mask: Mask | None = None,
    record: Settings | None = None,
) -> Edited:
    """Make a picture of a prompt and its targets, of size (height, width).

    picture: one of one's own instead, of any size, of which the prompt says what it shows; `inversion` is the
    method (`inversion.sample`), and neither seed, size nor arguments are of use. arguments: what this
    pipeline wants beside, such as `strength`, and `image`, of which most want a list of one per picture.
    mask: as of `Request.of`, of the picture's proportions. record: what to record of all the runs, as
    `Edited.trace`, except of a picture of one's own; where that needs more than its budget, nothing, and a
    note says so.
    `progress(step, steps, preview)` is called after each step, with the first target where it is known.
    Raises SpecError and SettingsError for what was asked wrongly, before sampling; Cancelled when
    `cancelled()` turned true.
    """

    def report(done: int, total: int, preview: Image.Image | None = None) -> None:
        if cancelled():
            raise Cancelled(Trace())
        if progress is not None:
            progress(done, total, preview)

    if picture is None:
        size = size or (model.native_size, model.native_size)
        request = Request.of(prompt, settings, mask=fitting(mask, size))
        return _generated(model, request, report, negative, steps, seed, cfg, size, arguments, record)
    host.attach(model.pipe)  # raises where its rows cannot be told
    own = upright(picture)
    return edit_uploaded(
        model,
        prepare(own, model.native_size),
        prompt,
        settings,
        negative=negative,
        method=inversion,
        steps=steps,
        cfg=cfg,
        progress=report,
        inverted=inverted,
        mask=fitting(mask, (own.height, own.width)),
    )


@torch.no_grad()
def _generated(
    model: Pipeline,
    request: Request,
    report: Progress,
    negative: str,
    steps: int,
    seed: int,
    cfg: float,
    size: tuple[int, int],
    arguments: Mapping[str, Any],
    record: Settings | None,
) -> Edited:
    pipe, last = model.pipe, list[Tensor]()
    plan = request.plan(model.tokens)
    editing = Editing(model.unet, plan, calls=EveryCall(host.attach(pipe).calls))

    def after_step(_: Any, step: int, __: Any, values: dict[str, Any]) -> dict[str, Any]:
        model.check_same(editing.unet)
        last[:] = [editing.blend(values["latents"])]
        report(step + 1, steps, model.preview(last[0][1:]))
        return {"latents": last[0]}

    own = {
        "prompt": request.prompts,
        "num_inference_steps": steps,
        "guidance_scale": cfg,
        "height": size[0],
        "width": size[1],
        "generator": [torch.Generator("cpu").manual_seed(seed) for _ in range(plan.pictures)],
        "callback_on_step_end": after_step,
    }
    if negative.strip():
        own["negative_prompt"] = [negative] * plan.pictures
    about = {"prompt": request.prompts, "negative": negative, "seed": seed, "cfg": cfg}
    with editing, _recorded(model, record, about, steps=steps, size=size) as trace:
        output = model.call(own, arguments)
    made, latents = editing.pasted(output.images), last[0] if last else None
    return Edited(request, plan, made, editing.masks, latents=latents, trace=trace)


@contextmanager
def _recorded(
    model: Pipeline, record: Settings | None, about: dict[str, Any], *, steps: int, size: tuple[int, int]
) -> Iterator[Trace | None]:
    """Record what the settings say, where the budget allows it; what was not is in the trace's notes.

    about: as of `describe`.
    """
    if record is None:
        yield None
        return
    captures, budget = record.captures(model.unet), record.budget_mb * 1_000_000
    images = len(about["prompt"])
    needed = host.estimate(model.pipe, **captures, size=size, steps=steps, images=images)
    if needed > budget:
        yield Trace(notes=[f"nothing was recorded: {BudgetError(needed, budget)}"])
        return
    meta = host.describe(model.pipe, **about)
    recorder = Recorder(model.unet, **captures, calls=host.attach(model.pipe).calls, meta=meta)
    try:
        with recorder:
            yield recorder.trace
    except NothingCaptured as error:
        recorder.trace.notes.append(str(error))
