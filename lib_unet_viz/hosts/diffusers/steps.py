"""Where a U-Net call stands in a pipeline's run: which sampling step it is, and how much noise there is."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any

from lib_unet_viz.sampling.schedule import sigma_of


@dataclass(frozen=True)
class Step:
    """A sampling step, from 0, of `total`; sigma as of `noise`."""

    step: int
    total: int
    sigma: float | None


class Steps:
    """Finds the place of each call of a pipeline's runs.

    A sampling step of a second-order scheduler (Heun, DPM2, PNDM's start) has several calls: its first one
    stands for it. Steps count from the first that is really made, and there are as many as are made: image to
    image begins at a later timestep, and SDXL's base may stop before the last one.
    """

    def __init__(self, pipe: Any) -> None:
        self._pipe = pipe
        self._timesteps: Any = None
        self._first = self._last = 0

    def place(self, timestep: float) -> Step | None:
        """None for a further call of a step, and for a timestep that is not the scheduler's."""
        scheduler = self._pipe.scheduler
        index = self._index(scheduler, timestep)
        if index is None:
            return None
        # A scheduler makes new timesteps for each run, and maybe for another thread's in between; a loop of
        # one's own may go on with the old ones.
        new = scheduler.timesteps is not self._timesteps
        if index < self._last or (new and index <= self._last) or self._timesteps is None:
            self._first = index
        self._timesteps, self._last = scheduler.timesteps, index
        made = index - self._first
        step = _step(scheduler, made)
        if step is None:
            return None
        whole = len(scheduler.timesteps) - self._first
        planned = getattr(self._pipe, "_num_timesteps", None)
        calls = planned if isinstance(planned, int) and made < planned < whole else whole
        return Step(step, _steps(scheduler, calls), noise(scheduler, index, timestep))

    def _index(self, scheduler: Any, timestep: float) -> int | None:
        """Of a call's timestep among the scheduler's. Where one occurs more than once, the scheduler's own
        state says which it is.
        """
        timesteps = [] if scheduler.timesteps is None else scheduler.timesteps.tolist()
        places = [index for index, value in enumerate(timesteps) if value == timestep]
        state = getattr(scheduler, "step_index", None)
        if state is None:
            state = getattr(scheduler, "begin_index", None)
        if state is None and scheduler.timesteps is self._timesteps and hasattr(scheduler, "counter"):
            state = self._first + scheduler.counter  # PNDM counts the calls that were made
        if state in places:
            return int(state)
        return places[0] if places else None


def _step(scheduler: Any, made: int) -> int | None:
    """The step, from 0, whose first call comes after so many calls; None for a further call of a step."""
    if hasattr(scheduler, "prk_timesteps"):
        return _pndm_step(scheduler, made)
    # Heun, DPM2: the last step has no second call.
    return None if made % scheduler.order else made // scheduler.order


def _steps(scheduler: Any, calls: int) -> int:
    """How many steps begin within so many calls."""
    return sum(_step(scheduler, made) is not None for made in range(calls))


def _pndm_step(scheduler: Any, made: int) -> int | None:
    """PNDM starts with three steps of four calls each, or (Stable Diffusion's setting) with one of two calls
    (scheduling_pndm.py, set_timesteps).
    """
    starting = len(scheduler.prk_timesteps)
    if made < starting:
        return None if made % 4 else made // 4
    if starting:
        return starting // 4 + made - starting
    return None if made == 1 else max(0, made - 1)


def noise(scheduler: Any, index: int, timestep: float) -> float | None:
    """Sigma: the noise's standard deviation relative to the picture's, from what a scheduler has of a step.

    None where it has nothing of the kind, and where no picture is left in the noise (zero terminal SNR).
    """
    try:
        sigma = _noise(scheduler, index, timestep)
    except ZeroDivisionError:
        return None
    return sigma if sigma is not None and isfinite(sigma) else None


def _noise(scheduler: Any, index: int, timestep: float) -> float | None:
    sigmas, kept = getattr(scheduler, "sigmas", None), getattr(scheduler, "alphas_cumprod", None)
    if sigmas is not None and len(sigmas) >= len(scheduler.timesteps):
        sigma = float(sigmas[index])
        flow = getattr(scheduler.config, "use_flow_sigmas", False)  # x = (1 - sigma) picture + sigma noise
        return sigma / (1 - sigma) if flow else sigma
    if kept is not None and 0 <= round(timestep) < len(kept):
        return sigma_of(float(kept[round(timestep)]))
    if type(scheduler).__name__ == "IPNDMScheduler":  # its noise and picture of each step, _get_prev_sample
        return float(scheduler.betas[index]) / float(scheduler.alphas[index])
    return None
