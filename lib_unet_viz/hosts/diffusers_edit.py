"""Prompt-to-prompt on a diffusers pipeline: a source picture and its targets, in one batch.

    edited = edit(Pipeline.load(), "a red circle", EditSettings(edits="red -> blue"), seed=1)
    edited.pictures                       # the source, then the targets

    edit_picture(Pipeline.load(), picture, "a red circle", EditSettings(edits="red -> blue"))

The latter is of a picture that was not made by the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture import Call
from lib_unet_viz.edit import Editing
from lib_unet_viz.edit_plan import Request
from lib_unet_viz.edit_sheets import Edited
from lib_unet_viz.edit_uploaded import edit_uploaded
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers_noise import PipelineDenoiser
from lib_unet_viz.hosts.pipeline import Cancelled, Pipeline
from lib_unet_viz.inversion import Method
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.trace import Trace
from lib_unet_viz.vxa import prepare


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


@torch.no_grad()
def edit(
    model: Pipeline,
    prompt: str,
    settings: EditSettings,
    *,
    negative: str = "",
    steps: int = 30,
    seed: int = 0,
    cfg: float = 7.5,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int, Image.Image], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Edited:
    """Make a picture of a prompt and its targets, of size (height, width).

    `progress(step, steps, preview)` is called after each step, with the first target. Raises SpecError and
    SettingsError for what was asked wrongly, before sampling; Cancelled when `cancelled()` turned true.
    """
    request = Request.of(prompt, settings)
    pipe = model.pipe
    plan = request.plan(partial(host.tokens, pipe))
    editing = Editing(model.unet, plan, calls=EveryCall(host.attach(pipe).calls))
    height, width = size or (model.native_size, model.native_size)
    last: list[Tensor] = []

    def after_step(_: Any, step: int, __: Any, values: dict[str, Any]) -> dict[str, Any]:
        if cancelled():
            raise Cancelled(Trace())
        latents = editing.blend(values["latents"])
        if progress is not None:
            progress(step + 1, steps, model.preview(latents[1:]))
        last[:] = [latents]
        return {"latents": latents}

    with editing:
        output = pipe(
            prompt=request.prompts,
            negative_prompt=[negative] * plan.pictures if negative.strip() else None,
            num_inference_steps=steps,
            guidance_scale=cfg,
            height=height,
            width=width,
            generator=[torch.Generator("cpu").manual_seed(seed) for _ in range(plan.pictures)],
            callback_on_step_end=after_step,
        )
    return Edited(request, plan, output.images, editing.masks, latents=last[0])


def edit_picture(
    model: Pipeline,
    picture: Image.Image,
    prompt: str,
    settings: EditSettings,
    *,
    negative: str = "",
    method: Method = "direct",
    steps: int = 30,
    cfg: float = 7.5,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Edited:
    """Edit a picture, any of any size, of which the prompt says what it shows: see `edit_uploaded`."""

    def report(done: int, total: int) -> None:
        if cancelled():
            raise Cancelled(Trace())
        if progress is not None:
            progress(done, total)

    return edit_uploaded(
        PipelineDenoiser(model.pipe),
        prepare(picture, model.native_size),
        prompt,
        settings,
        tokens_of=partial(host.tokens, model.pipe),
        negative=negative,
        method=method,
        steps=steps,
        cfg=cfg,
        progress=report,
    )
