"""Small real models, made from nothing: random weights, Stable Diffusion's own topology, seconds to run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lib_unet_viz.notation.tokens import BOS, BYTES, END_OF_WORD, EOS

CONTEXT = 128
WEBUIS = ("SD_WEBUI_URL", "SD_WEBUI_DIR", "FORGE_URL", "FORGE_DIR")
# More than a thousand tests that only a webui can answer: without one they are not even collected.
collect_ignore = [] if any(map(os.environ.get, WEBUIS)) else ["webui"]
MERGES = ["r e", "re d</w>", "c i", "ci r", "cir c", "l e</w>", "circ le</w>"]


def pytest_report_header() -> list[str]:
    """Says so where tests are left out."""
    return [f"tests/webui is left out: none of {', '.join(WEBUIS)} is set"] if collect_ignore else []


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Random weights everywhere: fresh U-Nets have zeros in their last layers, which would hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        spread = 0.1 if parameter.dim() == 1 else parameter[0].numel() ** -0.5
        start = 1.0 if parameter.dim() == 1 and name.endswith("weight") else 0.0
        parameter.data = start + noise * spread
    return module.eval().requires_grad_(False)


def diffusers_unet(**changes: Any) -> nn.Module:
    """Stable Diffusion 1's topology, ten times narrower; `changes` to its configuration."""
    options: dict[str, Any] = {
        "sample_size": 16,
        "block_out_channels": (32, 64, 128, 128),
        "attention_head_dim": 2,
        "cross_attention_dim": CONTEXT,
        "norm_num_groups": 32,
    }
    return randomise(pytest.importorskip("diffusers").UNet2DConditionModel(**{**options, **changes}))


def sdxl_unet() -> nn.Module:
    """SDXL's topology: three levels, none, two and three transformer layers (SDXL: 0, 2, 10)."""
    return diffusers_unet(
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2, 3),
        attention_head_dim=(1, 2, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=8 * 6 + 64,
    )


def ldm_unet() -> nn.Module:
    """The same topology as `diffusers_unet` in Stable Diffusion's own code."""
    openaimodel = pytest.importorskip("ldm.modules.diffusionmodules.openaimodel")
    return randomise(
        openaimodel.UNetModel(
            image_size=16,
            in_channels=4,
            out_channels=4,
            model_channels=32,
            attention_resolutions=[4, 2, 1],
            num_res_blocks=2,
            channel_mult=[1, 2, 4, 4],
            num_heads=2,
            use_spatial_transformer=True,
            context_dim=CONTEXT,
            legacy=False,
        )
    )


@pytest.fixture(scope="session", name="diffusers_unet")
def _diffusers_unet() -> nn.Module:
    return diffusers_unet()


@pytest.fixture(scope="session", name="ldm_unet")
def _ldm_unet() -> nn.Module:
    return ldm_unet()


@pytest.fixture(scope="session", params=["ldm", "diffusers"])
def any_unet(request: pytest.FixtureRequest) -> nn.Module:
    module: nn.Module = request.getfixturevalue(f"{request.param}_unet")
    return module


def tokenizer(folder: Path, pad: str = EOS) -> Any:
    """A CLIP tokenizer that spells all but two words letter by letter."""
    letters = list(BYTES)
    pieces = [*letters, *(letter + END_OF_WORD for letter in letters)]
    pieces += [merge.replace(" ", "") for merge in MERGES]
    vocabulary = {piece: index for index, piece in enumerate([*pieces, BOS, EOS])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *MERGES, ""]), encoding="utf-8")
    return pytest.importorskip("transformers").CLIPTokenizer.from_pretrained(
        folder, pad_token=pad, model_max_length=77
    )


def text_encoder(width: int, *, projected: bool = False, **changes: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    size = len(BYTES) * 2 + len(MERGES) + 2
    config = transformers.CLIPTextConfig(
        vocab_size=size,
        hidden_size=width,
        intermediate_size=width * 2,
        projection_dim=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
        **changes,
    )
    kind = transformers.CLIPTextModelWithProjection if projected else transformers.CLIPTextModel
    return randomise(kind(config))


def autoencoder() -> Any:
    return randomise(
        pytest.importorskip("diffusers").AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(16, 16, 16, 16),
            norm_num_groups=8,
            latent_channels=4,
            sample_size=128,
        )
    )


@pytest.fixture(scope="session")
def tiny_pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A StableDiffusionPipeline with random weights: 25 blocks, 128 pixels, 77 tokens."""
    diffusers = pytest.importorskip("diffusers")
    pipe = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(CONTEXT),
        tokenizer=tokenizer(tmp_path_factory.mktemp("tokenizer")),
        unet=diffusers_unet(),
        scheduler=diffusers.DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="session")
def tiny_xl_pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A StableDiffusionXLPipeline with random weights: 19 blocks, two text encoders of 64 channels."""
    diffusers = pytest.importorskip("diffusers")
    folder = tmp_path_factory.mktemp("tokenizers")
    pipe = diffusers.StableDiffusionXLPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(64),
        text_encoder_2=text_encoder(64, projected=True),
        tokenizer=tokenizer(folder / "one"),
        tokenizer_2=tokenizer(folder / "two", pad="!"),
        unet=sdxl_unet(),
        scheduler=diffusers.EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
