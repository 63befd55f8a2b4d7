"""Editing a picture of one's own with the checkpoint that is loaded in the webui or Forge.

    edited = edit(loaded(), "a red circle", EditSettings(edits="red -> blue"), picture=photo)

To be called in the webui's queue. References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable

from modules import shared
from PIL import Image

from lib_unet_viz.capture.recorder import Cancelled
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.own_mask import Mask, fitting
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.editing.uploaded import edit_uploaded
from lib_unet_viz.hosts.webui import edit_plan
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.model import WebuiModel
from lib_unet_viz.maps.vxa import prepare, upright
from lib_unet_viz.sampling.inversion import CFG, STEPS, Inversion, Trajectory
from lib_unet_viz.settings import EditSettings, SettingsError
from lib_unet_viz.trace import Trace


def planned(model: WebuiModel, prompt: str, settings: EditSettings) -> tuple[Request, Plan]:
    """What an edit will do, read with the webui's syntax; extra networks of the prompt act on all pictures.

    Raises SpecError with its place in the edits, SettingsError for a prompt that cannot be edited.
    """
    request = edit_plan.read(prompt, settings, steps=STEPS)
    return request, request.plan(model.tokens, syntax=True)


def edit(
    model: WebuiModel,
    prompt: str,
    settings: EditSettings,
    *,
    picture: Image.Image,
    inversion: Inversion = "direct",
    negative: str = "",
    steps: int = STEPS,
    cfg: float = CFG,
    progress: Callable[[int, int, Image.Image | None], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    inverted: dict[str, Trajectory] | None = None,
    mask: Mask | None = None,
) -> Edited:
    """Edit a picture of any size, of which the prompt says what it shows; inversion: as `inversion.sample`,
    mask: as `Request.of`, of its proportions.

    The webui's own progress counts the steps, of the inversion too; `progress(done, total, None)` is called
    after each. Raises what `planned` and `edit_uploaded` do, Interrupted where the webui's Interrupt was
    pressed, and Cancelled when `cancelled()` turned true.
    """

    def report(done: int, total: int) -> None:
        shared.state.sampling_steps, shared.state.sampling_step = total, done
        if cancelled():
            raise Cancelled(Trace())
        if progress is not None:
            progress(done, total, None)

    if webui_text.sub_prompts(negative, steps=STEPS)[1]:
        raise SettingsError(f"{negative!r} changes during the run: [a:b:n] and [a|b] cannot be edited")
    request, _ = planned(model, prompt, settings)
    whole = upright(picture)
    small = prepare(whole, model.native_size)
    with model.running(prompt):
        return edit_uploaded(
            model,
            small,
            request.source,
            settings,
            syntax=True,
            negative=negative,
            method=inversion,
            steps=steps,
            cfg=cfg,
            progress=report,
            inverted=inverted,
            mask=fitting(mask, (whole.height, whole.width)),
        )
