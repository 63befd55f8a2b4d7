"""Run by a webui's Python: a checkpoint of true shapes, by which Forge knows it, and random numbers.

`true_shapes.py WEBUI sd15|sdxl FILE`. Written piece by piece: it is never in memory as a whole (SDXL: 7 GB).
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import open_clip
import torch
from omegaconf import OmegaConf
from transformers import CLIPTextConfig, CLIPTextModel

WEBUI, FAMILY, FILE = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
LDM, SGM = (WEBUI / "repositories" / name for name in ("stable-diffusion-stability-ai", "generative-models"))
CLIP_L: dict[str, Any] = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 12,
    "projection_dim": 768,
}
Named = Iterator[tuple[str, torch.Tensor]]


def main() -> None:
    sys.path[:0] = [str(LDM), str(SGM)]
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in {"sd15": sd15, "sdxl": sdxl}[FAMILY]()}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(torch.Size(shape).numel())
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    torch.manual_seed(0)
    with FILE.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            file.write(numbers(name, shape).half().numpy().tobytes())


def numbers(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """As at the beginning of a training: norms pass on what they get, the rest keeps the variance."""
    if len(shape) > 1:
        scale = 0.02 if "embedding" in name else torch.Size(shape[1:]).numel() ** -0.5
        return scale * torch.randn(shape)
    return (1.0 if name.endswith("weight") else 0.0) + 0.02 * torch.randn(shape)


def sd15() -> Named:
    from ldm.modules.diffusionmodules.openaimodel import UNetModel

    params = OmegaConf.load(WEBUI / "configs/v1-inference.yaml").model.params
    yield from prefixed("model.diffusion_model.", UNetModel(**plain(params.unet_config)))
    yield from autoencoder(params.first_stage_config)
    yield from clip("cond_stage_model.")


def sdxl() -> Named:
    from sgm.modules.diffusionmodules.openaimodel import UNetModel

    params = OmegaConf.load(SGM / "configs/inference/sd_xl_base.yaml").model.params
    plainer = {**plain(params.network_config), "spatial_transformer_attn_type": "softmax"}
    yield from prefixed("model.diffusion_model.", UNetModel(**plainer))
    yield from autoencoder(params.first_stage_config)
    yield from clip("conditioner.embedders.0.")
    big = open_clip.model.CLIP(**open_clip.get_model_config("ViT-bigG-14"))
    for name, value in prefixed("conditioner.embedders.1.model.", big):
        if ".visual." not in name and not name.endswith("attn_mask"):
            yield name, value


def plain(config: Any) -> dict[str, Any]:
    found: Any = OmegaConf.to_container(config.params)
    return dict(found)


def prefixed(prefix: str, module: torch.nn.Module) -> Named:
    for name, value in module.state_dict().items():
        yield prefix + name, value


def autoencoder(config: Any) -> Named:
    from ldm.models.autoencoder import AutoencoderKL

    options = plain(config)
    options["ddconfig"] |= {"attn_type": "vanilla"}
    yield from prefixed("first_stage_model.", AutoencoderKL(**options))


def clip(prefix: str) -> Named:
    yield from prefixed(f"{prefix}transformer.", CLIPTextModel(CLIPTextConfig(**CLIP_L)))


if __name__ == "__main__":
    main()
