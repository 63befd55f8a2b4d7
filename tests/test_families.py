"""Stable Diffusion 2 and XL: their blocks at true size, and what is recorded of small ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONTEXT, autoencoder, diffusers_unet, randomise, sdxl_unet, text_encoder, tokenizer
from test_hosts_diffusers import generate
from test_unet import SD1_NAMES, assert_close, diffusers_keys
from torch import nn

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row, estimate
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.maps.words import word_captures, word_maps
from lib_unet_viz.notation.specs import BlockSpec, SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet

diffusers = pytest.importorskip("diffusers")

from models import MODELS  # noqa: E402 - of the benchmarks

SDXL_NAMES = [*(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9))]
SDXL_DEPTH = [0, 0, 0, 0, 2, 2, 0, 10, 10, 10, 10, 10, 10, 2, 2, 2, 0, 0, 0]
SDXL, SD2 = (MODELS[name].config for name in ("sdxl", "sd21"))
ROWS = (Row(0, "uncond"), Row(1, "uncond"), Row(0, "cond"), Row(1, "cond"))
LONG = 154


def at_true_size(config: Mapping[str, Any]) -> UNet:
    with torch.device("meta"):
        return UNet.of(diffusers.UNet2DConditionModel(**config))


@pytest.fixture(scope="module")
def sdxl() -> UNet:
    return at_true_size(SDXL)


def run_sdxl(module: nn.Module, size: tuple[int, int], **options: Any) -> tuple[Trace, torch.Tensor]:
    """One call with two images, 154 tokens and latents of `size`: what is recorded, and the output."""
    generator = torch.Generator().manual_seed(3)
    latent = torch.randn(4, 4, *size, generator=generator)
    context = torch.randn(4, LONG, CONTEXT, generator=generator)
    added = {"text_embeds": torch.randn(4, 64, generator=generator), "time_ids": torch.full((4, 6), 64.0)}
    call = Call(0, 1, 1.0, ROWS, size)
    with Recorder(module, calls=lambda *_: call, **options) as trace, torch.no_grad():
        output = module(latent, torch.tensor(500), context, added_cond_kwargs=added).sample
    return trace, output


# SDXL.


def test_sdxl_has_19_blocks_and_70_transformer_layers(sdxl: UNet) -> None:
    assert list(sdxl.blocks) == SDXL_NAMES
    assert list(sdxl.layout.depth.values()) == SDXL_DEPTH
    cross = Capture().sites(sdxl)
    assert len(cross) == len(Capture(kinds="self").sites(sdxl)) == sum(SDXL_DEPTH) == 70
    for site in cross:
        assert Capture(f"{site.block}.{site.layer}").sites(sdxl) == [site]
    heads = {(site.channels, site.heads, site.scale) for site in cross}
    assert heads == {(640, 10, 0.125), (1280, 20, 0.125)}
    assert sdxl.blocks["IN07"].shapes((128, 96)) == ((640, 32, 24), (1280, 32, 24))


@pytest.mark.parametrize("block", ["IN09", "IN10", "IN11", "OUT09", "OUT11"])
def test_blocks_that_sdxl_lacks_are_refused_with_those_it_has(sdxl: UNet, block: str) -> None:
    for asked in (Capture(f"M00, {block}"), Capture(f"IN00-{block}")):
        with pytest.raises(SpecError, match=f"this model has no block {block}") as caught:
            asked.sites(sdxl)
        assert str(caught.value).splitlines()[-1].startswith("allowed: IN00, ")
        assert caught.value.allowed == tuple(SDXL_NAMES)


@pytest.mark.parametrize("layer", ["IN07.10", "IN04.2", "IN03.0"])
def test_layers_that_sdxl_lacks_are_refused(sdxl: UNet, layer: str) -> None:
    with pytest.raises(SpecError, match="is not there"):
        Capture(layer).sites(sdxl)


def test_word_maps_of_sdxl_take_less_than_200_megabytes(sdxl: UNet) -> None:
    """All layers at 1024 x 1024, both halves, whatever the number of steps."""
    sizes = {estimate(sdxl, attention=word_captures(), size=(128, 128), total=steps) for steps in (1, 50)}
    assert len(sizes) == 1
    assert max(sizes) < 200e6


def test_the_middle_layer_of_each_block_refines(sdxl: UNet) -> None:
    refining = word_captures()[1]
    names = [site.name for site in refining.sites(sdxl)]
    assert names == [f"{block}.{depth // 2} self" for block, depth in sdxl.layout.depth.items() if depth]
    assert len(Capture("IN07.0, M00", kinds="self", middle=True).sites(sdxl)) == 2
    assert [site.layer for site in Capture("IN07.0", middle=True).sites(sdxl)] == [0]


@pytest.mark.parametrize("size", [(8, 24), (16, 12)])
def test_sdxl_with_long_prompts_in_a_batch_of_other_shapes(size: tuple[int, int]) -> None:
    module = sdxl_unet()
    raw = Capture("IN07.1, OUT05", halves="cond,uncond")
    mean = Capture(mean=True, images=(1,))
    trace, output = run_sdxl(module, size, features=Capture("OUT08"), attention=[raw, mean])
    item = trace.attention.one(block="IN07", step=1, image=1, half="cond")
    assert (item.key.layer, item.shape) == (1, (2, LONG, size[0] // 4, size[1] // 4))
    torch.testing.assert_close(item.data.sum(1), torch.ones_like(item.data[:, 0]))
    assert {item.key.layer for item in trace.attention.all(block="OUT05", step=1)} == {0, 1}
    averaged = trace.attention.all(image=1, half="cond", kind="cross")
    assert sum(item.key.step is None for item in averaged) == sum(UNet.of(module).layout.depth.values())
    [of_layer] = [each for each in averaged.all(block="IN07", layer=1) if each.key.step is None]
    torch.testing.assert_close(of_layer.data[0], item.data.mean(0))
    again, silent = run_sdxl(module, size, features=Capture("OUT08"))
    assert torch.equal(output, silent)
    assert [item.shape for item in again.features] == [(32, *size)] * 2


def test_a_text_for_one_layer_of_blocks_leaves_sdxls_pooled_vector_alone() -> None:
    """What is added to the time embedding is the same tensor with other contexts in; the output is not."""
    module: Any = sdxl_unet()
    seen: list[torch.Tensor] = []
    other = torch.zeros(4, 77, CONTEXT)
    with module.add_embedding.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
        _, plain = run_sdxl(module, (8, 8), features=Capture())
        with Contexts(module, lambda *_: {"IN07": other, "OUT03": other}):
            _, changed = run_sdxl(module, (8, 8), features=Capture())
    assert torch.equal(seen[0], seen[1])
    assert not torch.allclose(plain, changed)


def test_both_of_sdxls_encoders_read_a_layers_text(tiny_xl_pipe: Any) -> None:
    """The context's first 64 channels come from one, the others from the other."""
    seen: list[torch.Tensor] = []
    site = next(site for site in UNet.of(tiny_xl_pipe.unet).attention("M00") if site.kind == "cross")
    for prompt in ("a (~: M00: red :~) circle", "a circle"):
        prompts = LayerPrompts(tiny_xl_pipe, prompt)
        with prompts.contexts(), site.to_k.register_forward_pre_hook(lambda _, args: seen.append(args[0])):
            generate(tiny_xl_pipe, **prompts.arguments, num_inference_steps=1)
    changed = (seen[0] - seen[1])[-1]
    assert changed[:, :64].any()
    assert changed[:, 64:].any()


