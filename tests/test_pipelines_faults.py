"""Looking never costs a picture: a fault in each of our hooks on a pipeline, and the picture byte by byte."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("diffusers")

from pipelines import BUILDERS, NEEDS, PROMPT, SIDE, Built, built, hooks

from lib_unet_viz.hosts.diffusers.pipeline import NOTHING, Pipeline
from lib_unet_viz.settings import Settings

# StableDiffusionAdapterPipeline, of itself.
pytestmark = pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")

FAULTS = [
    ("hosts.diffusers.attached.PipelineCalls", "__call__"),
    ("hosts.diffusers.attached.PipelineCalls", "rows"),
    ("hosts.diffusers.steps.Steps", "place"),
    ("hosts.diffusers.steps", "noise"),
    ("hosts.diffusers.pipeline.Pipeline", "preview"),
    ("capture.recorder", "_describe"),
    ("capture.recorder.Recorder", "_before"),
    ("capture.recorder.Recorder", "_check"),
    ("capture.hooks.Tap", "begin"),
    ("capture.hooks.Tap", "end"),
    ("capture.hooks.FeatureTap", "_output"),
    ("capture.hooks.AttentionTap", "_output"),
    ("capture.hooks.AttentionTap", "_fits"),
    ("capture.hooks.AttentionTap", "finish"),
    ("capture.hooks", "token_maps"),
    ("capture.hooks", "informed_mean"),
    ("capture.hooks", "_copied"),
]
ALL = Settings.from_dict({"features": {"blocks": ""}, "attention": {"blocks": ""}, "explore": True})
# What `Pipeline.generate` refuses.
NOT_GENERATED = (
    "`prompt_embeds` instead of a prompt",
    "Callbacks that end guidance",
    "LEDITS++",
    "Panorama",
    "InstructPix2Pix",
)


def generated(made: Built, settings: Settings) -> tuple[bytes, list[str]]:
    """The picture, and the notes."""
    arguments = dict(made.arguments(1))
    steps, cfg = arguments.pop("num_inference_steps", made.steps), arguments.pop("guidance_scale", 7.5)
    trace = Pipeline(made.pipe, "small").generate(
        PROMPT,
        settings=settings,
        steps=steps,
        cfg=cfg,
        size=(SIDE, SIDE),
        arguments=arguments,
        progress=lambda *_: None,
    )
    assert trace.picture is not None
    return trace.picture.tobytes(), trace.notes


def unharmed(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault in turn: an error, a lack of memory, a wrong value."""
    with built(name) as made:
        expected, _ = generated(made, NOTHING)
        assert generated(made, ALL)[0] == expected
        for number, (place, function) in enumerate(FAULTS):
            error = (RuntimeError, MemoryError, ValueError)[number % 3]

            def fault(*_: Any, error: type[Exception] = error, **__: Any) -> Any:
                raise error("injected")

            with monkeypatch.context() as patched:
                patched.setattr(f"lib_unet_viz.{place}.{function}", fault)
                picture, notes = generated(made, ALL)
            assert picture == expected, (place, function)
            assert "injected" in str(notes) or _never_called(name, place), (place, function)
            assert hooks(made) == 0


def _never_called(name: str, place: str) -> bool:
    """Whether a pipeline gives no occasion for a fault: adapters have no callback, and so no previews."""
    return name == "T2I-Adapter" and place.endswith("Pipeline")


@pytest.mark.slow
def test_a_fault_in_looking_costs_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    unharmed("Stable Diffusion", monkeypatch)


@pytest.mark.heavy
@pytest.mark.parametrize("name", [name for name in BUILDERS if name not in NOT_GENERATED])
def test_a_fault_in_looking_costs_no_pipelines_picture(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, needed in NEEDS.items():
        if part in name:
            pytest.importorskip(needed)
    unharmed(name, monkeypatch)


def test_a_run_of_which_nothing_was_recorded_gives_its_picture() -> None:
    late = {"features": {"blocks": "M00", "steps": "9"}, "attention": {"enabled": False}, "heatmaps": False}
    with built("Stable Diffusion") as made:
        picture, notes = generated(made, Settings.from_dict(late))
        assert picture == generated(made, NOTHING)[0]
    assert "nothing was recorded. features: no step of '9' is among the run's 2." in notes[-1]
