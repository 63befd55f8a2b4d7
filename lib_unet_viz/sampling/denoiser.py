"""A U-Net as a predictor of noise, whatever the host: what it is told of texts, its steps, guidance.

Who runs the U-Net itself in this way, and not through a host's own sampling, tells hooks of the present call
by `Present`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Call, Row
from lib_unet_viz.sampling.schedule import sigma_of
from lib_unet_viz.unet import UNet

Place = tuple[int, int]  # a sampling step from 0, and how many there are


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a U-Net is told of texts, a row each.

    context: (row, token, channel), for cross-attention. vector: (row, channel), what SDXL adds to the time
    embedding; None in other models.
    """

    context: Tensor
    vector: Tensor | None = None

    def __len__(self) -> int:
        return len(self.context)

    def __getitem__(self, rows: slice) -> Conditions:
        return Conditions(self.context[rows], None if self.vector is None else self.vector[rows])


def joined(parts: Sequence[Conditions]) -> Conditions:
    """All rows, one after the other. Raises ValueError where contexts differ in their number of tokens."""
    lengths = sorted({part.context.shape[1] for part in parts})
    if len(lengths) > 1:
        raise ValueError(
            f"the prompts' contexts have {' and '.join(map(str, lengths))} tokens; to be sampled in one "
            "batch they must have equally many"
        )
    vectors = [part.vector for part in parts if part.vector is not None]
    return Conditions(torch.cat([part.context for part in parts]), torch.cat(vectors) if vectors else None)


class Denoiser(Protocol):
    """A U-Net that predicts noise, as a host gives it."""

    alphas_cumprod: Tensor  # alpha_bar of every timestep that the model was trained with; 0: the least noise
    differentiable: bool  # whether gradients flow through it, which null-text inversion needs

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: Place | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x); see `noise_of` for what else U-Nets predict.

        place: None for a call that is no step of a sampling: hooks are to leave it alone.
        """


class Model(Denoiser, Protocol):
    """A denoiser with the text encoders and the autoencoder it belongs to, as each host has one."""

    unet: UNet
    calls: Present  # what the U-Net's present call is, for hooks

    def conditions(self, prompts: Sequence[str], negative: str = "") -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row with as many tokens."""

    def encode(self, picture: Image.Image) -> Tensor:
        """The autoencoder's mean latent (image, channel, y, x), one image, scaled as the U-Net wants it."""

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents (image, channel, y, x)."""


class Present:
    """Says what the present call of a U-Net is (`capture.Calls`), for a host that calls the U-Net itself."""

    def __init__(self) -> None:
        self._call: Call | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        return self._call

    @contextmanager
    def during(
        self, place: Place | None, rows: tuple[Row, ...], *, latents: Tensor, kept: float
    ) -> Iterator[None]:
        """Around a call on latents (row, channel, y, x) of alpha_bar `kept`; place as in `Denoiser`."""
        if place is not None:
            size = (int(latents.shape[-2]), int(latents.shape[-1]))
            self._call = Call(*place, sigma=sigma_of(kept), rows=rows, size=size)
        try:
            yield
        finally:
            self._call = None


def timesteps(trained: int, steps: int) -> tuple[int, ...]:
    """DDIM's timesteps for so many steps, ascending: "leading" spacing and an offset of 1, as Stable
    Diffusion's (diffusers, scheduling_ddim.py, set_timesteps). The last step ends at timestep 0
    (set_alpha_to_one=False).

    Raises ValueError unless 1 <= steps < trained, the number of timesteps that the model was trained with.
    """
    if not 1 <= steps < trained:
        raise ValueError(f"{steps} steps cannot be made; allowed: 1 to {trained - 1}")
    return tuple(range(1, steps * (trained // steps) + 1, trained // steps))


def noise_of(output: Tensor, latents: Tensor, *, kept: float, prediction: str) -> Tensor:
    """The noise that a U-Net's output (row, channel, y, x) stands for, float32; kept: alpha_bar.

    prediction: epsilon, v_prediction (Salimans & Ho 2022) or sample, as diffusers calls them. Raises
    ValueError for any other.
    """
    output, latents = output.float(), latents.float()
    signal, deviation = sqrt(kept), sqrt(1 - kept)
    noise = {
        "epsilon": output,
        "v_prediction": signal * output + deviation * latents,
        "sample": (latents - signal * output) / deviation,
    }
    if prediction in noise:
        return noise[prediction]
    raise ValueError(
        f"the model predicts {prediction!r}, from which its noise cannot be told; known: " + ", ".join(noise)
    )


@dataclass(frozen=True)
class Leg:
    """A step of DDIM without new noise (Song et al. 2021, equation 12, sigma = 0), of latents of any shape:
    at a timestep, from the alpha_bar `before` to `after`.
    """

    timestep: int
    before: float
    after: float

    def take(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Towards the picture."""
        return _moved(latents, noise, self.before, self.after)

    def back(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Towards the noise."""
        return _moved(latents, noise, self.after, self.before)


def legs(denoiser: Denoiser, times: Sequence[int]) -> list[Leg]:
    """The legs of sampling, most noise first, of ascending timesteps; the last ends at timestep 0."""
    kept = [float(denoiser.alphas_cumprod[time]) for time in (0, *times)]
    return [Leg(times[at], kept[at + 1], kept[at]) for at in reversed(range(len(times)))]


def guided(
    denoiser: Denoiser,
    latents: Tensor,
    timestep: int,
    *,
    conditions: Conditions,
    uncond: Conditions,
    cfg: float,
    place: Place,
) -> Tensor:
    """The noise of latents (picture, channel, y, x) with classifier-free guidance, from one call.

    conditions: a row per picture. uncond: one row. Unconditional rows come first; with a `cfg` of 1 there are
    none.
    """
    pictures = range(len(latents))
    wanted_rows = tuple(Row(picture, "cond") for picture in pictures)
    if cfg == 1:
        return denoiser(latents, timestep, conditions, wanted_rows, place)
    rows = tuple(Row(picture, "uncond") for picture in pictures) + wanted_rows
    both = joined([*[uncond] * len(latents), conditions])
    free, wanted = denoiser(latents.repeat(2, 1, 1, 1), timestep, both, rows, place).chunk(2)
    return free + cfg * (wanted - free)


def _moved(latents: Tensor, noise: Tensor, before: float, after: float) -> Tensor:
    clean = (latents - sqrt(1 - before) * noise) / sqrt(before)
    return sqrt(after) * clean + sqrt(1 - after) * noise
