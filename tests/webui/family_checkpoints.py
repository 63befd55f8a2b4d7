"""Run by a webui's Python: small random checkpoints of other families.

`family_checkpoints.py WEBUI CHECKPOINT`

Each is made by the webui's own configuration with smaller numbers, which is saved as its `.yaml`, beside the
exported checkpoint, whose text encoder some read. Nothing is downloaded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import open_clip
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

WEBUI, CHECKPOINT = Path(sys.argv[1]), Path(sys.argv[2])
REPOSITORIES = WEBUI / "repositories"
LDM = REPOSITORIES / "stable-diffusion-stability-ai"
SGM = REPOSITORIES / "generative-models"
CLIP, OPEN_CLIP = 128, 256  # channels of the bundled text encoder, and of the smallest that open_clip knows
ARCH = {"arch": "ViT-S-32-alt", "version": None}
SIZES = 1536  # channels of the six numbers that SDXL is told beside the prompt; its refiner is told five
SMALL = {"model_channels": 32, "num_head_channels": 16, "use_checkpoint": False}
SMALL_XL = {**SMALL, "spatial_transformer_attn_type": "softmax"}
# A half-precision autoencoder takes seconds on a CPU, so it is as small as it can be.
AUTOENCODER = {"ch": 32, "ch_mult": [1, 1, 1, 1], "num_res_blocks": 0, "attn_type": "vanilla"}
# What stands for MiDaS, which is a download: brightness is depth.
DEPTH = {
    "target": "torch.nn.Conv2d",
    "params": {"in_channels": 3, "out_channels": 1, "kernel_size": 16, "stride": 16},
}
Weights = dict[str, torch.Tensor]


def main() -> None:
    sys.path[:0] = [str(LDM), str(SGM)]
    for seed, (name, (config, weights)) in enumerate(families().items()):
        torch.manual_seed(seed)
        found = {key: value.half().contiguous() for key, value in weights(config.model.params)}
        save_file(found, CHECKPOINT.with_name(f"{name}.safetensors"))
        OmegaConf.save(config, CHECKPOINT.with_name(f"{name}.yaml"))


def families() -> dict[str, tuple[Any, Any]]:
    """Name to configuration, and what makes its weights from that."""
    v2, xl = LDM / "configs/stable-diffusion", SGM / "configs/inference"
    base = {
        "transformer_depth": [1, 2, 3],
        "context_dim": CLIP + OPEN_CLIP,
        "adm_in_channels": OPEN_CLIP + SIZES,
    }
    refiner = {
        "transformer_depth": 2,
        "context_dim": [OPEN_CLIP] * 4,
        "adm_in_channels": OPEN_CLIP + SIZES - 256,
        "channel_mult": [1, 2, 2, 2],
    }
    pix2pix = {"model_channels": 32, "num_heads": 2, "context_dim": CLIP, "channel_mult": [1, 2, 4, 4]}
    depth = _second(v2 / "v2-midas-inference.yaml")
    depth.model.params.depth_stage_config = DEPTH
    return {
        "unet-viz-sd2": (_second(v2 / "v2-inference-v.yaml"), second_weights),
        "unet-viz-sdxl": (_xl(xl / "sd_xl_base.yaml", base), xl_weights),
        "unet-viz-refiner": (_xl(xl / "sd_xl_refiner.yaml", refiner), xl_weights),
        "unet-viz-sdxl-inpainting": (_xl(WEBUI / "configs/sd_xl_inpaint.yaml", base), xl_weights),
        "unet-viz-depth": (depth, second_weights),
        "unet-viz-pix2pix": (_first(WEBUI / "configs/instruct-pix2pix.yaml", pix2pix), first_weights),
    }


def _bundled() -> Any:
    return OmegaConf.load(CHECKPOINT.with_suffix(".yaml")).model.params


def _with_autoencoder(path: Path) -> Any:
    config = OmegaConf.load(path)
    config.model.params.first_stage_config.params.ddconfig.update(AUTOENCODER)
    return config


def _first(path: Path, unet: Mapping[str, Any]) -> Any:
    """Of a configuration like Stable Diffusion 1's."""
    config = _with_autoencoder(path)
    config.model.params.unet_config.params.update(unet)
    config.model.params.cond_stage_config = _bundled().cond_stage_config
    config.model.params.pop("scheduler_config", None)
    return config


