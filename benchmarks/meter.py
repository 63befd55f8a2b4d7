"""What a run takes: seconds of the CPU or of the GPU, and how far memory rises meanwhile."""

from __future__ import annotations

import ctypes
import gc
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn


@dataclass(frozen=True)
class Taken:
    """seconds: of the process on all cores, or of the GPU's stream. peak: bytes above what was held before;
    None where the system does not tell.
    """

    seconds: float
    peak: int | None


def taken(action: Callable[[], object], *, device: str) -> Taken:
    """Run once. On a CPU, memory is the resident set's high-water mark (Linux: /proc/self), from where the
    allocator has given back what is free; on a GPU, torch's own.
    """
    gc.collect()
    return _on_gpu(action) if device == "cuda" else _on_cpu(action)


def _on_gpu(action: Callable[[], object]) -> Taken:
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    start.record()
    action()
    end.record()
    torch.cuda.synchronize()
    return Taken(start.elapsed_time(end) / 1000, torch.cuda.max_memory_allocated() - before)


def _on_cpu(action: Callable[[], object]) -> Taken:
    before = _fresh_mark()
    start = time.process_time()
    action()
    seconds = time.process_time() - start
    return Taken(seconds, None if before is None else _kilobytes("VmHWM") * 1024 - before)


def _fresh_mark() -> int | None:
    """Bytes resident now, from which the high-water mark starts anew; None where there is no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc(5): resets VmHWM
    return _kilobytes("VmRSS") * 1024


def _kilobytes(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="ascii"))
    return int(found[1]) if found else 0


class Clock:
    """Adds up the process's seconds of what is done under it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, action: Callable[..., object], *args: object, **kwargs: object) -> object:
        start = time.process_time()
        try:
            return action(*args, **kwargs)
        finally:
            self.seconds += time.process_time() - start


def time_hooks(module: nn.Module, clock: Clock) -> None:
    """The hooks that are there now run under the clock, until they are removed."""
    for part in module.modules():
        for hooks in (part._forward_pre_hooks, part._forward_hooks):
            for number, hook in hooks.items():
                hooks[number] = partial(clock, hook)


def machine(device: str) -> str:
    """The processor's name, cores, threads used and torch's version."""
    if device == "cuda":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.exists() else ""
    names = re.findall(r"model name\s*: (.+)", text)
    threads = torch.get_num_threads()
    used = f"{threads} thread{'s' * (threads != 1)}"
    return f"{names[0] if names else 'CPU'} ({len(names)} cores, {used}), torch {torch.__version__}"
