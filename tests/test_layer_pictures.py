"""Pictures of layer prompts: the ordinary ones where all blocks read the same, else those of a plain loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from reference import forward
from test_hosts_diffusers import generate, quiet, with_scheduler
from test_pipeline import hooks
from torch import Tensor

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings import Settings
from lib_unet_viz.unet import UNet

diffusers = pytest.importorskip("diffusers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:__array_wrap__ must accept:DeprecationWarning"),
]

LAYERED = "a (~: IN00-IN04: red ; M00,OUT05: blue ; _: green :~) circle"
NEGATIVE = "(~: IN07: cat; OUT03: a ; :~) dog"


@pytest.fixture(params=["tiny_pipe", "tiny_xl_pipe"])
def pipe(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def layered(pipe: Any, prompt: Any, negative: Any = "", *, each: int = 1, **options: Any) -> Any:
    prompts = LayerPrompts(pipe, prompt, negative, images_per_prompt=each)
    with prompts.contexts():
        pictures = generate(pipe, **prompts.arguments, **options)
    assert hooks(Pipeline(pipe, "")) == 0
    return pictures


def same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return one.tobytes() == other.tobytes()


# All blocks read the same.


@pytest.mark.parametrize(
    "name", ["DDIMScheduler", "HeunDiscreteScheduler", "EulerAncestralDiscreteScheduler"]
)
def test_one_text_for_all_is_the_ordinary_picture(tiny_pipe: Any, name: str) -> None:
    pipe = with_scheduler(tiny_pipe, name)
    ordinary = generate(pipe, prompt="a red circle", negative_prompt="a  dog")
    assert same(ordinary, layered(pipe, "a (~:IN00-OUT11:red:~) circle", "(~:_:a :~) dog"))
    assert same(ordinary, layered(pipe, "a red circle", "a  dog"))
    assert not same(ordinary, layered(pipe, "a (~:IN00-OUT11:blue:~) circle", "a  dog"))


@pytest.mark.parametrize(
    ("negative", "layers"),
    [("a dog", "(~:M00:a; _:a:~) dog"), (None, "(~:_::~)"), (None, "(~:M00: x;M00::~)")],
)
def test_one_text_for_all_with_sdxl(tiny_xl_pipe: Any, negative: str | None, layers: str) -> None:
    ordinary = generate(tiny_xl_pipe, prompt="a red circle", negative_prompt=negative)
    assert same(ordinary, layered(tiny_xl_pipe, "a (~:IN00-OUT08:red:~) circle", layers))


def test_one_text_for_all_of_a_batch(pipe: Any) -> None:
    texts, several = ["a red dog", "a blue circle"], {"num_images_per_prompt": 2}
    ordinary = generate(pipe, prompt=texts, negative_prompt=["cat", ""], **several)
    layers = ["a (~:_:red:~) dog", "a (~:M00:red;_:blue;M00:blue:~) circle"]
    assert same(ordinary, layered(pipe, layers, ["(~:_:cat:~)", ""], each=2))


@pytest.mark.slow
def test_one_text_for_all_in_the_bundled_model() -> None:
    pipe = quiet(host.load_demo())
    ordinary = generate(pipe, prompt="a red circle", height=128, width=128)
    assert same(ordinary, layered(pipe, "a (~:IN00-OUT11:red:~) circle", height=128, width=128))
    other = layered(pipe, "a (~:OUT05-OUT11:blue; _:red:~) circle", height=128, width=128)
    assert not same(ordinary, other)


def test_without_guidance_only_the_prompt_counts(tiny_pipe: Any) -> None:
    plain: dict[str, Any] = {"guidance_scale": 1.0}
    assert same(layered(tiny_pipe, LAYERED, NEGATIVE, **plain), layered(tiny_pipe, LAYERED, "", **plain))
    assert not same(layered(tiny_pipe, LAYERED, NEGATIVE), layered(tiny_pipe, LAYERED, ""))


# Blocks read different texts.


@torch.no_grad()
def by_loop(pipe: Any, texts: Sequence[Mapping[str, str]], pooled: Sequence[str]) -> npt.NDArray[Any]:
    """The picture (y, x, channel) of the texts that the blocks read, unconditional and conditional."""
    unet, scheduler, guidance = pipe.unet, pipe.scheduler, 7.5
    encoded = [{block: host.encode(pipe, text)[0] for block, text in half.items()} for half in texts]
    added: list[dict[str, Tensor] | None] = [None, None]
    if hasattr(pipe, "text_encoder_2"):
        ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]])
        added = [{"text_embeds": host.encode(pipe, text)[2], "time_ids": ids} for text in pooled]
    scheduler.set_timesteps(3)
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
    latents = noise * scheduler.init_noise_sigma
    for timestep in scheduler.timesteps:
        given = scheduler.scale_model_input(latents, timestep)
        without, wanted = (
            forward(unet, given, timestep, contexts, added=more)
            for contexts, more in zip(encoded, added, strict=True)
        )
        [latents] = scheduler.step(
            without + guidance * (wanted - without), timestep, latents, return_dict=False
        )[:1]
    decoded = pipe.vae.decode(latents / pipe.vae.config.scaling_factor, return_dict=False)[0]
    return (decoded / 2 + 0.5).clamp(0, 1)[0].permute(1, 2, 0).numpy()  # type: ignore[no-any-return]


def test_each_blocks_text_counts_in_that_block(pipe: Any) -> None:
    names = UNet.of(pipe.unet).layout.names
    words = {"M00": "blue", "OUT05": "blue", **dict.fromkeys((f"IN0{n}" for n in range(5)), "red")}
    cond = {name: f"a  {words.get(name, 'green')}  circle" for name in names}
    uncond = {name: {"IN07": " cat", "OUT03": " a "}.get(name, "") + " dog" for name in names}
    expected = by_loop(pipe, (uncond, cond), (" dog", "a  green  circle"))
    found = layered(pipe, LAYERED, NEGATIVE, guidance_scale=7.5)
    np.testing.assert_allclose(found[0], expected, atol=1e-5)
    ordinary = generate(pipe, prompt="a  green  circle", negative_prompt=" dog", guidance_scale=7.5)
    assert np.abs(ordinary[0] - expected).max() > 0.01


def test_a_batch_is_each_of_its_pictures(tiny_pipe: Any) -> None:
    prompts, negatives = [LAYERED, "a dog", "(~:M00:red:~) dog"], ["", NEGATIVE, "cat"]
    together = layered(tiny_pipe, prompts, negatives, latents=noises(3))
    for number, (prompt, negative) in enumerate(zip(prompts, negatives, strict=True)):
        alone = layered(tiny_pipe, prompt, negative, latents=noises(3)[number : number + 1])
        np.testing.assert_allclose(together[number], alone[0], atol=1e-4)


def noises(count: int) -> Tensor:
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(7))


def test_each_text_is_encoded_once(tiny_pipe: Any) -> None:
    seen: list[str] = []
    encoder = tiny_pipe.text_encoder

    def encoded(_: Any, args: tuple[Tensor, ...]) -> None:
        seen.extend("".join(tiny_pipe.tokenizer.convert_ids_to_tokens(row)) for row in args[0])

    with encoder.register_forward_pre_hook(encoded):
        layered(tiny_pipe, LAYERED, NEGATIVE)
    assert len(seen) == len(set(seen)) == 3 + 3


def test_a_mistake_is_said_before_anything_runs(tiny_xl_pipe: Any) -> None:
    with pytest.raises(SpecError, match="no block OUT09") as caught:
        LayerPrompts(tiny_xl_pipe, "a dog", "a (~:M00:x; OUT08-OUT09:y:~)")
    assert caught.value.position == len("a (~:M00:x; OUT08-")


# What is known of the run.


def test_the_trace_knows_what_each_block_read(tiny_pipe: Any) -> None:
    prompts = LayerPrompts(tiny_pipe, LAYERED, NEGATIVE)
    meta = prompts.describe(seed=5)
    capture = Capture("IN02,IN05,OUT03", "1", halves="cond,uncond")
    attached = host.attach(tiny_pipe)
    recorder = Recorder(attached.unet, attention=capture, calls=attached.calls, meta=meta)
    with recorder as trace, prompts.contexts():
        generate(tiny_pipe, **prompts.arguments)
    assert (meta["prompt"], meta["negative"]) == (LAYERED, NEGATIVE)

    def read(block: str, half: Any) -> list[str]:
        texts = trace.token_texts(trace.attention.one(block=block, half=half))
        return [text.removesuffix("</w>") for text in texts[1 : texts.index("<|endoftext|>")]]

    assert read("IN02", "cond") == ["a", "red", "circle"]
    assert "".join(read("IN05", "cond")) == "agreencircle"
    assert "".join(read("OUT03", "uncond")) == "adog"
    assert "".join(read("IN02", "uncond")) == "dog"


def test_a_batch_is_described_image_by_image(tiny_pipe: Any) -> None:
    meta = LayerPrompts(tiny_pipe, ["a dog", "(~:M00:red:~)"], NEGATIVE, images_per_prompt=2).describe(seed=1)
    assert [image["prompt"] for image in meta["images"]] == ["a dog"] * 2 + ["(~:M00:red:~)"] * 2
    assert "cond" not in meta["images"][1]["tokens_by_block"].get("M00", {})
    assert meta["images"][2]["tokens_by_block"]["M00"]["cond"][1] == "red</w>"


def test_generate_takes_layer_prompts(tiny_pipe: Any) -> None:
    model = Pipeline(tiny_pipe, "tiny")
    settings = Settings.from_dict({"features": {"blocks": "M00"}, "attention": {"enabled": False}})
    options: dict[str, Any] = {"settings": settings, "steps": 2, "size": (64, 64)}
    ordinary = model.generate("a red circle", negative="a dog", **options)
    one = model.generate("a (~:_:red:~) circle", negative="a (~:_:dog:~)", **options)
    other = model.generate("a (~:_:red; M00:blue:~) circle", negative="a dog", **options)
    assert ordinary.picture is not None
    assert one.picture is not None
    assert other.picture is not None
    assert one.picture.tobytes() == ordinary.picture.tobytes() != other.picture.tobytes()
    assert one.meta["prompt"] == "a (~:_:red:~) circle"
    assert list(other.meta["tokens_by_block"]) == ["M00"]
    with pytest.raises(SpecError, match="IN77"):
        model.generate("a (~:IN77:red:~) circle", **options)
