"""Runs of diffusers' pipelines: steps, schedulers, rows, threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

import diffusers
from pipelines import PROMPT, SIDE, Built, built, called, recorded

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture
from lib_unet_viz.editing.hooks import Editing
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps.words import word_maps
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.trace import Trace

# diffusers' schedulers give tensors to numpy's functions.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Should have t:UserWarning"),  # torchsde, of rounding
]

ALL = ("cond", "uncond", "perturbed")

# Those that diffusers' own Stable Diffusion runs with as they come.
SCHEDULERS = [
    *("CMStochasticIterative", "CogVideoXDDIM", "DDIM", "DDIMInverse", "DDIMParallel", "DDPM"),
    *("DDPMParallel", "DEISMultistep", "DPMSolverMultistep", "DPMSolverMultistepInverse"),
    *("DPMSolverSinglestep", "EDMDPMSolverMultistep", "EDMEuler", "EulerAncestralDiscrete"),
    *("EulerDiscrete", "HeunDiscrete", "IPNDM", "KDPM2AncestralDiscrete", "KDPM2Discrete"),
    *("LCM", "PNDM", "SASolver", "TCD", "UniPCMultistep"),
]


# Those that do so where another package is there.
NEEDING = {"DPMSolverSDE": "torchsde", "LMSDiscrete": "scipy"}


@pytest.mark.parametrize("name", [*SCHEDULERS, *NEEDING])
def test_every_scheduler_is_recorded(name: str) -> None:
    if name in NEEDING:
        pytest.importorskip(NEEDING[name])
    with built("Stable Diffusion") as made:
        made.pipe.scheduler = scheduler(name, made.pipe.scheduler.config)
        made.steps = 4
        trace = recorded(made, features=Capture("M00"))
    assert [item.key.step for item in trace.features] == [0, 1, 2, 3]
    assert trace.notes == []
    sigmas = [sigma for sigma in trace.meta["sigmas"] if sigma is not None]
    assert len(sigmas) == (3 if name == "IPNDM" else 4)  # it begins where no picture is left
    assert all(0 < sigma < 200 for sigma in sigmas)
    assert sigmas == sorted(sigmas, reverse="Inverse" not in name)


def test_no_scheduler_of_diffusers_is_left_out() -> None:
    """Each other one fails in Stable Diffusion, without us."""
    kinds: list[Any] = [getattr(diffusers, name) for name in dir(diffusers) if name.endswith("Scheduler")]
    names = {kind.__name__.removesuffix("Scheduler") for kind in kinds if hasattr(kind, "from_config")}
    assert set(SCHEDULERS) < names
    for name in sorted(names - set(SCHEDULERS) - set(NEEDING)):
        with built("Stable Diffusion") as made, pytest.raises(Exception, match="."):
            runs_with(made, name)


def runs_with(made: Built, name: str) -> None:
    made.pipe.scheduler = scheduler(name, made.pipe.scheduler.config)
    called(made)


def scheduler(name: str, config: Any) -> Any:
    seeded = {"noise_sampler_seed": 0} if name == "DPMSolverSDE" else {}
    return getattr(diffusers, f"{name}Scheduler").from_config(config, **seeded)


def test_where_no_picture_is_left_in_the_noise_sigma_is_unknown() -> None:
    """Zero terminal SNR."""
    with built("Stable Diffusion") as made:
        options = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
        made.pipe.scheduler = diffusers.DDIMScheduler.from_config(made.pipe.scheduler.config, **options)
        trace = recorded(made, features=Capture("M00"))
    assert trace.meta["sigmas"][0] is None
    assert trace.meta["sigmas"][1] > 0
    assert [item.key.step for item in trace.features] == [0, 1]


def test_sigma_of_a_flow_is_its_noise_by_its_picture() -> None:
    pytest.importorskip("diffusers", minversion="0.33", reason="older solvers predict no flow")
    with built("Stable Diffusion") as made:
        options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
        config = made.pipe.scheduler.config
        made.pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(config, **options)
        trace = recorded(made, features=Capture("M00"))
        shares = made.pipe.scheduler.sigmas[:2].tolist()
    assert 0 < shares[1] < shares[0] < 1
    assert trace.meta["sigmas"] == pytest.approx([share / (1 - share) for share in shares])


def test_steps_are_those_that_are_made() -> None:
    expected = {
        "SDXL base, ending early for a refiner": 2,
        "Stable Diffusion, image to image": 1,
        "Turbo, 1 step without guidance": 1,
        "Lightning, 4 steps without guidance": 4,
    }
    for name, steps in expected.items():
        with built(name) as made:
            trace = recorded(made, features=Capture("M00"))
            assert trace.meta["steps"] == len(trace.meta["sigmas"]) == steps, name
            assert {item.key.step for item in trace.features} == set(range(steps)), name


def test_what_a_cache_skips_is_said() -> None:
    with built("Layers skipped at some steps, as by DeepCache") as made:
        attached = host.attach(made.pipe)
        with Recorder(attached.unet, attention=Capture("M00,OUT03"), calls=attached.calls) as trace:
            called(made)
    assert [item.key.step for item in trace.attention.all(block="M00")] == [0]
    assert [item.key.step for item in trace.attention.all(block="OUT03")] == [0, 1]
    assert trace.notes == ["attention: the model skipped M00.0 cross at step 2: nothing to record there"]


def test_perturbed_rows_are_the_prompts_without_self_attention() -> None:
    with built("PAG") as made:
        asked = Capture("M00", kinds="cross,self", halves=ALL)
        trace = recorded(made, features=Capture("IN00,M00", halves=ALL), attention=asked)
    found = trace.attention.one(kind="cross", half="perturbed", step=1)
    assert trace.token_texts(found)[1:3] == ["red</w>", "circle</w>"]
    first = trace.features.all(step=1, block="IN00")
    assert torch.equal(first.one(half="cond").data, first.one(half="perturbed").data)
    middle = trace.features.all(step=1, block="M00")
    assert not torch.equal(middle.one(half="cond").data, middle.one(half="perturbed").data)
    assert {item.key.half for item in trace.attention.all(kind="cross")} == set(ALL)
    assert {item.key.half for item in trace.attention.all(kind="self")} == {"cond", "uncond"}


def _target(name: str, scale: float | None = None) -> Any:
    """An edit's target, int (value); scale: of an IP-Adapter."""
    with built(name) as made:
        if scale is not None:
            made.pipe.set_ip_adapter_scale(scale)
        asked = EditSettings(edits="red -> blue", blend=False, cross_steps="1", self_steps="0")
        model, beside = Pipeline(made.pipe, "small"), made.arguments(2)
        edited = edit(model, PROMPT, asked, steps=1, size=(SIDE, SIDE), arguments=beside)
    return np.asarray(edited.pictures[1]).astype(int)


