"""How much of a picture, and how much noise, is left at each timestep of a diffusion model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

Number = TypeVar("Number", float, Tensor)


def sigma_of(alpha_bar: Number) -> Number:
    """sqrt((1 - alpha_bar) / alpha_bar): the noise's standard deviation relative to the picture's.

    Raises ZeroDivisionError for a number 0, where no picture is left.
    """
    sigma: Number = ((1 - alpha_bar) / alpha_bar) ** 0.5
    return sigma


@dataclass(frozen=True, eq=False)
class Schedule:
    """alphas_cumprod: alpha_bar of every timestep that the model was trained with; 0: the least noise."""

    alphas_cumprod: Tensor

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def alpha_bar(self, timestep: int) -> float:
        return float(self.alphas_cumprod[timestep])

    def sigma(self, timestep: int) -> float:
        """As of `sigma_of`."""
        return sigma_of(self.alpha_bar(timestep))

    def add_noise(self, latent: Tensor, *, timestep: int, seed: int) -> Tensor:
        """sqrt(alpha_bar) latent + sqrt(1 - alpha_bar) noise (Ho et al. 2020, equation 4), of any shape.

        The noise is drawn on the CPU, so that a seed gives the same on every device.
        """
        kept = self.alphas_cumprod[timestep].to(latent)
        noise = torch.randn(latent.shape, generator=torch.Generator("cpu").manual_seed(seed)).to(latent)
        noised: Tensor = kept.sqrt() * latent + (1 - kept).sqrt() * noise
        return noised