def test_word_maps_of_an_sdxl_run(tiny_xl_pipe: Any) -> None:
    attached = host.attach(tiny_xl_pipe)
    meta = host.describe(tiny_xl_pipe, prompt="red circle")
    with Recorder(attached.unet, attention=word_captures(), calls=attached.calls, meta=meta) as trace:
        generate(tiny_xl_pipe, height=64, width=128)
    heats = word_maps(trace)
    assert [heat.word for heat in heats] == ["red", "circle"]
    assert all(np.isfinite(heat.values).all() and heat.values.min() >= 0 for heat in heats)
    assert heats[0].values.shape == (4, 8)


# Stable Diffusion 2.


def test_stable_diffusion_2_has_the_blocks_of_1_with_other_heads() -> None:
    unet = at_true_size(SD2)
    assert list(unet.blocks) == SD1_NAMES
    assert {(site.channels, site.heads) for site in unet.sites} == {(320, 5), (640, 10), (1280, 20)}
    assert {site.scale for site in unet.sites} == {0.125}
    assert len(unet.sites) == 32
    assert BlockSpec.parse("IN11").names(unet) == ["IN11"]


def test_both_codes_of_stable_diffusion_2_agree() -> None:
    openaimodel = pytest.importorskip("ldm.modules.diffusionmodules.openaimodel")
    first = randomise(
        openaimodel.UNetModel(
            image_size=16, in_channels=4, out_channels=4, model_channels=32, attention_resolutions=[4, 2, 1],
            num_res_blocks=2, channel_mult=[1, 2, 4, 4], num_head_channels=16, use_spatial_transformer=True,
            use_linear_in_transformer=True, context_dim=CONTEXT, legacy=False,
        )
    )  # fmt: skip
    second = diffusers_unet(attention_head_dim=(2, 4, 8, 8), use_linear_projection=True)
    second.load_state_dict(diffusers_keys(first.state_dict()), strict=True)
    generator = torch.Generator().manual_seed(7)
    latent, context = torch.randn(2, 4, 8, 16, generator=generator), torch.randn(2, LONG, CONTEXT)
    call = Call(0, 1, 1.0, (Row(0, "uncond"), Row(0, "cond")), (8, 16))
    traces = []
    for module in (first, second):
        asked: dict[str, Any] = {
            "features": Capture(),
            "attention": Capture(kinds="cross,self", what="QK,VQK"),
        }
        with Recorder(module, calls=lambda *_: call, **asked) as trace, torch.no_grad():
            module(latent, torch.full((2,), 500), context)
        traces.append([*trace.features, *trace.attention])
    assert len(traces[0]) == 25 + 2 * 32
    for one, two in zip(*traces, strict=True):
        assert one.key == two.key
        assert_close(one.data, two.data, str(one.key))
    assert traces[0][-1].shape == (2, 16, 8, 16)


