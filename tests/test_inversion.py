"""Pictures inverted and sampled again: by each method, on each kind of model, with hooks that watch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture, Row
from lib_unet_viz.hosts.diffusers.pipeline_model import PipelineModel
from lib_unet_viz.sampling import ddim, inversion
from lib_unet_viz.sampling.ddim import noise_of, timesteps
from lib_unet_viz.sampling.inversion import invert, null_text, psnr, reconstruct, sample
from lib_unet_viz.sampling.model import Conditions

STEPS = 4


@pytest.fixture(scope="module")
def tiny(tiny_pipe: Any) -> PipelineModel:
    return PipelineModel(tiny_pipe)


@pytest.fixture(scope="module", params=["tiny_pipe", "tiny_xl_pipe"])
def each(request: pytest.FixtureRequest) -> PipelineModel:
    return PipelineModel(request.getfixturevalue(request.param))


@pytest.fixture
def two_inner_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of null-text's optimisation, where it is not to be a good one."""
    monkeypatch.setattr(inversion, "INNER_STEPS", 2)


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8))


@contextmanager
def predicting(pipe: Any, prediction: str) -> Iterator[PipelineModel]:
    """The pipeline as if it had been trained to predict something else."""
    usual = pipe.scheduler.config.prediction_type
    pipe.scheduler.register_to_config(prediction_type=prediction)
    try:
        yield PipelineModel(pipe)
    finally:
        pipe.scheduler.register_to_config(prediction_type=usual)


def error(model: PipelineModel, picture: Image.Image, **options: Any) -> float:
    return reconstruct(model, picture, "red circle", **{"steps": STEPS, "cfg": 4.0, **options}).rmse


@pytest.mark.parametrize("steps", [1, 7, 30, 50, 999])
def test_timesteps_are_those_of_diffusers(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(steps_offset=1, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    assert list(reversed(timesteps(1000, steps))) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_step_is_diffusers_own(tiny: PipelineModel, prediction: str) -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction,
    )
    scheduler.set_timesteps(20)
    latents, output = torch.randn(2, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    down = ddim.ddim_steps(tiny, timesteps(1000, 20))
    for timestep, ddim_step in zip(scheduler.timesteps.tolist(), down, strict=True):
        noise = noise_of(output, latents, alpha_bar=ddim_step.before, prediction=prediction)
        theirs = scheduler.step(output, timestep, latents).prev_sample
        torch.testing.assert_close(ddim_step.denoise(latents, noise), theirs, atol=2e-5, rtol=1e-5)
        torch.testing.assert_close(
            ddim_step.invert(ddim_step.denoise(latents, noise), noise), latents, atol=1e-4, rtol=1e-4
        )


def test_without_targets_and_hooks_it_is_the_pipelines_own_sampling(tiny_pipe: Any) -> None:
    scheduler = tiny_pipe.scheduler
    tiny_pipe.scheduler = type(scheduler).from_config(scheduler.config, set_alpha_to_one=False)
    try:
        model = PipelineModel(tiny_pipe)
        start = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0))
        conditions, uncond = model.conditions(["red circle"], "blue")
        trajectory = inversion.Trajectory(start.repeat(STEPS + 1, 1, 1, 1), timesteps(1000, STEPS))
        ours = sample(model, trajectory, conditions, uncond, method="ddim", cfg=5)
        theirs = tiny_pipe(
            "red circle",
            negative_prompt="blue",
            latents=start,
            num_inference_steps=STEPS,
            guidance_scale=5,
            output_type="latent",
        ).images
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
    finally:
        tiny_pipe.scheduler = scheduler


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_direct_gives_the_very_latent_back(
    each: PipelineModel, picture: Image.Image, prediction: str
) -> None:
    with predicting(each.pipe, prediction) as model:
        found = reconstruct(model, picture, "red circle", steps=STEPS, cfg=7.5)
    assert found.rmse == 0
    assert found.psnr_db == pytest.approx(found.limit_db, abs=1e-3)
    assert found.picture.size == picture.size


