from __future__ import annotations

from typing import Any

import pytest
import torch
from PIL import Image

from lib_unet_viz.capture.request import BudgetError
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Cancelled, Pipeline
from lib_unet_viz.maps.words import word_maps
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings import EditSettings, Settings

diffusers = pytest.importorskip("diffusers")

FEW = {"features": {"blocks": "M00", "steps": "1,3"}, "attention": {"blocks": "IN07"}}


@pytest.fixture(scope="module")
def model(tiny_pipe: Any) -> Pipeline:
    return Pipeline(tiny_pipe, "tiny")


def hooks(model: Pipeline) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.pipe.unet.modules())


def test_a_run_reports_each_step_and_keeps_what_was_asked_for(model: Pipeline) -> None:
    seen: list[tuple[int, int, tuple[int, int]]] = []
    settings = Settings.from_dict(FEW)
    trace = model.generate(
        "red circle",
        settings=settings,
        steps=3,
        size=(64, 128),
        progress=lambda step, steps, preview: seen.append((step, steps, preview.size)),
    )
    assert seen == [(1, 3, (128, 64)), (2, 3, (128, 64)), (3, 3, (128, 64))]
    assert trace.picture is not None
    assert trace.picture.size == (128, 64)
    assert [item.key.labels()["step"] for item in trace.features] == [1, 3]
    recorded = [item.key.step for item in trace.attention.all(block="IN07")]
    assert [step for step in recorded if step is not None] == [0, 1, 2]
    assert [word.word for word in word_maps(trace)] == ["red", "circle"]
    assert trace.meta["picture_size"] == [64, 128]
    kept = model.estimate(settings, steps=3, size=(64, 128))
    assert trace.nbytes == kept


def test_cancelling_keeps_what_was_recorded_and_leaves_no_hook(model: Pipeline) -> None:
    asked: list[bool] = []

    def cancelled() -> bool:
        asked.append(True)
        return len(asked) == 2

    with pytest.raises(Cancelled) as stopped:
        model.generate("red", settings=Settings.from_dict(FEW), steps=3, cancelled=cancelled)
    kept = [item.key.step for item in stopped.value.trace.attention.all(block="IN07")]
    assert [step for step in kept if step is not None] == [0, 1]
    assert hooks(model) == 0


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"features": {"blocks": "IN99"}}, SpecError, "IN99"),
        ({"attention": {"steps": "1-"}}, SpecError, "1-"),
        ({"budget_mb": 0}, BudgetError, "budget of 0.0 MB"),
    ],
)
def test_what_cannot_be_is_refused_before_sampling(
    model: Pipeline, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    steps: list[int] = []
    with pytest.raises(error, match=message):
        model.generate(
            "red",
            settings=Settings.from_dict(changes),
            steps=2,
            progress=lambda step, total, preview: steps.append(step),
        )
    assert not steps
    assert hooks(model) == 0


def test_what_a_pipeline_wants_beside_is_given(tiny_pipe: Any) -> None:
    pipe = diffusers.StableDiffusionImg2ImgPipeline(**tiny_pipe.components, requires_safety_checker=False)
    pipe.set_progress_bar_config(disable=True)
    beside = {"image": Image.new("RGB", (64, 48), "red"), "strength": 0.5}
    trace = Pipeline(pipe, "tiny").generate(
        "red circle", settings=Settings.from_dict(FEW), steps=4, cfg=7.5, arguments=beside
    )
    assert trace.picture is not None
    assert trace.picture.size == (64, 48)
    assert (trace.meta["picture_size"], trace.meta["steps"]) == ([48, 64], 2)
    alone = pipe("red circle", num_inference_steps=4, **beside, generator=torch.Generator().manual_seed(0))
    assert trace.picture.tobytes() == alone.images[0].tobytes()


@pytest.mark.parametrize(
    "name", ["prompt_embeds", "callback_on_step_end", "num_images_per_prompt", "guidance_scale", "generator"]
)
def test_what_is_ours_cannot_be_given_beside(model: Pipeline, name: str) -> None:
    for ask in (
        lambda: model.generate("red", settings=Settings.from_dict(FEW), arguments={name: 2}),
        lambda: edit(model, "red circle", EditSettings(edits="red -> blue"), arguments={name: 2}),
    ):
        with pytest.raises(ValueError, match=f"{name} cannot be among the pipeline's arguments"):
            ask()
    assert hooks(model) == 0
