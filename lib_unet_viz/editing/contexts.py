"""Other contexts for some blocks: each cross-attention may read a text of its own.

    with Contexts(unet, lambda args, kwargs: {"IN04": context, "M00": other}):
        ...                                     # run the model any way you like

Hooks before `to_k` and `to_v` of the cross-attentions let another context in, which every attention
implementation then works with; no forward and no processor is replaced. They are installed on entering and
are gone after leaving, whatever happened in between. Recording at the same time sees the K and the
probabilities of the context that was let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Literal, Protocol

from torch import Tensor, nn

from lib_unet_viz.capture.runtime import Hooks, in_this_thread, uncompiled
from lib_unet_viz.unet import AttentionSite, UNet

Part = Literal["k", "v", "kv"]  # kv: both at once, of a model with fused projections


class Provide(Protocol):
    """Asked once before each forward of the U-Net, with its arguments, for the contexts of this call.

    Returns block names to tensors (row, token, channel), rows as in the call's batch; the number of tokens
    may differ from block to block. A block that is left out reads what the host gives it, as all do on None.
    """

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Mapping[str, Tensor] | None: ...


class Transform(Protocol):
    """What the host does to every context before `to_k` ("k") or `to_v` (the webui's hypernetworks)."""

    def __call__(self, part: Part, site: AttentionSite, context: Tensor, /) -> Tensor: ...


class Contexts:
    """Context manager; see the module's text. It may be entered again after it was left.

    During a forward, ValueError where `provide` names a block that the model lacks, or where its rows are
    not as many as the call's. A block without cross-attention may be named, and nothing comes of it.
    """

    def __init__(
        self, unet: UNet | nn.Module, provide: Provide, *, transform: Transform | None = None
    ) -> None:
        self.unet = UNet.of(unet)
        self._provide = provide
        self._transform = transform
        self._given: Mapping[str, Tensor] = {}
        self._hooks = Hooks()

    def __enter__(self) -> Contexts:
        try:
            self._install()
            return self
        except BaseException:
            self._hooks.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._hooks.close()

    def _install(self) -> None:
        module, hooks = self.unet.module, self._hooks
        hooks.enter_context(uncompiled(module))
        hooks.callback(self._after)
        hooks.put(module.register_forward_pre_hook, in_this_thread(self._before), with_kwargs=True)
        hooks.put(module.register_forward_hook, in_this_thread(self._after))
        for site in self.unet.sites:
            if site.kind == "cross":
                for linear, parts in site.projections:
                    if parts != "q":
                        enter = in_this_thread(partial(self._enter, parts, site))  # type: ignore[arg-type]
                        hooks.put(linear.register_forward_pre_hook, enter)

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._given = {}
        given = self._provide(args, kwargs) or {}
        unknown = [name for name in given if name not in self.unet.blocks]
        if unknown:
            there = ", ".join(self.unet.blocks)
            raise ValueError(
                f"contexts for blocks that this model lacks: {', '.join(unknown)}; it has {there}"
            )
        self._given = given

    def _after(self, *_: object) -> None:
        """What runs between two forwards, such as another use of a block, reads what it is given."""
        self._given = {}

    def _enter(
        self, part: Part, site: AttentionSite, _: nn.Module, args: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...] | None:
        context = self._given.get(site.block)
        if context is None:
            return None
        present, *others = args
        if len(context) != len(present):
            raise ValueError(
                f"the context for {site.block} has {len(context)} rows, but the call has {len(present)}"
            )
        context = context.to(present.device, present.dtype)
        if self._transform is not None:
            context = self._transform(part, site, context)
        return (context, *others)
