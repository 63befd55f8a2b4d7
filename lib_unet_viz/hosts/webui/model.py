"""The checkpoint that is loaded in the webui or Forge, as a model (`hosts.base`).

    model = loaded()
    with model.running(prompt):
        found = inversion.reconstruct(model, picture, prompt)

`<lora:...>` goes through the webui's extra networks. References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from modules import devices, extra_networks, processing, sd_models, shared
from PIL import Image
from torch import Tensor

from lib_unet_viz.hosts.base import Conditions, Interrupted, Present, Row
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.checkpoint import Checkpoint, ForgeCheckpoint
from lib_unet_viz.hosts.webui.loaded import FACTOR, NoModelError, loaded_unet, native_size
from lib_unet_viz.sampling.model import SamplingStep


def loaded() -> WebuiModel:
    """The checkpoint that is loaded now. Not to be kept: the webui may replace it at any time.

    Waits for nothing. Raises NoModelError where there is none, UnsupportedModelError where it has no U-Net.
    """
    model = sd_models.model_data.sd_model  # `shared.sd_model` would load one (sd_models.py, get_sd_model)
    if hasattr(model, "forge_objects"):
        return WebuiModel(ForgeCheckpoint(model))
    if getattr(model, "model", None) is None:
        raise NoModelError
    return WebuiModel(Checkpoint(model))


def ready() -> None:
    """Have the chosen checkpoint loaded where the webui does that only before a run, as Forge does.

    To be called in the webui's queue.
    """
    reload = getattr(sd_models, "forge_model_reload", None)
    if reload is not None:
        reload()


class WebuiModel:
    """`hosts.base.Model` on a loaded checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        model = checkpoint.model
        self.checkpoint, self.unet, self.calls = checkpoint, loaded_unet(model), Present()
        self.name = str(model.sd_checkpoint_info.name_for_extra)
        self.native_size = native_size(model)
        self.schedule, self.differentiable = checkpoint.schedule, checkpoint.differentiable

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: SamplingStep | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x); raises Interrupted where that was pressed. A
        sampling step adds one to the webui's.
        """
        if shared.state.interrupted:
            raise Interrupted
        text: Any = conditions.context
        if conditions.vector is not None:
            text = {"crossattn": conditions.context, "vector": conditions.vector}
        uncond = sum(row.half == "uncond" for row in rows)
        with self._quiet(), devices.autocast():
            condition = self.checkpoint.condition(text, latents)
        with (
            self._quiet(),
            devices.without_autocast() if devices.unet_needs_upcast else devices.autocast(),
            self.calls.during(place, rows, latents=latents, sigma=self.schedule.sigma(timestep)),
        ):
            noise = self.checkpoint.noise(latents, timestep, condition, uncond=uncond)
        if place is not None:
            shared.state.sampling_step += 1
        return noise

    def _quiet(self) -> Any:
        return nullcontext() if self.differentiable else self.checkpoint.quiet()

    @contextmanager
    def running(self, prompt: str) -> Iterator[None]:
        """The prompt's `<lora:...>` are active meanwhile, as in a generation."""
        text, wanted = extra_networks.parse_prompt(prompt)
        run = processing.StableDiffusionProcessingTxt2Img(sd_model=self.checkpoint.model, prompt=prompt)
        run.prompts, run.negative_prompts = [text], [""]
        with devices.autocast():
            extra_networks.activate(run, wanted)
        try:
            yield
        finally:
            extra_networks.deactivate(run, wanted)

    def tokens(self, prompt: str) -> list[str]:
        """The vocabulary's strings for a prompt, chunk by chunk of 77: BOS, text, EOS, padding."""
        return webui_text.token_texts(self.checkpoint.model, extra_networks.parse_prompt(prompt)[0])

    def conditions(
        self, prompts: Sequence[str], negative: str = "", *, size: tuple[int, int] | None = None
    ) -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row. The shorter one gets the empty
        prompt's chunks at its end (sd_samplers_cfg_denoiser.py, pad_cond_uncond).
        """
        size = size or (self.native_size, self.native_size)
        found, uncond = self._conditions(prompts, size), self._conditions([negative], size, negative=True)
        missing = found.context.shape[1] - uncond.context.shape[1]
        if missing:
            empty = self._conditions([""], size).context
            found, uncond = (_padded(part, n, empty) for part, n in ((found, -missing), (uncond, missing)))
        return found, uncond

    def _conditions(
        self, prompts: Sequence[str], size: tuple[int, int], *, negative: bool = False
    ) -> Conditions:
        texts = [extra_networks.parse_prompt(prompt)[0] for prompt in prompts]
        with self.checkpoint.quiet(), devices.autocast():
            text = self.checkpoint.text(texts, size, negative=negative)
        if isinstance(text, dict):
            return Conditions(text["crossattn"], text["vector"])
        return Conditions(text)

    def encode(self, picture: Image.Image) -> Tensor:
        """The autoencoder's mean latent, float32; raises ValueError for sides that it cannot halve."""
        if picture.width % FACTOR or picture.height % FACTOR:
            raise ValueError(
                f"the picture has {picture.width} x {picture.height} pixels; both sides must be multiples of "
                f"{FACTOR}"
            )
        values = np.asarray(picture.convert("RGB"), dtype=np.float32) / 127.5 - 1
        return self.checkpoint.encode(torch.from_numpy(values).permute(2, 0, 1)[None].to(shared.device))

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents (image, channel, y, x), as a generation's (processing.py,
        process_images_inner).
        """
        with (
            self.checkpoint.quiet(),
            devices.without_autocast() if devices.unet_needs_upcast else devices.autocast(),
        ):
            samples = processing.decode_latent_batch(
                self.checkpoint.model, latents.to(shared.device), target_device=devices.cpu
            )
        return [_picture(sample) for sample in samples]


def _padded(conditions: Conditions, missing: int, empty: Tensor) -> Conditions:
    """With as many tokens more (none if negative), of the empty prompt's context (row, token, channel)."""
    chunks = max(0, missing) // empty.shape[1]
    padding = empty.repeat(len(conditions), chunks, 1)
    return Conditions(torch.cat([conditions.context, padding], 1), conditions.vector)


def _picture(sample: Tensor) -> Image.Image:
    """Of pixels (rgb, y, x) in -1..1; rounded down, as the webui's are."""
    values = (sample.float() * 0.5 + 0.5).clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray((255.0 * values).astype(np.uint8))
