"""How pictures, maps and edits of things are judged, on drawn scenes whose truth is known."""

from __future__ import annotations

import re

import numpy as np
import pytest
import thing_maps
from PIL import Image

from lib_unet_viz.demo import score_thing_edits, score_thing_maps, score_things
from lib_unet_viz.demo.score_edits import METHODS
from lib_unet_viz.demo.things import scorer as judges
from lib_unet_viz.demo.things.captions import KINDS
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import SIDE_BY_SIDE, ThingScene, draw_scene, is_unseen
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.open_vocabulary import ask

pytestmark = pytest.mark.heavy

SEED = 3


class Oracle(judges.ThingScorer):
    """A judge that knows the scenes: what it finds in a picture is what was drawn in it."""

    def __init__(self, scenes: list[ThingScene]) -> None:
        super().__init__()
        self.known = {scene.picture.tobytes(): scene for scene in scenes}

    def found(self, pictures: judges.Pictures) -> list[dict[str, judges.Seen]]:
        return [_seen(self.known[picture.tobytes()]) for picture in pictures]

    def middle(self, picture: judges.Pictures, noun: str) -> np.ndarray:
        scene = self.known[picture.tobytes()]
        names = [thing.name for thing in scene.things]
        return scene.masks[names.index(noun)] if noun in names else np.zeros(picture.shape[:2], dtype=bool)


def _seen(scene: ThingScene) -> dict[str, judges.Seen]:
    middles = [np.argwhere(mask).mean(0).tolist() for mask in scene.masks]
    return {
        thing.name: judges.Seen(thing.color, (x, y))
        for thing, (y, x) in zip(scene.things, middles, strict=True)
    }


def test_the_autoencoder_is_judged_on_drawn_things() -> None:
    model = Pipeline.load()
    found = score_things.autoencoded(model, count=3, seed=SEED)
    assert 10 < found["things_psnr_db"] < found["psnr_db"] < 40
    model.pipe.vae.decoder.conv_out.weight.data.zero_()
    assert score_things.autoencoded(model, count=3, seed=SEED)["psnr_db"] < found["psnr_db"] - 3


def test_pictures_that_are_drawn_have_all_that_is_asked_for_and_decoded_ones_most() -> None:
    model = Pipeline.load()
    held = [pair for case in score_things.CASES for pair in score_things.held_out(case, count=4, seed=SEED)]
    oracle = Oracle([scene for scene, _ in held])
    drawn = score_things.pictures(
        model,
        oracle,
        count=4,
        seed=SEED,
        made=lambda _model, held, _seed: np.stack([scene.picture for scene, _ in held]),
    )
    assert set(drawn.values()) == {1.0}
    best = score_things.pictures(model, judges.load(), count=4, seed=SEED, made=score_things.decoded)
    assert set(best) == set(drawn)
    assert 0.5 <= best["one_thing"] <= 1


@pytest.mark.parametrize("case", score_things.CASES)
def test_held_out_captions_name_what_is_asked_and_are_a_function_of_the_seed(case: str) -> None:
    found = score_things.held_out(case, count=20, seed=SEED)
    assert [text for _, text in found] == [
        text for _, text in score_things.held_out(case, count=20, seed=SEED)
    ]
    assert found[0][1] != score_things.held_out(case, count=1, seed=SEED + 1)[0][1]
    for scene, text in found:
        assert all(re.search(rf"\b{thing.name}\b", text) for thing in scene.things)
        assert all(thing.color in text for thing in scene.things)
        assert scene.relation in score_things.CASES[case]
        if case == "unseen_pair":
            assert is_unseen(*(thing.name for thing in scene.things))


def test_relations_and_colours_are_judged_by_what_is_seen() -> None:
    for relation in score_things.SIDES:
        scene = draw_scene(np.random.default_rng(1), relation=relation, names=("cat", "car"))
        seen = _seen(scene)
        assert score_things.is_related(seen, scene)
        swapped = {"cat": seen["car"], "car": seen["cat"]}
        assert not score_things.is_related(swapped, scene)
        assert not score_things.is_related({"cat": seen["cat"]}, scene)
    seen = {"car": judges.Seen("red", (0, 0))}
    assert score_things.is_colored(seen, "car", "red")
    assert not score_things.is_colored(seen, "car", "blue")
    assert score_things.is_colored(seen, "cat", "red") is None


def test_a_things_own_colour_counts_as_the_one_that_was_asked_for() -> None:
    seen = {name: judges.Seen("", (0, 0)) for name in ("car", "robot")}
    assert score_things.is_colored(seen, "car", "red")
    assert not score_things.is_colored(seen, "car", "blue")
    assert not score_things.is_colored(seen, "robot", "gray")  # it is of a light blue


def test_parts_are_asked_where_they_are_seen_and_of_one_thing_only() -> None:
    number = 0
    for index, (scene, text) in enumerate(score_thing_maps.held_out(SIDE_BY_SIDE, count=30, seed=SEED)):
        asked, said = score_thing_maps.parts(scene, text, np.random.default_rng(index))
        for name, mask in asked:
            assert said.endswith(name) or f"{name}, " in said
            assert sum(name in THINGS[thing.name].part_names for thing in scene.things) == 1
            assert 0.004 <= mask.mean() <= scene.masks.mean((1, 2)).max()
            number += 1
    assert number > 30