def test_an_edit_keeps_what_an_ip_adapter_adds() -> None:
    plain = _target("Stable Diffusion")
    assert np.abs(_target("IP-Adapter", 0.0) - plain).max() <= 1
    assert np.abs(_target("IP-Adapter", 1.0) - plain).max() > 1


def test_where_only_embeddings_are_known_words_are_asked_for_by_place() -> None:
    with built("`prompt_embeds` instead of a prompt") as made:
        attached, meta = host.attach(made.pipe), host.describe(made.pipe, prompt=None, seed=1)
        with Recorder(attached.unet, attention=Capture(mean=True), calls=attached.calls, meta=meta) as trace:
            called(made)
    with pytest.raises(ValueError, match="given embeddings instead of a prompt"):
        word_maps(trace)
    assert [heat.word for heat in word_maps(trace, {"red": [1]})] == ["red"]


@pytest.mark.heavy
def test_a_compiled_unet_is_not_compiled_anew() -> None:
    from torch import _dynamo as dynamo

    with built("torch.compile") as made:
        called(made)
        frames = dict(dynamo.utils.counters["frames"])
        assert frames["ok"] > 0
        trace = recorded(made, features=Capture(), attention=Capture("M00", what="QK,VQK"))
        assert dict(dynamo.utils.counters["frames"]) == frames
    assert len(trace.features) == 2 * len(host.attach(made.pipe).unet.blocks)
    assert "ran as it was written" in trace.notes[0]


def test_two_threads_on_one_pipeline_record_their_own_calls() -> None:
    """Of texts that are encoded before, as two threads cannot use one tokenizer at the same time."""
    prompts = ("red", "a circle")
    with built("Stable Diffusion") as made:
        together = Barrier(2)
        texts = {prompt: made.pipe.encode_prompt([prompt], "cpu", 1, True) for prompt in prompts}

        def run(prompt: str, wait: Callable[[], object]) -> tuple[bytes, Trace]:
            def step(pipe: Any, index: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
                wait()
                return values

            attached = host.attach(made.pipe)
            with Recorder(attached.unet, features=Capture("M00"), calls=attached.calls) as trace:
                wait()
                embeds, negative = texts[prompt]
                read = {"prompt": None, "prompt_embeds": embeds, "negative_prompt_embeds": negative}
                pictures = called(made, **read, callback_on_step_end=step)
            return pictures.tobytes(), trace

        alone = [run(prompt, lambda: None) for prompt in prompts]
        with ThreadPoolExecutor(2) as threads:
            both = list(threads.map(run, prompts, [together.wait] * 2))
    for (picture, trace), (expected, other) in zip(both, alone, strict=True):
        assert picture == expected
        assert [item.key for item in trace.features] == [item.key for item in other.features]
        pairs = zip(trace.features, other.features, strict=True)
        assert all(torch.equal(one.data, two.data) for one, two in pairs)
        assert trace.notes == []


@pytest.mark.parametrize("kind", ["layer prompts", "edits"])
def test_what_changes_one_threads_pictures_leaves_those_of_others(kind: str) -> None:
    prompts = [PROMPT, "blue circle"] if kind == "edits" else [PROMPT]
    with built("Stable Diffusion") as made:
        attached = host.attach(made.pipe)
        if kind == "edits":
            settings = EditSettings(edits="red -> blue", blend=False, cross_steps="1")
            plan = Request.of(PROMPT, settings).plan(partial(host.tokens, made.pipe))
            changing: Any = Editing(attached.unet, plan, calls=attached.calls)
        else:
            changing = LayerPrompts(made.pipe, "a (~: M00: red :~) circle").contexts()

        def run() -> bytes:
            picture: bytes = called(made, len(prompts), prompt=prompts).tobytes()
            return picture

        expected = run()
        with changing, ThreadPoolExecutor(1) as threads:
            assert threads.submit(run).result() == expected
            assert run() != expected
        assert run() == expected
