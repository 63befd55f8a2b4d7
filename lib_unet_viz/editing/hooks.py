"""Prompt-to-prompt: make a picture again with another prompt, and keep what its attention decided.

    editing = Editing(unet, plan, calls=calls)        # calls: the host's word on each
    with editing:
        ...                                           # run source and targets as one batch, from one noise
        latents = editing.blend(latents)              # after each step, where the plan blends
    pictures = editing.pasted(decode(latents))

Hertz et al. 2022, "Prompt-to-Prompt Image Editing with Cross-Attention Control". Unconditional rows are not
edited. In cross-attention, a hook before `to_out[0]` lets another mixture of the values in; in
self-attention, hooks after `to_q` and `to_k` give a target the source's queries and keys. No forward and no
processor is replaced, and where nothing is edited nothing is computed anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from lib_unet_viz.attention import probabilities, split_heads
from lib_unet_viz.capture.request import Call, Calls, Row
from lib_unet_viz.capture.runtime import Hooks, in_this_thread, uncompiled
from lib_unet_viz.editing.alignment import Alignment
from lib_unet_viz.editing.local_blend import Blend, LocalBlend, paste
from lib_unet_viz.editing.mixing import Mixing, Parts, attended
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.notation.windows import Window, Windows, within
from lib_unet_viz.trace import Half
from lib_unet_viz.unet import AttentionSite, Size, UNet

# Coarser maps than 12 x 16 do not say where a word is; 512 x 512 pixels have 16 x 16 in Stable Diffusion 1.
_FEWEST_POSITIONS = 12 * 16


@dataclass(frozen=True)
class Plan:
    """What an edit does: a source picture, number 0 of a batch, and a target for each alignment.

    cross, self_: during which steps a target has the source's attention. self_size: of which self-attention,
    those with at most self_size² positions; 0: as many as `map_size` has. blocks: where.
    """

    targets: tuple[Alignment, ...]
    cross: Windows = field(default_factory=lambda: Windows.of(0.8))
    self_: Window = (0.0, 0.4)
    self_size: int = 0
    blocks: BlockSpec = field(default_factory=lambda: BlockSpec.parse(""))
    blend: Blend | None = None

    @property
    def pictures(self) -> int:
        """How many pictures there are with the source."""
        return 1 + len(self.targets)


class EditError(ValueError):
    """A U-Net call cannot be edited; the message says why."""


@dataclass(frozen=True)
class _Pair:
    """A target of the present call: rows in the batch of it and of its source, both of one half."""

    target: int
    image: int
    half: Half
    row: int
    source: int


class Editing:
    """Context manager; see the module's text. Images are numbered by the host's rows: the first of each
    `plan.pictures` is a source, the others are its targets.

    `masks` has, image by image, each blended step (from 1) and its mask, bool (y, x) of the latent's size.

    repeats: the host makes contexts longer by repeating them, not by padding.

    Raises, when made, SpecError for blocks that the model lacks; during a forward, EditError where a target
    comes without its source, or rows or positions are not those of whole pictures.
    """

    def __init__(self, unet: UNet | nn.Module, plan: Plan, *, calls: Calls, repeats: bool = False) -> None:
        self.plan = plan
        self._calls, self._repeats = calls, repeats
        self._hooks = Hooks()
        self._call: Call | None = None
        self._pairs: list[_Pair] = []
        self._parts: dict[str, Parts] = {}
        self._mixings: dict[int, Mixing] = {}
        self._looked: Size = (0, 0)
        self.masks: dict[int, list[tuple[int, Tensor]]] = {}
        self._local = LocalBlend(plan.blend) if plan.blend else None
        self._looks = bool(plan.blend and plan.blend.words)
        self.follow(UNet.of(unet))

    def follow(self, unet: UNet) -> None:
        """Act on this U-Net; hooks must be off. Raises SpecError for blocks that it lacks."""
        self.unet = unet
        chosen = list(self.plan.blocks.sites(unet))
        self._edited = {
            site.name
            for block, layer in chosen
            for site in unet.attention(block)
            if layer in (None, site.layer)
        }

    def __enter__(self) -> Editing:
        try:
            self.install()
            return self
        except BaseException:
            self.remove()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.remove()

    def install(self) -> None:
        """Put the hooks on. A host that knows when its U-Net works may do so time and again."""
        module, hooks = self.unet.module, self._hooks
        try:
            hooks.enter_context(uncompiled(module))
            hooks.callback(self._end)
            hooks.put(module.register_forward_pre_hook, in_this_thread(self._begin), with_kwargs=True)
            hooks.put(module.register_forward_hook, in_this_thread(self._end))
            for site in self.unet.sites:
                for register, hook in self._hooks_of(site):
                    hooks.put(register, hook)
        except BaseException:
            hooks.close()
            raise

    def remove(self) -> None:
        """Take the hooks off."""
        self._hooks.close()

    def blend(self, latents: Tensor, *, first: int = 0) -> Tensor:
        """The latents (image, channel, y, x) after a step, each target's the source's outside its mask.

        first: number of the first image. Without a blend, or before its start, they stay as they are.
        """
        local, call = self._local, self._call
        if local is None or call is None or not local.blend.begins(call.step, call.total):
            return latents
        blended = latents.clone()
        for at in range(len(latents)):
            number = (first + at) % self.plan.pictures
            if number:
                mask = local.mask(first + at, number, (latents.shape[-2], latents.shape[-1]))
                self.masks.setdefault(first + at, []).append((call.step + 1, mask))
                blended[at] = torch.where(mask.to(latents.device), latents[at], latents[at - number])
        return blended

    def paste(self, images: Tensor, *, first: int = 0) -> Tensor:
        """Decoded images (image, channel, y, x), each target the source's outside its last mask.

        first: number of the first image.
        """
        pasted = images.clone()
        for at in range(len(images)):
            if masks := self.masks.get(first + at):
                source = images[at - (first + at) % self.plan.pictures]
                pasted[at] = paste(source, images[at], masks[-1][1])
        return pasted

    def pasted(self, pictures: Sequence[Image.Image]) -> list[Image.Image]:
        """The same of pictures: the first source and its targets."""
        if not self.masks:
            return list(pictures)
        images = torch.from_numpy(np.stack([np.asarray(each.convert("RGB")) for each in pictures]))
        whole = self.paste(images.movedim(-1, 1).float()).round().byte().movedim(1, -1)
        return [Image.fromarray(each) for each in whole.numpy()]

    # Hooks.

    def _hooks_of(self, site: AttentionSite) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
        """By what each is registered, and the hook."""
        edited = site.name in self._edited
        if site.kind == "self":
            if edited:
                for linear, parts in site.projections:
                    if parts != "v":
                        give = in_this_thread(partial(self._give_source, site, parts))
                        yield linear.register_forward_hook, give
        elif edited or self._looks:
            for linear, parts in site.projections:
                keep = in_this_thread(partial(self._keep, site, parts))
                yield linear.register_forward_hook, keep
            mix = in_this_thread(partial(self._mix, site, edited))
            yield site.to_out.register_forward_pre_hook, mix

    def _begin(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = self._calls(args, kwargs)
        self._parts.clear()
        self._pairs = [] if call is None else self._paired(call.rows)
        if call is None:
            return
        last, self._call = self._call, call
        if last is None or (call.step, call.pass_) != (last.step, last.pass_):
            steps = enumerate(self.plan.targets, start=1)
            self._mixings = {number: self._mixing(target, call) for number, target in steps}
            self._looked = map_size(self.unet, call.size)
        again = last is None or (call.pass_, call.size) != (last.pass_, last.size) or call.step < last.step
        if again and self._local is not None:
            self._local.clear()

    def _end(self, *_: object) -> None:
        """What runs between two forwards, such as another use of a block, is not edited."""
        self._pairs = []
        self._parts.clear()

    def _paired(self, rows: Sequence[Row]) -> list[_Pair]:
        if any(row.half == "cond" and row.sub for row in rows):
            raise EditError("prompts that AND joins cannot be edited: there is no one attention to keep")
        places = {(row.half, row.image): at for at, row in enumerate(rows) if row.half != "uncond"}
        pairs = []
        for (half, image), at in places.items():
            number = image % self.plan.pictures
            if number and (half, image - number) not in places:
                raise EditError("a target came to the U-Net without its source; raise the batch size")
            if number:
                pairs.append(_Pair(number, image, half, at, places[half, image - number]))
        return pairs

    def _mixing(self, target: Alignment, call: Call) -> Mixing:
        alpha = target.alpha(self.plan.cross, call.step, call.total)
        given = alpha * target.strengths
        padding = float(within(self.plan.cross.default, call.step, call.total))
        return Mixing(target.matrix * given, given * ~target.mapped + (1 - alpha), padding)

    def _give_source(
        self, site: AttentionSite, put_out: str, _: nn.Module, __: object, output: Tensor
    ) -> Tensor | None:
        """Q or K of a self-attention, or what has both, where targets have those of the source."""
        call = self._call
        if call is None or not self._pairs or not within(self.plan.self_, call.step, call.total):
            return None
        positions = math.prod(site.size(call.size))
        if positions > (self.plan.self_size**2 or math.prod(self._looked)):
            return None
        self._check(site, output, positions)
        changed = output.clone()
        given = slice(output.shape[-1] * len(put_out.replace("v", "")) // len(put_out))
        for pair in self._pairs:
            if pair.row < len(output):
                changed[pair.row, :, given] = output[pair.source, :, given]
        return changed

    def _keep(self, site: AttentionSite, put_out: str, _: nn.Module, __: object, output: Tensor) -> None:
        if self._pairs:
            parts = zip(put_out, output.chunk(len(put_out), dim=-1), strict=True)
            self._parts.setdefault(site.name, {}).update(parts)

    def _mix(
        self, site: AttentionSite, edited: bool, _: nn.Module, args: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...] | None:
        """What goes into a cross-attention's `to_out[0]`: (row, position, head * channel)."""
        call, parts = self._call, self._parts.pop(site.name, {})
        if call is None or not self._pairs or len(parts) < 3:
            return None
        output, *others = args
        self._check(site, parts["q"], math.prod(site.size(call.size)))
        if self._local is not None and self._looks and site.size(call.size) == self._looked:
            self._look(self._local, site, parts, edited=edited)
        changed = None
        for pair in self._pairs:
            mixing = self._mixing_of(pair, parts)
            if edited and not mixing.idle:
                changed = output.clone() if changed is None else changed
                mixed = mixing.output(site, parts, pair.source, pair.row)
                if site.looks_elsewhere:
                    mixed = mixed + output[pair.row] - attended(site, parts, pair.row)
                changed[pair.row] = mixed.to(output.dtype)
        return None if changed is None else (changed, *others)

    def _mixing_of(self, pair: _Pair, parts: Parts) -> Mixing:
        tokens, mixing = parts["k"].shape[1], self._mixings[pair.target]
        if tokens < max(mixing.of_source.shape):
            raise EditError(
                f"the model reads {tokens} tokens, but the prompts have {max(mixing.of_source.shape)}"
            )
        if self._repeats and not any(tokens % length for length in mixing.of_source.shape):
            return mixing.repeated(tokens // len(mixing.of_source))
        return mixing.longer(tokens)

    def _look(self, local: LocalBlend, site: AttentionSite, parts: Parts, *, edited: bool) -> None:
        """Add what this layer shows of the words to the sums of each target's maps, and its source's."""
        sources: dict[int, Tensor] = {}
        for pair in self._pairs:
            if pair.half != "cond":
                continue
            if pair.source not in sources:
                sources[pair.source] = _probabilities(site, parts, pair.source)
            source, own = sources[pair.source], _probabilities(site, parts, pair.row)
            if edited:
                own = self._mixing_of(pair, parts).maps(source, own)
            target = self.plan.targets[pair.target - 1]
            local.add(pair.image, target, (source, own), self._looked)

    def _check(self, site: AttentionSite, output: Tensor, positions: int) -> None:
        call = self._call
        rows = (len(call.rows), call.attending) if call else ()
        if output.shape[0] not in rows or output.shape[1] != positions:
            raise EditError(
                f"{site.name} attends with {output.shape[0]} rows of {output.shape[1]} positions instead of "
                f"{max(rows, default=0)} rows of {positions}: switch token merging or tiling (HyperTile) off "
                "to edit"
            )


def map_size(unet: UNet, latent: Size) -> Size:
    """(height, width) of the cross-attention maps that a blend looks at: the smallest that have 12 x 16
    positions, such as 16 x 16 for 512 x 512 pixels in Stable Diffusion 1 and 32 x 32 for 1024 x 1024 in XL.
    """
    sizes = {site.size(latent) for site in unet.sites if site.kind == "cross"}
    enough = [size for size in sizes if math.prod(size) >= _FEWEST_POSITIONS]
    return min(enough, key=math.prod) if enough else max(sizes, key=math.prod)


def _probabilities(site: AttentionSite, parts: Parts, row: int) -> Tensor:
    """Of one row, (head, token, position)."""
    q, k = (split_heads(parts[part][row], site.heads) for part in ("q", "k"))
    return torch.cat([chunk for _, chunk in probabilities(q, k, site.scale)], dim=1).transpose(1, 2)