def test_kinds_and_synonyms_stand_where_the_noun_was() -> None:
    words = set()
    for index, (scene, text) in enumerate(score_thing_maps.held_out(SIDE_BY_SIDE, count=30, seed=SEED)):
        asked, said = score_thing_maps.others(scene, text, np.random.default_rng(index))
        for word, mask in asked:
            name = scene.things[[bool((m == mask).all()) for m in scene.masks].index(True)].name
            assert word in (*THINGS[name].words, THINGS[name].kind)
            assert re.search(rf"\b{word}\b", said)
            assert not re.search(rf"\b{name}\b", said)
            assert not re.search(r"\ba [aeio]|\ban [^aeiou]", said)
            words.add(word)
    assert words & set(KINDS)
    assert words - set(KINDS)


def test_a_swap_is_of_one_noun_for_another_of_its_kind() -> None:
    found = score_thing_edits.swaps(count=24, seed=SEED)
    assert found == score_thing_edits.swaps(count=24, seed=SEED)
    for swap in found:
        assert THINGS[swap.old].kind == THINGS[swap.new].kind
        assert swap.new not in (swap.old, swap.other)
        before, after = (re.findall(r"\w+", text) for text in (swap.caption, swap.target))
        assert [(a, b) for a, b in zip(before, after, strict=True) if a != b] == [(swap.old, swap.new)]


def test_a_swap_is_judged_by_what_came_and_what_stayed() -> None:
    rng = np.random.default_rng(2)
    source, good = (
        draw_scene(rng, relation="left of", names=names) for names in (("cat", "car"), ("dog", "car"))
    )
    swap = score_thing_edits.ThingSwap("a cat left of a car", "cat", "dog", "car")
    oracle = Oracle([source, good])
    same = score_thing_edits.judge(oracle, swap, source.picture, source.picture)
    assert (same.shown, same.swapped, same.other, same.error) == (True, False, True, 0)
    changed = score_thing_edits.judge(oracle, swap, source.picture, good.picture)
    assert (changed.swapped, changed.other) == (True, True)
    assert changed.error is not None
    assert changed.error > 0
    lost = score_thing_edits.judge(oracle, swap, good.picture, good.picture)
    assert not lost.shown


def test_the_middle_of_a_thing_is_marked_in_pixels() -> None:
    scorer = judges.ThingScorer().eval()
    picture = draw_scene(np.random.default_rng(3)).picture
    none = scorer.middle(picture, "cat")
    assert none.shape == picture.shape[:2]
    assert not none.any()


def test_all_methods_are_judged_on_nouns_parts_and_other_words() -> None:
    model = Pipeline.load()
    done: list[float] = []
    found = score_thing_maps.maps(model, count=2, seed=SEED, progress=done.append)
    assert set(found) == {"things_best_layer", *score_thing_maps.CASES}
    for case in score_thing_maps.CASES:
        for judged in found[case].values():
            assert all(0 <= judged[mark] <= 1 for mark in ("pointing", "miou", "miou_mean", "map"))
    assert done == [0.25, 0.5, 0.75, 1.0]


def test_words_that_the_prompt_lacks_are_asked_beside_it() -> None:
    model = Pipeline.load()
    scene, text = score_thing_maps.held_out(SIDE_BY_SIDE, count=1, seed=SEED)[0]
    trace = vxa.trace_picture(model, Image.fromarray(scene.picture), text)
    asked, said = score_thing_maps.parts(scene, text, np.random.default_rng(0))
    words = [name for name, _ in asked]
    assert set(vxa.positions(ask(trace, model, said), words)) == set(words)


def test_methods_of_edits_are_those_of_shapes() -> None:
    scene = draw_scene(np.random.default_rng(4), relation="alone", names=("cat",))
    made: list[str] = []

    def edit(prompt: str, words: tuple[str, str], method: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
        made.append(method)
        return scene.picture, scene.picture

    chosen = METHODS[1:]
    found = score_thing_edits.edits(
        Pipeline.load(), Oracle([scene]), count=2, seed=SEED, make=edit, methods=chosen
    )
    assert list(found) == list(chosen)
    assert made == [method for method in chosen for _ in range(2)]
    assert all(each["captions"] == 2 for each in found.values())


def test_both_halves_of_nouns_are_judged_and_the_threshold_is_of_the_first() -> None:
    heat = np.zeros((8, 8), dtype=np.float32)
    heat[2:4, 2:6], heat[3, 3] = 0.3, 1
    mask = heat > 0.2
    found = thing_maps.judge(heat, mask)
    assert found[0] == 1
    assert found[1 + thing_maps.HALF] == 1 / 8
    assert found[1:][thing_maps.THRESHOLDS < 0.29].tolist() == [1] * 4
    marks = {"chosen on": [found], "judged on": [found * 0.5]}
    best = {"some": int(found[1:].argmax())}
    halves = {name: thing_maps.means({"some": each}, best) for name, each in marks.items()}
    assert halves["judged on"]["some"]["miou_best"] == 0.5
    assert "0.500" in thing_maps.table({"things": halves})
