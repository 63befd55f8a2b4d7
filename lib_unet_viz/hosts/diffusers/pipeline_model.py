"""A diffusers pipeline as a model (`hosts.base`): texts, pictures' latents, and the noise that it predicts.

    model = PipelineModel(load_demo())
    found = inversion.reconstruct(model, picture, "a red circle", method="direct")
    with Recorder(model.unet, attention=Capture("M00"), calls=model.calls) as trace:
        inversion.sample(model, trajectory, conditions, uncond)

Works with Stable Diffusion 1, 2 and XL; the pipeline's own scheduler is not used, but for its noise levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.hosts.base import Conditions, Present, Row, Schedule, joined, noise_of
from lib_unet_viz.hosts.diffusers.attached import encode, model_name, tokens
from lib_unet_viz.sampling.model import SamplingStep
from lib_unet_viz.unet import UNet


class PipelineModel:
    """`hosts.base.Model` on a pipeline; its name is that of what it came from, unless given."""

    differentiable = True

    def __init__(self, pipe: Any, name: str | None = None) -> None:
        self.pipe, self._unet, self.calls = pipe, UNet.of(pipe.unet), Present()
        self.name = model_name(pipe) if name is None else name
        self.native_size = int(pipe.unet.config.sample_size * pipe.vae_scale_factor)

    @property
    def unet(self) -> UNet:
        """The pipeline's present U-Net, which may be another than before."""
        if self._unet.module is not self.pipe.unet:
            self._unet = UNet.of(self.pipe.unet)
        return self._unet

    def check_same(self, unet: UNet) -> None:
        """Raise ValueError where the pipeline has another U-Net by now: hooks would act on one at rest."""
        if unet.module is not self.pipe.unet:
            raise ValueError(
                "the pipeline's U-Net was replaced during the run: layer prompts and edits act on the one "
                "that the run began with"
            )

    @property
    def schedule(self) -> Schedule:
        """Raises ValueError where the pipeline's scheduler has none."""
        scheduler = self.pipe.scheduler
        if not hasattr(scheduler, "alphas_cumprod"):
            raise ValueError(
                f"{type(scheduler).__name__} has no noise levels (alphas_cumprod) to noise or invert "
                "pictures by; choose another scheduler, such as DDIMScheduler"
            )
        return Schedule(scheduler.alphas_cumprod)

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: SamplingStep | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x)."""
        module, schedule = self.pipe.unet, self.schedule
        extra = {}
        if conditions.vector is not None:
            extra["added_cond_kwargs"] = added(self.pipe, conditions.vector, latents)
        context = conditions.context.to(module.dtype)
        with self.calls.during(place, rows, latents=latents, sigma=schedule.sigma(timestep)):
            (output,) = module(
                latents.to(module.dtype), timestep, encoder_hidden_states=context, return_dict=False, **extra
            )
        prediction = str(self.pipe.scheduler.config.prediction_type)
        return noise_of(output, latents, alpha_bar=schedule.alpha_bar(timestep), prediction=prediction)

    def running(self, prompt: str) -> AbstractContextManager[object]:
        """A pipeline's prompts name nothing beside words."""
        return nullcontext()

    def tokens(self, prompt: str) -> list[str]:
        """The vocabulary's strings for a prompt, with BOS, EOS and padding."""
        return tokens(self.pipe, prompt)

    @torch.no_grad()
    def conditions(
        self, prompts: Sequence[str], negative: str = "", *, size: tuple[int, int] | None = None
    ) -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row. Without one SDXL's is zero where
        the pipeline's is. size: not needed, as the U-Net is told that of its latents (`added`).
        """
        uncond = self._condition(negative)
        if not negative and self.pipe.config.get("force_zeros_for_empty_prompt", False):
            vector = None if uncond.vector is None else torch.zeros_like(uncond.vector)
            uncond = Conditions(torch.zeros_like(uncond.context), vector)
        return joined([self._condition(prompt) for prompt in prompts]), uncond

    def _condition(self, prompt: str) -> Conditions:
        encoded = encode(self.pipe, prompt)
        return Conditions(encoded[0], encoded[2] if len(encoded) == 4 else None)

    def encode(self, picture: Image.Image) -> Tensor:
        """The autoencoder's mean latent, float32; raises ValueError for sides that it cannot halve, and as
        `check_alone`.
        """
        check_alone(self.pipe)
        factor = self.pipe.vae_scale_factor
        if picture.width % factor or picture.height % factor:
            raise ValueError(
                f"the picture has {picture.width} x {picture.height} pixels; both sides must be multiples of "
                f"{factor}"
            )
        return latent_of(self.pipe, picture).float()

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents (image, channel, y, x)."""
        return pictures_of(self.pipe, latents)


def check_alone(pipe: Any) -> None:
    """Raises ValueError where a pipeline's U-Net cannot be run on noised pictures with nothing but a text."""
    taken, latent = pipe.unet.config.in_channels, pipe.vae.config.latent_channels
    if taken != latent:
        raise ValueError(
            f"this U-Net takes {taken} channels, a latent has {latent}: pictures of one's own cannot be "
            "looked into or inverted with an inpainting model; load one that makes pictures from text alone"
        )
    if getattr(pipe.unet.config, "encoder_hid_dim_type", None) == "ip_image_proj":
        raise ValueError(
            "this U-Net reads an image beside the text (IP-Adapter), so pictures of one's own cannot be "
            "looked into or inverted with it; unload_ip_adapter() takes that off"
        )


def added(pipe: Any, vector: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """What SDXL adds to the time embedding: the pooled text (row, channel), and the picture's original size,
    crop and size, uncropped; its refiner has an aesthetic score in the size's place (``_get_add_time_ids``,
    pipeline_stable_diffusion_xl_img2img.py, of which 6 is the default).
    """
    height, width = (side * pipe.vae_scale_factor for side in latents.shape[-2:])
    scored = pipe.config.get("requires_aesthetics_score", False)
    sizes = [height, width, 0, 0, *([6.0] if scored else [height, width])]
    ids = torch.tensor([sizes], dtype=pipe.unet.dtype, device=latents.device)
    return {"text_embeds": vector.to(pipe.unet.dtype), "time_ids": ids.repeat(len(latents), 1)}


@torch.no_grad()
def latent_of(pipe: Any, picture: Image.Image) -> Tensor:
    """The autoencoder's mean latent (image, channel, y, x) of a picture, scaled as the U-Net wants it."""
    with _steady(pipe.vae) as vae:
        pixels = pipe.image_processor.preprocess(picture).to(pipe._execution_device, vae.dtype)
        mean = vae.encode(pixels).latent_dist.mean
    scaled: Tensor = (mean - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor
    return scaled.to(pipe.unet.dtype)


@torch.no_grad()
def pictures_of(pipe: Any, latents: Tensor) -> list[Image.Image]:
    """Pictures of latents (image, channel, y, x), scaled as the U-Net has them; back from `latent_of`."""
    with _steady(pipe.vae) as vae:
        unscaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
        pixels = vae.decode(unscaled.to(pipe._execution_device, vae.dtype), return_dict=False)[0]
    pictures: list[Image.Image] = pipe.image_processor.postprocess(pixels.float(), output_type="pil")
    return pictures


@contextmanager
def _steady(vae: Any) -> Iterator[Any]:
    """The autoencoder, in float32 meanwhile where it overflows in float16 (SDXL's), as its pipelines do."""
    dtype = vae.dtype
    upcast = dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(torch.float32)
    try:
        yield vae
    finally:
        if upcast:
            vae.to(dtype)
