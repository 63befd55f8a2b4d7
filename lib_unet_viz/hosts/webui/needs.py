"""What a Recorder is to keep of a generation, and whether that fits its budget."""

from __future__ import annotations

from typing import Any

from lib_unet_viz.capture.request import BudgetError, estimate
from lib_unet_viz.hosts.webui.loaded import FACTOR
from lib_unet_viz.settings import Half, Settings
from lib_unet_viz.unet import UNet

HALVES: tuple[Half, ...] = ("cond",)  # of which word maps are made


def budget(settings: Settings) -> int:
    """Bytes that its maps may take."""
    return settings.budget_mb * 1_000_000


def check(p: Any, unet: UNet, settings: Settings) -> None:
    """Before anything runs: raises SpecError for blocks that the model lacks, BudgetError for too much to
    keep, of both passes.
    """
    asked = settings.captures(unet, halves=HALVES)
    images = p.n_iter * p.batch_size
    size, steps = (p.height // FACTOR, p.width // FACTOR), max(1, p.steps)
    needed = estimate(unet, **asked, size=size, total=steps, images=images)
    if getattr(p, "enable_hr", False):
        scale = p.hr_scale or 1
        sides = (p.hr_resize_y or p.height * scale, p.hr_resize_x or p.width * scale)
        larger = (int(sides[0] // FACTOR), int(sides[1] // FACTOR))
        second = p.hr_second_pass_steps or steps
        needed += estimate(unet, **asked, size=larger, total=second, images=images)
    if needed > budget(settings):
        raise BudgetError(needed, budget(settings))
