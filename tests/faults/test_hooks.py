"""Faults while hooks are taken off: none is left on."""

from __future__ import annotations

import contextlib
import sys
from types import FrameType
from typing import Any

import pytest
import torch
from standin import TinyUNet
from torch.utils import hooks as torch_hooks

from lib_unet_viz.capture import recorder, runtime
from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row

FILES = {module.__file__ for module in (recorder, runtime, contextlib, torch_hooks)}


def hooks(module: torch.nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def leave(module: TinyUNet, at: int) -> tuple[int, int]:
    """Leave a recording with Ctrl-C at its line `at`, from 0. Returns the lines run, and hooks left."""
    lines = 0

    def local(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        if event == "line":
            lines += 1
            if lines == at + 1:
                raise KeyboardInterrupt
        return local

    recording = Recorder(module, features=Capture(), attention=Capture(), calls=_calls)
    recording.install()
    before = sys.gettrace()
    sys.settrace(lambda frame, *_: local if frame.f_code.co_filename in FILES else None)
    try:
        recording.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    left = hooks(module)
    for part in module.modules():
        part._forward_hooks.clear()
        part._forward_pre_hooks.clear()
    return lines, left


def _calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
    return Call(0, 1, 1.0, (Row(0, "cond"),), (8, 8))


def test_ctrl_c_at_any_line_of_leaving_leaves_no_hook() -> None:
    module = TinyUNet()
    lines, left = leave(module, sys.maxsize)
    assert left == 0
    assert lines > 100
    # Line 0 is Recorder.__exit__'s own `try`, before which nothing of ours can stand.
    assert {at: left for at in range(1, lines) if (left := leave(module, at)[1])} == {}


def test_a_hook_that_cannot_be_taken_off_keeps_no_other_on() -> None:
    module = TinyUNet()
    recording = Recorder(module, features=Capture(), calls=_calls)

    def fault() -> None:
        raise RuntimeError("in mid-removal")

    recording.install()
    recording._hooks.callback(fault)
    with pytest.raises(RuntimeError, match="in mid-removal"):
        recording.remove()
    assert hooks(module) == 0
