"""The hooks of a recording: one tap for block features, one for attentions."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lib_unet_viz.attention import (
    informed_mean,
    mean_over_heads,
    mixed_values,
    positions,
    split_heads,
    token_maps,
)
from lib_unet_viz.capture.recording import Recording
from lib_unet_viz.capture.request import Call, Capture, Row, stored_dtype
from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, What
from lib_unet_viz.unet import AttentionSite, UNet

_PARTS = {"Q": "q", "K": "k", "QK": "qk", "VQK": "qkv"}


class NoSuchTokensError(ValueError):
    """What was asked for is wrong: a context has fewer tokens. Known in the first call only."""

    def __init__(self, tokens: list[int], length: int) -> None:
        super().__init__(f"tokens {tokens}: the context has the tokens 0 to {length - 1} only")


class Tap:
    """One capture at work: which rows of the present call it keeps. Between calls it keeps nothing."""

    name: ClassVar[str]

    def __init__(self, capture: Capture, recording: Recording) -> None:
        self.capture = capture
        self.recording = recording
        self.begun: set[tuple[str, int, Row]] = set()
        self.ran: dict[str, set[int]] = {}  # steps, from 1, of the first pass, by what was seen at work
        self.seen = False
        self._call: Call | None = None
        self._rows: list[tuple[int, Row]] = []

    def install(self, hooks: Hooks) -> None:
        """Put the hooks on."""
        raise NotImplementedError

    def attach(self, unet: UNet) -> None:
        """Choose the places of a U-Net to look at; raises SpecError where it lacks what is asked for."""
        raise NotImplementedError

    @property
    def places(self) -> list[str]:
        """Names of what is looked at."""
        raise NotImplementedError

    def skipped(self) -> dict[tuple[int, ...], list[str]]:
        """What was not called in steps of the first pass that were to be recorded, by these (from 1)."""
        wanted = {step + 1 for pass_, step, _ in self.begun if pass_ == "first"}
        found: dict[tuple[int, ...], list[str]] = {}
        for name in self.places:
            missing = tuple(sorted(wanted - self.ran.get(name, set())))
            if missing:
                found.setdefault(missing, []).append(name)
        return found

    def _saw(self, name: str) -> None:
        if self._call is not None and self._call.pass_ == "first":
            self.ran.setdefault(name, set()).add(self._call.step + 1)

    def follow(self, unet: UNet) -> None:
        """Go on with another U-Net, or say why not."""
        try:
            self.attach(unet)
        except SpecError as error:
            self._leave()
            self.recording.note(f"{self.name}: not recorded after the model changed, as {error.message}")

    def _leave(self) -> None:
        """Look at nothing any more."""
        raise NotImplementedError

    def begin(self, call: Call) -> None:
        """Choose the call's rows. One that comes again adds to a mean, and else is not recorded twice."""
        chosen = self.capture.rows(call)
        again = set() if self.capture.mean else self.begun
        self._call = call
        self._rows = [(at, row) for at, row in chosen if (call.pass_, call.step, row) not in again]
        self.begun |= {(call.pass_, call.step, row) for _, row in chosen}
        if len(self._rows) < len(chosen):
            self.recording.note(
                f"{self.name}: a step came again for the same image; only its first is recorded"
            )

    def end(self) -> None:
        self._call = None
        self._rows = []

    def finish(self) -> None:
        """Called once after the run."""