@pytest.mark.heavy
def test_every_method_beats_plain_ddim_with_guidance(
    tiny: PipelineModel, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inversion, "INNER_STEPS", 3)
    errors = {method: error(tiny, picture, method=method) for method in inversion.INVERSIONS}
    assert errors["direct"] == 0
    assert errors["negative"] < 0.9 * errors["ddim"]
    assert errors["null-text"] < 0.95 * errors["ddim"]


def test_negative_cancels_guidance(tiny: PipelineModel, picture: Image.Image) -> None:
    plain = error(tiny, picture, method="ddim", cfg=1.0)
    assert error(tiny, picture, method="negative") == pytest.approx(plain, rel=1e-3)


@pytest.mark.heavy
@pytest.mark.usefixtures("two_inner_steps")
def test_null_texts_can_be_made_once_and_used_again(tiny: PipelineModel, picture: Image.Image) -> None:
    conditions, uncond = tiny.conditions(["red circle", "red"])
    trajectory = invert(tiny, tiny.encode(picture), conditions[:1], steps=STEPS)
    texts = null_text(tiny, trajectory, conditions[:1], uncond, cfg=4)
    assert texts.context.shape == (STEPS, 77, 128)
    assert not any(parameter.grad is not None for parameter in tiny.unet.module.parameters())
    once = sample(tiny, trajectory, conditions, texts, method="null-text", cfg=4)
    again = sample(tiny, trajectory, conditions, uncond, method="null-text", cfg=4)
    torch.testing.assert_close(once, again)


def test_targets_share_the_noise_and_leave_the_source_alone(
    tiny: PipelineModel, picture: Image.Image
) -> None:
    conditions, uncond = tiny.conditions(["red circle", "blue", "red circle"])
    trajectory = invert(tiny, tiny.encode(picture), conditions[:1], steps=STEPS)
    latents = sample(tiny, trajectory, conditions, uncond, cfg=4)
    assert trajectory.rmse(latents[0]) == 0
    assert trajectory.rmse(latents[1]) > 0.01
    plain = sample(tiny, trajectory, conditions, uncond, method="ddim", cfg=4)
    torch.testing.assert_close(plain[0], plain[2], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(latents[1:], plain[1:])


def test_after_a_step_latents_with_the_source_put_right_can_be_changed(
    tiny: PipelineModel, picture: Image.Image
) -> None:
    conditions, uncond = tiny.conditions(["red circle", "blue"])
    trajectory = invert(tiny, tiny.encode(picture), conditions[:1], steps=STEPS)
    steps, progress = [], []

    def copied(step: int, latents: Tensor) -> Tensor:
        steps.append(step)
        assert torch.equal(latents[0], trajectory.latents[STEPS - 1 - step])
        return latents[:1].repeat(2, 1, 1, 1)

    latents = sample(
        tiny,
        trajectory,
        conditions,
        uncond,
        after_step=copied,
        progress=lambda done, total: progress.append((done, total)),
    )
    assert torch.equal(latents[1], trajectory.latents[0])
    assert steps == [0, 1, 2, 3]
    assert progress == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.usefixtures("two_inner_steps")
@pytest.mark.parametrize("method", ["direct", "null-text"])
@pytest.mark.parametrize("cfg", [1.0, 4.0])
def test_a_recorder_sees_the_steps_of_sampling_only(
    each: PipelineModel, picture: Image.Image, method: Any, cfg: float
) -> None:
    conditions, uncond = each.conditions(["red circle", "blue"])
    capture = Capture("M00", halves=("cond", "uncond"))
    with Recorder(each.unet, attention=capture, features=Capture("M00"), calls=each.calls) as trace:
        trajectory = invert(each, each.encode(picture), conditions[:1], steps=3)
        sample(each, trajectory, conditions, uncond, method=method, cfg=cfg)
    assert trace.meta["steps"] == 3
    assert trace.meta["size"] == [8, 12]
    assert trace.meta["sigmas"] == sorted(trace.meta["sigmas"], reverse=True)
    keys = {(key.step, key.image, key.half) for key in (m.key for m in trace.attention.all(block="M00"))}
    halves = ("cond",) if cfg == 1 else ("cond", "uncond")
    assert keys == {(step, image, half) for step in range(3) for image in (0, 1) for half in halves}
    assert len(trace.features.all(block="M00")) == 6


@pytest.mark.usefixtures("two_inner_steps")
def test_progress_may_stop_a_run_and_no_call_is_present_then(
    tiny: PipelineModel, picture: Image.Image
) -> None:
    conditions, uncond = tiny.conditions(["red"])
    trajectory = invert(tiny, tiny.encode(picture), conditions, steps=2)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (1, 4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(tiny, trajectory, conditions, uncond, method="null-text", progress=stop)
    assert tiny.calls((), {}) is None


def test_sdxl_without_a_negative_prompt_gets_zeros_as_its_pipeline(tiny_xl_pipe: Any) -> None:
    model = PipelineModel(tiny_xl_pipe)
    _, none = model.conditions(["red"])
    _, some = model.conditions(["red"], "blue")
    assert none.vector is not None
    assert some.vector is not None
    assert not none.context.any()
    assert not none.vector.any()
    assert some.context.any()
    assert some.vector.any()


def test_pictures_alike_and_unlike() -> None:
    black, gray = Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8), (255, 0, 0))
    assert psnr(black, black) == math.inf
    assert psnr(black, gray) == pytest.approx(10 * math.log10(3))
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(8, 16\) pixels"):
        psnr(black, Image.new("RGB", (8, 16)))


