"""The webui (AUTOMATIC1111's, and Forge) as a host: recording one of its generations.

    with Generation(p, settings) as generation:
        processed = process_images(p)
    generation.trace

The webui tells when its denoiser works on a step (`on_cfg_denoiser`, `on_cfg_after_cfg`); hooks are on the
U-Net in between only. So the U-Net may be replaced at any time (refiner, checkpoint of the hires pass), and
nothing is left behind by an interrupt or by an exception. What goes wrong in looking becomes a note; what
goes wrong in acting (layer prompts, edits) stops the run. References are to the webui's v1.10.1.
"""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any

from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.recording import reason
from lib_unet_viz.capture.request import BudgetError, Call, Row, estimate
from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.editing.hooks import EditError
from lib_unet_viz.hosts.webui import forge, running
from lib_unet_viz.hosts.webui import (
    layer_prompts as webui_layers,
)
from lib_unet_viz.hosts.webui import (
    steps as webui_steps,
)
from lib_unet_viz.hosts.webui import (
    text as webui_text,
)
from lib_unet_viz.hosts.webui.edit import EditRun
from lib_unet_viz.hosts.webui.layer_prompts import Layers
from lib_unet_viz.hosts.webui.loaded import FACTOR, keeps_model, loaded_unet, module_of
from lib_unet_viz.maps.words import word_captures
from lib_unet_viz.notation.layer_prompt import OPEN
from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet, UnsupportedModelError


