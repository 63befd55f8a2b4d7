"""Inversion: the way from a real picture back to noise, and sampling from there, so that it can be edited.

    conditions, uncond = model.conditions(["a cat", "a dog"])
    trajectory = invert(model, model.encode(picture), conditions[:1], steps=50)
    latents = sample(model, trajectory, conditions, uncond, method="direct", cfg=7.5)
    source, target = model.decode(latents)

Edits and recordings act by hooks that the caller holds around `sample`; `Present` tells them of its calls.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Row
from lib_unet_viz.sampling.ddim import DDIMStep, ddim_steps, guided, timesteps
from lib_unet_viz.sampling.model import Conditions, Denoiser, Model, joined

Inversion = Literal["direct", "negative", "null-text", "ddim"]
INVERSIONS: tuple[Inversion, ...] = get_args(Inversion)
AfterStep = Callable[[int, Tensor], Tensor]
Progress = Callable[[int, int], None]

STEPS = 50
CFG = 7.5
# Null-text inversion's own settings (google/prompt-to-prompt, null_text_w_ptp.ipynb, null_optimization).
INNER_STEPS = 10
RATE = 1e-2
GOOD_ENOUGH = (1e-5, 2e-5)  # mean squared error of a step's latent: of the first step; more with each


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A picture's way to noise: z*_0 ... z*_T of Mokady et al. (2023).

    latents: (step + 1, channel, y, x), float32; the first is the picture's own. timesteps: those of all but
    the first, ascending.
    """

    latents: Tensor
    timesteps: tuple[int, ...]

    @property
    def steps(self) -> int:
        return len(self.timesteps)

    def down(self, denoiser: Denoiser) -> Iterator[tuple[DDIMStep, Tensor]]:
        """The legs of sampling, from most noise, each with the latent (channel, y, x) it should reach."""
        yield from zip(ddim_steps(denoiser, self.timesteps), self.latents[:-1].flip(0), strict=True)

    def rmse(self, latent: Tensor) -> float:
        """Root mean square of a sampled latent's (channel, y, x) difference from the picture's own."""
        return float((latent.to(self.latents) - self.latents[0]).square().mean().sqrt())


@torch.no_grad()
def invert(
    denoiser: Denoiser,
    latent: Tensor,
    source: Conditions,
    *,
    steps: int = STEPS,
    progress: Progress | None = None,
) -> Trajectory:
    """DDIM inversion without guidance (Song et al. 2021, section 4.3; Mokady et al. 2023, section 3.2).

    A step backwards takes the noise that is predicted, at its timestep, of the latent it comes from. latent:
    (image, channel, y, x), one image. source: of the prompt that says what the picture shows, one row.
    progress(done, steps) is called after each step; it may raise to stop.

    Raises ValueError for more than one image or prompt and for a number of steps that cannot be.
    """
    if latent.dim() != 4 or len(latent) != 1 or len(source) != 1:
        raise ValueError(
            "one picture with one prompt can be inverted at a time; given: latents of shape "
            f"{tuple(latent.shape)} (image, channel, y, x) and {len(source)} prompts"
        )
    times = timesteps(len(denoiser.schedule), steps)
    latents = [latent.float()]
    for done, ddim_step in enumerate(reversed(ddim_steps(denoiser, times)), 1):
        noise = denoiser(latents[-1], ddim_step.timestep, source, (Row(0, "cond"),), None)
        latents.append(ddim_step.invert(latents[-1], noise))
        if progress is not None:
            progress(done, steps)
    return Trajectory(torch.cat(latents), times)


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    trajectory: Trajectory,
    conditions: Conditions,
    uncond: Conditions,
    *,
    method: Inversion = "direct",
    cfg: float = CFG,
    after_step: AfterStep | None = None,
    progress: Progress | None = None,
) -> Tensor:
    """DDIM from a trajectory's noise, all pictures in one batch: latents (picture, channel, y, x), float32.

    conditions: of the source prompt and then of the targets. uncond: of the negative prompt, one row; or one
    row per step, as `null_text` makes them. With a `cfg` of 1 there are no unconditional rows; otherwise they
    come first. method:
        direct: the source follows the trajectory, whatever is predicted (Ju et al. 2023, PnP Inversion).
        negative: the source prompt is the negative one, too, for all pictures (Miyake et al. 2023).
        null-text: the unconditional context is optimised for the source (Mokady et al. 2023).
        ddim: nothing is done, and with guidance the source is lost.
    after_step(step, latents) gives the latents to go on with, after the source was put right.
    progress(done, total) is called after each step (of null-text's optimisation, too); it may raise to stop.

    Raises ValueError for an unknown method, contexts of several lengths or a wrong number of
    them, and where `null_text` does.
    """
    if method not in INVERSIONS:
        raise ValueError(f"there is no method {method!r}; allowed: {', '.join(INVERSIONS)}")
    if len(uncond) not in (1, trajectory.steps):
        raise ValueError(
            f"{len(uncond)} unconditional contexts; allowed: 1, or {trajectory.steps}, one a step"
        )
    steps, report = trajectory.steps, progress or (lambda done, total: None)
    optimising = method == "null-text" and cfg != 1 and len(uncond) == 1
    ahead = steps if optimising else 0
    if method == "negative":
        uncond = conditions[:1]
    elif optimising:
        note: Progress = lambda done, _: report(done, 2 * steps)  # noqa: E731
        uncond = null_text(denoiser, trajectory, conditions[:1], uncond, cfg=cfg, progress=note)
    latents = trajectory.latents[-1].repeat(len(conditions), 1, 1, 1)
    for step, (ddim_step, wanted) in enumerate(trajectory.down(denoiser)):
        own = uncond[step : step + 1] if len(uncond) > 1 else uncond
        noise = guided(
            denoiser,
            latents,
            ddim_step.timestep,
            conditions=conditions,
            uncond=own,
            cfg=cfg,
            place=(step, steps),
        )
        latents = ddim_step.denoise(latents, noise)
        if method == "direct":
            latents[0] = wanted
        if after_step is not None:
            latents = after_step(step, latents)
        report(ahead + step + 1, ahead + steps)
    return latents


