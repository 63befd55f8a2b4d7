from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.request import Capture, estimate
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.meta import Meta
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UnsupportedModelError

diffusers = pytest.importorskip("diffusers")
# diffusers' schedulers give tensors to numpy's functions.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

PROMPT = "red circle"


def generate(pipe: Any, **options: Any) -> Any:
    settings = {"num_inference_steps": 3, "height": 64, "width": 64, "output_type": "np", **options}
    if isinstance(pipe, diffusers.StableDiffusionImg2ImgPipeline):
        settings = {name: value for name, value in settings.items() if name not in ("height", "width")}
    return pipe(settings.pop("prompt", PROMPT), generator=torch.Generator().manual_seed(5), **settings).images


def recorded(pipe: Any, capture: Capture | None = None, **options: Any) -> Trace:
    attached = host.attach(pipe)
    features = capture or Capture("M00", halves="cond,uncond")
    with Recorder(attached.unet, features=features, calls=attached.calls) as trace:
        generate(pipe, **options)
    return trace


def with_scheduler(pipe: Any, name: str, **changes: Any) -> Any:
    scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config, **changes)
    return quiet(type(pipe)(**{**pipe.components, "scheduler": scheduler}, requires_safety_checker=False))


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


# Steps.


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("DDIMScheduler", 5),
        ("DDPMScheduler", 5),
        ("EulerDiscreteScheduler", 5),
        ("EulerAncestralDiscreteScheduler", 5),
        ("DPMSolverMultistepScheduler", 5),
        ("DPMSolverSinglestepScheduler", 5),
        ("UniPCMultistepScheduler", 5),
        ("LCMScheduler", 5),
        ("PNDMScheduler", 14),
        ("HeunDiscreteScheduler", 9),
        ("KDPM2DiscreteScheduler", 9),
        ("KDPM2AncestralDiscreteScheduler", 9),
    ],
)
def test_every_sampling_step_is_recorded_once(tiny_pipe: Any, name: str, calls: int) -> None:
    pipe = with_scheduler(tiny_pipe, name)
    count: list[Any] = []
    with pipe.unet.register_forward_hook(lambda *_: count.append(1)):
        trace = recorded(pipe, num_inference_steps=5)
    assert len(count) == calls
    assert [(item.key.step, item.key.half) for item in trace.features] == [
        (step, half) for step in range(5) for half in ("uncond", "cond")
    ]
    assert trace.notes == []
    assert trace.meta["steps"] == 5
    sigmas = trace.meta["sigmas"]
    assert sigmas == sorted(sigmas, reverse=True)
    assert all(0 < sigma < 200 for sigma in sigmas)


def test_stable_diffusions_own_scheduler_starts_with_two_calls(tiny_pipe: Any) -> None:
    pipe = with_scheduler(tiny_pipe, "PNDMScheduler", skip_prk_steps=True)
    timesteps: list[int] = []
    with pipe.unet.register_forward_pre_hook(lambda m, args: timesteps.append(int(args[1]))):
        trace = recorded(pipe, num_inference_steps=4)
    assert len(timesteps) == 5
    assert timesteps[1] == timesteps[2]
    assert [item.key.step for item in trace.features.all(half="cond")] == [0, 1, 2, 3]


def test_sigma_is_that_of_the_timestep(tiny_pipe: Any) -> None:
    trace = recorded(tiny_pipe)
    kept = tiny_pipe.scheduler.alphas_cumprod[tiny_pipe.scheduler.timesteps]
    assert trace.meta["sigmas"] == pytest.approx(((1 - kept) / kept).sqrt().tolist())
    euler = with_scheduler(tiny_pipe, "EulerDiscreteScheduler", timestep_spacing="leading")
    assert recorded(euler).meta["sigmas"] == pytest.approx(trace.meta["sigmas"], rel=1e-4)


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "HeunDiscreteScheduler", "DPMSolverMultistepScheduler", "PNDMScheduler"]
)
def test_image_to_image_counts_the_steps_that_are_made(tiny_pipe: Any, name: str) -> None:
    pipe = with_scheduler(tiny_pipe, name)
    pipe = quiet(diffusers.StableDiffusionImg2ImgPipeline(**pipe.components, requires_safety_checker=False))
    picture = Image.new("RGB", (64, 64), "red")
    trace = recorded(pipe, num_inference_steps=10, strength=0.35, image=picture)
    assert [item.key.step for item in trace.features.all(half="cond")] == [0, 1, 2]
    assert trace.meta["steps"] == 3
    whole = recorded(with_scheduler(tiny_pipe, name), num_inference_steps=10)
    if name != "PNDMScheduler":  # which has calls of its own at a run's start, wherever that is
        assert trace.meta["sigmas"] == pytest.approx(whole.meta["sigmas"][7:])
    with pytest.raises(NothingCaptured, match="no step of '8-10' is among the run's 3"):
        recorded(pipe, Capture("M00", "8-10"), num_inference_steps=10, strength=0.35, image=picture)


