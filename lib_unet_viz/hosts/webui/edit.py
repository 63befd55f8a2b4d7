"""Prompt-to-prompt in the webui and Forge: each picture asked for becomes a batch of it and its targets.

    edit = EditRun(p, settings.edit)
    with edit.asked(), Generation(p, settings, edit=edit):
        processed = process_images(p)
    edit.edited(0, pictures)

Seeds, and so all noise, are the same in a batch. Between two calls of the denoiser the sampler's own tensor
is blended in place. References are to the webui's v1.10.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Calls
from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import EditError, Editing, Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts.webui import forge
from lib_unet_viz.hosts.webui import steps as webui_steps
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.drawn_mask import drawn, whole
from lib_unet_viz.hosts.webui.layer_prompts import PROMPTS
from lib_unet_viz.notation.layer_prompt import OPEN
from lib_unet_viz.settings import EditSettings, SettingsError
from lib_unet_viz.unet import UNet

SOURCE = {False: "U-Net Viz source", True: "U-Net Viz hires source"}  # infotext's keys, by pass
MASK = "U-Net Viz mask"  # infotext's key of the digest of one that was drawn
_TAG = re.compile(r"<\w+:[^>]+>")  # of an extra network (extra_networks.py, re_extra_net)


class EditRun:
    """The edits of one call of `process_images(p)`, with a plan for each pass: the hires pass may have a
    prompt of its own. targets: only the first so many.

    Raises, when made, SettingsError for what cannot be edited, and SpecError with its place in the edits.
    """

    def __init__(self, p: Any, settings: EditSettings, *, targets: int | None = None) -> None:
        _check(p)
        self.p, self.settings = p, settings
        self.pictures = p.batch_size * p.n_iter
        passes = (False, True) if getattr(p, "enable_hr", False) else (False,)
        self.requests: dict[bool, Request] = {}
        self.sources = {hires: _source(p, hires=hires) for hires in passes}
        for hires, source in self.sources.items():
            request = read(source, settings, steps=webui_text.steps_of(p, hires=hires))
            self.requests[hires] = replace(request, targets=request.targets[:targets])
        self._editings: dict[bool, Editing] = {}
        self._present: Editing | None = None
        self._denoiser: Any = None
        self._hooks = Hooks()
        self._x: Tensor | None = None

    @property
    def batch(self) -> int:
        """How many pictures are made for each that was asked for."""
        return len(self.requests[False].prompts)

    @contextmanager
    def asked(self) -> Iterator[None]:
        """Meanwhile `p` asks for batches of a source and its targets; then it is as it was."""
        changes = self._changes()
        before = {name: getattr(self.p, name) for name in changes}
        _put(self.p, changes)
        try:
            yield
        finally:
            _put(self.p, before)

    def _changes(self) -> dict[str, Any]:
        """Attributes of `p`. Styles are in the prompts already; seeds count up as processing.py:901 does."""
        from modules import processing

        p = self.p
        numbers = [number for number in range(self.pictures) for _ in range(self.batch)]
        seed, subseed = (int(processing.get_fixed_seed(one)) for one in (p.seed, p.subseed))
        changes = {
            "batch_size": self.batch,
            "n_iter": self.pictures,
            "prompt": self.prompts(hires=False) * self.pictures,
            "negative_prompt": [_negative(p, hires=False)] * len(numbers),
            "styles": [],
            "seed": [seed + (number if p.subseed_strength == 0 else 0) for number in numbers],
            "subseed": [subseed + number for number in numbers],
        }
        if True in self.requests:
            changes["hr_prompt"] = self.prompts(hires=True) * self.pictures
            changes["hr_negative_prompt"] = [_negative(p, hires=True)] * len(numbers)
        if getattr(p, "init_images", None):
            changes["init_images"] = p.init_images[:1]
        return changes

    def prompts(self, *, hires: bool) -> list[str]:
        """What the webui is given for one batch: extra networks are named in each, as in the source."""
        source, request = self.sources[hires], self.requests[hires]
        tags = "".join(f" {tag}" for tag in _TAG.findall(source))
        return [source, *(f"{target.prompt}{tags}" for target in request.targets)]

    def told(self) -> dict[str, list[str | None]]:
        """For the infotext of each target, the prompt that its source has."""
        return {
            SOURCE[hires]: [None, *[source] * (self.batch - 1)] * self.pictures
            for hires, source in self.sources.items()
            if not hires or source != self.sources[False]
        }

    def plan(self, model: Any, *, hires: bool) -> Plan:
        """A pass's plan for a loaded model. Raises SpecError and SettingsError; RuntimeError without one."""
        return plan(self.requests[hires], model, steps=webui_text.steps_of(self.p, hires=hires))

    def check(self, model: Any, unet: UNet) -> None:
        """Raise what would be wrong with this model."""
        for hires in self.requests:
            Editing(unet, self.plan(model, hires=hires), calls=lambda args, kwargs: None)

    def check_prompts(self) -> None:
        """Before the webui encodes the batch's prompts, and after `p` has read its pictures and mask. Raises
        EditError where the prompts are others by now, SettingsError for a mask that lets nothing change.
        """
        self._take_mask()
        for hires in self.requests:
            wanted = _without_networks(self.prompts(hires=hires))
            found = _without_networks(getattr(self.p, PROMPTS[hires]["cond"]))
            if found != wanted:
                raise EditError(
                    f"another extension changed the prompts {wanted} to {found}: "
                    "wildcards and the like cannot be edited"
                )

    def _take_mask(self) -> None:
        mask = drawn(self.p)
        if mask is not None:
            self.requests = {hires: replace(one, mask=mask) for hires, one in self.requests.items()}
            self.p.extra_generation_params[MASK] = mask.digest

    # During the run.

    def begin(self, latents: Any) -> None:
        """Before each sampling: what the first pass made is blended for the hires pass; in img2img, targets
        start from the source's latent, of which the autoencoder draws one for each (sd_samplers_common.py,
        images_tensor_to_samples).
        """
        if getattr(self.p, "is_hr_pass", False):
            self.blend(latents)
        for name in ("init_latent", "image_conditioning"):
            start = getattr(self.p, name, None)
            if isinstance(start, Tensor):
                start.copy_(start[:1].clone())

    def install(self, unet: UNet, denoiser: Any, calls: Calls, *, hires: bool) -> None:
        """Act on this U-Net until `remove`, and on the sampler's tensor until `close`."""
        if webui_steps.sampler_kind(denoiser.sampler) == "adaptive":
            raise EditError("DPM adaptive cannot edit: its steps depend on all pictures of a batch")
        editing = self._editings.get(hires)
        if editing is None:
            editing = Editing(
                unet, self.plan(self.p.sd_model, hires=hires), calls=calls, repeats=_repeats(self.p)
            )
            self._editings[hires] = editing
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

    def end_call(self, denoised: Tensor) -> None:
        """After a call of the hires pass: its last latents are decoded before any script sees them
        (processing.py:1479), so what they are made of is blended.
        """
        if getattr(self.p, "is_hr_pass", False) and self._x is not None:
            self.blend(self._x)
            self.blend(denoised)

    def _before_call(self, denoiser: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """The sampler has finished a step, or a part of one, unless this is its first call."""
        self._x = args[0] if args else kwargs["x"]
        if denoiser.step:
            self.blend(self._x)

    # Afterwards.

    def edited(self, number: int, pictures: Sequence[Image.Image]) -> Edited | None:
        """A batch's result, of its pictures: the source and its targets; None where no step was made."""
        hires = True in self._editings
        editing = self._editings.get(hires)
        if editing is None:
            return None
        found = {at: editing.masks.get(number * self.batch + at) for at in range(1, self.batch)}
        # A second-order sampler's step has two calls: the last one's mask counts.
        masks = {at: list(dict(steps).items()) for at, steps in found.items() if steps}
        return whole(self.p, Edited(self.requests[hires], editing.plan, pictures, masks))


def plan(request: Request, model: Any, *, steps: int) -> Plan:
    """The plan of an edit for the webui's loaded model, read with the webui's syntax.

    Raises SpecError for words that the prompts lack, SettingsError where prompts have different numbers of
    chunks: the source would not be its plain picture then, as the webui makes all contexts equally long.
    """
    made = request.plan(partial(_tokens, model, steps=steps), syntax=True)
    for target in made.targets:
        here, there = (len(prompt.tokens) // 77 for prompt in (target.source, target.target))
        if here != there:
            raise SettingsError(
                f"{target.source.text!r} is read in {here} part{'s' * (here != 1)} of 75 tokens, but "
                f"{target.target.text!r} in {there}: an edit's prompts must have as many"
            )
    return made


def pasted(_: str, found: dict[str, Any]) -> None:
    """For `on_infotext_pasted`: a target's infotext brings back the run, with the prompt of its source."""
    for hires, name in ((False, "Prompt"), (True, "Hires prompt")):
        if SOURCE[hires] in found:
            found[name] = found[SOURCE[hires]]


def _check(p: Any) -> None:
    """Raise SettingsError for a request of which no batch of source and targets can be made."""
    from modules import shared

    if not isinstance(p.prompt, str) or not isinstance(p.negative_prompt, str):
        raise SettingsError("an edit needs one prompt, and one negative prompt")
    if OPEN in p.negative_prompt or OPEN in (getattr(p, "hr_negative_prompt", None) or ""):
        raise SettingsError("an edit's prompt may have no layer prompts: all blocks read the same")
    images = getattr(p, "init_images", None) or []
    if any(image is not images[0] for image in images):
        raise SettingsError("one picture at a time can be edited in img2img")
    if getattr(p, "firstpass_image", None) is not None:
        raise SettingsError("a picture that is there already can be upscaled without edits only")
    if "SDE" in (p.sampler_name or "") and getattr(shared.opts, "no_dpmpp_sde_batch_determinism", False):
        raise SettingsError(
            "source and targets need equal noise: switch off “Do not make DPM++ SDE deterministic …” in the "
            "settings, or choose another sampler"
        )


def read(prompt: str, settings: EditSettings, *, steps: int) -> Request:
    """The edits of a prompt as it was typed, without its extra networks: those act on the whole batch.

    Raises SpecError with its place in the edits, SettingsError for a prompt that cannot be edited.
    """
    request = Request.of(_without_networks([prompt])[0], settings)
    for text in request.prompts:
        if _TAG.search(text):
            raise SettingsError(
                f"{text!r}: <lora:…> and the like act on source and targets alike: write them into the prompt"
            )
        texts, changes = webui_text.sub_prompts(text, steps)
        if len(texts) > 1:
            raise SettingsError("prompts that AND joins cannot be edited: there is no one attention to keep")
        if changes:
            raise SettingsError(f"{text!r} changes during the run: [a:b:n] and [a|b] cannot be edited")
    return request


def _tokens(model: Any, prompt: str, *, steps: int) -> list[str]:
    return webui_text.tokens_of(model, prompt, half="cond", steps=steps)[0]


def _source(p: Any, *, hires: bool) -> str:
    """The prompt of a pass, with its styles."""
    from modules import shared

    prompt = (hires and p.hr_prompt) or p.prompt
    styled: str = shared.prompt_styles.apply_styles_to_prompt(prompt, p.styles)
    return styled


def _negative(p: Any, *, hires: bool) -> str:
    from modules import shared

    prompt = (hires and p.hr_negative_prompt) or p.negative_prompt
    styled: str = shared.prompt_styles.apply_negative_styles_to_prompt(prompt, p.styles)
    return styled


def _without_networks(prompts: Sequence[str]) -> list[str]:
    return [_TAG.sub("", prompt) for prompt in prompts]


def _put(p: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(p, name, value)


def _repeats(p: Any) -> bool:
    """Whether contexts are made longer by repeating them, as Forge does."""
    return forge.inner_model(p.sd_model) is not None
