"""The bundled model's parts and sizes, and the folder they are kept in (diffusers' layout).

U-Net: Stable Diffusion 1's topology (12 input blocks, a middle block, 12 output blocks, cross-attention where
SD 1 has it) at a tenth of its width. Autoencoder: factor 8, 4 channels. Text: a CLIP text transformer.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = Path(__file__).parent / "model"
CONTEXT_WIDTH = 128
TOKENS = 77
LATENT = 16  # sides of a latent, for pictures of 128 pixels

SCHEDULE: dict[str, Any] = {  # Stable Diffusion 1's own
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def new_unet() -> UNet2DConditionModel:
    """An untrained U-Net, 8.8 M parameters. `attention_head_dim` is diffusers' historical name for heads."""
    return UNet2DConditionModel(
        sample_size=LATENT,
        layers_per_block=2,
        block_out_channels=(32, 64, 128, 128),
        attention_head_dim=2,
        cross_attention_dim=CONTEXT_WIDTH,
    )


def new_autoencoder() -> AutoencoderKL:
    """An untrained KL-autoencoder of factor 8; its encoder has residual blocks in the middle only: speed."""
    vae = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(64,) * 4,
        layers_per_block=0,
        latent_channels=4,
        sample_size=LATENT * 8,
    )
    with torch.no_grad():
        _pass_colors_on(vae)
    return vae


def _pass_colors_on(vae: AutoencoderKL) -> None:
    """Start as a blurring pass-through, which trains several times as fast as the usual start.

    Two channels share a GroupNorm group, which would leave of a plain colour only its sign: offsets of
    opposite sign fix the group's deviation. Samplers start as averaging and copying,
    residual branches as nothing, and the latent's noise as so little that it does not drown the signal.
    """
    width = vae.config.block_out_channels[0]
    offsets = torch.tensor([1.5, -1.5]).repeat(width // 2)
    for name, weight in vae.named_parameters():
        if "samplers" in name and name.endswith("conv.weight"):
            weight.mul_(0.1)
            if "downsamplers" in name:
                weight += torch.eye(width)[:, :, None, None] / 9
            else:
                weight[:, :, 1, 1] += torch.eye(width)
        elif "samplers" in name or re.search(r"(conv2|to_out\.0)\.", name):
            weight.zero_()
        elif name.endswith("conv_in.bias"):
            weight.copy_(offsets)
        elif name.endswith(("conv_in.weight", "conv_out.weight")):
            weight.mul_(3**0.5)
    vae.quant_conv.bias[4:] = -6.0


def new_text_encoder(vocabulary: int) -> CLIPTextModel:
    """An untrained CLIP text transformer; the last two tokens of the vocabulary are BOS and EOS."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=CONTEXT_WIDTH,
            intermediate_size=4 * CONTEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=TOKENS,
            projection_dim=CONTEXT_WIDTH,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1's noise schedule."""
    return DDIMScheduler(**SCHEDULE)