class FeatureTap(Tap):
    """Keeps blocks' outputs."""

    name = "features"

    def __init__(self, capture: Capture, unet: UNet, recording: Recording) -> None:
        super().__init__(capture, recording)
        if capture.mean:
            raise ValueError("a mean is of attention's QK only, not of features")
        self.attach(unet)

    def attach(self, unet: UNet) -> None:
        self._blocks = [unet.blocks[block] for block in self.capture.blocks.names(unet)]

    @property
    def places(self) -> list[str]:
        return [block.name for block in self._blocks]

    def _leave(self) -> None:
        self._blocks = []

    def install(self, hooks: Hooks) -> None:
        for block in self._blocks:
            look = self.recording.guarded(partial(self._output, block.name))
            hooks.put(block.output_module.register_forward_hook, look)

    def _output(self, block: str, _module: nn.Module, _args: object, output: Any) -> None:
        if self._call is None or not self._rows:
            return
        self._saw(block)
        tensor: Tensor = output if isinstance(output, Tensor) else output[0]
        if len(tensor) != len(self._call.rows):
            raise ValueError(f"{block} put out {len(tensor)} rows, but the host named {len(self._call.rows)}")
        dtype = stored_dtype(tensor.dtype)
        step, pass_ = self._call.step, self._call.pass_
        for at, row in self._rows:
            self.recording.reserve(tensor[at].numel(), dtype)
            key = Key(block, "features", None, None, step, pass_, row.image, row.half, row.sub)
            with torch.inference_mode(False), torch.no_grad():  # see `_copied`
                data = _copied(tensor[at], dtype)
            self.recording.trace.features.add(FeatureMap(key, data, self._call.sigma))
        self.seen = True


