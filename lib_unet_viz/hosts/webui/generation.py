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
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Any

from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.hosts.webui import layer_prompts as webui_layers
from lib_unet_viz.hosts.webui import needs, passes, running
from lib_unet_viz.hosts.webui.edit import EditRun
from lib_unet_viz.hosts.webui.layer_prompts import Layers
from lib_unet_viz.hosts.webui.loaded import keeps_model, loaded_unet, module_of
from lib_unet_viz.hosts.webui.run_recording import RunRecording
from lib_unet_viz.hosts.webui.step_rows import StepRows
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
        self._recording = RunRecording(p, settings, layers, ended=self._stop_looking)
        self._rows = StepRows(p, self._recording.note)
        self._known: UNet | None = None  # the U-Net of the step before: its blocks need not be found again
        self._problem: Exception | None = None
        self._params: Any = None
        self._hooks = Hooks()
        if keeps_model(p):
            with self._recording.looking(ValueError):
                self._check(p.sd_model)

    @property
    def trace(self) -> Trace:
        """What was recorded so far."""
        return self._recording.trace

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
        self._recording.finish(stopped=self._problem is not None)

    def begin_step(self, params: Any) -> None:
        """Put the hooks on the U-Net that is going to work. Problems surface in its call, which stops the
        run: the webui only logs what a callback raises.
        """
        try:
            self.end_step()
            self._params = params
            self._rows.begin(params)
            if self._problem is not None:
                raise self._problem
            if not self._recording.over or self._acting:
                with self._recording.looking(*self._raised):
                    self._act()
        except Exception as error:
            self.end_step()
            self._problem = running.for_request(self.p, error)
            running.put_raising(self._hooks, module_of(self.p.sd_model), self._problem)
        except BaseException:
            self.end_step()
            raise

    def _act(self) -> None:
        """On the U-Net of this step, if there is one to look into."""
        self._rows.count()
        unet = self._unet()
        if unet is not None:
            self._install(unet)
        elif self._acting:
            raise ValueError(f"{self._acting} cannot act: {self._recording.notes[-1]}")

    @property
    def _acting(self) -> str:
        """What changes the picture, if anything does."""
        return "layer prompts" if self._reading else "edits" if self.edit is not None else ""

    @property
    def _raised(self) -> tuple[type[Exception], ...]:
        """What may stop the run: all that goes wrong in acting; wrong settings, before the first step."""
        if self._acting:
            return (Exception,)
        return () if self._recording.begun else (ValueError,)

    def _stop_looking(self) -> None:
        """What acts goes on."""
        if self._acting:
            self._recording.remove()
        else:
            self.end_step()

    def end_step(self, params: Any = None) -> None:
        """Take the hooks off. params: what the webui says of a call that went well."""
        with ExitStack() as each:  # all of it, also where a fault or Ctrl-C comes in the midst
            each.callback(self._hooks.close)
            if self.edit is not None:
                each.callback(self.edit.remove)
            each.callback(self._recording.remove)
        if self.edit is not None and params is not None and self._params is not None:
            with self._attempt():
                self.edit.end_call(params.x)
        self._params = None
        self._rows.end()

    def watch_inner(self, p: Any) -> None:
        """Another run takes a step meanwhile, as ADetailer's: say if it was given this one's notation."""
        texts = [*(getattr(p, "prompts", None) or []), *(getattr(p, "negative_prompts", None) or [])]
        if self.layers is not None and any(OPEN in text for text in texts):
            self._recording.note(
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
                self.layers.encode(passes.present(self.p))
            if self.edit is not None:
                self.edit.begin(latents)

    def after_sampling(self, latents: Any) -> None:
        """Blend the last step of an edit."""
        with self._attempt():
            if self.edit is not None:
                self.edit.blend(latents)

    def after_decoding(self, images: Any) -> None:
        """Paste an edit's source, before faces are restored and the picture around a mask is laid over it."""
        with self._attempt():
            if self.edit is not None:
                self.edit.paste(images)

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
            self.edit.install(unet, self._params.denoiser, self._rows.every_call)
        self._recording.install(unet, self._rows.call)
        self._watch(module)

    def _watch(self, module: Any) -> None:
        """Take the hooks off when a call of the U-Net raises, too (torch 2.1 can tell that)."""

        def after(_module: Any, _args: Any, output: Any) -> None:
            if output is None:
                self.end_step()

        if "always_call" in inspect.signature(module.register_forward_hook).parameters:
            self._hooks.put(module.register_forward_hook, after, always_call=True)

    def _announce(self, _module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before all else in a call: which rows it has."""
        with self._recording.looking(*((Exception,) if self._acting else ())):
            self._rows.announce(len(args[0] if args else kwargs["x"]), kwargs)

    def _contexts(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Any]:
        rows = self._rows.present
        if rows is None or self.layers is None:
            raise ValueError(
                "layer prompts: another extension changed the batch; cannot tell which row is which image"
            )
        pass_ = passes.present(self.p)
        return self.layers.contexts(self._params, rows, first=self._rows.first, pass_=pass_)

    def _unet(self) -> UNet | None:
        """The U-Net of this step; None, with a note, where there is none to look into."""
        from modules import sd_unet

        if getattr(sd_unet, "current_unet", None) is not None:  # TensorRT and the like: sd_unet.py:86
            self._recording.note(
                "nothing was recorded: a U-Net in a format of its own (SD Unet, TensorRT) is active"
            )
            return None
        if self._known is None or self._known.module is not module_of(self.p.sd_model):
            try:
                self._known = loaded_unet(self.p.sd_model)
            except UnsupportedModelError as error:
                self._recording.note(str(error))
                return None
        return self._known

    def _check(self, model: Any) -> None:
        """Raise what is wrong before anything runs, where the model is known."""
        try:
            unet = loaded_unet(model)
        except (RuntimeError, UnsupportedModelError):
            return
        if self.edit is not None:
            with suppress(RuntimeError):  # the text encoder is not there yet
                self.edit.check(model, unet)
        needs.check(self.p, unet, self.settings)

    @property
    def has_layers(self) -> bool:
        """Whether the prompts, as far as they are known, have layer prompts that are to be read."""
        return self.layers is not None and any(OPEN in text for text in webui_layers.texts_of(self.p))

    @property
    def _reading(self) -> bool:
        """Whether some block reads its own text in the present pass."""
        return self.layers is not None and self.layers.active(passes.present(self.p))
