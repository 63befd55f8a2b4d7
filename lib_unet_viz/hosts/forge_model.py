"""Where Forge's loaded checkpoint differs from the webui's when VXA looks at pictures with it.

References are to Forge's main branch (f2.0.1).
"""

from __future__ import annotations

from typing import Any

import torch
from modules import processing, prompt_parser, shared
from torch import Tensor

from lib_unet_viz.hosts.webui import FACTOR
from lib_unet_viz.hosts.webui_model import WebuiModel, own_random


class ForgeModel(WebuiModel):
    """`vxa.Model` on a ForgeDiffusionEngine (backend/diffusion_engine)."""

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

    def _condition(self, prompt: str, latent: Tensor) -> dict[str, Any]:
        """Keyword arguments of KModel.apply_model (backend/modules/k_model.py)."""
        height, width = (FACTOR * side for side in latent.shape[-2:])
        text = self.model.get_learned_conditioning(
            prompt_parser.SdConditioning([prompt], width=width, height=height)
        )
        found = {"c_crossattn": text}
        if isinstance(text, dict):
            found = {"c_crossattn": text["crossattn"], "y": text["vector"]}
        if self.model.is_inpaint:
            with own_random():
                found["c_concat"] = processing.txt2img_image_conditioning(self.model, latent, width, height)
        return {name: value.to(shared.device) for name, value in found.items()}

    def _call(self, latent: Tensor, timestep: int, condition: dict[str, Any]) -> None:
        from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare

        unet = self.model.forge_objects.unet  # extra networks may have put another one there
        kept = self._kept[timestep].to(latent)
        sigma = ((1 - kept) / kept).sqrt().expand(len(latent))
        # Its U-Net takes the noised picture at the signal's own scale (k_prediction.py, calculate_input).
        noised = latent / kept.sqrt()
        options = {
            **unet.model_options.get("transformer_options", {}),
            "cond_or_uncond": [0],
            "cond_mark": torch.zeros(len(latent)),
            "sigmas": sigma,
        }
        sampling_prepare(unet, noised)
        try:
            unet.model.apply_model(noised, sigma, transformer_options=options, **condition)
        finally:
            sampling_cleanup(unet)
