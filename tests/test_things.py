"""The drawn world of things: every noun can be drawn, scenes show what they say, captions tell the truth."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from lib_unet_viz.demo import scenes as shapes
from lib_unet_viz.demo import worlds
from lib_unet_viz.demo.scenes import SIZE
from lib_unet_viz.demo.things.captions import WORDS, caption, vocabulary
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.drawing import shade
from lib_unet_viz.demo.things.grounds import PLACES
from lib_unet_viz.demo.things.scenes import (
    KEPT,
    LABELS,
    RELATIONS,
    UNSEEN_EVERY,
    ThingScene,
    draw_scene,
    is_unseen,
)
from lib_unet_viz.demo.things.wear import FIT


def scenes(count: int, *, seed: int = 0, relation: str | None = None) -> list[ThingScene]:
    rng = np.random.default_rng(seed)
    return [draw_scene(rng, relation=relation) for _ in range(count)]


@pytest.fixture(scope="module")
def many() -> list[ThingScene]:
    """Enough to count on; not to be changed."""
    return scenes(400, seed=7)


def middle(scene: ThingScene, number: int) -> tuple[float, float]:
    """(x, y) of what is seen of a thing."""
    y, x = np.argwhere(scene.masks[number]).mean(0)
    return float(x), float(y)


def test_there_are_sixty_nouns_of_every_kind() -> None:
    assert len(THINGS) >= 60
    kinds = {"animal", "food", "wear", "vehicle", "building", "nature", "item"}
    assert {thing.kind for thing in THINGS.values()} == kinds
    assert set(THINGS).isdisjoint(shapes.SHAPES)
    named = [word for thing in THINGS.values() for word in (thing.name, *thing.words)]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("name", THINGS)
def test_a_noun_is_drawn_with_its_parts_and_never_twice_alike(name: str) -> None:
    thing = THINGS[name]
    rng = np.random.default_rng(1)
    first, second = (draw_scene(rng, relation="alone", names=[name], place="") for _ in range(2))
    assert (first.picture != second.picture).any()
    assert first.masks.shape == (1, SIZE, SIZE)
    assert all(scene.masks[0].mean() > 0.01 for scene in (first, second))
    assert np.unique(first.labels).size - 1 >= min(2, len(thing.part_names))
    for part in thing.parts:
        assert all(0 <= value <= 255 for value in shade(thing.colors, part.role))
        assert np.abs(np.array(part.points)).max() <= 1.05
    assert not thing.paint or thing.paint in {part.role.partition(".")[0] for part in thing.parts}
    if thing.kind == "animal":
        assert {"hat", "eyes", "mouth", "hand"} <= set(thing.anchors)


def test_a_seed_names_a_scene() -> None:
    first, second = scenes(3, seed=5), scenes(3, seed=5)
    for a, b in zip(first, second, strict=True):
        assert a.things == b.things
        assert (a.picture == b.picture).all()
        assert (a.labels == b.labels).all()


def test_as_many_things_are_coloured_as_asked_for() -> None:
    for share in (0.0, 1.0):
        drawn = [draw_scene(np.random.default_rng(seed), colored=share) for seed in range(20)]
        paintable = [thing for scene in drawn for thing in scene.things if THINGS[thing.name].paint]
        assert paintable
        assert all(bool(thing.color) == bool(share) for thing in paintable)


def test_parts_lie_in_their_thing() -> None:
    scene = draw_scene(np.random.default_rng(2), relation="wearing", names=("cat", "hat"))
    cat, hat = scene.masks
    assert not (cat & hat).any()
    whiskers, brim = scene.part(0, "whiskers"), scene.part(1, "brim")
    assert whiskers.any()
    assert brim.any()
    assert (cat | whiskers == cat).all()
    assert (hat | brim == hat).all()
    assert set(np.unique(scene.labels) // LABELS) == {0, 1, 2}


@pytest.mark.parametrize(
    ("relation", "axis", "sign"),
    [("left of", 0, -1), ("right of", 0, 1), ("above", 1, -1), ("below", 1, 1), ("on", 1, -1)],
)
def test_relations_hold_in_the_picture(relation: str, axis: int, sign: int) -> None:
    for scene in scenes(25, relation=relation):
        first, second = (middle(scene, number)[axis] for number in range(2))
        assert sign * (first - second) > 8


def test_what_is_worn_eaten_or_held_touches_its_animal_and_is_seen() -> None:
    for relation in ("wearing", "eating", "holding"):
        for scene in scenes(25, relation=relation):
            animal, other = scene.masks
            assert THINGS[scene.things[0].name].kind == "animal"
            assert animal.mean() > 0.06
            assert other.mean() > 0.004
            around = [np.roll(other, (y, x), (0, 1)) for y in (-3, 0, 3) for x in (-3, 0, 3)]
            assert (np.any(around, axis=0) & animal).any()
    assert all(scene.things[1].name in FIT for scene in scenes(10, relation="wearing"))


def test_half_of_the_scenes_hold_something_of_sixty_percent_of_the_side(many: list[ThingScene]) -> None:
    large = [max(thing.pose.radius for thing in scene.things) >= 0.3 * SIZE for scene in many]
    assert np.mean(large) >= 0.5
    assert all(1 <= len(scene.things) <= 2 for scene in many)


def test_unseen_pairs_are_never_drawn_unless_asked_for(many: list[ThingScene]) -> None:
    rng = np.random.default_rng(3)
    for relation in ("wearing", "eating"):
        for unseen in (False, True):
            for _ in range(40):
                first, second = (t.name for t in draw_scene(rng, relation=relation, unseen=unseen).things)
                assert is_unseen(first, second) == is_unseen(second, first) == unseen
    pairs = [[thing.name for thing in scene.things] for scene in many]
    assert not any(is_unseen(*pair) for pair in pairs if len(pair) == 2)
    animals = [name for name, thing in THINGS.items() if thing.kind == "animal"]
    share = np.mean([is_unseen(a, b) for a in animals for b in FIT])
    assert share == pytest.approx(1 / UNSEEN_EVERY, abs=0.08)
    assert not any(is_unseen(first, second) for first, _, second in KEPT)
    assert not is_unseen("car", "tree")
    with pytest.raises(ValueError, match="no two of the nouns apple, car fit 'wearing'"):
        draw_scene(rng, relation="wearing", nouns=("apple", "car"))


def test_captions_name_every_thing_its_colour_and_the_relation(many: list[ThingScene]) -> None:
    rng = np.random.default_rng(4)
    relations = set()
    for scene in many:
        text = caption(scene, rng)
        for thing in scene.things:
            known = THINGS[thing.name]
            assert any(name in text for name in (known.name, *known.words, known.kind)), text
            assert thing.color in text
        if scene.relation in ("left of", "right of", "above", "below") and "," not in text:
            assert any(f" {word} " in text for word in WORDS[scene.relation]), text
        assert "a umbrella" not in text
        assert " a glasses" not in text
        assert not any(f"a {color}" in text for color in ("orange",))
        relations.add(scene.relation)
    assert relations == set(RELATIONS)


def test_captions_are_as_people_write_them(many: list[ThingScene]) -> None:
    rng = np.random.default_rng(5)
    texts = [caption(scene, rng) for scene in many]
    assert 0.08 < np.mean(["," in text for text in texts]) < 0.3
    joined = " | ".join(texts)
    assert all(any(phrase in joined for phrase in phrases) for phrases in PLACES.values())
    assert any(word in joined for word in ("bunny", "kitten", "puppy", "gift", "hamburger"))
    words = {word for text in texts for word in text.replace(",", "").split()}
    assert words <= set(vocabulary())


def test_the_two_worlds_come_as_one_stream() -> None:
    rng = np.random.default_rng(6)
    drawn = [worlds.example(rng) for _ in range(80)]
    only_shapes = [any(shape in each.captions[0] for shape in shapes.SHAPES) for each in drawn]
    assert 0.1 < np.mean(only_shapes) < 0.45
    for each in drawn:
        assert each.picture.shape == (SIZE, SIZE, 3)
        assert each.foreground.any()
        assert each.nouns.max() < len(worlds.NOUNS)
        assert len(each.captions) == worlds.CAPTIONS
    assert any(a.captions != b.captions for a, b in pairwise(drawn))