@pytest.fixture(scope="module")
def sd2_pipe(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """v-prediction; OpenCLIP's text encoder as diffusers holds it, whose padding is "!"."""
    pipe = diffusers.StableDiffusionPipeline(
        vae=autoencoder(),
        text_encoder=text_encoder(CONTEXT, hidden_act="gelu"),
        tokenizer=tokenizer(tmp_path_factory.mktemp("tokenizer"), pad="!"),
        unet=diffusers_unet(attention_head_dim=(2, 4, 8, 8), use_linear_projection=True),
        scheduler=diffusers.DDIMScheduler(
            beta_schedule="scaled_linear",
            clip_sample=False,
            steps_offset=1,
            prediction_type="v_prediction",
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_a_v_prediction_run_is_recorded_and_unchanged(sd2_pipe: Any) -> None:
    before = generate(sd2_pipe)
    attached = host.attach(sd2_pipe)
    meta = host.describe(sd2_pipe, prompt="red circle")
    asked: dict[str, Any] = {"features": Capture(), "attention": [Capture("M00"), *word_captures()]}
    with Recorder(attached.unet, **asked, calls=attached.calls, meta=meta) as trace:
        during = generate(sd2_pipe)
    assert before.tobytes() == during.tobytes()
    assert trace.attention.one(block="M00", step=1).shape == (8, 77, 1, 1)
    assert trace.meta["tokens"]["cond"][:5] == [BOS, "red</w>", "circle</w>", EOS, "!"]
    assert [heat.word for heat in word_maps(trace)] == ["red", "circle"]