def _second(path: Path) -> Any:
    """Of a configuration like Stable Diffusion 2's."""
    config = _with_autoencoder(path)
    config.model.params.unet_config.params.update({**SMALL, "context_dim": OPEN_CLIP, "use_fp16": False})
    config.model.params.cond_stage_config.params.update({**ARCH, "layer": "penultimate"})
    return config


def _xl(path: Path, unet: Mapping[str, Any]) -> Any:
    """Of a configuration like SDXL's."""
    config = _with_autoencoder(path)
    config.model.params.network_config.params.update({**SMALL_XL, **unet})
    for embedder in config.model.params.conditioner_config.params.emb_models:
        if "arch" in embedder.params:
            embedder.params.update(ARCH)
        elif "layer_idx" in embedder.params:
            embedder.params.update(version=_bundled().cond_stage_config.params.version, layer_idx=1)
    return config


def first_weights(params: Any) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _unet(params.unet_config)
    yield from _autoencoder(params.first_stage_config)
    yield from _of_bundled("cond_stage_model.")


def second_weights(params: Any) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _unet(params.unet_config)
    yield from _autoencoder(params.first_stage_config)
    yield from _open_clip("cond_stage_model.model.")
    if "depth_stage_config" in params:
        yield "depth_model.weight", torch.full((1, 3, 16, 16), 1 / 768)
        yield "depth_model.bias", torch.zeros(1)


def xl_weights(params: Any) -> Iterator[tuple[str, torch.Tensor]]:
    yield from _unet(params.network_config)
    yield from _autoencoder(params.first_stage_config)
    for index, embedder in enumerate(params.conditioner_config.params.emb_models):
        if "arch" in embedder.params:
            yield from _open_clip(f"conditioner.embedders.{index}.model.")
        elif "layer_idx" in embedder.params:
            yield from _of_bundled("cond_stage_model.", f"conditioner.embedders.{index}.")


def _of_bundled(prefix: str, instead: str | None = None) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in load_file(CHECKPOINT).items():
        if name.startswith(prefix):
            yield (instead or prefix) + name.removeprefix(prefix), value


def _unet(config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    if config.target.startswith("sgm"):
        from sgm.modules.diffusionmodules.openaimodel import UNetModel
    else:
        from ldm.modules.diffusionmodules.openaimodel import UNetModel
    for name, value in UNetModel(**_plain(config)).state_dict().items():
        yield f"model.diffusion_model.{name}", _random(value)


def _plain(config: Any) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(config.params)
    return dict(found)


def _autoencoder(config: Any) -> Iterator[tuple[str, torch.Tensor]]:
    from ldm.models.autoencoder import AutoencoderKL

    module = AutoencoderKL(**_plain(config))
    torch.nn.init.constant_(module.quant_conv.bias[4:], -20)  # as sure of each latent as a trained one
    torch.nn.init.zeros_(module.quant_conv.weight[4:])
    for name, value in module.state_dict().items():
        yield f"first_stage_model.{name}", value


def _open_clip(prefix: str) -> Iterator[tuple[str, torch.Tensor]]:
    for name, value in open_clip.create_model(ARCH["arch"]).state_dict().items():
        if not name.startswith("visual.") and name != "attn_mask":
            yield prefix + name, _random(value)


def _random(value: torch.Tensor) -> torch.Tensor:
    """Weights that begin as zeros would hide mistakes; a mean of zero is divided by (sd_emphasis.py)."""
    if value.any():
        return value
    return torch.randn_like(value) * (0.1 if value.dim() == 1 else value[0].numel() ** -0.5)


if __name__ == "__main__":
    main()