class AttentionTap(Tap):
    """Keeps Q, K, QK, VQK of attentions, computed from the linear layers' outputs as soon as these are
    complete.
    """

    name = "attention"

    def __init__(self, capture: Capture, unet: UNet, recording: Recording) -> None:
        super().__init__(capture, recording)
        self.attach(unet)
        self._parts = {part for what in capture.what for part in _PARTS[what]}
        self._pending: dict[str, dict[str, Tensor]] = {}
        self._sums: dict[Key, Tensor] = {}
        self._counts: dict[Key, int] = {}

    def attach(self, unet: UNet) -> None:
        self._sites = self.capture.sites(unet)

    @property
    def places(self) -> list[str]:
        return [site.name for site in self._sites]

    def _leave(self) -> None:
        self._sites = []

    def install(self, hooks: Hooks) -> None:
        for site in self._sites:
            for linear, parts in site.projections:
                if self._parts.intersection(parts):
                    look = self.recording.guarded(partial(self._output, site, parts), NoSuchTokensError)
                    hooks.put(linear.register_forward_hook, look)

    def end(self) -> None:
        super().end()
        self._pending.clear()

    def finish(self) -> None:
        with torch.inference_mode(False), torch.no_grad():  # see `_copied`
            for key, total in self._sums.items():
                mean = _copied(total / self._counts[key], torch.float32)
                self._add(key, mean, None)
        self._sums.clear()

    def _output(
        self, site: AttentionSite, put_out: str, _module: nn.Module, _args: object, output: Tensor
    ) -> None:
        if self._call is None or not self._rows:
            return
        parts = self._pending.setdefault(site.name, {})
        each = zip(put_out, output.chunk(len(put_out), dim=-1), strict=True)
        parts.update({part: tensor for part, tensor in each if part in self._parts})
        if len(parts) == len(self._parts):
            del self._pending[site.name]
            self._saw(site.name)
            if self._fits(self._call, site, parts):
                self._record(self._call, site, parts)

    def _fits(self, call: Call, site: AttentionSite, parts: dict[str, Tensor]) -> bool:
        """Whether it is not too large, and each row a whole picture: token merging shortens the queries,
        tiling adds rows.
        """
        height, width = site.size(call.size)
        if self.capture.most is not None and height * width > self.capture.most:
            self.seen = True  # and left out, as asked
            return False
        for part, tensor in parts.items():
            rows, length = tensor.shape[0], tensor.shape[1]
            if rows not in (len(call.rows), call.attending) or (part == "q" and length != height * width):
                self.recording.note(
                    f"{site.name} is not recorded: it attended with {rows} rows of {length} positions "
                    f"instead of {len(call.rows)} rows of {height} x {width} (token merging, tiling?)"
                )
                return False
        return True

    def _record(self, call: Call, site: AttentionSite, parts: dict[str, Tensor]) -> None:
        step = None if self.capture.mean else call.step
        size = site.size(call.size)
        attending = len(next(iter(parts.values())))
        for at, row in self._rows:
            if at >= attending:
                self.recording.note(f"{site.name} is not recorded in perturbed rows: they skip it")
                continue
            with torch.inference_mode(False), torch.no_grad():  # see `_copied`
                heads = {part: split_heads(tensor[at], site.heads) for part, tensor in parts.items()}
                for what in sorted(self.capture.what):
                    place = (site.block, what, site.layer, site.kind)
                    key = Key(*place, step, call.pass_, row.image, row.half, row.sub)
                    if not self.recording.claim(key, self):
                        continue
                    if self.capture.mean:
                        self._sum(key, site, heads, size)
                    else:
                        self._add(key, self._computed(what, site, heads, size), call.sigma)
        self.seen = True

    def _computed(
        self, what: What, site: AttentionSite, heads: dict[str, Tensor], size: tuple[int, int]
    ) -> Tensor:
        """One map on the CPU, with the axes that `trace.AXES` gives."""
        dtype = stored_dtype(next(iter(heads.values())).dtype)
        if what == "QK":
            tokens = self._tokens(site, heads["k"])
            kept = heads["k"].shape[1] if tokens is None else len(tokens)
            self.recording.reserve(site.heads * kept * heads["q"].shape[1], dtype)
            maps = token_maps(heads["q"], heads["k"], site.scale, tokens=tokens, dtype=dtype)
            return maps.reshape(site.heads, kept, *size)
        self.recording.reserve(heads["k" if what == "K" else "q"].numel(), dtype)
        if what == "K":
            return _copied(heads["k"], dtype)
        if what == "Q":
            return _copied(positions(heads["q"], size), dtype)
        return _copied(positions(mixed_values(heads["q"], heads["k"], heads["v"], site.scale), size), dtype)

    def _sum(self, key: Key, site: AttentionSite, heads: dict[str, Tensor], size: tuple[int, int]) -> None:
        """Add this step's mean over heads to the running sum (head 1, token, y, x), where q is.

        Tokens that a step's text does not have count as 0 in it.
        """
        if site.kind == "self":
            mean = informed_mean(heads["q"], heads["k"], site.scale)
        else:
            tokens = self._tokens(site, heads["k"])
            mean = mean_over_heads(heads["q"], heads["k"], site.scale, tokens=tokens)
        there = self._sums.get(key, torch.zeros(1, 0, *size, device=mean.device))
        if there.shape[2:] != size:
            self.recording.note(
                "layers whose size changed during the run, as with a refiner, are averaged over the steps "
                "before only"
            )
            return
        longer = len(mean) - there.shape[1]
        if longer > 0:  # the first step; later, prompt editing may change the number of tokens
            self.recording.reserve(longer * math.prod(size), torch.float32)
            there = self._sums[key] = nn.functional.pad(there, (0, 0, 0, 0, 0, longer))
        there[:, : len(mean)] += mean.reshape(1, -1, *size)
        self._counts[key] = self._counts.get(key, 0) + 1

    def _tokens(self, site: AttentionSite, k: Tensor) -> tuple[int, ...] | None:
        tokens = self.capture.tokens if site.kind == "cross" else None
        if tokens and not all(0 <= token < k.shape[1] for token in tokens):
            raise NoSuchTokensError(list(tokens), k.shape[1])
        return tokens

    def _add(self, key: Key, data: Tensor, sigma: float | None) -> None:
        tokens = self.capture.tokens if key.kind == "cross" and key.what == "QK" else None
        self.recording.trace.attention.add(AttentionMap(key, data, sigma, tokens=tokens))


def _copied(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """A contiguous copy on the CPU: hosts change outputs in place afterwards (Forge, backend/nn/unet.py).

    Made without a graph, and outside of an inference mode that the host is in, which the copy outlives.
    """
    return tensor.detach().to("cpu", dtype, copy=True, memory_format=torch.contiguous_format)
