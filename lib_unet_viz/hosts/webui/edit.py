"""Prompt-to-prompt in the webui and Forge: the edits of one call of `process_images(p)`, while it runs.

    edit = EditRun(p, settings.edit)
    with edit.batch.asked(), Generation(p, settings, edit=edit):
        processed = process_images(p)
    edit.edited(0, pictures)

Between two calls of the denoiser the sampler's own tensor is blended in place. References are to the webui's
v1.10.1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Calls
from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import EditError, Editing, Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts.webui import edit_plan, forge, passes
from lib_unet_viz.hosts.webui import steps as webui_steps
from lib_unet_viz.hosts.webui.drawn_mask import whole
from lib_unet_viz.hosts.webui.edit_batch import EditBatch
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.trace import Pass
from lib_unet_viz.unet import UNet


class EditRun:
    """Hooks with a plan for each pass: the hires pass may have a prompt of its own.

    batch: what the webui is asked for. Raises, when made, what `EditBatch` does.
    """

    def __init__(self, p: Any, settings: EditSettings, *, targets: int | None = None) -> None:
        self.p, self.batch = p, EditBatch(p, settings, targets=targets)
        self._plans: dict[Pass, tuple[Request, list[list[str]], Plan]] = {}
        self._editings: dict[Pass, Editing] = {}
        self._present: Editing | None = None
        self._denoiser: Any = None
        self._hooks = Hooks()
        self._x: Tensor | None = None

    def plan(self, model: Any, pass_: Pass) -> Plan:
        """A pass's plan for a loaded model, made once for what it is made of. Raises SpecError and
        SettingsError; RuntimeError without a model.
        """
        request, steps = self.batch.requests[pass_], passes.steps(self.p, pass_)
        tokens = [edit_plan.tokens(model, prompt, steps=steps) for prompt in request.prompts]
        if pass_ in self._plans:
            known, read, made = self._plans[pass_]
            if known is request and read == tokens:
                return made
        made = edit_plan.plan(request, model, steps=steps)
        self._plans[pass_] = (request, tokens, made)
        return made

    def check(self, model: Any, unet: UNet) -> None:
        """Raise what would be wrong with this model."""
        for pass_ in self.batch.requests:
            Editing(unet, self.plan(model, pass_), calls=lambda args, kwargs: None)

    def check_prompts(self) -> None:
        """Before the webui encodes the batch's prompts, and after `p` has read its pictures and mask. Raises
        EditError where the prompts are others by now, SettingsError for a mask that lets nothing change.
        """
        self.batch.take_mask()
        self.batch.check_prompts()

    def begin(self, latents: Any) -> None:
        """Before each sampling: what the first pass made is blended for the hires pass; in img2img, targets
        start from the source's latent, of which the autoencoder draws one for each (sd_samplers_common.py,
        images_tensor_to_samples).
        """
        if passes.present(self.p) == "hires":
            self.blend(latents)
        for name in ("init_latent", "image_conditioning"):
            start = getattr(self.p, name, None)
            if isinstance(start, Tensor):
                start.copy_(start[:1].clone())

    def install(self, unet: UNet, denoiser: Any, calls: Calls) -> None:
        """Act on this U-Net until `remove`, and on the sampler's tensor until `close`."""
        pass_ = passes.present(self.p)
        if webui_steps.sampler_kind(denoiser.sampler) == "adaptive":
            raise EditError("DPM adaptive cannot edit: its steps depend on all pictures of a batch")
        editing = self._editings.get(pass_)
        if editing is None:
            # Forge makes contexts longer by repeating them.
            repeats = forge.inner_model(self.p.sd_model) is not None
            editing = Editing(unet, self.plan(self.p.sd_model, pass_), calls=calls, repeats=repeats)
            self._editings[pass_] = editing
        elif editing.unet.module is not unet.module:
            editing.follow(unet)
        self._present = editing
        editing.install()
        if denoiser is not self._denoiser:
            self.close()
            self._denoiser = denoiser
            self._hooks.put(denoiser.register_forward_pre_hook, self._before_call, with_kwargs=True)

    def remove(self) -> None:
        """Take the hooks off the U-Net."""
        for editing in self._editings.values():
            editing.remove()

    def close(self) -> None:
        """Take the hook off the denoiser."""
        self._hooks.close()
        self._denoiser = self._x = None

    def blend(self, latents: Any) -> None:
        """Blend the batch's latents in place, by the masks of the last call. Decoded pictures stay."""
        if self._present is not None and isinstance(latents, Tensor):
            blended = self._present.blend(latents, first=self.p.iteration * self.p.batch_size)
            if blended is not latents:
                latents.copy_(blended)

    def paste(self, images: Any) -> None:
        """Outside its mask, each of the batch's decoded targets (image, channel, y, x) becomes its source."""
        if self._present is not None and isinstance(images, Tensor):
            images.copy_(self._present.paste(images, first=self.p.iteration * self.p.batch_size))

    def end_call(self, denoised: Tensor) -> None:
        """After a call of the hires pass: its last latents are decoded before any script sees them
        (processing.py:1479), so what they are made of is blended.
        """
        if passes.present(self.p) == "hires" and self._x is not None:
            self.blend(self._x)
            self.blend(denoised)

    def _before_call(self, denoiser: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The sampler has finished a step, or a part of one, unless this is its first call."""
        self._x = args[0] if args else kwargs["x"]
        if denoiser.step:
            self.blend(self._x)

    def edited(self, number: int, pictures: Sequence[Image.Image]) -> Edited | None:
        """A batch's result, of its pictures: the source and its targets; None where no step was made."""
        pass_: Pass = "hires" if "hires" in self._editings else "first"
        editing = self._editings.get(pass_)
        if editing is None:
            return None
        size = self.batch.size
        found = {at: editing.masks.get(number * size + at) for at in range(1, size)}
        # A second-order sampler's step has two calls: the last one's mask counts.
        masks = {at: list(dict(steps).items()) for at, steps in found.items() if steps}
        return whole(self.p, Edited(self.batch.requests[pass_], editing.plan, pictures, masks))
