"""Training of the bundled model goes on from its weights, with more words and another world."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import CLIPTokenizer

from lib_unet_viz.demo import dataset, model, tokenizer, train_autoencoder, train_unet, worlds
from lib_unet_viz.demo.scenes import SHAPES, SIZE
from lib_unet_viz.demo.things import scorer
from lib_unet_viz.demo.things.captions import vocabulary
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import draw_scene
from lib_unet_viz.hosts.diffusers import load_demo

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.build(folder)
    return folder


def test_words_of_shapes_keep_their_tokens_and_words_of_things_are_one_each(words: Path) -> None:
    before, after = (
        json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
        for folder in (model.FOLDER / "tokenizer", words)
    )
    marks = {tokenizer.BOS, tokenizer.EOS}
    assert {name: after[name] for name in before if name not in marks} == {
        name: number for name, number in before.items() if name not in marks
    }
    assert [after[tokenizer.BOS], after[tokenizer.EOS]] == [len(after) - 2, len(after) - 1]
    known = CLIPTokenizer.from_pretrained(words)
    assert all(len(known(word).input_ids) == 3 for word in (*vocabulary(), "circle", "striped", "cyan"))


def test_merges_go_on_after_those_that_are_there() -> None:
    assert tokenizer.further([("a", "b")], ["abc", "abd"]) == [("a", "b"), ("ab", "d</w>"), ("ab", "c</w>")]
    assert tokenizer.further([("a", "b</w>")], ["ab"]) == [("a", "b</w>")]


def test_bundled_weights_are_taken_up_with_more_words(words: Path) -> None:
    more = CLIPTokenizer.from_pretrained(words)
    old = CLIPTokenizer.from_pretrained(model.FOLDER / "tokenizer")
    first, second = train_unet.TextToNoise(len(old)), train_unet.TextToNoise(len(more))
    first.load_bundled(old)
    second.load_bundled(more)
    ids = [each("a small red circle and a ring", return_tensors="pt").input_ids for each in (old, more)]
    with torch.no_grad():
        said = [net.text_encoder(at)[0] for net, at in zip((first, second), ids, strict=True)]
    torch.testing.assert_close(*said)
    weights = second.text_encoder.state_dict()
    table = next(value for name, value in weights.items() if name.endswith(train_unet.EMBEDDING))
    assert table.shape[0] == len(more)
    assert table[more("rabbit").input_ids[1]].std() > 0


def test_scenes_of_both_worlds_are_encoded_once_with_their_captions(tmp_path: Path) -> None:
    done: list[float] = []
    vae = train_autoencoder.bundled_autoencoder()
    with pytest.raises(ValueError, match="run the stage latents first"):
        dataset.load(tmp_path)
    dataset.encode(vae, tmp_path, count=dataset.CHUNK, device="cpu", progress=done.append)
    data = dataset.load(tmp_path)
    side = SIZE // 8
    assert data.latents.shape == (dataset.CHUNK, 4, side, side)
    assert data.foreground.shape == (dataset.CHUNK, 1, side, side)
    assert 0 <= data.foreground.min() < data.foreground.max() <= 1
    assert len(data.captions) == dataset.CHUNK
    assert data.nouns.shape == (dataset.CHUNK, side, side)
    attached = {
        number
        for number in range(dataset.CHUNK)
        if re.search("wearing|eating|holding", str(data.captions[number]))
    }
    assert set(data.attached) == attached > set()
    for captions, nouns in zip(data.captions, data.nouns, strict=True):
        shown = {worlds.NOUNS[number] for number in nouns.unique()} - {""}
        assert shown
        if shown <= set(SHAPES):
            assert all(noun in captions[0] for noun in shown)
    texts = " ".join(captions[0] for captions in data.captions)
    assert any(shape in texts for shape in ("circle", "square", "triangle", "star", "ring", "cross"))
    assert any(name in texts for name in THINGS)
    assert data.scaling_factor == pytest.approx(1 / data.latents.std().item())
    assert done == [1.0]
    (file,) = tmp_path.glob("*.safetensors")
    written = file.stat().st_mtime_ns
    dataset.encode(vae, tmp_path, count=dataset.CHUNK, device="cpu")
    assert file.stat().st_mtime_ns == written


def test_the_autoencoder_learns_its_decoder_alone(tmp_path: Path) -> None:
    before = train_autoencoder.bundled_autoencoder().state_dict()
    train_autoencoder.train(tmp_path, minutes=0.02, device="cpu", bundled=True, decoder=True)
    state = torch.load(tmp_path / "autoencoder.pt", weights_only=True)
    changed = {name.split(".")[0] for name in before if not torch.equal(before[name], state["vae"][name])}
    assert changed == {"decoder", "post_quant_conv"}
    assert state["step"] > 0


@pytest.mark.parametrize("processes", [1, 2])
def test_the_unet_learns_and_goes_on_where_it_stopped(tmp_path: Path, words: Path, processes: int) -> None:
    shutil.copytree(words, tmp_path / "tokenizer")
    dataset.encode(train_autoencoder.bundled_autoencoder(), tmp_path, count=dataset.CHUNK, device="cpu")
    steps, spent = [0], 0.0
    for _ in range(2):
        train_unet.train(tmp_path, minutes=spent + 0.2, device="cpu", processes=processes, bundled=True)
        state = torch.load(tmp_path / "unet.pt", weights_only=True)
        steps, spent = [*steps, state["step"]], state["seconds"] / 60
    assert 0 < steps[1] < steps[2]
    start = load_demo().unet.state_dict()
    learned = {name.removeprefix("unet."): value for name, value in state["network"].items()}
    assert all(not torch.equal(learned[name], value) for name, value in start.items())
    assert all(value.isfinite().all() for value in state["network"].values())


def test_the_noun_that_fills_most_of_a_latent_position() -> None:
    nouns = np.zeros((16, 16), dtype=np.uint8)
    nouns[:8, :5], nouns[8:, 8:11], nouns[8:, 11:] = 7, 3, 9
    assert dataset._most(nouns).tolist() == [[7, 0], [0, 9]]


def test_a_judges_truth_marks_the_middles_of_things() -> None:
    scene = draw_scene(np.random.default_rng(3), relation="left of", names=("cat", "car"))
    truth = scorer.truth(scene)
    nouns = {name: truth[scorer.NOUNS.index(name)] for name in ("cat", "car", "dog")}
    assert (nouns["dog"] == 0).all()
    for thing, mask in zip(scene.things, scene.masks, strict=True):
        y, x = np.argwhere(nouns[thing.name] == 1).mean(0) * scorer.PLACE + scorer.PLACE / 2
        assert np.hypot(*(np.argwhere(mask).mean(0) - (y, x))) < 2 * scorer.PLACE
        assert set(np.unique(nouns[thing.name])) == {-1, 0, 1}
        colors = truth[-1][nouns[thing.name] == 1]
        assert (colors == scorer.COLORS.index(thing.color)).all()
    assert (truth[-1][(nouns["cat"] != 1) & (nouns["car"] != 1)] == -1).all()


def test_a_judge_learns_and_is_saved(tmp_path: Path) -> None:
    trained = scorer.train(tmp_path, minutes=0.03, device="cpu")
    scorer.save(trained, tmp_path / "scorer.safetensors")
    again = scorer.load(tmp_path / "scorer.safetensors")
    picture = draw_scene(np.random.default_rng(4)).picture[None]
    with torch.no_grad():
        tensor = torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 127.5 - 1
        torch.testing.assert_close(again(tensor), trained(tensor), atol=0.05, rtol=0.05)
    assert set(scorer.accuracy(again, count=4, seed=0)) == {"things", "scenes", "colors"}


def test_a_judge_goes_on_from_the_bundled_one(tmp_path: Path) -> None:
    bundled, further = scorer.load(), scorer.train(tmp_path, minutes=1e-6, device="cpu", bundled=True)
    for name, value in bundled.state_dict().items():
        torch.testing.assert_close(further.state_dict()[name], value, atol=0.01, rtol=0.01)


def test_small_things_count_as_if_they_were_large() -> None:
    nouns = torch.zeros(1, 3, 16, 16)
    nouns[0, 1, :, :4] = 1  # as large as LARGE
    nouns[0, 2, 0, 4:6] = 1
    nouns[0, 0] = 1 - nouns[0].sum(0)
    found = train_unet._emphasis(nouns)
    assert found.shape == (1, 1, 16, 16)
    assert found[0, 0, 0].tolist() == [1] * 4 + [train_unet.MOST] * 2 + [1] * 10
    assert found[0, 0, 1:].unique().tolist() == [1]
