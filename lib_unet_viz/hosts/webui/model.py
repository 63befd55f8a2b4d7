"""The checkpoint that is loaded in the webui, as VXA looks at pictures with it (`vxa.Model`).

What the webui does before and around sampling is asked of the webui itself, so that its own settings and
every extension that changes them count: text goes through its `get_learned_conditioning` (emphasis, BREAK,
textual inversion, clip skip), `<lora:...>` through its extra networks, the call through `apply_model`.
References are to the webui's v1.10.1 and, in `ForgeModel`, to Forge's main branch (f2.0.1).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from modules import devices, extra_networks, processing, prompt_parser, sd_models, shared
from PIL import Image
from torch import Tensor

from lib_unet_viz.hosts.webui import forge
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.loaded import FACTOR, NoModelError, loaded_unet, native_size
from lib_unet_viz.sampling.denoiser import noise_of
from lib_unet_viz.sampling.schedule import Schedule, sigma_of


class Interrupted(ValueError):  # noqa: N818 - a wish, not an error
    """The person asked the run to stop before anything was recorded."""

    def __init__(self) -> None:
        super().__init__("Interrupted.")


def loaded() -> WebuiModel:
    """The checkpoint that is loaded now. Not to be kept: the webui may replace it at any time.

    Waits for nothing. Raises NoModelError where there is none, UnsupportedModelError where it has no U-Net.
    """
    model = sd_models.model_data.sd_model  # `shared.sd_model` would load one (sd_models.py, get_sd_model)
    if hasattr(model, "forge_objects"):
        return ForgeModel(model)
    if getattr(model, "model", None) is None:
        raise NoModelError
    return WebuiModel(model)


def ready() -> None:
    """Have the chosen checkpoint loaded where the webui does that only before a run, as Forge does.

    To be called in the webui's queue.
    """
    reload = getattr(sd_models, "forge_model_reload", None)
    if reload is not None:
        reload()


class WebuiModel:
    """`vxa.Model` on the webui's LatentDiffusion (SD 1, SD 2) or DiffusionEngine (SDXL)."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.unet = loaded_unet(model)
        self.name = str(model.sd_checkpoint_info.name_for_extra)
        self.native_size = native_size(model)
        self.alphas_cumprod = self._alphas()
        self.timesteps = len(self.alphas_cumprod)
        self._picture: Tensor | None = None  # of the last one that was encoded, where it is told of it

    # What differs in Forge.

    quiet: Any = torch.no_grad

    def _alphas(self) -> Tensor:
        """alpha_bar of each timestep."""
        alphas: Tensor = self.model.alphas_cumprod
        return alphas

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
        told: Tensor = (
            run.edit_image_conditioning(pixels.to(devices.dtype_vae))
            if edits
            else run.depth2img_image_conditioning(pixels)
        )
        return told

    def condition(self, text: Any, latent: Tensor) -> Any:
        """What `noise` gets with a latent (row, channel, y, x) and what `text` made of a prompt, a row each:
        the conditioning dictionary of the webui's own CFGDenoiser (sd_samplers_cfg_denoiser.py,
        make_condition_dict).
        """
        height, width = (FACTOR * side for side in latent.shape[-2:])
        if self._picture is not None:
            picture = self._picture.to(latent).expand(len(latent), -1, -1, -1)
        else:
            with _own_random():  # an inpainting checkpoint's masked picture is sampled from a posterior
                picture = processing.txt2img_image_conditioning(self.model, latent, width, height)
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
        return noise_of(output, latent, kept=float(self.alphas_cumprod[timestep]), prediction=kind)

    def text(self, prompts: Sequence[str], size: tuple[int, int], *, negative: bool = False) -> Any:
        """What the text encoders make of prompts, a row each: the context (row, token, channel); of SDXL,
        which is told the picture's size (height, width), a dictionary with more.
        """
        height, width = size
        return self.model.get_learned_conditioning(
            prompt_parser.SdConditioning(prompts, is_negative_prompt=negative, width=width, height=height)
        )

    # What vxa.Model asks for.

    def tokens(self, prompt: str) -> list[str]:
        """The vocabulary's strings for a prompt, chunk by chunk of 77: BOS, text, EOS, padding."""
        return webui_text.token_texts(self.model, extra_networks.parse_prompt(prompt)[0])

    def context(self, prompt: str) -> Tensor:
        """What cross-attention gets of a prompt: (row, token, channel), one row; LoRAs do not count."""
        with self.quiet(), devices.autocast():
            text = self.text([extra_networks.parse_prompt(prompt)[0]], (self.native_size, self.native_size))
        context: Tensor = text["crossattn"] if isinstance(text, dict) else text
        return context

    def encode(self, picture: Image.Image) -> Tensor:
        """The autoencoder's mean latent (image, channel, y, x), float32, scaled; uses no random numbers."""
        values = np.asarray(picture.convert("RGB"), dtype=np.float32) / 127.5 - 1
        pixels = torch.from_numpy(values).permute(2, 0, 1)[None].to(shared.device)
        with self.quiet(), devices.autocast(), _own_random():
            latent, self._picture = self._latent(pixels), self._of_picture(pixels)
        return latent.to(shared.device, torch.float32)

    def add_noise(self, latent: Tensor, *, timestep: int, seed: int) -> Tensor:
        """As `Schedule.add_noise`."""
        return Schedule(self.alphas_cumprod).add_noise(latent, timestep=timestep, seed=seed)

    def sigma(self, timestep: int) -> float:
        """As `Schedule.sigma`; 0 at timestep 0, which stands for no noise."""
        return Schedule(self.alphas_cumprod).sigma(timestep) if timestep else 0.0

    def denoise(self, latents: Iterable[Tensor], *, timestep: int, prompt: str) -> None:
        """A run of the U-Net on each, conditional half; each adds one to the webui's sampling steps.

        Raises Interrupted where the webui's Interrupt was pressed before the job's first; later it ends the
        job.
        """
        state, condition = shared.state, None
        with self.quiet(), self.networks(prompt) as text:
            for latent in latents:
                if state.interrupted:
                    if not state.sampling_step:
                        raise Interrupted
                    break
                with devices.autocast():
                    condition = condition or self.condition(self.text([text], _pixels(latent)), latent)
                with devices.without_autocast() if devices.unet_needs_upcast else devices.autocast():
                    self.noise(latent, timestep, condition)
                state.sampling_step += 1

    @contextmanager
    def networks(self, prompt: str) -> Iterator[str]:
        """The prompt without its `<lora:...>`, which are active meanwhile as in a generation."""
        text, wanted = extra_networks.parse_prompt(prompt)
        run = processing.StableDiffusionProcessingTxt2Img(sd_model=self.model, prompt=prompt)
        run.prompts, run.negative_prompts = [text], [""]
        with devices.autocast():
            extra_networks.activate(run, wanted)
        try:
            yield text
        finally:
            extra_networks.deactivate(run, wanted)


