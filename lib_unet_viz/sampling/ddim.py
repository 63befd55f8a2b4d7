"""Deterministic sampling without a host's sampler (DDIM), step by step, in both directions; and guidance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from torch import Tensor

from lib_unet_viz.capture.request import Row
from lib_unet_viz.sampling.model import Conditions, Denoiser, SamplingStep, joined


def timesteps(trained: int, steps: int) -> tuple[int, ...]:
    """DDIM's timesteps for so many steps, ascending: "leading" spacing and an offset of 1, as Stable
    Diffusion's (diffusers, scheduling_ddim.py, set_timesteps). The last step ends at timestep 0
    (set_alpha_to_one=False).

    Raises ValueError unless 1 <= steps < trained, the number of timesteps that the model was trained with.
    """
    if not 1 <= steps < trained:
        raise ValueError(f"{steps} steps cannot be made; allowed: 1 to {trained - 1}")
    return tuple(range(1, steps * (trained // steps) + 1, trained // steps))


def noise_of(output: Tensor, latents: Tensor, *, alpha_bar: float, prediction: str) -> Tensor:
    """The noise that a U-Net's output (row, channel, y, x) stands for, float32.

    prediction: epsilon, v_prediction (Salimans & Ho 2022) or sample, as diffusers calls them. Raises
    ValueError for any other.
    """
    output, latents = output.float(), latents.float()
    signal, deviation = sqrt(alpha_bar), sqrt(1 - alpha_bar)
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
class DDIMStep:
    """A step of DDIM without new noise (Song et al. 2021, equation 12, sigma = 0), of latents of any shape:
    at a timestep, from the alpha_bar `before` to `after`.
    """

    timestep: int
    before: float
    after: float

    def denoise(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Towards the picture."""
        return _moved(latents, noise, self.before, self.after)

    def invert(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Towards the noise."""
        return _moved(latents, noise, self.after, self.before)


def ddim_steps(denoiser: Denoiser, times: Sequence[int]) -> list[DDIMStep]:
    """The steps of sampling, most noise first, of ascending timesteps; the last ends at timestep 0."""
    alpha_bar = [denoiser.schedule.alpha_bar(time) for time in (0, *times)]
    return [DDIMStep(times[at], alpha_bar[at + 1], alpha_bar[at]) for at in reversed(range(len(times)))]


def guided(
    denoiser: Denoiser,
    latents: Tensor,
    timestep: int,
    *,
    conditions: Conditions,
    uncond: Conditions,
    cfg: float,
    place: SamplingStep,
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
