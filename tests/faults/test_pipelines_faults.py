"""Faults in runs of diffusers' pipelines, and the pictures byte by byte: in each of our hooks, at each line
of ours, between the steps; and other U-Nets put into a pipeline's place.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("diffusers")

from conftest import randomise
from injection import ERRORS, Subject, places, some
from pipelines import BUILDERS, NEEDS, PROMPT, SIDE, Built, built, hooks, unet

from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import NOTHING, Cancelled, Pipeline
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.trace import Trace

# StableDiffusionAdapterPipeline, of itself.
pytestmark = pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")

FAULTS = [
    ("hosts.diffusers.attached.PipelineCalls", "__call__"),
    ("hosts.diffusers.attached.PipelineCalls", "rows"),
    ("hosts.diffusers.steps.Steps", "place"),
    ("hosts.diffusers.steps", "noise"),
    ("hosts.diffusers.pipeline.Pipeline", "preview"),
    ("capture.recorder", "_described"),
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
LAYERED = "red (~: IN00-M00: blue :~) circle"
SWAP = EditSettings(enabled=True, edits="circle -> star", threshold=0.7)
STEPS = 2
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


# Any line, and between the steps.


def run(model: Pipeline, kind: str, progress: Any = None) -> tuple[bytes, Trace | None]:
    """A picture that is looked at, one with layer prompts besides, or an edit."""
    options: dict[str, Any] = {"steps": STEPS, "size": (SIDE, SIDE), "progress": progress}
    if kind == "edited":
        edited = edit(model, PROMPT, SWAP, **options)
        return b"".join(picture.tobytes() for picture in edited.pictures), None
    trace = model.generate(LAYERED if kind == "layered" else PROMPT, settings=ALL, **options)
    assert trace.picture is not None
    return trace.picture.tobytes(), trace


@pytest.mark.heavy
@pytest.mark.parametrize("kind", ["layered", "edited"])
def test_faults_at_lines_of_a_pipelines_run(kind: str) -> None:
    with built("Stable Diffusion") as made:
        model = Pipeline(made.pipe, "small")
        subject = Subject(made.pipe.unet, lambda: run(model, kind))
        there = some(places(subject.run), 120)
        assert subject.harmed((place, ERRORS[at % len(ERRORS)]) for at, place in enumerate(there)) == []


@pytest.mark.parametrize("kind", ["layered", "edited"])
def test_whatever_ends_a_run_between_two_steps_leaves_nothing(kind: str) -> None:
    with built("Stable Diffusion") as made:
        model = Pipeline(made.pipe, "small")
        expected, _ = run(model, kind)
        for number, error in enumerate((*ERRORS, SystemExit, lambda _: Cancelled(Trace()))):

            def stop(step: int, *_: Any, at: int = 1 + number % STEPS, error: Any = error) -> None:
                if step == at:
                    raise error("injected")

            with pytest.raises(BaseException, match="injected|cancelled"):
                run(model, kind, stop)
            assert hooks(made) == 0
        assert run(model, kind)[0] == expected


# Another U-Net in a pipeline's place.


def test_a_u_net_replaced_between_two_runs_is_the_one_that_is_meant() -> None:
    with built("Stable Diffusion") as made:
        model = Pipeline(made.pipe, "small")
        run(model, "looked at")
        made.pipe.unet = randomise(unet(), seed=5)
        fresh = Pipeline(made.pipe, "small")
        for kind in ("looked at", "layered", "edited"):
            (picture, trace), (expected, seen) = run(model, kind), run(fresh, kind)
            assert picture == expected
            assert (trace is None) == (kind == "edited")
            if trace is not None and seen is not None:
                assert (len(trace.features), trace.notes) == (len(seen.features), seen.notes)


def test_a_u_net_replaced_during_a_run() -> None:
    """Looking costs no picture; layer prompts and edits say that they act on nothing any more."""
    with built("Stable Diffusion") as made:
        first, second = made.pipe.unet, randomise(unet(), seed=5)
        model = Pipeline(made.pipe, "small")

        def replace(step: int, *_: Any) -> None:
            made.pipe.unet = second if step else first

        replace(0)
        plain = model.generate(
            PROMPT, settings=NOTHING, steps=STEPS, size=(SIDE, SIDE), progress=replace
        ).picture
        replace(0)
        picture, trace = run(model, "looked at", replace)
        assert plain is not None
        assert trace is not None
        assert picture == plain.tobytes()
        assert {item.key.step for item in trace.features} == {0}
        for kind in ("layered", "edited"):
            replace(0)
            with pytest.raises(ValueError, match="was replaced during the run"):
                run(model, kind, replace)
        for module in (first, second):
            made.pipe.unet = module
            assert hooks(made) == 0
