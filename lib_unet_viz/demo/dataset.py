"""Drawn scenes encoded once, so that training the U-Net need not run the autoencoder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lib_unet_viz.demo import worlds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from diffusers import AutoencoderKL

CHUNK = 32


@dataclass(frozen=True)
class Dataset:
    """Latents float32 (scene, channel, y, x), not yet scaled; foreground (scene, 1, y, x) in [0, 1]; several
    captions of each scene."""

    latents: torch.Tensor
    foreground: torch.Tensor
    captions: tuple[tuple[str, ...], ...]

    @cached_property
    def scaling_factor(self) -> float:
        """What brings the latents to a standard deviation of 1, as Stable Diffusion's 0.18215 does."""
        return 1 / self.latents[:4096].std().item()


@torch.no_grad()
def encode(
    vae: AutoencoderKL,
    path: Path,
    *,
    count: int,
    device: str,
    seed: int = 2,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """Draw `count` scenes, encode them and write them to `path`."""
    rng = np.random.default_rng(seed)
    latents, foreground, captions = [], [], []
    for start in range(0, count, CHUNK):
        drawn = [worlds.example(rng) for _ in range(CHUNK)]
        pictures = torch.from_numpy(np.stack([each.picture for each in drawn])).to(device)
        pictures = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        latents.append(vae.encode(pictures).latent_dist.mean.half().cpu())
        masks = torch.from_numpy(np.stack([each.foreground for each in drawn]))[:, None].float()
        foreground.append(torch.nn.functional.avg_pool2d(masks, 8).half())
        captions += [each.captions for each in drawn]
        progress((start + CHUNK) / count)
    temporary = path.with_suffix(".tmp")
    save_file(
        {"latents": torch.cat(latents).contiguous(), "foreground": torch.cat(foreground).contiguous()},
        temporary,
        {"captions": json.dumps(captions)},
    )
    temporary.replace(path)


def load(path: Path) -> Dataset:
    """Read what `encode` wrote."""
    with safe_open(path, "pt") as file:
        captions = tuple(map(tuple, json.loads(file.metadata()["captions"])))
        latents, foreground = (file.get_tensor(name).float() for name in ("latents", "foreground"))
    return Dataset(latents, foreground, captions)
