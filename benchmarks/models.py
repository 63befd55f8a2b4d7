"""Stable Diffusion's U-Nets at their true width, with random weights, on which the cost does not depend.

Configurations as published with runwayml/stable-diffusion-v1-5, stabilityai/stable-diffusion-2-1 and
stabilityai/stable-diffusion-xl-base-1.0 (unet/config.json).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from lib_unet_viz.capture.request import Call, Row
from lib_unet_viz.trace import Half

_XL = {
    "block_out_channels": (320, 640, 1280),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 2, 10),
    "attention_head_dim": (5, 10, 20),
    "cross_attention_dim": 2048,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 2816,
}
_SD2 = {"attention_head_dim": (5, 10, 20, 20), "cross_attention_dim": 1024, "use_linear_projection": True}
TOKENS = 77
HALVES: tuple[Half, ...] = ("uncond", "cond")


@dataclass(frozen=True)
class Model:
    """A U-Net to build. `size`: of the latent at the model's own picture size (a side of `pixels`).

    raw, looks, finest: two blocks whose Q·K, and single ones whose self-attention, is recorded.
    """

    title: str
    pixels: int
    config: Mapping[str, Any]
    raw: str = "IN05, OUT06"
    looks: str = "IN05"
    finest: str = "IN01"

    @property
    def size(self) -> int:
        return self.pixels // 8


MODELS: Mapping[str, Model] = MappingProxyType(
    {
        "sd15": Model("SD 1.5", 512, {"attention_head_dim": 8, "cross_attention_dim": 768}),
        "sd21": Model("SD 2.1", 768, _SD2),
        "sdxl": Model("SDXL", 1024, _XL, raw="IN05, OUT05", looks="IN08.5", finest="IN04.0"),
    }
)


def narrow(model: Model) -> Model:
    """The same topology, small enough to try a script with."""
    config: dict[str, Any] = {**model.config, "cross_attention_dim": 64}
    if "addition_embed_type" in config:
        embedding = {"addition_time_embed_dim": 8, "projection_class_embeddings_input_dim": 6 * 8 + 1280}
        config |= {"block_out_channels": (32, 64, 64), "attention_head_dim": (1, 2, 2), **embedding}
    else:
        config |= {"block_out_channels": (32, 64, 64, 64), "attention_head_dim": 2}
    return replace(model, title=f"{model.title}, narrow", pixels=128, config=config)


def build(model: Model, *, device: str, dtype: torch.dtype) -> nn.Module:
    """The U-Net with uniform weights of a spread that keeps values moderate from layer to layer."""
    with torch.device("meta"):
        unet: nn.Module = UNet2DConditionModel(sample_size=model.size, **model.config)
    if dtype != torch.float32:
        unet = unet.to(dtype)
    unet = unet.to_empty(device=device).eval().requires_grad_(False)
    for name, weight in unet.named_parameters():
        if weight.dim() > 1:
            limit = (3 / weight[0].numel()) ** 0.5
            weight.uniform_(-limit, limit)
        else:
            weight.fill_(float(name.endswith("weight")))
    return unet


@dataclass(frozen=True)
class Inputs:
    """What the U-Net is called with, a batch as classifier-free guidance makes it: uncond rows, cond rows."""

    latent: Tensor
    context: Tensor
    added: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        model: Model,
        size: tuple[int, int],
        *,
        device: str,
        dtype: torch.dtype,
        pictures: int = 1,
    ) -> Inputs:
        rows = 2 * pictures
        made = torch.Generator().manual_seed(0)

        def noise(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=made).to(device, dtype)

        context = noise(rows, TOKENS, int(model.config["cross_attention_dim"]))
        added = {}
        if "addition_embed_type" in model.config:
            sizes = torch.tensor([[model.pixels, model.pixels, 0, 0, model.pixels, model.pixels]] * rows)
            added = {"text_embeds": noise(rows, 1280), "time_ids": sizes.to(device, dtype)}
        return cls(noise(rows, 4, *size), context, added)

    def call(self, unet: nn.Module, step: int) -> None:
        """The call at a step, from 0, with the timesteps of a run of 20."""
        kwargs = {"added_cond_kwargs": dict(self.added)} if self.added else {}
        unet(self.latent, 981 - 50 * (step % 20), self.context, **kwargs)


class Calls:
    """Says what each call is: the step it comes at, the latent's size, its rows."""

    def __init__(self, size: tuple[int, int], steps: int, *, pictures: int = 1) -> None:
        self._size, self._steps, self._step = size, steps, -1
        self._rows = tuple(Row(at, half) for half in HALVES for at in range(pictures))

    def at(self, step: int) -> None:
        """The next call is at this step, from 0."""
        self._step = step - 1

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        self._step += 1
        return Call(self._step, self._steps, 1.0, self._rows, self._size)