def null_text(
    denoiser: Denoiser,
    trajectory: Trajectory,
    source: Conditions,
    uncond: Conditions,
    *,
    cfg: float = CFG,
    progress: Progress | None = None,
) -> Conditions:
    """An unconditional context for each step, a row each in the order of sampling, that makes guidance with
    the source prompt follow the trajectory (Mokady et al. 2023, algorithm 1): at most 10 steps of Adam each,
    from the context of the step before.

    source, uncond: one row each. progress(done, steps) is called after each step; it may raise to stop.
    Raises ValueError where no gradients flow through the denoiser.
    """
    if not denoiser.differentiable:
        allowed = ", ".join(method for method in INVERSIONS if method != "null-text")
        raise ValueError(
            "null-text inversion needs gradients through the U-Net, and this host gives none; allowed: "
            + allowed
        )
    latents, found = trajectory.latents[-1:], []
    for step, (ddim_step, wanted) in enumerate(trajectory.down(denoiser)):
        with torch.no_grad():
            noise = denoiser(latents, ddim_step.timestep, source, (Row(0, "cond"),), None)
        taken = _Guidance(denoiser, latents, noise, ddim_step, cfg)
        uncond = _optimised(taken, wanted, uncond, done=step / trajectory.steps, step=step)
        found.append(uncond)
        with torch.no_grad():
            latents = taken(uncond)
        if progress is not None:
            progress(step + 1, trajectory.steps)
    return joined(found)


@dataclass(frozen=True, eq=False)
class _Guidance:
    """A step of one picture, its conditional noise known, as a function of the unconditional context."""

    denoiser: Denoiser
    latents: Tensor
    noise: Tensor
    ddim_step: DDIMStep
    cfg: float

    def __call__(self, uncond: Conditions) -> Tensor:
        free = self.denoiser(self.latents, self.ddim_step.timestep, uncond, (Row(0, "uncond"),), None)
        return self.ddim_step.denoise(self.latents, free + self.cfg * (self.noise - free))


def _optimised(taken: _Guidance, wanted: Tensor, uncond: Conditions, *, done: float, step: int) -> Conditions:
    """The context that takes a step to where it should lead, or nearer; done: share of the run, 0 to 1."""
    # All is scaled by the number of values: in half precision the gradients of a mean would round to 0. The
    # rate is the paper's 1e-2 (1 - step / 100) at its 50 steps.
    scale = wanted.numel()
    with torch.enable_grad():
        context = uncond.context.detach().float().clone().requires_grad_()
        adam = torch.optim.Adam([context], lr=RATE * (1 - done / 2), eps=1e-8 * scale)
        for _ in range(INNER_STEPS):
            loss = (taken(Conditions(context, uncond.vector)) - wanted).square().mean()
            (context.grad,) = torch.autograd.grad(loss * scale, context)
            adam.step()
            if float(loss.detach()) < GOOD_ENOUGH[0] + step * GOOD_ENOUGH[1]:
                break
    return Conditions(context.detach(), uncond.vector)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """What a picture becomes when it is inverted and sampled again, and how far that is from it.

    rmse: of the latents. psnr_db: of the pictures. limit_db: that of the autoencoder alone.
    """

    picture: Image.Image
    rmse: float
    psnr_db: float
    limit_db: float


def reconstruct(
    model: Model,
    picture: Image.Image,
    prompt: str,
    *,
    negative: str = "",
    method: Inversion = "direct",
    steps: int = STEPS,
    cfg: float = CFG,
) -> Reconstruction:
    """Invert a picture (RGB, of a size that the model can encode) and sample it again with its own prompt."""
    conditions, uncond = model.conditions([prompt], negative, size=(picture.height, picture.width))
    trajectory = invert(model, model.encode(picture), conditions, steps=steps)
    latents = sample(model, trajectory, conditions, uncond, method=method, cfg=cfg)
    return measured(model, trajectory, latents[:1], picture)


def measured(model: Model, trajectory: Trajectory, source: Tensor, picture: Image.Image) -> Reconstruction:
    """How near a sampled source (picture, channel, y, x), one, comes to the picture that was inverted."""
    sampled, best = model.decode(torch.cat([source, trajectory.latents[:1]]))
    return Reconstruction(sampled, trajectory.rmse(source[0]), psnr(sampled, picture), psnr(best, picture))


def psnr(one: Image.Image, other: Image.Image) -> float:
    """Peak signal-to-noise ratio of two RGB pictures of one size, in dB; infinite where they are equal."""
    if one.size != other.size:
        raise ValueError(f"the pictures differ in size: {one.size} and {other.size} pixels (width, height)")
    values = (np.asarray(picture.convert("RGB"), dtype=np.float64) for picture in (one, other))
    error = float(np.square(np.subtract(*values)).mean())
    return 10 * math.log10(255**2 / error) if error else math.inf
