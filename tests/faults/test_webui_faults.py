"""Faults in runs of the webui, which is stood in for: at lines of ours, in the model; the model switched."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import ldm_unet
from injection import ERRORS, Subject, hooks, places, some
from test_webui_edit import PROMPT, SWAP, Denoiser, asking, modules, sampled
from test_webui_glue import together

from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace

__all__ = ["modules"]
ALL = Settings.from_dict(
    {"features": {"blocks": "", "steps": ""}, "attention": {"blocks": "", "steps": ""}, "heatmaps": True}
)


def looking(unet: Any, settings: Settings = ALL, switch: Any = None) -> tuple[bytes, Trace]:
    """The last latents of a run that is looked at. switch: the U-Net that comes in after the first step."""
    from lib_unet_viz.hosts.webui import generation as webui

    p = asking(unet, prompt=[PROMPT], negative_prompt=["blue"], cfg_scale=5.0, n_iter=1)
    with torch.no_grad(), webui.Generation(p, settings) as generation:
        denoiser = Denoiser(p, together)
        x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
        for step in range(2):
            x = x + (denoiser(x, 1 - step / 2) - x) / 2
            if switch is not None:
                p.sd_model.model = SimpleNamespace(diffusion_model=switch)
    return x.numpy().tobytes(), generation.trace


def editing(unet: Any) -> tuple[bytes, None]:
    return sampled(asking(unet), SWAP)[1].numpy().tobytes(), None


def subject(kind: str, unet: Any) -> Subject:
    return Subject(unet, lambda: looking(unet) if kind == "looking" else editing(unet), logs=True)


@pytest.mark.parametrize(
    ("kind", "count"),
    [
        ("looking", 4),
        pytest.param("looking", 100, marks=pytest.mark.heavy),
        pytest.param("editing", 50, marks=pytest.mark.heavy),
    ],
)
def test_faults_at_lines_of_a_webuis_run(modules: Any, ldm_unet: Any, kind: str, count: int) -> None:
    one = subject(kind, ldm_unet)
    there = places(one.run)
    assert len(there) > 300
    chosen = [(place, ERRORS[at % len(ERRORS)]) for at, place in enumerate(some(there, count))]
    assert one.harmed(chosen) == []


@pytest.mark.parametrize("error", ERRORS)
def test_a_fault_in_the_model_leaves_no_hook_even_where_nobody_is_told(
    modules: Any, ldm_unet: Any, error: type[BaseException]
) -> None:
    """The webui tells an always-on script nothing of a run that an exception ended."""
    from lib_unet_viz.hosts.webui import generation as webui
    from lib_unet_viz.hosts.webui import running

    expected, _ = looking(ldm_unet)

    def fail(*_: Any) -> None:
        raise error("injected")

    p = asking(ldm_unet, prompt=[PROMPT], negative_prompt=["blue"], cfg_scale=5.0)
    generation = webui.Generation(p, ALL)
    generation.__enter__()
    with ldm_unet.middle_block.register_forward_hook(fail), pytest.raises(error, match="injected"):
        Denoiser(p, together)(torch.zeros(1, 4, 8, 8), 1.0)
    if issubclass(error, Exception):
        assert hooks(ldm_unet) == 0
    running.rest()  # as before the next run
    assert hooks(ldm_unet) == 0
    generation.close()
    assert looking(ldm_unet)[0] == expected


def test_a_model_switched_during_a_run_is_looked_at_from_then_on(modules: Any) -> None:
    first, second = ldm_unet(), ldm_unet()
    with torch.no_grad():
        for parameter in second.parameters():
            parameter.mul_(0.9)
    plain, _ = looking(first, Settings.off(), switch=second)
    picture, trace = looking(first, switch=second)
    assert picture == plain
    assert picture != looking(first)[0]
    assert {item.key.step for item in trace.features} == {0, 1}
    assert hooks(first) == hooks(second) == 0
