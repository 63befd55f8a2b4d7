"""The webui (AUTOMATIC1111's, and Forge) as a host: recording one of its generations.

    with Generation(p, settings) as generation:
        processed = process_images(p)
    generation.trace

The webui tells when its denoiser works on a step (`on_cfg_denoiser`, `on_cfg_after_cfg`); hooks are on the
U-Net in between only. So the U-Net may be replaced at any time (refiner, checkpoint of the hires pass), and
nothing is left behind by an interrupt or by an exception. References are to the webui's v1.10.1.
"""

from __future__ import annotations

import inspect
import weakref
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from lib_unet_viz.capture import Capture, estimate
from lib_unet_viz.hosts import forge, webui_steps, webui_text
from lib_unet_viz.record import BudgetError, Call, NothingCaptured, Recorder, Row
from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet, UnsupportedModelError
from lib_unet_viz.vxa import layers_near

FACTOR = 8  # pixels a latent position stands for

# Weakly: the webui tells an always-on script nothing of a run that an exception ended (processing.py:1148).
_running: weakref.WeakSet[Generation | Refusal] = weakref.WeakSet()


def before_denoiser(params: Any) -> None:
    """To be called by `on_cfg_denoiser`: the denoiser is about to call the U-Net."""
    for generation in list(_running):
        if getattr(params.denoiser, "p", None) is generation.p:
            generation.begin_step(params)


def after_denoiser(_: Any = None) -> None:
    """To be called by `on_cfg_after_cfg`: the denoiser is done with the step."""
    for generation in list(_running):
        generation.end_step()


def rest() -> None:
    """Before a new run: one that an exception ended may have left its hooks (torch before 2.1)."""
    after_denoiser()


def forget_all() -> None:
    """Take everything off, when the extension is unloaded."""
    while _running:
        _running.pop().close()


def loaded_unet(model: Any) -> UNet:
    """The U-Net of the webui's or Forge's `shared.sd_model`.

    Raises UnsupportedModelError where it has none of the kinds known (SD 3, Flux), RuntimeError if no model
    is loaded yet.
    """
    return UNet.of(_module_of(model))


def _module_of(model: Any) -> Any:
    inner = forge.inner_model(model) or getattr(model, "model", None)
    if inner is None:
        raise RuntimeError("no checkpoint is loaded yet: generate a picture first, or wait until it is")
    return getattr(inner, "diffusion_model", inner)


def native_size(model: Any) -> int:
    """Pixels of a side of the pictures that the loaded model was trained on."""
    side = getattr(model, "image_size", None)
    if isinstance(side, int):
        return side * FACTOR
    return 1024 if getattr(model, "is_sdxl", False) else 512