def test_two_runs_in_one_recording_are_noted(tiny_pipe: Any) -> None:
    attached = host.attach(tiny_pipe)
    with Recorder(attached.unet, features=Capture("M00"), calls=attached.calls) as trace:
        generate(tiny_pipe)
        generate(tiny_pipe)
    assert len(trace.features) == 3
    assert "only its first is recorded" in trace.notes[0]


# Rows.


def test_rows_are_those_of_the_prompts(tiny_pipe: Any) -> None:
    """Each row is compared with a run of its own, without guidance."""
    both = recorded(
        tiny_pipe, prompt=[PROMPT, "a dog"], negative_prompt=["cat", "mouse"], num_images_per_prompt=2
    ).features.all(step=1)
    assert [(item.key.half, item.key.image) for item in both] == [
        (half, image) for half in ("uncond", "cond") for image in range(4)
    ]
    latents = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    texts = {"cond": [PROMPT, PROMPT, "a dog", "a dog"], "uncond": ["cat", "cat", "mouse", "mouse"]}
    for item in both:
        alone = recorded(
            tiny_pipe,
            Capture("M00"),
            prompt=texts[item.key.half][item.key.image],
            latents=latents[item.key.image : item.key.image + 1].clone(),
            guidance_scale=1.0,
        ).features.one(step=1)
        assert (alone.key.half, alone.key.image) == ("cond", 0)
        torch.testing.assert_close(item.data, alone.data, rtol=1e-3, atol=1e-3)


def test_without_guidance_there_is_no_unconditional_row(tiny_pipe: Any) -> None:
    trace = recorded(tiny_pipe, guidance_scale=1.0, num_images_per_prompt=2)
    assert {(item.key.half, item.key.image) for item in trace.features} == {("cond", 0), ("cond", 1)}


def test_the_latents_size_is_height_then_width(tiny_pipe: Any) -> None:
    assert recorded(tiny_pipe, height=64, width=128).meta["size"] == [8, 16]


def test_a_picture_is_the_same_to_the_byte_with_capture(tiny_pipe: Any) -> None:
    before = generate(tiny_pipe)
    attached = host.attach(tiny_pipe)
    attention = Capture(what="QK,VQK", kinds="cross,self")
    with Recorder(attached.unet, features=Capture(), attention=attention, calls=attached.calls):
        during = generate(tiny_pipe)
    assert before.tobytes() == during.tobytes() == generate(tiny_pipe).tobytes()


def test_sdxl(tiny_xl_pipe: Any) -> None:
    before = generate(tiny_xl_pipe)
    attached = host.attach(tiny_xl_pipe)
    attention = Capture("IN07.2, OUT03", "1")
    meta = host.describe(tiny_xl_pipe, prompt=PROMPT, seed=5)
    with Recorder(attached.unet, attention=attention, calls=attached.calls, meta=meta) as trace:
        during = generate(tiny_xl_pipe)
    assert before.tobytes() == during.tobytes()
    item = trace.attention.one(block="IN07")
    assert (item.key.layer, item.shape) == (2, (2, 77, 2, 2))
    assert trace.token_texts(item)[:4] == [BOS, "red</w>", "circle</w>", EOS]
    assert recorded(tiny_xl_pipe, guidance_scale=1.0).features[0].key.half == "cond"


# What is known of a run.


def test_tokens_are_the_vocabularys_strings(tiny_pipe: Any) -> None:
    texts = host.tokens(tiny_pipe, "red cab, circle")
    assert texts[:9] == [BOS, "red</w>", "c", "a", "b</w>", ",</w>", "circle</w>", EOS, EOS]
    assert len(texts) == 77
    assert host.tokens(tiny_pipe, "red " * 100)[-2:] == ["red</w>", EOS]


