from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_edit import hooks

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import REFINING, Call, Capture, Row
from lib_unet_viz.hosts.base import Conditions, Interrupted
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.notation.specs import BlockSpec, SpecError
from lib_unet_viz.sampling.model import SamplingStep


@pytest.fixture(scope="module")
def model(tiny_pipe: Any) -> Pipeline:
    return Pipeline(tiny_pipe, "tiny")


@pytest.fixture
def picture() -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 255, (96, 64, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def test_one_map_per_layer_of_that_layers_size(model: Pipeline, picture: Image.Image) -> None:
    trace = vxa.trace_picture(model, picture, "red circle", blocks="IN01,M00", timestep=300)
    maps = heatmap.cross_maps(trace)
    assert {m.key.block: m.shape[-2:] for m in maps} == {"IN01": (12, 8), "M00": (2, 1)}
    assert maps[1].numpy().sum(1) == pytest.approx(1, abs=1e-5)
    assert trace.picture is not None
    assert trace.picture.size == picture.size


def test_noise_has_a_seed_and_none_is_added_at_timestep_0(model: Pipeline, picture: Image.Image) -> None:
    def run(**options: Any) -> np.ndarray:
        options = {"draws": 1, **options}
        trace = vxa.trace_picture(model, picture, "red", blocks="IN01", **options)
        return heatmap.cross_maps(trace)[0].numpy()

    assert (run(timestep=500) == run(timestep=500)).all()
    assert not np.allclose(run(timestep=500), run(timestep=500, noise_seed=1))
    assert (run(timestep=0) == run(timestep=0, noise_seed=1)).all()
    both = run(timestep=500, draws=2)
    mean = (run(timestep=500) + run(timestep=500, noise_seed=1)) / 2
    np.testing.assert_allclose(both, mean, atol=1e-6)


def test_several_levels_are_averaged_and_are_the_default(model: Pipeline, picture: Image.Image) -> None:
    def maps(**options: Any) -> np.ndarray:
        trace = vxa.trace_picture(model, picture, "red", blocks="IN01", draws=1, **options)
        return heatmap.cross_maps(trace)[0].numpy()

    first, second = maps(timestep=100, noise_seed=0), maps(timestep=0)
    np.testing.assert_allclose(maps(timestep=(100, 0)), (first + second) / 2, atol=1e-6)
    trace = vxa.trace_picture(model, picture, "red", blocks="IN01")
    assert trace.meta["timestep"] == [150, 250, 350]
    assert trace.meta["steps"] == 3 * vxa.DRAWS
    assert len({item.sigma for item in trace.attention.all(what="Q", kind="cross")}) == 3


def test_self_attention_is_averaged_over_all_draws(model: Pipeline, picture: Image.Image) -> None:
    """Also where there are more than word maps of a run are refined by, whose last steps count alone."""

    def refining(**options: Any) -> np.ndarray:
        trace = vxa.trace_picture(model, picture, "red", blocks="IN01", timestep=300, **options)
        [item] = trace.attention.all(kind="self", what="QK", block="IN04")
        return item.numpy()

    draws = REFINING.count + 1
    each = [refining(draws=1, noise_seed=seed) for seed in range(draws)]
    np.testing.assert_allclose(refining(draws=draws), np.mean(each, axis=0), atol=1e-6)


def test_a_look_is_the_unets_on_the_noised_picture(model: Pipeline, picture: Image.Image) -> None:
    """All of it once more by diffusers' own modules: encoder, scheduler, U-Net."""
    looked = vxa.trace_picture(
        model, picture, "red circle", blocks="IN01,M00", timestep=[0, 700], noise_seed=2
    )
    pipe, levels = model.pipe, torch.tensor([0, 700, 700])
    kept = pipe.scheduler.alphas_cumprod[levels]
    sigmas = [0.0, *((1 - kept) / kept).sqrt().tolist()[1:]]
    now = 0

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        rows, size = (Row(0, "cond"),), tuple(args[0].shape[-2:])
        return Call(step=now, total=3, sigma=sigmas[now], rows=rows, size=size)

    captures = [Capture("IN01,M00", mean=True), Capture("IN01", what="Q")]
    with torch.no_grad(), Recorder(model.unet, attention=captures, calls=calls) as trace:
        pixels = pipe.image_processor.preprocess(picture)
        latent = pipe.vae.encode(pixels).latent_dist.mean * pipe.vae.config.scaling_factor
        context = pipe.encode_prompt("red circle", "cpu", 1, False)[0]
        for now, timestep in enumerate(levels):
            noise = torch.randn(latent.shape, generator=torch.Generator().manual_seed(2 * 3 + now))
            noised = pipe.scheduler.add_noise(latent, noise, timestep[None]) if now else latent
            pipe.unet(noised, timestep, encoder_hidden_states=context)
    assert len(trace.attention) == 5
    found = {item.key: item for item in looked.attention}
    for item in trace.attention:
        np.testing.assert_array_equal(item.numpy(), found[item.key].numpy())
        assert found[item.key].sigma == (item.sigma if item.sigma is None else pytest.approx(item.sigma))
    assert trace.meta["sigmas"] == pytest.approx(looked.meta["sigmas"])


class Stopped(Pipeline):
    """The person stops it before a run."""

    before = 0

    def __call__(
        self,
        latents: torch.Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: SamplingStep | None,
    ) -> torch.Tensor:
        if place == (self.before, 3):
            raise Interrupted
        return super().__call__(latents, timestep, conditions, rows, place)


def test_what_was_seen_before_an_interrupt_counts(tiny_pipe: Any, picture: Image.Image) -> None:
    stopped = Stopped(tiny_pipe)
    options: dict[str, Any] = {"blocks": "IN01", "timestep": 300, "draws": 3}
    with pytest.raises(Interrupted):
        vxa.trace_picture(stopped, picture, "red", **options)
    assert hooks(tiny_pipe.unet) == 0
    stopped.before = 2
    seen = vxa.trace_picture(stopped, picture, "red", **options)
    assert [item.key.step for item in seen.attention.all(what="Q", kind="cross")] == [0, 1]
    assert len(heatmap.cross_maps(seen)) == 1


@pytest.mark.parametrize(
    ("size", "expected"),
    [((300, 200), (160, 104)), ((20, 500), (64, 504)), ((128, 128), (128, 128)), ((5, 5), (64, 64))],
)
def test_pictures_of_any_size_become_what_the_model_takes(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    ready = vxa.prepare(Image.new("RGBA", size), 128)
    assert ready.mode == "RGB"
    assert all(side % 8 == 0 and side >= 64 for side in ready.size)
    assert ready.width * ready.height <= 128**2 * 1.1 or min(ready.size) == 64
    if size in ((300, 200), (128, 128), (5, 5)):
        assert ready.size == expected
    assert ready.getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"timestep": 1000}, "allowed: 0 \\(no noise\\) to 999"),
        ({"timestep": (500, 1000)}, "timestep 1000 does not exist"),
        ({"timestep": ()}, "no timestep"),
        ({"blocks": "IN00"}, "reaches none of the blocks 'IN00'"),
        ({"blocks": "IN77"}, "IN77"),
    ],
)
def test_what_cannot_be_is_refused(
    model: Pipeline, picture: Image.Image, changes: dict[str, Any], message: str
) -> None:
    options: dict[str, Any] = {"prompt": "red", "timestep": 500, "blocks": "", **changes}
    with pytest.raises(ValueError, match=message):
        vxa.trace_picture(model, picture, **options)


def test_words_of_a_trace(model: Pipeline, picture: Image.Image) -> None:
    trace = vxa.trace_picture(model, picture, "red circle", blocks="M00", timestep=500)
    assert vxa.positions(trace, ["circle"]) == {"circle": (2,)}
    with pytest.raises(SpecError, match="red, circle"):
        vxa.positions(trace, ["square"])


def test_the_default_layers_have_maps_of_16_by_16(model: Pipeline) -> None:
    assert vxa.default_layers(model) == "IN01,IN02,OUT09,OUT10,OUT11"
    spec = BlockSpec.parse(vxa.default_layers(model))
    assert {
        site.size((16, 16)) for name in spec.names(model.unet) for site in model.unet.attention(name)
    } == {(16, 16)}