class ForgeModel(WebuiModel):
    """`vxa.Model` on a ForgeDiffusionEngine (backend/diffusion_engine)."""

    quiet: Any = torch.inference_mode  # it changes weights in place that were made so

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
        height, width = (FACTOR * side for side in latent.shape[-2:])
        found = {"c_crossattn": text}
        if isinstance(text, dict):
            found = {"c_crossattn": text["crossattn"], "y": text["vector"]}
        if self.model.is_inpaint:
            with _own_random():
                found["c_concat"] = processing.txt2img_image_conditioning(self.model, latent, width, height)
        return {name: value.to(shared.device) for name, value in found.items()}

    def noise(self, latent: Tensor, timestep: int, condition: dict[str, Any], *, uncond: int = 0) -> Tensor:
        from backend.sampling.sampling_function import sampling_cleanup, sampling_prepare

        unet = self.model.forge_objects.unet  # extra networks may have put another one there
        kept = self.alphas_cumprod[timestep].to(latent)
        sigma = sigma_of(kept)
        # Its U-Net takes the noised picture at the signal's own scale (k_prediction.py, calculate_input).
        noised = latent / kept.sqrt()
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


def _pixels(latent: Tensor) -> tuple[int, int]:
    """Size (height, width) of a latent's picture."""
    return FACTOR * latent.shape[-2], FACTOR * latent.shape[-1]


@contextmanager
def _posteriors_mode(autoencoder: Any) -> Iterator[None]:
    """SDXL's autoencoder samples its posterior with the global random numbers: take the mean instead."""
    regularization = getattr(autoencoder, "regularization", None)
    with ExitStack() as hooks:
        if regularization is not None:

            def mean(_: Any, given: tuple[Tensor, ...], sampled: tuple[Tensor, Any]) -> tuple[Tensor, Any]:
                return given[0].chunk(2, dim=1)[0], sampled[1]

            hooks.enter_context(_own_random())
            hooks.enter_context(regularization.register_forward_hook(mean))
        yield


@contextmanager
def _own_random() -> Iterator[None]:
    """The same random numbers each time, and none taken from the webui's."""
    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(0)
        yield
