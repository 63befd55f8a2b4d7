"""Drawn scenes encoded once, so that training the U-Net need not run the autoencoder."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from lib_unet_viz.demo import worlds
from lib_unet_viz.demo.things.scenes import ACTIONS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from diffusers import AutoencoderKL
    from numpy.typing import NDArray

CHUNK = 32  # scenes encoded at once
FACTOR = 8  # pixels of a latent position's side
SHARD, NAME = 1024, "latents-{}.safetensors"  # scenes of a file


@dataclass(frozen=True)
class Dataset:
    """Latents float32 (scene, channel, y, x), not yet scaled; foreground (scene, 1, y, x) in [0, 1]; the noun
    that fills most of each latent position, its number in NOUNS, uint8 (scene, y, x); several captions of
    each scene."""

    latents: torch.Tensor
    foreground: torch.Tensor
    nouns: torch.Tensor
    captions: tuple[tuple[str, ...], ...]

    @cached_property
    def scaling_factor(self) -> float:
        """What brings the latents to a standard deviation of 1, as Stable Diffusion's 0.18215 does."""
        return 1 / self.latents[:SHARD].std().item()

    @cached_property
    def attached(self) -> NDArray[np.int64]:
        """The numbers of the scenes in which one thing wears, eats or holds another (scene)."""
        said = (any(f"{action} " in text for text in texts for action in ACTIONS) for texts in self.captions)
        return np.flatnonzero(np.fromiter(said, dtype=bool))


@torch.no_grad()
def encode(
    vae: AutoencoderKL,
    folder: Path,
    *,
    count: int,
    device: str,
    progress: Callable[[float], None] = lambda done: None,
) -> None:
    """Draw `count` scenes, encode them and write them to files of SHARD each; those that exist are kept.

    Each file is drawn from its own seed, so that this goes on where it stopped.
    """
    shards = math.ceil(count / SHARD)
    for number in range(shards):
        path = folder / NAME.format(f"{number:03}")
        if not path.exists():
            _write(vae, path, seed=number, count=min(SHARD, count - number * SHARD), device=device)
        progress((number + 1) / shards)


def _write(vae: AutoencoderKL, path: Path, *, seed: int, count: int, device: str) -> None:
    rng = np.random.default_rng((2, seed))
    latents, foreground, nouns, captions = [], [], [], []
    for start in range(0, count, CHUNK):
        drawn = [worlds.example(rng) for _ in range(min(CHUNK, count - start))]
        pictures = torch.from_numpy(np.stack([each.picture for each in drawn])).to(device)
        pictures = pictures.permute(0, 3, 1, 2).float() / 127.5 - 1
        latents.append(vae.encode(pictures).latent_dist.mean.half().cpu())
        masks = torch.from_numpy(np.stack([each.foreground for each in drawn]))[:, None].float()
        foreground.append(torch.nn.functional.avg_pool2d(masks, FACTOR).half())
        nouns.append(torch.from_numpy(np.stack([_most(each.nouns) for each in drawn])))
        captions += [each.captions for each in drawn]
    temporary = path.with_suffix(".tmp")
    save_file(
        {
            "latents": torch.cat(latents).contiguous(),
            "foreground": torch.cat(foreground),
            "nouns": torch.cat(nouns),
        },
        temporary,
        {"captions": json.dumps(captions)},
    )
    temporary.replace(path)


def _most(nouns: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The number that fills most of each latent position (y, x), of numbers by pixel (y, x)."""
    side = nouns.shape[0] // FACTOR
    blocks = nouns.reshape(side, FACTOR, side, FACTOR)
    numbers = np.unique(nouns)
    counts = np.stack([(blocks == number).sum((1, 3)) for number in numbers])
    return np.asarray(numbers[counts.argmax(0)])


def load(folder: Path) -> Dataset:
    """Read all that `encode` wrote so far. Raises ValueError where there is nothing."""
    paths = sorted(folder.glob(NAME.format("*")))
    if not paths:
        raise ValueError(
            f"{folder} holds no encoded scenes ({NAME.format('*')}): run the stage latents first"
        )
    latents, foreground, nouns = [], [], []
    captions: list[tuple[str, ...]] = []
    for path in paths:
        with safe_open(path, "pt") as file:
            captions += map(tuple, json.loads(file.metadata()["captions"]))
            latents.append(file.get_tensor("latents").float())
            foreground.append(file.get_tensor("foreground").float())
            nouns.append(file.get_tensor("nouns"))
    return Dataset(torch.cat(latents), torch.cat(foreground), torch.cat(nouns), tuple(captions))