def test_the_description_can_be_written(tiny_pipe: Any) -> None:
    meta = host.describe(tiny_pipe, prompt=PROMPT, seed=3, cfg=7.5)
    assert json.loads(json.dumps(meta)) == meta
    assert (meta["prompt"], meta["negative"], meta["seed"], meta["cfg"]) == (PROMPT, "", 3, 7.5)
    assert meta["tokens"]["cond"][:2] == [BOS, "red</w>"]
    assert meta["tokens"]["uncond"][:2] == [BOS, EOS]
    assert meta["model"] == "StableDiffusionPipeline"


def test_a_batch_is_described_image_by_image(tiny_pipe: Any) -> None:
    meta = host.describe(tiny_pipe, prompt=["red", "circle"], negative="cat", images_per_prompt=2)
    assert [image["prompt"] for image in meta["images"]] == ["red", "red", "circle", "circle"]
    trace = Trace(meta=Meta.of(meta))
    assert trace.meta_of(3)["prompt"] == "circle"
    assert trace.meta_of(3)["negative"] == "cat"


def test_the_estimate_takes_pixels(tiny_pipe: Any) -> None:
    capture = Capture("M00,OUT03")
    needed = host.estimate(tiny_pipe, features=capture, attention=capture, size=(64, 128), steps=4)
    assert needed == estimate(tiny_pipe.unet, features=capture, attention=capture, size=(8, 16), total=4)
    assert host.estimate(tiny_pipe, features=Capture("IN00", "1")) == 32 * 16 * 16 * 4


def test_other_pipelines_are_refused() -> None:
    class FluxPipeline:
        transformer = torch.nn.Linear(1, 1)

    class StableDiffusionInstructPix2PixPipeline:
        unet = None

    with pytest.raises(UnsupportedModelError, match="Linear has no U-Net"):
        host.attach(FluxPipeline())
    with pytest.raises(UnsupportedModelError, match="InstructPix2Pix"):
        host.attach(StableDiffusionInstructPix2PixPipeline())


# Loading.


def test_a_folder_loads(tiny_pipe: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tiny_pipe.save_pretrained(tmp_path / "model")
    capfd.readouterr()
    pipe = host.load(tmp_path / "model", device="cpu")
    assert type(pipe) is diffusers.StableDiffusionPipeline
    assert pipe.unet.dtype == torch.float32
    assert np.array_equal(generate(pipe), generate(tiny_pipe))
    assert host.describe(pipe, prompt="")["model"] == "model"
    assert capfd.readouterr() == ("", "")


def test_an_sdxl_folder_loads(tiny_xl_pipe: Any, tmp_path: Path) -> None:
    tiny_xl_pipe.save_pretrained(tmp_path / "model")
    assert type(host.load(str(tmp_path / "model"), device="cpu")) is diffusers.StableDiffusionXLPipeline


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere/at/all", "no such file or folder, and no hub id"),
        ("model.safetensors", "no such file or folder"),
        ("./models/x.ckpt", "no such file or folder"),
        ("empty", "no diffusers model: it has no model_index.json"),
        ("flux", "flux is a FluxPipeline: it has no U-Net. Supported"),
        ("notes.txt", "a model file ends in .safetensors or .ckpt"),
        ("bad.safetensors", "is not a safetensors file"),
        ("bad.ckpt", "bad.ckpt cannot be loaded"),
    ],
)
def test_what_cannot_be_loaded_is_said(
    name: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    Path("flux").mkdir()
    Path("flux/model_index.json").write_text('{"_class_name": "FluxPipeline", "transformer": ["a", "b"]}')
    for file in ("notes.txt", "bad.safetensors", "bad.ckpt"):
        Path(file).write_text("no model")
    with pytest.raises(host.LoadError, match=message):
        host.load(name, device="cpu")


def test_the_bundled_model_loads_or_says_that_it_is_missing() -> None:
    folder = Path(host.__file__).parents[2] / "demo" / "model"
    if not (folder / "model_index.json").is_file():
        with pytest.raises(host.LoadError, match="the bundled model is not there"):
            host.load_demo()
        return
    pipe = host.load_demo()
    assert host.attach(pipe).unet.layout.depth["M00"] == 1
    assert pipe.unet.config.cross_attention_dim <= 768
