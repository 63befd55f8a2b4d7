"""A diffusers pipeline as a predictor of noise, with the latents of pictures: what `inversion` asks for.

    model = PipelineDenoiser(load_demo())
    found = inversion.reconstruct(model, picture, "a red circle", method="direct")
    with Recorder(model.unet, attention=Capture("M00"), calls=model.calls) as trace:
        inversion.sample(model, trajectory, conditions, uncond)

Works with Stable Diffusion 1, 2 and XL; the pipeline's own scheduler is not used, but for its noise levels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Row
from lib_unet_viz.hosts.diffusers.attached import attach, encode
from lib_unet_viz.sampling.denoiser import Conditions, Place, Present, joined, noise_of


class PipelineDenoiser:
    """`inversion.Model` on a pipeline. `calls` says what its U-Net calls are, to a Recorder or an edit.

    Raises UnsupportedModelError for a pipeline without a U-Net; ValueError for an inpainting model, whose
    U-Net takes more than a latent, and for a scheduler without noise levels.
    """

    differentiable = True

    def __init__(self, pipe: Any) -> None:
        self.pipe, self.unet, self.calls = pipe, attach(pipe).unet, Present()
        taken, latent = pipe.unet.config.in_channels, pipe.vae.config.latent_channels
        if taken != latent:
            raise ValueError(
                f"this U-Net takes {taken} channels, a latent has {latent}: pictures cannot be inverted with "
                "an inpainting model; load one that makes pictures from text alone"
            )
        if not hasattr(pipe.scheduler, "alphas_cumprod"):
            raise ValueError(
                f"{type(pipe.scheduler).__name__} has no noise levels (alphas_cumprod) to invert by"
            )
        self.alphas_cumprod: Tensor = pipe.scheduler.alphas_cumprod
        self.prediction = str(pipe.scheduler.config.prediction_type)

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: Place | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x)."""
        module, kept = self.pipe.unet, float(self.alphas_cumprod[timestep])
        extra = {}
        if conditions.vector is not None:
            extra["added_cond_kwargs"] = {
                "text_embeds": conditions.vector.to(module.dtype),
                "time_ids": self._sizes(latents),
            }
        context = conditions.context.to(module.dtype)
        with self.calls.during(place, rows, latents=latents, kept=kept):
            (output,) = module(
                latents.to(module.dtype), timestep, encoder_hidden_states=context, return_dict=False, **extra
            )
        return noise_of(output, latents, kept=kept, prediction=self.prediction)

    def _sizes(self, latents: Tensor) -> Tensor:
        """SDXL's original size, crop and size of the picture, (row, 6): all of it, uncropped."""
        height, width = (side * self.pipe.vae_scale_factor for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], dtype=self.pipe.unet.dtype)
        return sizes.to(latents.device).repeat(len(latents), 1)

    @torch.no_grad()
    def conditions(self, prompts: Sequence[str], negative: str = "") -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row. Without one SDXL's is zero where
        the pipeline's is.
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
        """The autoencoder's mean latent, float32; raises ValueError for sides that it cannot halve."""
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


@torch.no_grad()
def latent_of(pipe: Any, picture: Image.Image) -> Tensor:
    """The autoencoder's mean latent (image, channel, y, x) of a picture, scaled as the U-Net wants it."""
    with _steady(pipe.vae) as vae:
        pixels = pipe.image_processor.preprocess(picture).to(vae.device, vae.dtype)
        mean = vae.encode(pixels).latent_dist.mean
    scaled: Tensor = (mean - (getattr(vae.config, "shift_factor", None) or 0)) * vae.config.scaling_factor
    return scaled.to(pipe.unet.dtype)


@torch.no_grad()
def pictures_of(pipe: Any, latents: Tensor) -> list[Image.Image]:
    """Pictures of latents (image, channel, y, x), scaled as the U-Net has them; back from `latent_of`."""
    with _steady(pipe.vae) as vae:
        unscaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0)
        pixels = vae.decode(unscaled.to(vae.device, vae.dtype), return_dict=False)[0]
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