class Generation:
    """One call of `process_images(p)`, with what it is to record. Hooks are not on before its first step.

    `trace` is filled while it runs, whatever happens to the run. Raises, when made, SpecError and BudgetError
    (before anything has run, unless the run loads another checkpoint first).
    """

    def __init__(self, p: Any, settings: Settings) -> None:
        self.p, self.settings = p, settings
        self.trace = Trace()
        self._recorder: Recorder | None = None
        self._problem: Exception | None = None
        self._params: Any = None
        self._watching: Any = None
        self._rows: deque[Row] | None = None
        self._place: tuple[int, int] | None = None
        self._entries = 0
        self._described: set[tuple[int, bool]] = set()
        self._notes: list[str] = []
        self._steps = webui_steps.Steps()
        if p.sd_model is not None and "sd_model_checkpoint" not in (p.override_settings or {}):
            self._check(p.sd_model)

    def __enter__(self) -> Generation:
        _running.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            self.finish()

    def close(self) -> None:
        """Take part in nothing any more."""
        self.end_step()
        _running.discard(self)

    def finish(self) -> None:
        """Complete the trace. What could not be recorded becomes a note: the picture is there anyway."""
        if self._recorder is not None:
            try:
                self._recorder.finish()
            except NothingCaptured as error:
                self._note(str(error))
        elif self._problem is None:
            self._note("nothing was recorded: no step of the U-Net was seen")
        self.trace.notes.extend(note for note in self._notes if note not in self.trace.notes)

    def begin_step(self, params: Any) -> None:
        """Put the hooks on the U-Net that is going to work. Problems surface in its call, which stops the
        run: the webui only logs what a callback raises.
        """
        self.end_step()
        self._params, self._rows, self._entries = params, None, 0
        self._place = self._steps.place(params)
        try:
            unet = self._unet()
            if unet is None:
                return
            if self._recorder is None:
                self._recorder = self._new_recorder(unet)
            elif self._recorder.unet.module is not unet.module:
                self._recorder.follow(unet)
            self._describe()
            self._recorder.install()
            self._watch(unet.module)
        except Exception as error:
            self._problem = error
            _raise_in(_module_of(self.p.sd_model), error)

    def end_step(self) -> None:
        """Take the hooks off."""
        if self._recorder is not None:
            self._recorder.remove()
        if self._watching is not None:
            self._watching.remove()
        self._params = self._watching = None

    def _watch(self, module: Any) -> None:
        """Take the hooks off when a call of the U-Net raises, too (torch 2.1 can tell that)."""

        def after(_module: Any, _args: Any, output: Any) -> None:
            if output is None:
                self.end_step()

        if "always_call" in inspect.signature(module.register_forward_hook).parameters:
            self._watching = module.register_forward_hook(after, always_call=True)

    def _unet(self) -> UNet | None:
        """The U-Net of this step; None, with a note, where there is none to look into."""
        from modules import sd_unet

        if getattr(sd_unet, "current_unet", None) is not None:  # TensorRT and the like: sd_unet.py:86
            self._note("nothing was recorded: a U-Net in a format of its own (SD Unet, TensorRT) is active")
            return None
        try:
            unet = loaded_unet(self.p.sd_model)
        except UnsupportedModelError as error:
            self._note(str(error))
            return None
        known = self._recorder
        return known.unet if known is not None and known.unet.module is unet.module else unet

    def captures(self, unet: UNet) -> dict[str, Any]:
        """What a Recorder is to record of a U-Net. Raises SpecError for blocks that it lacks."""
        attention = [capture for capture in (self.settings.attention.capture(),) if capture]
        if self.settings.heatmaps:
            attention.append(Capture(layers_near(unet, native_size(self.p.sd_model)), mean=True))
        return {"features": self.settings.features.capture(), "attention": attention}

    def _check(self, model: Any) -> None:
        """Raise what is wrong before anything runs, where the model is known."""
        try:
            unet = loaded_unet(model)
        except (RuntimeError, UnsupportedModelError):
            return
        p, captures = self.p, self.captures(unet)
        images = p.n_iter * p.batch_size
        size, steps = (p.height // FACTOR, p.width // FACTOR), max(1, p.steps)
        needed = estimate(unet, **captures, size=size, total=steps, images=images)
        if getattr(p, "enable_hr", False):
            scale = p.hr_scale or 1
            larger = (int((p.hr_resize_y or p.height * scale) // FACTOR), 0)
            larger = (larger[0], int((p.hr_resize_x or p.width * scale) // FACTOR))
            second = p.hr_second_pass_steps or steps
            needed += estimate(unet, **captures, size=larger, total=second, images=images)
        budget = self.settings.budget_mb * 1_000_000
        if needed > budget:
            raise BudgetError(needed, budget)

    def _new_recorder(self, unet: UNet) -> Recorder:
        recorder = Recorder(
            unet,
            **self.captures(unet),
            calls=self._call,
            meta=webui_text.describe_run(self.p),
            budget=self.settings.budget_mb * 1_000_000,
        )
        self.trace = recorder.trace
        return recorder

    def _describe(self) -> None:
        """Note prompts, seeds and tokens of the images of this batch and pass, once."""
        hires = self._hires
        if (self.p.iteration, hires) in self._described:
            return
        self._described.add((self.p.iteration, hires))
        try:
            for note in webui_text.describe_batch(self.p, self.trace.meta, hires=hires):
                self._note(note)
        except Exception as error:  # labels are not worth a picture
            self._note(f"the words of the prompt are not known: {type(error).__name__}: {error}")

    @property
    def _hires(self) -> bool:
        return bool(getattr(self.p, "is_hr_pass", False))

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """What the U-Net's present call is."""
        if self._place is None or self._params is None:
            return None
        sample = args[0] if args else kwargs["x"]
        rows = self._rows_of(len(sample), kwargs)
        if rows is None:
            return None
        return Call(
            step=self._place[0],
            total=self._place[1],
            sigma=webui_steps.sigma(self._params, self.p.sd_model),
            rows=rows,
            size=(int(sample.shape[-2]), int(sample.shape[-1])),
            pass_="hires" if self._hires else "first",
        )

    def _rows_of(self, count: int, kwargs: Mapping[str, Any]) -> tuple[Row, ...] | None:
        """The rows of a call of `count` rows; None, with a note, if they cannot be told."""
        subs = [len(parts) for parts in self._params.denoiser.sampler.sampler_extra_args["cond"].batch]
        first = self.p.iteration * self.p.batch_size
        kinds = forge.kinds(kwargs)
        if kinds is not None:
            rows, self._entries = forge.rows(kinds, count, subs, first=first, seen=self._entries)
        else:
            if self._rows is None:
                self._rows = deque(rows_in_order(self._params, subs, first=first))
            fits = count <= len(self._rows)
            rows = tuple(self._rows.popleft() for _ in range(count)) if fits else None
        if rows is None:
            self._note(f"a call of the U-Net with {count} rows is not recorded: another extension made it")
        return rows

    def _note(self, line: str) -> None:
        if line not in self._notes:
            self._notes.append(line)


class Refusal:
    """Stops a run whose settings are wrong: the webui only logs what an always-on script raises."""

    def __init__(self, p: Any, error: Exception) -> None:
        self.p, self.error = p, error

    def __enter__(self) -> Refusal:
        _running.add(self)
        return self

    def __exit__(self, *_: object) -> None:
        _running.discard(self)

    def begin_step(self, _: Any) -> None:
        """Raise in the U-Net's call."""
        _raise_in(_module_of(self.p.sd_model), self.error)

    def end_step(self) -> None:
        """Nothing is on."""

    close = end_step


def rows_in_order(params: Any, subs: list[int], *, first: int) -> list[Row]:
    """The rows of all calls of a denoiser's step, in the order in which these take them.

    Conditional rows image by image with their AND-subprompts, then the unconditional ones; Instruct-Pix2Pix
    has another set in between, with the picture but no text (sd_samplers_cfg_denoiser.py:205-276).
    """
    rows = [Row(first + image, "cond", sub) for image, count in enumerate(subs) for sub in range(count)]
    if len(params.x) >= len(rows) + 2 * len(subs):
        rows += [Row(first + image, "uncond", 1) for image in range(len(subs))]
    return rows + [Row(first + image, "uncond") for image in range(len(subs))]


def _raise_in(module: Any, error: Exception) -> None:
    """Raise an error in the module's next call."""

    def stop(*_: Any) -> None:
        handle.remove()
        raise error

    handle = module.register_forward_pre_hook(stop)


__all__ = ["Generation", "after_denoiser", "before_denoiser", "forget_all", "loaded_unet", "native_size"]