class Generation:
    """One call of `process_images(p)`, with what it is to record. Hooks are not on before its first step.

    `trace` is filled while it runs, whatever happens to the run. Raises, when made, SpecError and BudgetError
    (where the run loads another checkpoint first, in the first call of that). layers: read layer prompts.
    edit: edit the batches that it made `p` ask for.
    """

    def __init__(
        self, p: Any, settings: Settings, *, layers: Layers | None = None, edit: EditRun | None = None
    ) -> None:
        self.p, self.settings, self.layers, self.edit = p, settings, layers, edit
        self.trace = Trace()
        self._recorder: Recorder | None = None
        self._known: UNet | None = None  # the U-Net of the step before: its blocks need not be found again
        self._problem: Exception | None = None
        self._blind = not settings.enabled  # nothing is to be recorded, or no more
        self._params: Any = None
        self._hooks = Hooks()
        self._present: tuple[Row, ...] | None = None
        self._rows: deque[Row] | None = None
        self._place: tuple[int, int] | None = None
        self._reached: tuple[int, int] | None = None  # the step's, also in its further calls
        self._entries = 0
        self._described: set[tuple[int, bool]] = set()
        self._notes: list[str] = []
        self._steps = webui_steps.Steps()
        if keeps_model(p):
            with self._looking(ValueError):
                self._check(p.sd_model)

    def __enter__(self) -> Generation:
        running.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        if kind is None:
            self.finish()

    def close(self) -> None:
        """Take part in nothing any more."""
        with ExitStack() as each:
            each.callback(running.discard, self)
            if self.edit is not None:
                each.callback(self.edit.close)
            each.callback(self.end_step)

    def finish(self) -> None:
        """Complete the trace. What could not be recorded becomes a note: the picture is there anyway.

        Raises what went wrong with an edit after the last call of the U-Net.
        """
        if self.edit is not None and self._problem is not None:
            raise self._problem
        if self._recorder is not None:
            try:
                self._recorder.finish(check=not self._blind)
            except NothingCaptured as error:
                self._note(str(error))
            except Exception as error:
                self._note(f"the recording was not completed: {reason(error)}")
        elif self._problem is None and not self._blind:
            self._note("nothing was recorded: no step of the U-Net was seen")
        self.trace.notes.extend(note for note in self._notes if note not in self.trace.notes)

    def begin_step(self, params: Any) -> None:
        """Put the hooks on the U-Net that is going to work. Problems surface in its call, which stops the
        run: the webui only logs what a callback raises.
        """
        try:
            self.end_step()
            self._params, self._rows, self._entries, self._place = params, None, 0, None
            if self._problem is not None:
                raise self._problem
            if not self._blind or self._acting:
                with self._looking(*self._raised):
                    self._place = self._steps.place(params)
                    self._reached = self._place or self._reached
                    unet = self._unet()
                    if unet is not None:
                        self._install(unet)
                    elif self._acting:
                        raise ValueError(f"{self._acting} cannot act: {self._notes[-1]}")
        except Exception as error:
            self.end_step()
            self._problem = running.for_request(self.p, error)
            running.put_raising(self._hooks, module_of(self.p.sd_model), self._problem)
        except BaseException:
            self.end_step()
            raise

    @property
    def _acting(self) -> str:
        """What changes the picture, if anything does."""
        return "layer prompts" if self._reading else "edits" if self.edit is not None else ""

    @property
    def _raised(self) -> tuple[type[Exception], ...]:
        """What may stop the run: all that goes wrong in acting; wrong settings, before the first step."""
        if self._acting:
            return (Exception,)
        return (ValueError,) if self._recorder is None else ()

    @contextmanager
    def _looking(self, *raised: type[Exception]) -> Iterator[None]:
        """What goes wrong, but for what is to be raised, ends the recording with a note."""
        try:
            yield
        except raised:
            raise
        except Exception as error:
            self._blind = True
            if not self._acting:
                self.end_step()
            elif self._recorder is not None:
                self._recorder.remove()
            self._note(f"the recording ended: {reason(error)}")

    def end_step(self, params: Any = None) -> None:
        """Take the hooks off. params: what the webui says of a call that went well."""
        with ExitStack() as each:  # all of it, also where a fault or Ctrl-C comes in the midst
            each.callback(self._hooks.close)
            if self.edit is not None:
                each.callback(self.edit.remove)
            if self._recorder is not None:
                each.callback(self._recorder.remove)
        if self.edit is not None and params is not None and self._params is not None:
            with self._attempt():
                self.edit.end_call(params.x)
        self._params = None

    def watch_inner(self, p: Any) -> None:
        """Another run takes a step meanwhile, as ADetailer's: say if it was given this one's notation."""
        texts = [*(getattr(p, "prompts", None) or []), *(getattr(p, "negative_prompts", None) or [])]
        if self.layers is not None and any(OPEN in text for text in texts):
            self._note(
                f"a generation inside this one read {OPEN} as plain text, as of ADetailer: give it a prompt "
                "of its own"
            )

    def take_prompts(self) -> None:
        """Take layer prompts out of the batch's prompts, before the webui encodes them."""
        with self._attempt():
            if self.layers is not None:
                self.layers.take(loaded_unet(self.p.sd_model).layout)
            if self.edit is not None:
                self.edit.check_prompts()

    def before_sampling(self, latents: Any) -> None:
        """Encode what only some blocks read; make what an edit begins with alike. latents: as they are."""
        with self._attempt():
            if self.layers is not None:
                self.layers.encode(hires=self._hires)
            if self.edit is not None:
                self.edit.begin(latents)

    def after_sampling(self, latents: Any) -> None:
        """Blend the last step of an edit."""
        with self._attempt():
            if self.edit is not None:
                self.edit.blend(latents)

    @contextmanager
    def _attempt(self) -> Iterator[None]:
        """Problems are raised in the U-Net's call: the webui only logs what a script raises here."""
        try:
            yield
        except Exception as error:
            self._problem = self._problem or running.for_request(self.p, error)

    def _install(self, unet: UNet) -> None:
        module = unet.module
        self._hooks.put(module.register_forward_pre_hook, self._announce, with_kwargs=True)
        if self._reading:
            self._hooks.enter_context(Contexts(unet, self._contexts, transform=webui_layers.transform))
        if self.edit is not None:
            self.edit.install(unet, self._params.denoiser, self._edited_call, hires=self._hires)
        if not self._blind:
            with self._looking(*(() if self._recorder is not None else (ValueError,))):
                self._record(unet)
        self._watch(module)

    def _record(self, unet: UNet) -> None:
        if self._recorder is None:
            self._recorder = self._new_recorder(unet)
        elif self._recorder.unet.module is not unet.module:
            self._recorder.follow(unet)
        self._describe()
        self._recorder.install()

    def _watch(self, module: Any) -> None:
        """Take the hooks off when a call of the U-Net raises, too (torch 2.1 can tell that)."""

        def after(_module: Any, _args: Any, output: Any) -> None:
            if output is None:
                self.end_step()

        if "always_call" in inspect.signature(module.register_forward_hook).parameters:
            self._hooks.put(module.register_forward_hook, after, always_call=True)

    def _announce(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before all else in a call: which rows it has."""
        self._present = None
        with self._looking(*((Exception,) if self._acting else ())):
            self._present = self._rows_of(len(args[0] if args else kwargs["x"]), kwargs)

    def _contexts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        if self._present is None or self.layers is None:
            raise ValueError(
                "layer prompts: another extension changed the batch; cannot tell which row is which image"
            )
        first = self.p.iteration * self.p.batch_size
        return self.layers.contexts(self._params, self._present, first=first, hires=self._hires)

    def _unet(self) -> UNet | None:
        """The U-Net of this step; None, with a note, where there is none to look into."""
        from modules import sd_unet

        if getattr(sd_unet, "current_unet", None) is not None:  # TensorRT and the like: sd_unet.py:86
            self._note("nothing was recorded: a U-Net in a format of its own (SD Unet, TensorRT) is active")
            return None
        if self._known is None or self._known.module is not module_of(self.p.sd_model):
            try:
                self._known = loaded_unet(self.p.sd_model)
            except UnsupportedModelError as error:
                self._note(str(error))
                return None
        return self._known

    def captures(self, unet: UNet) -> dict[str, Any]:
        """What a Recorder is to record of a U-Net. Raises SpecError for blocks that it lacks."""
        attention = [capture for capture in (self.settings.attention.capture(),) if capture]
        if self.settings.heatmaps:
            attention += word_captures(halves=("cond",))
        return {"features": self.settings.features.capture(), "attention": attention}

    def _check(self, model: Any) -> None:
        """Raise what is wrong before anything runs, where the model is known."""
        try:
            unet = loaded_unet(model)
        except (RuntimeError, UnsupportedModelError):
            return
        if self.edit is not None:
            with suppress(RuntimeError):  # the text encoder is not there yet
                self.edit.check(model, unet)
        p, captures = self.p, self.captures(unet)
        images = p.n_iter * p.batch_size
        size, steps = (p.height // FACTOR, p.width // FACTOR), max(1, p.steps)
        needed = estimate(unet, **captures, size=size, total=steps, images=images)
        if getattr(p, "enable_hr", False):
            scale = p.hr_scale or 1
            sides = (p.hr_resize_y or p.height * scale, p.hr_resize_x or p.width * scale)
            larger = (int(sides[0] // FACTOR), int(sides[1] // FACTOR))
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
            meta=self._described_run(),
            budget=self.settings.budget_mb * 1_000_000,
        )
        self.trace = recorder.trace
        return recorder

    def _described_run(self) -> dict[str, Any]:
        try:
            return webui_text.describe_run(self.p)
        except Exception as error:  # labels are not worth a picture
            self._note(f"what is known of the run is not written down: {reason(error)}")
            return {"images": []}

    def _describe(self) -> None:
        """Note prompts, seeds and tokens of the images of this batch and pass, once."""
        hires = self._hires
        if (self.p.iteration, hires) in self._described:
            return
        self._described.add((self.p.iteration, hires))
        try:
            for note in webui_text.describe_batch(self.p, self.trace.meta, hires=hires):
                self._note(note)
            if self.layers is not None:
                steps = webui_text.steps_of(self.p, hires=hires)
                for place, found in self.layers.describe(hires=hires, steps=steps):
                    image = self.p.iteration * self.p.batch_size + place
                    webui_text.add_by_block(self.trace.meta, image, found)
        except Exception as error:  # labels are not worth a picture
            self._note(f"the words of the prompt are not known: {reason(error)}")

    @property
    def has_layers(self) -> bool:
        """Whether the prompts, as far as they are known, have layer prompts that are to be read."""
        return self.layers is not None and any(OPEN in text for text in webui_layers.texts_of(self.p))

    @property
    def _reading(self) -> bool:
        """Whether some block reads its own text in the present pass."""
        return self.layers is not None and self.layers.active(hires=self._hires)

    @property
    def _hires(self) -> bool:
        return bool(getattr(self.p, "is_hr_pass", False))

    def _call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        """What the U-Net's present call is."""
        return None if self._place is None else self._call_of(self._place, args, kwargs)

    def _edited_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """The same, also for further calls of a step. Raises EditError where it cannot be told."""
        call = None if self._reached is None else self._call_of(self._reached, args, kwargs)
        if call is None:
            raise EditError(
                "another extension changed the batch; cannot tell which row is which image: nothing to edit"
            )
        return call

    def _call_of(self, place: tuple[int, int], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        sample, rows = args[0] if args else kwargs["x"], self._present
        if rows is None or self._params is None:
            return None
        return Call(
            step=place[0],
            total=place[1],
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
                self._rows = deque(webui_steps.rows(self._params, subs, first=first))
            fits = count <= len(self._rows)
            rows = tuple(self._rows.popleft() for _ in range(count)) if fits else None
        if rows is None:
            self._note(f"a call of the U-Net with {count} rows is not recorded: another extension made it")
        return rows

    def _note(self, line: str) -> None:
        if line not in self._notes:
            self._notes.append(line)
