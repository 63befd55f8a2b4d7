"""The checkpoint loaded in the webui or Forge as a predictor of noise: what `inversion` asks for.

    model = WebuiDenoiser(loaded(), size=(height, width))
    with model.running(prompt):
        found = inversion.reconstruct(model, picture, prompt)

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from modules import devices, extra_networks, processing, shared
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Row
from lib_unet_viz.hosts.webui.loaded import FACTOR
from lib_unet_viz.hosts.webui.model import ForgeModel, Interrupted, WebuiModel
from lib_unet_viz.sampling.denoiser import Conditions, Place, Present


class WebuiDenoiser:
    """`denoiser.Model` on a loaded checkpoint. `calls` says what its U-Net calls are.

    size: (height, width) of the picture, of which SDXL is told; the model's own unless given.
    """

    def __init__(self, model: WebuiModel, *, size: tuple[int, int] | None = None) -> None:
        self.model, self.unet, self.calls = model, model.unet, Present()
        self.size = size or (model.native_size, model.native_size)
        self.alphas_cumprod = model.alphas_cumprod
        # Forge makes and changes its weights in inference mode, which no gradient survives.
        self.differentiable = not isinstance(model, ForgeModel)

    @contextmanager
    def running(self, prompt: str) -> Iterator[None]:
        """Around all that is done for a picture: the prompt's `<lora:...>` are active as in a generation."""
        with self.model.networks(prompt):
            yield

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: Place | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x); raises Interrupted where that was pressed."""
        if shared.state.interrupted:
            raise Interrupted
        text: Any = conditions.context
        if conditions.vector is not None:
            text = {"crossattn": conditions.context, "vector": conditions.vector}
        kept = float(self.alphas_cumprod[timestep])
        uncond = sum(row.half == "uncond" for row in rows)
        with self._quiet(), devices.autocast():
            condition = self.model.condition(text, latents)
        with (
            self._quiet(),
            devices.without_autocast() if devices.unet_needs_upcast else devices.autocast(),
            self.calls.during(place, rows, latents=latents, kept=kept),
        ):
            return self.model.noise(latents, timestep, condition, uncond=uncond)

    def _quiet(self) -> Any:
        return nullcontext() if self.differentiable else self.model.quiet()

    def conditions(self, prompts: Sequence[str], negative: str = "") -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row. The shorter one gets the empty
        prompt's chunks at its end (sd_samplers_cfg_denoiser.py, pad_cond_uncond).
        """
        found, uncond = self._conditions(prompts), self._conditions([negative], negative=True)
        missing = found.context.shape[1] - uncond.context.shape[1]
        if missing:
            empty = self._conditions([""]).context
            found, uncond = (_padded(part, n, empty) for part, n in ((found, -missing), (uncond, missing)))
        return found, uncond

    def _conditions(self, prompts: Sequence[str], *, negative: bool = False) -> Conditions:
        texts = [extra_networks.parse_prompt(prompt)[0] for prompt in prompts]
        with self.model.quiet(), devices.autocast():
            text = self.model.text(texts, self.size, negative=negative)
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
        return self.model.encode(picture)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents (image, channel, y, x), as a generation's (processing.py,
        process_images_inner).
        """
        with (
            self.model.quiet(),
            devices.without_autocast() if devices.unet_needs_upcast else devices.autocast(),
        ):
            samples = processing.decode_latent_batch(
                self.model.model, latents.to(shared.device), target_device=devices.cpu
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
