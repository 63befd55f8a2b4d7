"""The bundled model: what it is, that it exports to Stable Diffusion's own layout, and how it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lib_unet_viz.demo import export, model, score, train
from lib_unet_viz.demo import scorer as judge
from lib_unet_viz.demo.localisation import Judged, summary
from lib_unet_viz.demo.localisation import judge as judge_map
from lib_unet_viz.demo.scenes import COLORS, SHAPES
from lib_unet_viz.demo.score_maps import held_out, masks_by_color
from lib_unet_viz.demo.things.scorer import ThingScorer
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.settings import Settings


@pytest.fixture(scope="module")
def bundled() -> Pipeline:
    return Pipeline.load()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export.export(tmp_path_factory.mktemp("webui"))


def test_it_has_stable_diffusion_1s_topology(bundled: Pipeline) -> None:
    depth = bundled.unet.layout.depth
    assert len(bundled.unet.layout.names) == 25
    reached = [name for name in bundled.unet.layout.names if depth[name]]
    inputs = [f"IN0{n}" for n in (1, 2, 4, 5, 7, 8)]
    assert reached == [*inputs, "M00", *(f"OUT{n:02}" for n in range(3, 12))]
    assert len(bundled.tokens("a red circle")) == 77


def test_it_is_small_enough_to_travel() -> None:
    assert sum(path.stat().st_size for path in model.FOLDER.rglob("*") if path.is_file()) <= 24_000_000


def test_any_text_tokenises_and_the_captions_words_are_one_token_each(bundled: Pipeline) -> None:
    tokenizer = bundled.pipe.tokenizer
    for word in (*SHAPES, *COLORS, "small", "big", "background", "left", "of"):
        assert len(tokenizer(word).input_ids) == 3
    odd = "Größe 猫 🙂 <b>\n"
    assert tokenizer.unk_token_id not in tokenizer(odd).input_ids[1:-1]


def test_one_seed_one_picture_and_capture_changes_nothing(bundled: Pipeline) -> None:
    off = Settings.from_dict(
        {"features": {"enabled": False}, "attention": {"enabled": False}, "heatmaps": False}
    )
    plain, looked = (
        bundled.generate("a red circle", settings=settings, steps=2, seed=3) for settings in (off, Settings())
    )
    assert plain.picture is not None
    assert looked.picture is not None
    assert plain.picture.tobytes() == looked.picture.tobytes()
    assert not plain.attention
    assert looked.attention


def test_the_exported_unet_is_the_same_in_stable_diffusions_own_code(
    bundled: Pipeline, checkpoint: Path
) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    openaimodel = pytest.importorskip("ldm.modules.diffusionmodules.openaimodel")
    config = omegaconf.OmegaConf.load(checkpoint.with_suffix(".yaml")).model.params
    unet = openaimodel.UNetModel(**config.unet_config.params).eval()
    unet.load_state_dict(_part(checkpoint, "model.diffusion_model."), strict=True)
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(1, 4, 16, 16, generator=generator)
    context = torch.randn(1, 77, model.CONTEXT_WIDTH, generator=generator)
    step = torch.tensor([500])
    with torch.no_grad():
        theirs = bundled.pipe.unet(latent, step, context).sample
        torch.testing.assert_close(unet(latent, step, context), theirs, atol=1e-4, rtol=1e-4)
    assert config.scale_factor == pytest.approx(bundled.pipe.vae.config.scaling_factor)


def test_the_exported_autoencoder_is_the_same_in_stable_diffusions_own_code(
    bundled: Pipeline, checkpoint: Path
) -> None:
    omegaconf = pytest.importorskip("omegaconf")
    parts = pytest.importorskip("ldm.modules.diffusionmodules.model")
    config = omegaconf.OmegaConf.load(
        checkpoint.with_suffix(".yaml")
    ).model.params.first_stage_config.params.ddconfig
    weights = _part(checkpoint, "first_stage_model.")
    encoder, decoder = parts.Encoder(**config).eval(), parts.Decoder(**config).eval()
    encoder.load_state_dict(_below(weights, "encoder."), strict=True)
    decoder.load_state_dict(_below(weights, "decoder."), strict=True)
    generator = torch.Generator().manual_seed(0)
    picture, latent = (
        torch.rand(1, 3, 64, 64, generator=generator),
        torch.randn(1, 4, 8, 8, generator=generator),
    )
    vae = bundled.pipe.vae
    with torch.no_grad():
        torch.testing.assert_close(encoder(picture), vae.encoder(picture), atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(decoder(latent), vae.decoder(latent), atol=1e-4, rtol=1e-4)


def test_the_exported_text_encoder_is_complete(bundled: Pipeline, checkpoint: Path) -> None:
    names = {name.removeprefix("text_model.") for name in bundled.pipe.text_encoder.state_dict()}
    exported = _part(checkpoint, "cond_stage_model.transformer.text_model.")
    assert {name for name in names if "position_ids" not in name} == set(exported)
    folder = checkpoint.with_name(f"{export.NAME}-clip")
    files = {path.name for path in folder.iterdir()}
    assert {"config.json", "model.safetensors", "vocab.json", "merges.txt"} <= files


def test_the_text_encoder_has_the_weights_of_its_file(bundled: Pipeline) -> None:
    saved = load_file(model.FOLDER / "text_encoder" / "model.safetensors")
    loaded = {
        name.removeprefix("text_model."): value
        for name, value in bundled.pipe.text_encoder.state_dict().items()
    }
    for name, value in saved.items():
        assert torch.equal(loaded[name.removeprefix("text_model.")], value.float())


def test_the_documented_training_commands_are_understood() -> None:
    readme = (Path(__file__).parents[1] / "docs" / "model.md").read_text(encoding="utf-8")
    lines = [
        line.split("#")[0].split("demo.train ")[1] for line in readme.splitlines() if "demo.train " in line
    ]
    whole, further = (train.options(line.split()) for line in lines)
    assert not whole.stages
    assert further.bundled
    assert {"tokenizer", "latents", "unet", "bundle"} <= set(further.stages) <= set(train.STAGES)


def test_judging_a_map() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:4, 2:4] = True
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[2:4, 2:6] = 0.6
    heat[3, 3] = 1
    found = judge_map(heat, mask)
    assert (found.pointing, found.miou, found.miou_mean) == (1, 0.5, 0.5)
    assert judge_map(heat[::-1, ::-1], mask).pointing == 0
    # Ranked: the peak, (2, 2), (2, 3), two outside, then (3, 2): precisions 1, 1, 1 and 4 of 6.
    assert found.map == pytest.approx((1 + 1 + 1 + 4 / 6) / 4)
    assert judge_map(mask.astype(np.float32), mask) == Judged(1, 1, 1, 1)


def test_intervals_hold_the_mean_and_shrink_with_more_scenes() -> None:
    rng = np.random.default_rng(0)
    scenes = [[Judged(*rng.random(4)), Judged(*rng.random(4))] for _ in range(400)]
    few, many = summary(scenes[:25]), summary(scenes)
    for found in (few, many):
        assert found["miou"] == pytest.approx(0.5, abs=0.15)
        low, high = found["intervals"]["miou"]
        assert low < found["miou"] < high
    widths = [np.ptp(found["intervals"]["miou"]) for found in (few, many)]
    assert widths[1] == pytest.approx(widths[0] / 4, rel=0.4)
    assert np.ptp(summary([[Judged(1, 1, 1, 1)]] * 3)["intervals"]["map"]) == 0


def test_masks_by_color_are_those_of_a_drawn_scene() -> None:
    scene, _ = held_out(objects=2, count=1, seed=3, pattern="plain")[0]
    colors = [thing.color for thing in scene.things]
    masks = masks_by_color(scene.picture, colors)
    assert masks is not None
    for found, mask in zip(masks, scene.masks, strict=True):
        assert (found & mask).sum() / (found | mask).sum() > 0.9
    missing = next(color for color in COLORS if color not in colors)
    assert masks_by_color(scene.picture, [missing]) is None


def test_held_out_scenes_are_a_function_of_the_seed_and_distinct() -> None:
    first, second = (held_out(objects=2, count=5, seed=1) for _ in range(2))
    assert [text for _, text in first] == [text for _, text in second]
    assert all(len(judge.truth(scene)) == 2 for scene, _ in first)
    assert first[0][1] != held_out(objects=2, count=5, seed=2)[0][1]


@pytest.mark.slow
def test_the_scorer_finds_what_is_drawn() -> None:
    assert judge.accuracy(judge.load(), count=100, seed=11) > 0.9


@pytest.mark.heavy
def test_the_score_has_the_documented_keys(bundled: Pipeline) -> None:
    done: list[float] = []
    found = score.score(
        seed=5,
        count=4,
        model=bundled,
        of_things=ThingScorer().eval(),
        progress=lambda share, doing: done.append(share),
    )
    of_shapes = {"scorer_on_drawn", "one_object", "two_objects"}
    of_things = {
        "one_thing",
        "two_things",
        "colour",
        "colour_of_found",
        "relation",
        "unseen_pair",
    }
    assert set(found["pictures"]) == of_shapes | of_things | {"things_scorer_on_drawn"}
    assert set(found["autoencoder"]) == of_things | {"psnr_db", "things_psnr_db"}
    assert {"things", "attached", "parts", "asked"} <= set(found["maps"])
    assert found["maps"]["default"] in found["maps"]["two_objects"]
    assert {"winner", "best_layer", "one_object", "three_objects", "generated"} <= set(found["maps"])
    marks = {"pointing", "miou", "miou_mean", "map"}
    for judged in found["maps"]["two_objects"].values():
        assert set(judged) == {*marks, "intervals", "colors", "phrases", "scenes"}
        for each in (judged, judged["colors"], judged["phrases"]):
            assert all(0 <= each[mark] <= 1 for mark in marks)
            assert set(each["intervals"]) == marks
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)


def _part(checkpoint: Path, prefix: str) -> dict[str, torch.Tensor]:
    return _below({name: value.float() for name, value in load_file(checkpoint).items()}, prefix)


def _below(weights: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
