"""diffusers as a host: what each U-Net call of a pipeline is, what is known of its run, and loading models.

    pipe = load_demo()
    attached = attach(pipe)
    meta = describe(pipe, prompt=prompt, seed=1)
    with Recorder(attached.unet, attention=Capture("M00"), calls=attached.calls, meta=meta) as trace:
        trace.picture = pipe(prompt, generator=torch.Generator().manual_seed(1)).images[0]

Which pipelines that works with, and what can be asked of each, is in docs/pipelines.md.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.capture.request import estimate as estimate_bytes
from lib_unet_viz.hosts.diffusers.models import LoadError, load, load_demo
from lib_unet_viz.hosts.diffusers.steps import Steps
from lib_unet_viz.trace import Half
from lib_unet_viz.unet import UNet, UnsupportedModelError

__all__ = [
    "Attached",
    "LoadError",
    "PipelineCalls",
    "UnsupportedPipelineError",
    "attach",
    "describe",
    "encode",
    "estimate",
    "load",
    "load_demo",
    "tokens",
]


# Pipelines whose rows come in an order of their own, or stand for parts of a picture.
_OTHER_ROWS = ("InstructPix2Pix", "Panorama")


class UnsupportedPipelineError(UnsupportedModelError):
    """It cannot be told which rows of a pipeline's U-Net calls are which."""

    def __init__(self, pipe: object) -> None:
        ValueError.__init__(
            self,
            f"{type(pipe).__name__} cannot be looked into: which rows of its U-Net calls are unconditional "
            "is known of pipelines that put these first and say whether they guide "
            "(do_classifier_free_guidance), as most of Stable Diffusion 1, 2 and XL do; for another one, "
            "give the Recorder `calls` of your own",
        )


class PipelineCalls:
    """Says what each U-Net call of a pipeline is; asked before the call, with the call's arguments.

    None for what is no sampling step's first call; see `Steps`.
    """

    def __init__(self, pipe: Any) -> None:
        self.pipe = pipe
        self._steps = Steps(pipe)

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        sample: Tensor = args[0] if args else kwargs["sample"]
        if sample.dim() != 4:
            raise ValueError(f"the U-Net was called with {sample.dim()} axes: videos cannot be recorded")
        given = args[1] if len(args) > 1 else kwargs["timestep"]
        place = self._steps.place(float(torch.as_tensor(given).flatten()[0]))
        if place is None:
            return None
        return Call(
            step=place.step,
            total=place.total,
            sigma=place.sigma,
            rows=self.rows(len(sample)),
            size=(sample.shape[-2], sample.shape[-1]),
        )

    def rows(self, count: int) -> tuple[Row, ...]:
        """What each of a call's rows is, image by image: unconditional ones first, perturbed ones last
        (``torch.cat([negative_prompt_embeds, prompt_embeds])``, pipeline_stable_diffusion*.py;
        ``_prepare_perturbed_attention_guidance``, pag_utils.py).

        Raises ValueError where so many rows cannot be told.
        """
        halves: tuple[Half, ...] = ("cond",)
        if self.pipe.do_classifier_free_guidance:
            halves = ("uncond", *halves)
        if getattr(self.pipe, "do_perturbed_attention_guidance", False):
            halves = (*halves, "perturbed")
        images, left = divmod(count, len(halves))
        if left:
            raise ValueError(
                f"the U-Net was called with {count} rows, which are not as many {', '.join(halves)} ones each"
            )
        return tuple(Row(image, half) for half in halves for image in range(images))


@dataclass(frozen=True, eq=False)
class Attached:
    """A pipeline's U-Net, and the word on its calls. Nothing is installed on the pipeline."""

    unet: UNet
    calls: PipelineCalls


def attach(pipe: Any) -> Attached:
    """What a `Recorder` needs to know of a pipeline.

    Raises UnsupportedModelError if the pipeline has no U-Net of the kinds known, UnsupportedPipelineError if
    its rows cannot be told.
    """
    if not hasattr(pipe, "unet"):
        raise UnsupportedModelError(getattr(pipe, "transformer", pipe))
    kind = type(pipe)
    if not hasattr(kind, "do_classifier_free_guidance") or any(name in kind.__name__ for name in _OTHER_ROWS):
        raise UnsupportedPipelineError(pipe)
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


def encode(
    pipe: Any, prompt: str, *, clip_skip: int | None = None, lora_scale: float | None = None
) -> Sequence[Tensor]:
    """What the pipeline's text encoders make of a prompt.

    First the context (row, token, channel), of one row; of SDXL, third the pooled vector (row, channel).
    clip_skip, lora_scale: as the pipeline's `encode_prompt` takes them.
    """
    arguments: dict[str, Any] = {
        "device": pipe._execution_device,
        "num_images_per_prompt": 1,
        "do_classifier_free_guidance": False,
    }
    chosen = {"clip_skip": clip_skip, "lora_scale": lora_scale}
    arguments |= {name: value for name, value in chosen.items() if value is not None}
    if "prompt_2" in inspect.signature(pipe.encode_prompt).parameters:
        arguments["prompt_2"] = None
    encoded: Sequence[Tensor] = pipe.encode_prompt(prompt, **arguments)
    return encoded


def describe(
    pipe: Any,
    *,
    prompt: str | Sequence[str] | None,
    negative: str | Sequence[str] | None = None,
    seed: int | None = None,
    images_per_prompt: int = 1,
    **more: Any,
) -> dict[str, Any]:
    """What a trace's `meta` should hold of a run: prompt, negative, seed, model, tokens and `more` (plain
    data).

    Several prompts make a batch: `images` then lists, image by image, what differs. Of a run that is given
    `prompt_embeds`, the prompt is what these were made of; None where that is not known, and then tokens
    have no names.
    """
    if prompt is None:
        return {"seed": seed, "model": model_name(pipe), **more}
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