def test_what_cannot_be_is_refused(tiny: PipelineModel, picture: Image.Image) -> None:
    conditions, uncond = tiny.conditions(["red", "blue"])
    latent = tiny.encode(picture)
    trajectory = invert(tiny, latent, conditions[:1], steps=2)
    with pytest.raises(ValueError, match="no method 'best'; allowed: direct, negative, null-text, ddim"):
        sample(tiny, trajectory, conditions, uncond, method="best")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 unconditional contexts; allowed: 1, or 2"):
        sample(tiny, trajectory, conditions, Conditions(uncond.context.repeat(3, 1, 1)))
    with pytest.raises(ValueError, match="have 50 and 77 tokens"):
        sample(tiny, trajectory, conditions, Conditions(uncond.context[:, :50]))
    with pytest.raises(ValueError, match="one picture with one prompt .* 2 prompts"):
        invert(tiny, latent, conditions)
    with pytest.raises(ValueError, match="1000 steps cannot be made; allowed: 1 to 999"):
        invert(tiny, latent, conditions[:1], steps=1000)
    with pytest.raises(ValueError, match="60 x 64 pixels; both sides must be multiples of 8"):
        tiny.encode(Image.new("RGB", (60, 64)))
    with pytest.raises(ValueError, match="the model predicts 'flow'"), predicting(tiny.pipe, "flow") as model:
        model(latent, 1, uncond, (Row(0, "cond"),), None)


def test_a_host_without_gradients_says_what_else_there_is(
    tiny: PipelineModel, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "differentiable", False, raising=False)
    with pytest.raises(ValueError, match="gradients .* allowed: direct, negative, ddim"):
        error(tiny, picture, method="null-text")


@pytest.mark.heavy
@pytest.mark.parametrize("seed", [0, 1])
def test_drawn_scenes_on_the_bundled_model(seed: int) -> None:
    from lib_unet_viz.demo.scenes import caption, draw_scene
    from lib_unet_viz.hosts.diffusers import load_demo

    rng = np.random.default_rng(seed)
    scene = draw_scene(rng)
    drawn, prompt = Image.fromarray(scene.picture), caption(scene, rng)
    model = PipelineModel(load_demo())

    def found(method: inversion.Inversion, **options: Any) -> inversion.Reconstruction:
        return reconstruct(model, drawn, prompt, method=method, **{"steps": 20, **options})

    direct, negative, null, lost = (found(method) for method in inversion.INVERSIONS)
    assert direct.rmse == 0
    assert direct.psnr_db == direct.limit_db > 20
    assert negative.rmse < 0.5 * lost.rmse
    assert null.rmse < 0.7 * lost.rmse
    assert lost.psnr_db + 3 < negative.psnr_db < direct.psnr_db
    coarse, fine = (found("ddim", cfg=1.0, steps=steps).rmse for steps in (10, 40))
    assert fine < coarse / 2
