"""How edits are judged, on drawn scenes whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lib_unet_viz.demo import scorer as judges
from lib_unet_viz.demo.edit_metrics import CAP
from lib_unet_viz.demo.scenes import COLORS, SHAPES, Scene
from lib_unet_viz.demo.score_edits import Judged, Swap, edits, judge, object_mask, summary, swaps
from lib_unet_viz.demo.score_maps import held_out
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

SEED = 4


@pytest.fixture(scope="module")
def scorer() -> judges.Scorer:
    return judges.load()


def drawn(count: int) -> list[tuple[Scene, Swap]]:
    """The scenes that the captions were made of."""
    held = held_out(objects=2, count=count, seed=SEED + 2, pattern="plain")
    return [(scene, swap) for (scene, _), swap in zip(held, swaps(count=count, seed=SEED), strict=True)]


def mask(scene: Scene, kind: tuple[str, str]) -> Any:
    return scene.masks[[(thing.color, thing.shape) for thing in scene.things].index(kind)]


def painted(scene: Scene, where: Any, color: str) -> Any:
    picture = scene.picture.copy()
    picture[where] = COLORS[color]
    return picture


def test_swaps_change_one_word_to_one_of_neither_object() -> None:
    found = swaps(count=60, seed=SEED)
    assert found == swaps(count=60, seed=SEED)
    assert found != swaps(count=60, seed=SEED + 1)
    for index, swap in enumerate(found):
        before, after = swap.caption.split(), swap.target.split()
        assert sum(a != b for a, b in zip(before, after, strict=True)) == 1
        assert swap.new in (COLORS if index % 2 else SHAPES)
        assert swap.new not in (*swap.before, *swap.other)
        assert set(swap.before) - set(swap.after) == {swap.old}
        assert set(swap.after) - set(swap.before) == {swap.new}
        assert f"{' '.join(swap.after)}" in swap.target
        assert f"{' '.join(swap.other)}" in swap.target
        assert "a orange" not in swap.target
        assert not any(f"an {color}" in swap.target for color in COLORS if color != "orange")


def test_a_perfect_swap_of_a_color(scorer: judges.Scorer) -> None:
    scene, swap = drawn(2)[1]
    found = judge(scorer, swap, scene.picture, painted(scene, mask(scene, swap.before), swap.new))
    assert (found.shown, found.swapped, found.other, found.error) == (True, True, True, 0)
    assert found.background is not None
    assert (found.background.psnr, found.background.mse) == (CAP, 0)


def test_an_edit_that_does_nothing_swaps_nothing(scorer: judges.Scorer) -> None:
    scene, swap = drawn(1)[0]
    found = judge(scorer, swap, scene.picture, scene.picture)
    assert (found.shown, found.swapped, found.other, found.error) == (True, False, True, 0)


def test_damage_to_the_other_object_and_to_the_background_is_seen(scorer: judges.Scorer) -> None:
    scene, swap = drawn(1)[0]
    other = mask(scene, swap.other)
    color = next(color for color in COLORS if color not in (swap.before[0], swap.other[0]))
    found = judge(scorer, swap, scene.picture, painted(scene, other, color))
    assert not found.other
    difference = np.subtract(COLORS[color], COLORS[swap.other[0]]) / 255
    assert found.error == pytest.approx((difference**2).mean(), rel=0.1)
    assert found.background is not None
    assert found.background.mse == pytest.approx((difference**2).mean() * other.mean(), rel=0.1)


def test_without_the_object_in_the_source_nothing_is_measured(scorer: judges.Scorer) -> None:
    scene, swap = drawn(1)[0]
    source = scene.picture.copy()
    source[scene.masks.any(0)] = source[0, 0]
    found = judge(scorer, swap, source, scene.picture)
    assert (found.shown, found.error, found.background) == (False, None, None)


def test_an_objects_pixels_are_the_largest_region_of_its_color() -> None:
    scene, swap = drawn(1)[0]
    there = mask(scene, swap.other)
    picture = scene.picture.copy()
    far = np.zeros_like(there)
    far[:2, :40] = True
    assert not (far & scene.masks.any(0)).any()
    picture[far] = COLORS[swap.other[0]]
    found = object_mask(picture, swap.other[0])
    assert found is not None
    assert not found[far].any()
    assert (found & there).sum() / (found | there).sum() > 0.9
    unused = next(color for color in COLORS if color not in (swap.before[0], swap.other[0]))
    assert object_mask(picture, unused) is None


def test_the_summary_counts_what_it_measured() -> None:
    known = Judged(shown=True, swapped=True, other=True, error=0.0, background=None)
    lost = Judged(shown=False, swapped=False, other=True, error=None, background=None)
    worse = Judged(shown=True, swapped=True, other=False, error=0.01, background=None)
    found = summary([known, lost, worse, known])
    assert (found["swapped_found"], found["other_found"], found["source_shown"]) == (0.75, 0.75, 0.75)
    assert found["other_psnr_db"] == pytest.approx((CAP + 20 + CAP) / 3)
    assert found["other_pooled_psnr_db"] == pytest.approx(20 + 10 * np.log10(3))
    assert (found["captions"], found["measured"]) == (4, 3)
    assert found["background"] == {"psnr_db": None, "ssim": None, "mse": None, "measured": 0}
    assert summary([lost])["other_psnr_db"] is None


@pytest.mark.heavy
def test_every_method_is_judged_on_the_same_captions(scorer: judges.Scorer) -> None:
    known = {swap.caption: (scene, swap) for scene, swap in drawn(2)}
    asked: list[tuple[str, int]] = []
    done: list[float] = []

    def edit(prompt: str, words: tuple[str, str], method: str, seed: int) -> Any:
        """A draughtsman who can swap colours only."""
        asked.append((method, seed))
        scene, swap = known[prompt]
        assert words == (swap.old, swap.new)
        what = swap.new if swap.new in COLORS else swap.before[0]
        return scene.picture, painted(scene, mask(scene, swap.before), what)

    found = edits(Pipeline.load(), scorer, count=2, seed=SEED, make=edit, progress=done.append)
    assert asked == [(method, SEED + index) for method in ("replace", "replace_blend") for index in range(2)]
    assert list(found) == ["none", "replace", "replace_blend"]
    assert found["replace"] == found["replace_blend"]
    assert found["replace"]["swapped_found"] == 0.5
    assert found["replace"]["other_psnr_db"] == CAP
    assert found["none"].keys() == found["replace"].keys()
    assert found["none"]["other_psnr_db"] is None or found["none"]["other_psnr_db"] < CAP
    assert done == sorted(done)
    assert done[-1] == pytest.approx(1)
