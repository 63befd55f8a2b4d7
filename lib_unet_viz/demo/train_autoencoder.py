"""Train the bundled model's autoencoder on crops of drawn scenes of shapes and things."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch.nn import functional

from lib_unet_viz.demo import model, worlds
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.demo.scenes import SIZE

if TYPE_CHECKING:
    from pathlib import Path

KL_WEIGHT = 1e-4
LEARNING_RATE = 1e-3
FURTHER_RATE = 5e-4  # where weights that are good already learn new pictures
OBJECTS = 4.0  # how much more a pixel of an object counts
BATCH, CROP = 8, 64  # crops of that many pixels; then as many pixels in whole pictures


def pictures(rng: np.random.Generator, count: int, side: int = SIZE) -> torch.Tensor:
    """Drawn scenes, or crops around what they show (4 a scene), float32 (image, channel, y, x) in [-1, 1]; a
    fourth channel is 1 where something is."""
    crops: list[np.ndarray] = []
    while len(crops) < count:
        drawn = worlds.example(rng)
        objects = np.asarray(drawn.foreground, dtype=np.uint8)[..., None] * np.uint8(255)
        whole = np.concatenate([drawn.picture, objects], axis=2)
        inside = np.argwhere(drawn.foreground)
        for _ in range(1 if side == SIZE else 4):
            center = inside[rng.integers(len(inside))] + rng.normal(0, side / 4, 2)
            y, x = np.clip(center - side / 2, 0, SIZE - side).astype(int)
            crops.append(whole[y : y + side, x : x + side])
    return torch.from_numpy(np.stack(crops[:count])).permute(0, 3, 1, 2).float() / 127.5 - 1


def train(
    folder: Path,
    *,
    minutes: float,
    device: str,
    seed: int = 1,
    bundled: bool = False,
    decoder: bool = False,
    bfloat16: bool = False,
) -> None:
    """Train for the given time, or go on from `folder`; the second half sees whole pictures.

    bundled: where `folder` has no state yet, start from the weights that the package carries; decoder: leave
    the encoder, and with it the latents, as they are.
    """
    torch.manual_seed(seed)
    vae = (bundled_autoencoder() if bundled else model.new_autoencoder()).to(device)
    if decoder:
        vae.encoder.requires_grad_(False)
        vae.quant_conv.requires_grad_(False)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=LEARNING_RATE, weight_decay=1e-4, betas=(0.9, 0.99))
    state = Checkpoint(folder / "autoencoder.pt", {"vae": vae, "optimizer": optimizer})
    spent = state.load()
    rng = np.random.default_rng((seed, state.step))
    start = time.monotonic() - spent
    while (done := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = (
                (FURTHER_RATE if bundled or decoder else LEARNING_RATE)
                * min(1, state.step / 100 + 0.01)
                * (1 - done) ** 0.5
            )
        is_whole = done > 0.5
        batch = pictures(
            rng, BATCH * CROP**2 // SIZE**2 if is_whole else BATCH, SIZE if is_whole else CROP
        ).to(device)
        real, weight = batch[:, :3], 1 + OBJECTS * (batch[:, 3:] + 1) / 2
        with torch.autocast(device, torch.bfloat16, enabled=bfloat16):
            latent = vae.encode(real).latent_dist
            fake = vae.decode(latent.sample()).sample
        fake = fake.float()
        loss = (weight * ((fake - real).abs() + (fake - real) ** 2)).mean() / weight.mean()
        loss = loss + edges(fake, real) + KL_WEIGHT * latent.kl().mean() / latent.mean[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        optimizer.step()
        state.advance(loss=loss.item(), latent_std=latent.mean.std().item(), seconds=time.monotonic() - start)
    state.save()


def bundled_autoencoder() -> AutoencoderKL:
    """The one that the package carries, in full precision."""
    return AutoencoderKL.from_pretrained(model.FOLDER, subfolder="vae").float()


def edges(fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """Mean absolute error of the horizontal and vertical differences: keeps edges sharp."""
    return functional.l1_loss(fake.diff(dim=-1), real.diff(dim=-1)) + functional.l1_loss(
        fake.diff(dim=-2), real.diff(dim=-2)
    )
