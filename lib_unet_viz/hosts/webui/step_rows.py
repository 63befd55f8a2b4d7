"""Which row of a call of the U-Net is which image, half and sub-prompt, in a step of the webui's denoiser.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from lib_unet_viz.capture.request import Call, Row
from lib_unet_viz.editing.hooks import EditError
from lib_unet_viz.hosts.webui import forge, passes
from lib_unet_viz.hosts.webui import steps as webui_steps
from lib_unet_viz.sampling.model import SamplingStep


class StepRows:
    """The word on each call of the U-Net of a run, step by step. note: is told what cannot be known."""

    def __init__(self, p: Any, note: Callable[[str], None]) -> None:
        self.p, self._note = p, note
        self.present: tuple[Row, ...] | None = None  # of the present call; None: they cannot be told
        self._steps = webui_steps.Steps()
        self._params: Any = None
        self._place: SamplingStep | None = None
        self._reached: SamplingStep | None = None  # the step's, also in its further calls
        self._left: deque[Row] | None = None  # rows that the step's further calls will have
        self._entries = 0  # of the step, that Forge has named so far

    @property
    def first(self) -> int:
        """Number of the batch's first image."""
        return int(self.p.iteration * self.p.batch_size)

    def begin(self, params: Any) -> None:
        """A step begins; params: what the webui says of it. Its place is not asked before `count`."""
        self._params, self._left, self._entries, self._place = params, None, 0, None

    def count(self) -> None:
        """Find the step's place in the run."""
        self._place = self._steps.place(self._params)
        self._reached = self._place or self._reached

    def end(self) -> None:
        """The step is over."""
        self._params = None

    def announce(self, count: int, kwargs: Mapping[str, Any]) -> None:
        """Before all else in a call: it has so many rows. They are unknown, with a note, if they cannot be
        told.
        """
        self.present = None
        subs = [len(parts) for parts in self._params.denoiser.sampler.sampler_extra_args["cond"].batch]
        kinds = forge.kinds(kwargs)
        if kinds is not None:
            rows, self._entries = forge.rows(kinds, count, subs, first=self.first, seen=self._entries)
        else:
            if self._left is None:
                self._left = deque(_rows(self._params, subs, first=self.first))
            fits = count <= len(self._left)
            rows = tuple(self._left.popleft() for _ in range(count)) if fits else None
        if rows is None:
            self._note(f"a call of the U-Net with {count} rows is not recorded: another extension made it")
        self.present = rows

    def call(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        """For a recording: None for a further call of a step."""
        return None if self._place is None else self._call(self._place, args, kwargs)

    def every_call(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call:
        """For an edit: also for further calls of a step. Raises EditError where it cannot be told."""
        call = None if self._reached is None else self._call(self._reached, args, kwargs)
        if call is None:
            raise EditError(
                "another extension changed the batch; cannot tell which row is which image: nothing to edit"
            )
        return call

    def _call(self, place: SamplingStep, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        sample = args[0] if args else kwargs["x"]
        if self.present is None or self._params is None:
            return None
        return Call(
            step=place[0],
            total=place[1],
            sigma=webui_steps.sigma(self._params, self.p.sd_model),
            rows=self.present,
            size=(int(sample.shape[-2]), int(sample.shape[-1])),
            pass_=passes.present(self.p),
        )


def _rows(params: Any, subs: list[int], *, first: int) -> list[Row]:
    """The rows of all calls of a denoiser's step, in the order in which these take them.

    Conditional rows image by image with their AND-subprompts, then the unconditional ones; Instruct-Pix2Pix
    has another set in between, with the picture but no text (sd_samplers_cfg_denoiser.py:205-276).
    """
    found = [Row(first + image, "cond", sub) for image, count in enumerate(subs) for sub in range(count)]
    if len(params.x) >= len(found) + 2 * len(subs):
        found += [Row(first + image, "uncond", 1) for image in range(len(subs))]
    return found + [Row(first + image, "uncond") for image in range(len(subs))]
