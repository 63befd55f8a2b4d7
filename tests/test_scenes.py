from __future__ import annotations

import numpy as np

from lib_unet_viz.demo.scenes import COLORS, SHAPES, SIZE, caption, draw_scene


def test_a_seed_names_a_scene() -> None:
    first, second = (draw_scene(np.random.default_rng(5)) for _ in range(2))
    assert first.things == second.things
    assert (first.picture == second.picture).all()


def test_masks_are_exact_and_things_do_not_touch() -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        scene = draw_scene(rng, pattern="plain")
        assert scene.masks.sum(0).max() == 1
        for thing, mask in zip(scene.things, scene.masks, strict=True):
            inner = (
                mask & np.roll(mask, 1, 0) & np.roll(mask, -1, 0) & np.roll(mask, 1, 1) & np.roll(mask, -1, 1)
            )
            assert inner.sum() > 50
            assert (scene.picture[inner] == COLORS[thing.color]).mean() > 0.9
        outside = scene.picture[~scene.masks.any(0)]
        assert (outside == np.median(outside, 0)).all(1).mean() > 0.9


def test_counts_and_distinct_things() -> None:
    rng = np.random.default_rng(2)
    for count in (1, 2, 3):
        scene = draw_scene(rng, count=count, distinct=True)
        assert len({thing.shape for thing in scene.things}) == len({t.color for t in scene.things}) == count
        assert scene.masks.shape == (count, SIZE, SIZE)


def test_captions_name_every_thing_and_tell_the_truth_about_places() -> None:
    rng = np.random.default_rng(3)
    shown = set()
    for _ in range(200):
        scene = draw_scene(rng)
        text = caption(scene, rng)
        assert all(f"{thing.color} {thing.shape}" in text for thing in scene.things)
        shown |= {thing.shape for thing in scene.things}
        if " left of " in text:
            assert scene.things[0].center[1] < scene.things[1].center[1]
        if " above " in text:
            assert scene.things[0].center[0] < scene.things[1].center[0]
        assert "a orange" not in text
    assert shown == set(SHAPES)
