"""Edit a picture of one's own: invert it to noise, then sample it and its targets from there.

    edited = edit_uploaded(model, picture, "a red circle", EditSettings(edits="red -> blue"))
    edited.pictures                       # the source as it was reconstructed, then the targets
    edited.errors                         # how far the source is from the picture

The model is a host's (`sampling.model`).
"""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import Editing
from lib_unet_viz.editing.own_mask import Mask
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.sampling.inversion import (
    CFG,
    STEPS,
    Inversion,
    Progress,
    Trajectory,
    invert,
    measured,
    sample,
)
from lib_unet_viz.sampling.model import Model
from lib_unet_viz.settings import EditSettings

RMSE, PSNR, LIMIT = "latent RMSE", "PSNR (dB)", "PSNR of the autoencoder alone (dB)"


def edit_uploaded(
    model: Model,
    picture: Image.Image,
    prompt: str,
    settings: EditSettings,
    *,
    syntax: bool = False,
    negative: str = "",
    method: Inversion = "direct",
    steps: int = STEPS,
    cfg: float = CFG,
    progress: Progress | None = None,
    inverted: dict[str, Trajectory] | None = None,
    mask: Mask | None = None,
) -> Edited:
    """Edit a picture (RGB, of a size that the model can encode) that a prompt says something about. To be
    called within the model's `running`.

    method: of inversion, see `inversion.sample`. syntax: as `alignment.Prompt`. progress(done, total) is
    called after each step, of the inversion too; it may raise to stop. inverted: keeps the inversion by its
    prompt for edits that follow, so that a sweep inverts once. mask: as of `Request.of`. `Edited.errors` has
    the reconstruction's: of the latents, and of the pictures, with the autoencoder's own.

    Raises SpecError and SettingsError for what was asked wrongly, before sampling, and ValueError as
    `inversion.invert` and `sample` do.
    """
    request = Request.of(prompt, settings, mask=mask)
    plan = request.plan(model.tokens, syntax=syntax)
    editing = Editing(model.unet, plan, calls=model.calls)
    size = (picture.height, picture.width)
    conditions, uncond = model.conditions(request.prompts, negative, size=size)
    total = steps * (3 if method == "null-text" and cfg != 1 else 2)

    def progress_from(before: int) -> Progress:
        return lambda done, _: None if progress is None else progress(before + done, total)

    inverted = {} if inverted is None else inverted
    if prompt not in inverted:
        inverted[prompt] = invert(
            model, model.encode(picture), conditions[:1], steps=steps, progress=progress_from(0)
        )
    trajectory = inverted[prompt]

    def after_step(_: int, latents: Tensor) -> Tensor:
        return editing.blend(latents)

    with editing:
        latents = sample(
            model,
            trajectory,
            conditions,
            uncond,
            method=method,
            cfg=cfg,
            after_step=after_step,
            progress=progress_from(steps),
        )
    found = measured(model, trajectory, latents[:1], picture)
    errors = {RMSE: found.rmse, PSNR: found.psnr_db, LIMIT: found.limit_db}
    pictures = editing.pasted([found.picture, *model.decode(latents[1:])])
    return Edited(request, plan, pictures, editing.masks, latents=latents, errors=errors)
