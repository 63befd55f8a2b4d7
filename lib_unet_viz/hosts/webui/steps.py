"""Which sampling step a call of the webui's denoiser belongs to, and how much noise there is.

`denoiser.step` counts the denoiser's calls, `denoiser.steps` are the sampler's steps
(sd_samplers_common.py, launch_sampling). References are to the webui's v1.10.1.
"""

from __future__ import annotations

from typing import Any

from lib_unet_viz.sampling.model import SamplingStep
from lib_unet_viz.sampling.schedule import Schedule


class Steps:
    """Maps the calls of a generation to its steps: a step's first call stands for it."""

    def __init__(self) -> None:
        self._schedule: list[float] = []
        self._reached = -1

    def place(self, params: Any) -> SamplingStep | None:
        """The step whose first call this is; None for a further call of a step."""
        denoiser = params.denoiser
        count, total = int(denoiser.step), int(denoiser.steps)
        if count == 0:
            self._schedule, self._reached = [], -1
        kind = sampler_kind(denoiser.sampler)
        if kind == "second order":  # pairs of calls; the last step has no second one
            return None if count % 2 else _within(count // 2, total)
        if kind == "plms":  # its first step has two calls (sd_samplers_timesteps_impl.py, plms)
            return None if count == 1 else _within(max(0, count - 1), total)
        if kind == "adaptive":
            return self._by_sigma(params)
        return _within(count, total)

    def _by_sigma(self, params: Any) -> SamplingStep | None:
        """DPM adaptive takes as many calls as it likes: by the noise that the chosen steps would have."""
        denoiser = params.denoiser
        if not self._schedule:
            sigmas = denoiser.sampler.get_sigmas(denoiser.p, int(denoiser.p.steps))
            self._schedule = [float(sigma) for sigma in sigmas if float(sigma) > 0]
        now = float(params.sigma.flatten()[0]) * (1 - 1e-4)
        step = sum(sigma > now for sigma in self._schedule) - 1
        if step <= self._reached:
            return None
        self._reached = step
        return step, len(self._schedule)


def _within(step: int, total: int) -> SamplingStep:
    """Some samplers take more steps than were chosen (Restart)."""
    return step, max(total, step + 1)


def sampler_kind(sampler: Any) -> str:
    """How many calls a step of a sampler has: "second order", "plms", "adaptive", or "" for one."""
    options = getattr(sampler.config, "options", None) or {}
    if options.get("second_order"):
        return "second order"
    function = getattr(sampler, "func", None) or getattr(sampler, "funcname", "")
    name = getattr(function, "__name__", str(function))
    return {"plms": "plms", "sample_dpm_adaptive": "adaptive"}.get(name, "")


def sigma(params: Any, model: Any) -> float:
    """The noise's standard deviation relative to the picture's. DDIM, PLMS and UniPC tell a timestep instead
    (sd_samplers_timesteps.py: their denoiser knows the schedule).
    """
    given = float(params.sigma.flatten()[0])
    if "Timesteps" not in type(params.denoiser).__name__ or hasattr(model, "forge_objects"):
        return given
    return Schedule(model.alphas_cumprod).sigma(round(given))
