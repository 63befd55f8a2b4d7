"""What may lie between a U-Net at work and hooks on it: other threads, and torch.compile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import get_ident
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle


class Hooks(ExitStack):
    """Hooks that are taken off together; a fault in the midst, or Ctrl-C, is raised when all are off."""

    def put(self, register: Callable[..., RemovableHandle], hook: Callable[..., Any], **how: Any) -> None:
        """Put a hook on by a module's `register_forward_hook` or `register_forward_pre_hook`."""
        # First, as a fault may come before the handle is here, and a second time before it is of use.
        self.callback(_take_off, register.__self__, hook)  # type: ignore[attr-defined]
        self.callback(register(hook, **how).remove)

    def close(self) -> None:
        try:
            super().close()
        finally:
            super().close()  # what a fault left on


def _take_off(module: nn.Module, hook: Callable[..., Any]) -> None:
    for there in (module._forward_hooks, module._forward_pre_hooks):
        for number in [number for number, each in there.items() if each is hook]:
            del there[number]


def in_this_thread(hook: Callable[..., Any]) -> Callable[..., Any]:
    """The hook, which leaves alone what other threads do with the same U-Net at the same time."""
    thread = get_ident()

    def acting(*args: Any, **kwargs: Any) -> Any:
        return hook(*args, **kwargs) if get_ident() == thread else None

    return acting


def is_compiled(module: nn.Module) -> bool:
    """Whether torch.compile has been asked for it, or for a part of it."""
    if "torch._dynamo" not in sys.modules:
        return False
    return hasattr(module, "_orig_mod") or any(
        getattr(part, "_compiled_call_impl", None) is not None
        or hasattr(part.forward, "_torchdynamo_orig_callable")
        for part in module.modules()
    )


def uncompiled(module: nn.Module) -> AbstractContextManager[Any]:
    """While it lasts, a compiled U-Net runs as it was written, so that its layers' hooks are called.

    Compiled code does not look for hooks that came later, and traced into hooks it compiles anew at each
    step. This acts on all compiled models of the process, and gives back what was compiled. Raises ValueError
    where torch is older than 2.6 and has no such switch.
    """
    if not is_compiled(module):
        return nullcontext()
    if not hasattr(getattr(torch, "compiler", None), "set_stance"):
        raise ValueError(
            "this U-Net is compiled (torch.compile), and so its layers cannot be looked into with torch "
            f"{torch.__version__}: hand over the model as it was before, or use torch 2.6 or newer"
        )
    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
