"""What the webui is asked for so that prompts are edited: a batch of a source and its targets a picture.

    batch = EditBatch(p, settings.edit)
    with batch.asked():
        processed = process_images(p)

Seeds, and so all noise, are the same in a batch. References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lib_unet_viz.editing.hooks import EditError
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts.webui import passes
from lib_unet_viz.hosts.webui.drawn_mask import drawn
from lib_unet_viz.hosts.webui.edit_plan import NETWORK, read, without_networks
from lib_unet_viz.notation.layer_prompt import OPEN
from lib_unet_viz.settings import EditSettings, SettingsError
from lib_unet_viz.trace import Pass

# The infotext's keys: of the source of each pass, and of the digest of a mask that was drawn.
SOURCE: Mapping[Pass, str] = {"first": "U-Net Viz source", "hires": "U-Net Viz hires source"}
MASK = "U-Net Viz mask"


class EditBatch:
    """The edits of each pass of a run, and what the webui is asked for. targets: only the first so many.

    Raises, when made, SettingsError for what cannot be edited, and SpecError with its place in the edits.
    """

    def __init__(self, p: Any, settings: EditSettings, *, targets: int | None = None) -> None:
        _check(p)
        self.p, self.pictures = p, p.batch_size * p.n_iter
        self.sources = {pass_: passes.prompt(p, pass_, "cond") for pass_ in passes.asked(p)}
        self.requests: dict[Pass, Request] = {}
        for pass_, source in self.sources.items():
            request = read(source, settings, steps=passes.steps(p, pass_))
            self.requests[pass_] = replace(request, targets=request.targets[:targets])

    @property
    def size(self) -> int:
        """How many pictures are made for each that was asked for."""
        return len(self.requests["first"].prompts)

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
        numbers = [number for number in range(self.pictures) for _ in range(self.size)]
        seed, subseed = (int(processing.get_fixed_seed(one)) for one in (p.seed, p.subseed))
        changes = {
            "batch_size": self.size,
            "n_iter": self.pictures,
            "prompt": self.prompts("first") * self.pictures,
            "negative_prompt": [passes.prompt(p, "first", "uncond")] * len(numbers),
            "styles": [],
            "seed": [seed + (number if p.subseed_strength == 0 else 0) for number in numbers],
            "subseed": [subseed + number for number in numbers],
        }
        if "hires" in self.requests:
            changes["hr_prompt"] = self.prompts("hires") * self.pictures
            changes["hr_negative_prompt"] = [passes.prompt(p, "hires", "uncond")] * len(numbers)
        if getattr(p, "init_images", None):
            changes["init_images"] = p.init_images[:1]
        return changes

    def prompts(self, pass_: Pass) -> list[str]:
        """What the webui is given for one batch: extra networks are named in each, as in the source."""
        source, request = self.sources[pass_], self.requests[pass_]
        tags = "".join(f" {tag}" for tag in NETWORK.findall(source))
        return [source, *(f"{target.prompt}{tags}" for target in request.targets)]

    def infotext(self) -> dict[str, list[str | None]]:
        """For that of each target, the prompt that its source has."""
        return {
            SOURCE[pass_]: [None, *[source] * (self.size - 1)] * self.pictures
            for pass_, source in self.sources.items()
            if pass_ == "first" or source != self.sources["first"]
        }

    def check_prompts(self) -> None:
        """Before the webui encodes the batch's prompts. Raises EditError where they are others by now."""
        for pass_ in self.requests:
            wanted = [without_networks(prompt) for prompt in self.prompts(pass_)]
            found = [without_networks(prompt) for prompt in getattr(self.p, passes.PROMPTS[pass_]["cond"])]
            if found != wanted:
                raise EditError(
                    f"another extension changed the prompts {wanted} to {found}: "
                    "wildcards and the like cannot be edited"
                )

    def take_mask(self) -> None:
        """Edit within the mask that was drawn, once `p` has read it. Raises SettingsError where that lets
        nothing change.
        """
        mask = drawn(self.p)
        if mask is not None:
            self.requests = {pass_: replace(one, mask=mask) for pass_, one in self.requests.items()}
            self.p.extra_generation_params[MASK] = mask.digest


def pasted(_: str, found: dict[str, Any]) -> None:
    """For `on_infotext_pasted`: a target's infotext brings back the run, with the prompt of its source."""
    names: Mapping[Pass, str] = {"first": "Prompt", "hires": "Hires prompt"}
    for pass_, name in names.items():
        if SOURCE[pass_] in found:
            found[name] = found[SOURCE[pass_]]


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


def _put(p: Any, values: Mapping[str, Any]) -> None:
    for name, value in values.items():
        setattr(p, name, value)
