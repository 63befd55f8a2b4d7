"""diffusers as a host: what each U-Net call of a pipeline is, what is known of its run, and loading models.

    pipe = load_demo()
    attached = attach(pipe)
    meta = describe(pipe, prompt=prompt, seed=1)
    with Recorder(attached.unet, attention=Capture("M00"), calls=attached.calls, meta=meta) as trace:
        trace.picture = pipe(prompt, generator=torch.Generator().manual_seed(1)).images[0]

Works with Stable Diffusion 1, 2 and XL: text to image, image to image, inpainting, with and without
ControlNet.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.capture.request import estimate as estimate_bytes
from lib_unet_viz.hosts.diffusers.models import LoadError, load, load_demo
from lib_unet_viz.unet import UNet, UnsupportedModelError

__all__ = [
    "Attached",
    "LoadError",
    "PipelineCalls",
    "attach",
    "describe",
    "encode",
    "estimate",
    "load",
    "load_demo",
    "tokens",
]


@dataclass(frozen=True, eq=False)
class PipelineCalls:
    """Says what each U-Net call of a pipeline is; asked before the call, with the call's arguments.

    A sampling step of a second-order scheduler (Heun, DPM2, DPM++ SDE, PNDM's start) has several calls: its
    first one stands for it, the others are None, and so is a call at a timestep that is not the
    scheduler's. Steps are counted among all the scheduler's steps, so image to image begins at a later one.
    """

    pipe: Any

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        sample: Tensor = args[0] if args else kwargs["sample"]
        given = args[1] if len(args) > 1 else kwargs["timestep"]
        timestep = float(torch.as_tensor(given).flatten()[0])
        scheduler = self.pipe.scheduler
        index = _index(scheduler, timestep)
        place = None if index is None else _step(scheduler, index)
        if index is None or place is None:
            return None
        return Call(
            step=place[0],
            total=place[1],
            sigma=_sigma(scheduler, index, timestep),
            rows=self.rows(len(sample)),
            size=(sample.shape[-2], sample.shape[-1]),
        )

    def rows(self, count: int) -> tuple[Row, ...]:
        """What each of a call's rows is. Unconditional ones come first, each image by image:
        ``torch.cat([negative_prompt_embeds, prompt_embeds])`` (pipeline_stable_diffusion.py,
        pipeline_stable_diffusion_img2img.py, pipeline_stable_diffusion_xl*.py).
        """
        if not getattr(self.pipe, "do_classifier_free_guidance", False):
            return tuple(Row(image, "cond") for image in range(count))
        halves: tuple[Literal["uncond", "cond"], ...] = ("uncond", "cond")
        return tuple(Row(image, half) for half in halves for image in range(count // 2))


@dataclass(frozen=True, eq=False)
class Attached:
    """A pipeline's U-Net, and the word on its calls. Nothing is installed on the pipeline."""

    unet: UNet
    calls: PipelineCalls


def attach(pipe: Any) -> Attached:
    """What a `Recorder` needs to know of a pipeline.

    Raises UnsupportedModelError if the pipeline has no U-Net of the kinds known, or orders its rows
    differently.
    """
    if not hasattr(pipe, "unet") or "InstructPix2Pix" in type(pipe).__name__:
        raise UnsupportedModelError(getattr(pipe, "transformer", pipe))
    return Attached(UNet.of(pipe.unet), PipelineCalls(pipe))


def tokens(pipe: Any, prompt: str) -> list[str]:
    """The vocabulary's strings of a prompt, as the pipeline's text encoder sees it: BOS, text, EOS,
    padding.
    """
    tokenizer = pipe.tokenizer or pipe.tokenizer_2  # SDXL's refiner has only the second one
    if hasattr(
        pipe, "maybe_convert_prompt"
    ):  # textual inversion: a word becomes as many tokens as it has vectors
        prompt = pipe.maybe_convert_prompt(prompt, tokenizer)
    length = tokenizer.model_max_length
    ids = tokenizer(prompt, padding="max_length", max_length=length, truncation=True).input_ids
    return list(tokenizer.convert_ids_to_tokens(ids))


def encode(pipe: Any, prompt: str) -> Sequence[Tensor]:
    """What the pipeline's text encoders make of a prompt.

    First the context (row, token, channel), of one row; of SDXL, third the pooled vector (row, channel).
    """
    arguments: dict[str, Any] = {
        "device": pipe.unet.device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
    }
    if "prompt_2" in inspect.signature(pipe.encode_prompt).parameters:
        arguments["prompt_2"] = None
    encoded: Sequence[Tensor] = pipe.encode_prompt(prompt, **arguments)
    return encoded


def describe(
    pipe: Any,
    *,
    prompt: str | Sequence[str],
    negative: str | Sequence[str] | None = None,
    seed: int | None = None,
    images_per_prompt: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """What a trace's `meta` should hold of a run: prompt, negative, seed, model, tokens and `more` (plain
    data).

    Several prompts make a batch: `images` then lists, image by image, what differs.
    """
    prompts = [prompt] if isinstance(prompt, str) else list(prompt)
    negatives = (
        [negative or ""] * len(prompts) if negative is None or isinstance(negative, str) else list(negative)
    )
    each = [
        {
            "prompt": wanted,
            "negative": unwanted,
            "tokens": {"cond": tokens(pipe, wanted), "uncond": tokens(pipe, unwanted)},
        }
        for wanted, unwanted in zip(prompts, negatives, strict=True)
    ]
    meta = {**each[0], "seed": seed, "model": model_name(pipe), **more}
    if len(each) > 1:
        meta["images"] = [one for one in each for _ in range(images_per_prompt)]
    return meta


def model_name(pipe: Any) -> str:
    """The hub's id, or the name of the folder or file that the pipeline came from."""
    name = str(getattr(pipe.config, "_name_or_path", "") or type(pipe).__name__)
    return Path(name).name if Path(name).exists() else name


def estimate(
    pipe: Any,
    *,
    features: Capture | None = None,
    attention: Capture | Iterable[Capture] | None = None,
    size: tuple[int, int] | None = None,
    steps: int = 20,
    images: int = 1,
) -> int:
    """Bytes that a recording will hold, for pictures of `size` (height, width) in pixels."""
    factor = pipe.vae_scale_factor
    side = pipe.unet.config.sample_size * factor
    height, width = size or (side, side)
    return estimate_bytes(
        pipe.unet,
        features=features,
        attention=attention,
        size=(height // factor, width // factor),
        total=steps,
        images=images,
        tokens=(pipe.tokenizer or pipe.tokenizer_2).model_max_length,
    )


def _index(scheduler: Any, timestep: float) -> int | None:
    """Place of a call's timestep among the scheduler's; None if it is not there.

    Where a timestep occurs more than once, the scheduler's own state says which it is.
    """
    timesteps = [] if scheduler.timesteps is None else scheduler.timesteps.tolist()
    places = [index for index, value in enumerate(timesteps) if value == timestep]
    state = getattr(scheduler, "step_index", None)
    if state is None:
        state = getattr(scheduler, "begin_index", None)
    if state is None:
        state = getattr(scheduler, "counter", None)  # PNDM
    if state in places:
        return int(state)
    return places[0] if places else None


def _step(scheduler: Any, index: int) -> tuple[int, int] | None:
    """(sampling step from 0, number of steps) of the call at a place of the timesteps; None if it is a later
    call of its step.
    """
    if hasattr(scheduler, "prk_timesteps"):
        return _pndm_step(scheduler, index)
    order = scheduler.order
    # Heun, DPM2 and DPM++ SDE: the first call of a step is at an even place, the last step has no second
    # call.
    return None if index % order else (index // order, -(-len(scheduler.timesteps) // order))


def _pndm_step(scheduler: Any, index: int) -> tuple[int, int] | None:
    """PNDM starts with three steps of four calls each, or (Stable Diffusion's setting) with one of two calls
    (scheduling_pndm.py, set_timesteps).
    """
    total = int(scheduler.num_inference_steps)
    starting = len(scheduler.prk_timesteps)
    if index < starting:
        return None if index % 4 else (index // 4, total)
    if starting:
        return starting // 4 + index - starting, total
    if len(scheduler.timesteps) <= total:
        return index, total
    return None if index == 1 else (max(0, index - 1), total)


def _sigma(scheduler: Any, index: int, timestep: float) -> float:
    """The noise's standard deviation relative to the picture's, sqrt((1 - a) / a) of the timestep."""
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is not None and len(sigmas) >= len(scheduler.timesteps):
        return float(sigmas[index])
    kept = float(scheduler.alphas_cumprod[round(timestep)])
    return float(((1 - kept) / kept) ** 0.5)
