"""The generations that take part in a run of the webui, and what its callbacks tell them.

This is all that the webui needs while none does; `generation` is imported for the first one. References are
to the webui's v1.10.1.
"""

from __future__ import annotations

import weakref
from typing import Any, Protocol

from lib_unet_viz.capture.runtime import Hooks
from lib_unet_viz.hosts.webui.loaded import module_of
from lib_unet_viz.notation.specs import SpecError


class Generation(Protocol):
    """What the webui tells `generation.Generation` of the run of its `p`."""

    p: Any
    layers: Any

    def begin_step(self, params: Any) -> None: ...
    def end_step(self, params: Any = None) -> None: ...
    def watch_inner(self, p: Any) -> None: ...
    def take_prompts(self) -> None: ...
    def before_sampling(self, latents: Any) -> None: ...
    def after_sampling(self, latents: Any) -> None: ...
    def after_decoding(self, images: Any) -> None: ...
    def close(self) -> None: ...


# Weakly: the webui tells an always-on script nothing of a run that an exception ended (processing.py:1148).
_running: weakref.WeakSet[Generation | Refusal] = weakref.WeakSet()


def add(one: Generation | Refusal) -> None:
    """From now on it takes part in the run of its `p`."""
    _running.add(one)


def discard(one: Generation | Refusal) -> None:
    """It takes part in nothing any more."""
    _running.discard(one)


def before_denoiser(params: Any) -> None:
    """To be called by `on_cfg_denoiser`: the denoiser is about to call the U-Net."""
    p = getattr(params.denoiser, "p", None)
    for one in list(_running):
        if p is one.p:
            one.begin_step(params)
        elif not isinstance(one, Refusal):
            one.watch_inner(p)


def after_denoiser(params: Any = None) -> None:
    """To be called by `on_cfg_after_cfg`: the denoiser is done with the step."""
    for one in list(_running):
        one.end_step(params)


def running(p: Any) -> list[Generation]:
    """The generations that take part in a run."""
    return [one for one in list(_running) if not isinstance(one, Refusal) and one.p is p]


def rest() -> None:
    """Before a new run: one that an exception ended may have left its hooks (torch before 2.1)."""
    after_denoiser()


def forget_all() -> None:
    """Take everything off, when the extension is unloaded."""
    while _running:
        _running.pop().close()


class Refusal:
    """Stops a run whose settings are wrong: the webui only logs what an always-on script raises."""

    def __init__(self, p: Any, error: Exception) -> None:
        self.p, self.error = p, error
        self._hooks = Hooks()

    def __enter__(self) -> Refusal:
        add(self)
        return self

    def __exit__(self, *_: object) -> None:
        discard(self)

    def begin_step(self, _: Any) -> None:
        """Raise in the U-Net's call."""
        self.end_step()
        put_raising(self._hooks, module_of(self.p.sd_model), self.error)

    def end_step(self, _: Any = None) -> None:
        """Take the hook off."""
        self._hooks.close()

    close = end_step


def for_request(p: Any, error: Exception) -> Exception:
    """The error as it is to leave the webui: a request gets a 422 for what it got wrong.

    The page gets one line, as lines run into each other there (call_queue.py:89).
    """
    if not isinstance(error, ValueError):
        return error
    if not getattr(p, "is_api", False):
        return ValueError(error.line) if isinstance(error, SpecError) else error
    from fastapi import HTTPException

    return HTTPException(status_code=422, detail=str(error))


def put_raising(hooks: Hooks, module: Any, error: Exception) -> None:
    """A hook that raises an error in the module's next call, once: others that wait there are taken off."""

    def stop(*_: Any) -> None:
        rest()
        raise error

    hooks.put(module.register_forward_pre_hook, stop)
