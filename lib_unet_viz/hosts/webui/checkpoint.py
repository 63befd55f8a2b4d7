"""What the checkpoint that is loaded in the webui, or in Forge, makes of pixels, texts and latents.

What the webui does before and around sampling is asked of the webui itself, so that its own settings and
every extension that changes them count: text goes through its `get_learned_conditioning` (emphasis, BREAK,
textual inversion, clip skip), the call through `apply_model`. References are to the webui's v1.10.1 and, in
`ForgeCheckpoint`, to Forge's main branch (f2.0.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from modules import devices, processing, prompt_parser, shared
from torch import Tensor

from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.hosts.base import Schedule, noise_of, sigma_of
from lib_unet_viz.hosts.webui import forge
from lib_unet_viz.hosts.webui.loaded import FACTOR


class Checkpoint:
    """The webui's LatentDiffusion (SD 1, SD 2) or DiffusionEngine (SDXL)."""

    quiet: Any = torch.no_grad
    differentiable = True

    def __init__(self, model: Any) -> None:
        self.model = model
        self.schedule = Schedule(self._alphas())
        self._picture: Tensor | None = None  # of the last one that was encoded, where it is told of it
        self._blanks: dict[
            tuple[object, ...], Tensor
        ] = {}  # what an inpainting checkpoint is told without one

    def _alphas(self) -> Tensor:
        """alpha_bar of each timestep."""
        alphas: Tensor = self.model.alphas_cumprod
        return alphas

    def encode(self, pixels: Tensor) -> Tensor:
        """The autoencoder's mean latent of pixels (image, channel, y, x) in -1..1, float32, scaled; uses no
        random numbers.
        """
        with self.quiet(), devices.autocast(), own_random():
            latent, self._picture = self._latent(pixels), self._of_picture(pixels)
        return latent.to(shared.device, torch.float32)

    def _latent(self, pixels: Tensor) -> Tensor:
        """The posterior's mean of pixels (image, channel, y, x) in -1..1, scaled."""
        model = self.model
        model.first_stage_model.to(devices.dtype_vae)
        with _posteriors_mode(model.first_stage_model):
            posterior = model.encode_first_stage(pixels.to(devices.dtype_vae))
        if isinstance(posterior, Tensor):  # sgm gives a scaled latent, ldm the distribution
            return posterior
        latent: Tensor = posterior.mode() * model.scale_factor
        return latent

    def _of_picture(self, pixels: Tensor) -> Tensor | None:
        """What a checkpoint that makes pictures of pictures only is told of the one it begins with, a row:
        its depth, or itself (processing.py, img2img_image_conditioning); None for all others.
        """
        edits = getattr(self.model, "cond_stage_key", "") == "edit"
        if not edits and getattr(self.model, "depth_model", None) is None:
            return None
        run = processing.StableDiffusionProcessingImg2Img(sd_model=self.model, batch_size=1)
        conditioning: Tensor = (
            run.edit_image_conditioning(pixels.to(devices.dtype_vae))
            if edits
            else run.depth2img_image_conditioning(pixels)
        )
        return conditioning

    def _blank(self, latent: Tensor) -> Tensor:
        """What is told of a picture where there is none, for latents (row, channel, y, x); made once for each
        size, as an inpainting checkpoint encodes a masked picture for it.
        """
        key = (latent.shape, latent.dtype, latent.device)
        if key not in self._blanks:
            height, width = (FACTOR * side for side in latent.shape[-2:])
            with own_random():  # the masked picture is sampled from a posterior
                conditioning = processing.txt2img_image_conditioning(self.model, latent, width, height)
            self._blanks[key] = conditioning
        return self._blanks[key]

    def condition(self, text: Any, latent: Tensor) -> Any:
        """What `noise` gets with a latent (row, channel, y, x) and what `text` made of a prompt, a row each:
        the conditioning dictionary of the webui's own CFGDenoiser (sd_samplers_cfg_denoiser.py,
        make_condition_dict).
        """
        if self._picture is not None:
            picture = self._picture.to(latent).expand(len(latent), -1, -1, -1)
        else:
            picture = self._blank(latent)
        if self.model.model.conditioning_key == "crossattn-adm":
            return {"c_crossattn": [text], "c_adm": picture}
        return {**(text if isinstance(text, dict) else {"c_crossattn": [text]}), "c_concat": [picture]}

    def noise(self, latent: Tensor, timestep: int, condition: Any, *, uncond: int = 0) -> Tensor:
        """Run the U-Net: the noise it predicts, float32 (row, channel, y, x). uncond: how many rows are
        unconditional; these come first.
        """
        when = torch.full((len(latent),), timestep, device=latent.device, dtype=torch.float32)
        output = self.model.apply_model(latent, when, cond=condition)
        kind = "v_prediction" if self.model.parameterization == "v" else "epsilon"
        return noise_of(output, latent, alpha_bar=self.schedule.alpha_bar(timestep), prediction=kind)

    def text(self, prompts: Sequence[str], size: tuple[int, int], *, negative: bool = False) -> Any:
        """What the text encoders make of prompts, a row each: the context (row, token, channel); of SDXL,
        which is told the picture's size (height, width), a dictionary with more.
        """
        height, width = size
        return self.model.get_learned_conditioning(
            prompt_parser.SdConditioning(prompts, is_negative_prompt=negative, width=width, height=height)
        )


