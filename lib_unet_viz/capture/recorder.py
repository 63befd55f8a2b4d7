"""Records what happens inside a U-Net while it runs, with hooks that only look.

    attention = Capture("M00", "1-20(+5)")
    with Recorder(unet, features=Capture("OUT11"), attention=attention, calls=host.calls) as trace:
        ...                                     # run the model any way you like
    trace.features.one(block="OUT11", step=20)

Hooks are installed on entering and are gone after leaving, whatever happened in between. They sit on the
U-Net, on the blocks' outputs and on the linear layers `to_q`, `to_k`, `to_v` of attentions, which every
attention implementation calls; no forward and no processor is replaced, so pictures are the same to the
byte. What goes wrong in a hook ends the recording with a note, and the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from threading import get_ident
from types import TracebackType
from typing import Any

from torch import nn

from lib_unet_viz.capture.hooks import AttentionTap, FeatureTap, Tap
from lib_unet_viz.capture.recording import Recording
from lib_unet_viz.capture.request import BudgetError, Call, Calls, Capture, Row, estimate, listed
from lib_unet_viz.capture.runtime import Hooks, is_compiled, uncompiled
from lib_unet_viz.meta import Meta
from lib_unet_viz.notation.errors import ranges
from lib_unet_viz.trace import Pass, Trace
from lib_unet_viz.unet import UNet

__all__ = [
    "BudgetError",
    "Call",
    "Calls",
    "Cancelled",
    "Capture",
    "NothingCaptured",
    "Recorder",
    "Row",
    "estimate",
]


_COMPILED = (
    "the U-Net is compiled (torch.compile): while it was recorded it ran as it was written, so the picture "
    "may differ from a compiled run's in its last digits"
)


class Cancelled(Exception):  # noqa: N818 - a wish, not an error
    """The person asked the run to stop; what was captured is in `trace`."""

    def __init__(self, trace: Trace) -> None:
        super().__init__("cancelled")
        self.trace = trace


class NothingCaptured(RuntimeError):
    """The run ended normally, yet nothing of what was asked for was seen; the message says why."""


class Recorder:
    """Context manager that fills a `Trace`; see the module's text. It records one run.

    attention: one capture or several, such as some raw maps and a mean; a map that two ask for is kept once.
    calls: the host's word on what each forward is (`hosts.diffusers.attach(pipe).calls`).
    meta: what is known of the run, copied into the trace. budget: bytes that the maps may take.

    Raises SpecError, when made, for blocks that the model lacks; BudgetError before the first forward if
    the run is going to exceed the budget; NothingCaptured on leaving, where nothing went wrong. An exception
    inside passes through; what was recorded until then stays in the trace.
    """

    def __init__(
        self,
        unet: UNet | nn.Module,
        *,
        features: Capture | None = None,
        attention: Capture | Iterable[Capture] | None = None,
        calls: Calls,
        meta: Mapping[str, Any] | None = None,
        budget: int | None = None,
    ) -> None:
        self.unet = UNet.of(unet)
        self.trace = Trace(meta=Meta.of({"blocks": list(self.unet.layout.names), **(meta or {})}))
        self._calls = calls
        self._features = features
        self._attention = listed(attention)
        self._recording = Recording(self.trace, budget)
        self._taps: list[Tap] = []
        if features is not None:
            self._taps.append(FeatureTap(features, self.unet, self._recording))
        self._taps += [AttentionTap(capture, self.unet, self._recording) for capture in self._attention]
        self._hooks = Hooks()
        self._asked, self._followed = 0, False
        self._totals: dict[Pass, int] = {}
        self._evaluated: dict[Pass, set[int]] = {}  # steps from 1

    def __enter__(self) -> Trace:
        try:
            self.install()
            return self.trace
        except BaseException:
            self._hooks.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.remove()
        finally:
            self._hooks.close()
        self.finish(check=kind is None)

    def install(self) -> None:
        """Put the hooks on the U-Net, which is to be run in this thread. A host that knows when its U-Net
        works may do so time and again.
        """
        module = self.unet.module
        self._recording.thread = get_ident()
        try:
            if is_compiled(module):
                self._hooks.enter_context(uncompiled(module))
                self._recording.note(_COMPILED)
            before = self._recording.guarded(self._before, BudgetError)
            self._hooks.put(module.register_forward_pre_hook, before, with_kwargs=True)
            self._hooks.put(module.register_forward_hook, self._recording.guarded(self._after))
            for tap in self._taps:
                tap.install(self._hooks)
        except BaseException:
            self._hooks.close()
            raise

    def remove(self) -> None:
        """Take the hooks off."""
        try:
            self._hooks.close()
        finally:
            self._recording.guarded(self._after)()

    def follow(self, unet: UNet) -> None:
        """Go on with another U-Net of the same run, such as a refiner's; hooks must be off.

        What was asked for and this one lacks is noted and no longer recorded.
        """
        self.unet, self._followed = unet, True
        names = list(unet.layout.names)
        meta = self.trace.meta
        self.trace.meta = replace(meta, blocks=max(meta.blocks or [], names, key=len))
        for tap in self._taps:
            tap.follow(unet)

    def finish(self, *, check: bool = True) -> None:
        """Complete the trace after the run. check: raise NothingCaptured if that is so."""
        for tap in self._taps:
            try:
                tap.finish()
            except Exception as error:
                self._recording.end(error)
        if check and not self._recording.ended:
            try:
                self._check()
            except NothingCaptured:
                raise
            except Exception as error:
                self._recording.end(error)

    @property
    def _total(self) -> int:
        return max(self._totals.values(), default=0)

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._after()
        self._asked += 1
        call = self._calls(args, kwargs)
        if call is None:
            return
        self._recording.step = call.step + 1
        if not self._total:
            self._check_budget(call)
        self._totals[call.pass_] = max(self._totals.get(call.pass_, 0), call.total)
        self._evaluated.setdefault(call.pass_, set()).add(call.step + 1)
        self.trace.meta = _described(self.trace.meta, call, self.unet)
        for tap in self._taps:
            tap.begin(call)

    def _after(self, *_: object) -> None:
        """What runs between two forwards, such as another use of a block, belongs to no call."""
        for tap in self._taps:
            tap.end()

    def _check_budget(self, call: Call) -> None:
        budget = self._recording.budget
        if budget is None:
            return
        needed = estimate(
            self.unet,
            features=self._features,
            attention=self._attention,
            size=call.size,
            total=call.total,
            images=1 + max((row.image for row in call.rows), default=0),
        )
        if needed > budget:
            raise BudgetError(needed, budget)

    def _check(self) -> None:
        """Say which steps there were not, and whether anything was recorded at all."""
        for tap in self._taps:
            beyond = tap.capture.steps.beyond(self._total) if self._total else []
            if beyond:
                self._recording.note(
                    f"{tap.name}: the run had {self._total} steps; not recorded: {ranges(beyond)}"
                )
            self._name_missing(tap)
        if not self._followed:
            self._name_skipped()
        reasons = [f"{tap.name}: {self._why(tap)}" for tap in self._taps if not tap.seen]
        if reasons and not any(tap.seen for tap in self._taps):
            raise NothingCaptured("nothing was recorded. " + " ".join([*reasons, *self.trace.notes]))
        for reason in reasons:
            self._recording.note(reason)

    def _name_missing(self, tap: Tap) -> None:
        """Say which steps were asked for but never evaluated: the webui's DDIM calls 3 times for 4."""
        if tap.capture.mean:
            return
        for pass_, total in self._totals.items():
            there = self._evaluated[pass_]
            missing = [step for step in tap.capture.steps.steps(total) if step not in there]
            if missing:
                where = " in the hires pass" if pass_ == "hires" else ""
                self._recording.note(
                    f"{tap.name}: of {total} steps{where}, the sampler evaluated no "
                    f"{ranges(missing)}: nothing to record there"
                )

    def _name_skipped(self) -> None:
        """Say what was left out of steps that were evaluated, as caches do (DeepCache)."""
        found: dict[tuple[str, tuple[int, ...]], dict[str, None]] = {}
        for tap in self._taps:
            if tap.seen:
                for steps, names in tap.skipped().items():
                    found.setdefault((tap.name, steps), {}).update(dict.fromkeys(names))
        for (name, steps), skipped in found.items():
            self._recording.note(
                f"{name}: the model skipped {', '.join(skipped)} at step {ranges(steps)}: "
                "nothing to record there"
            )

    def _why(self, tap: Tap) -> str:
        capture = tap.capture
        if not self._asked and self._recording.elsewhere:
            return "the U-Net was called in another thread only: enter the Recorder in the one that runs it."
        if not self._asked:
            return "the U-Net was not called: nothing was run, or another U-Net (TensorRT, a new model) was."
        if not self._total:
            return f"the U-Net was called {self._asked} times, but none of these calls was a step to record."
        if not capture.steps.steps(self._total):
            return f"no step of {capture.steps.text!r} is among the run's {self._total}."
        if not tap.begun:
            halves = " or ".join(sorted(capture.halves))
            images = "" if capture.images is None else f" of the images {', '.join(map(str, capture.images))}"
            steps = f" ({capture.steps.text})" if capture.steps.text else ""
            return f"no call was of a step asked for{steps} and had {halves} rows{images}."
        return (
            "the U-Net was called, but its layers were not, or not with whole pictures: it runs in TensorRT, "
            "has fused projections that are not diffusers' own, or merged tokens."
        )


def _described(meta: Meta, call: Call, unet: UNet) -> Meta:
    """With the run's steps, sigmas and sizes, as far as this call tells them."""
    first = call.pass_ == "first"
    sigmas = list((meta.sigmas if first else meta.sigmas_hires) or ())
    sigmas.extend([None] * (call.total - len(sigmas)))
    if 0 <= call.step < len(sigmas) and sigmas[call.step] is None:
        sigmas[call.step] = call.sigma
    size = list(call.size)
    shapes = (meta.shapes if first else meta.shapes_hires) or {
        name: list(block.shapes(call.size)[1]) for name, block in unet.blocks.items()
    }
    if first:
        return replace(meta, steps=call.total, size=size, sigmas=sigmas, shapes=shapes)
    return replace(meta, steps_hires=call.total, size_hires=size, sigmas_hires=sigmas, shapes_hires=shapes)