class ForgeCheckpoint(Checkpoint):
    """A ForgeDiffusionEngine (backend/diffusion_engine)."""

    # It makes and changes its weights in inference mode, which no gradient survives.
    quiet: Any = torch.inference_mode
    differentiable = False

    def _alphas(self) -> Tensor:
        sigmas: Tensor = self.model.forge_objects.unet.model.predictor.sigmas
        return 1 / (sigmas.float() ** 2 + 1)

    def _latent(self, pixels: Tensor) -> Tensor:
        # As its encode_first_stage (backend/diffusion_engine/sd15.py), with a word to the autoencoder.
        vae = self.model.forge_objects.vae.clone()
        vae.patcher.model_options["model_vae_regulation"] = lambda posterior: posterior.mode()
        latent: Tensor = vae.encode(pixels.movedim(1, -1) * 0.5 + 0.5)
        scaled: Tensor = vae.first_stage_model.process_in(latent)
        return scaled

    def _of_picture(self, pixels: Tensor) -> None:
        """Forge has no such checkpoints."""

    def condition(self, text: Any, latent: Tensor) -> dict[str, Any]:
        """Keyword arguments of KModel.apply_model (backend/modules/k_model.py)."""
        found = {"c_crossattn": text}
        if isinstance(text, dict):
            found = {"c_crossattn": text["crossattn"], "y": text["vector"]}
        if self.model.is_inpaint:
            found["c_concat"] = self._blank(latent)
        return {name: value.to(shared.device) for name, value in found.items()}

    def noise(self, latent: Tensor, timestep: int, condition: dict[str, Any], *, uncond: int = 0) -> Tensor:
        from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare

        unet = self.model.forge_objects.unet  # extra networks may have put another one there
        alpha_bar = self.schedule.alphas_cumprod[timestep].to(latent)
        sigma = sigma_of(alpha_bar)
        # Its U-Net takes the noised picture at the signal's own scale (k_prediction.py, calculate_input).
        noised = latent / alpha_bar.sqrt()
        marks = [forge.UNCOND] * uncond + [forge.COND] * (len(latent) - uncond)
        options = {
            **unet.model_options.get("transformer_options", {}),
            "cond_or_uncond": list(dict.fromkeys(marks)),
            "cond_mark": torch.tensor(marks).to(latent),
            "sigmas": sigma.expand(len(latent)),
        }
        sampling_prepare(unet, noised)
        try:
            clean = unet.model.apply_model(
                noised, options["sigmas"], transformer_options=options, **condition
            )
        finally:
            sampling_cleanup(unet)
        found: Tensor = (noised - clean).float() / sigma
        return found


@contextmanager
def _posteriors_mode(autoencoder: Any) -> Iterator[None]:
    """SDXL's autoencoder samples its posterior with the global random numbers: take the mean instead."""
    regularization = getattr(autoencoder, "regularization", None)
    with Hooks() as hooks:
        if regularization is not None:

            def mean(_: Any, given: tuple[Tensor, ...], sampled: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
                return given[0].chunk(2, dim=1)[0], sampled[1]

            hooks.enter_context(own_random())
            hooks.put(regularization.register_forward_hook, mean)
        yield


@contextmanager
def own_random() -> Iterator[None]:
    """The same random numbers each time, and none taken from the webui's."""
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(0)
        yield
