from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from lib_unet_viz.maps import self_attention, soundness, strength
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.aggregation import BEST_LAYER
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, AttentionMaps, Key, Selection, Trace

TOKENS = ["<|startoftext|>", "red</w>", "ring</w>", "and</w>", "ring</w>", *["<|endoftext|>"] * 3]


def trace(*, steps: int = 2) -> Trace:
    """Softmaxed random attention of three layers of different sizes, two heads, non-square."""
    made = AttentionMaps()
    generator = torch.Generator().manual_seed(0)
    for block, size in (("IN01", (6, 4)), ("M00", (2, 1)), ("OUT11", (6, 4))):
        for step in range(steps):
            data = torch.randn(2, len(TOKENS), *size, generator=generator).mul(2).softmax(1)
            made.add(AttentionMap(Key(block=block, what="QK", layer=0, kind="cross", step=step), data, 1.0))
    return Trace(attention=made, meta=Meta(tokens={"cond": TOKENS}))


def test_every_word_gets_a_map_and_repeated_words_are_told_apart() -> None:
    maps = heatmap.word_maps(trace())
    assert [m.word for m in maps] == ["red", "ring", "and", "ring#2"]
    assert not np.allclose(maps[1].values, maps[3].values)
    for item in maps:
        assert item.unit().min() == 0
        assert item.unit().max() == 1
        assert item.resized((48, 32)).shape == (48, 32)


def test_words_are_looked_for_in_the_layers_that_read_them() -> None:
    recorded = trace()
    recorded.attention = AttentionMaps(item for item in recorded.attention if item.key.block != "M00")
    own = {"OUT11": {"cond": ["<|startoftext|>", "big</w>", "red</w>", *["<|endoftext|>"] * 5]}}
    recorded.meta = replace(recorded.meta, tokens_by_block=own)
    inner, outer = (
        torch.stack([item.data for item in recorded.attention.all(block=block)]).sum(0).mean(0).numpy()
        for block in ("IN01", "OUT11")
    )  # token, y, x
    maps = {item.word: item.values for item in heatmap.word_maps(recorded, method="daam")}
    assert list(maps) == ["red", "ring", "and", "ring#2", "big"]
    np.testing.assert_allclose(maps["red"], (inner[1] + outer[2]) / 2, rtol=1e-5)
    np.testing.assert_allclose(maps["ring"], inner[2], rtol=1e-5)
    np.testing.assert_allclose(maps["big"], outer[1], rtol=1e-5)
    # Positions that are given are of the text that most blocks read.
    [given] = heatmap.word_maps(recorded, {"red": [1]}, method="daam")
    np.testing.assert_allclose(given.values, inner[1], rtol=1e-5)


@pytest.mark.parametrize("method", heatmap.METHODS)
def test_layer_prompts_with_every_method(method: heatmap.Method) -> None:
    recorded = trace()
    best = Key(block=BEST_LAYER, what="QK", layer=0, kind="cross", step=0)
    recorded.attention.add(AttentionMap(best, torch.rand(2, 8, 3, 2), 1.0))
    own = {"M00": {"cond": ["<|startoftext|>", "big</w>", "red</w>", *["<|endoftext|>"] * 5]}}
    recorded.meta = replace(recorded.meta, tokens_by_block=own)
    maps = {item.word: item for item in heatmap.word_maps(recorded, method=method)}
    assert ("big" in maps) == (method != "vxa_best")
    assert ("ring" in maps) == (method != "vxa")
    assert all(np.isfinite(item.values).all() and item.values.min() >= 0 for item in maps.values())
    sizes = {item.values.shape for word, item in maps.items() if word != "big"}
    assert len(sizes) == 1


def test_rescaled_finds_a_word_that_another_drowns() -> None:
    data = torch.full((1, len(TOKENS), 4, 4), 0.01)
    data[0, 1] = 0.5  # "red" is strong everywhere
    data[0, 2, 3, 3] = 0.05  # "ring" is weak, but at one place
    recorded = Trace(
        attention=AttentionMaps([AttentionMap(Key("M00", "QK", 0, "cross", step=0), data, 1.0)]),
        meta=Meta(tokens={"cond": TOKENS}),
    )
    ring = heatmap.word_maps(recorded, {"ring": [2]}, method="rescaled")[0]
    assert divmod(int(ring.values.argmax()), 4) == (3, 3)


def test_the_default_uses_the_traces_self_attention() -> None:
    recorded = trace()
    before = heatmap.word_maps(recorded)
    places = torch.zeros(1, 24, 6, 4)  # all look to the first place
    places[0, 0] = 1
    key = Key(block="OUT11", what="QK", layer=0, kind="self")
    recorded.attention.add(AttentionMap(key, places))
    after = heatmap.word_maps(recorded)
    assert np.ptp(after[0].values) == 0
    assert after[0].values[0, 0] == pytest.approx(before[0].values[0, 0])


def test_negative_prompts_have_maps_of_their_own() -> None:
    recorded = trace(steps=1)
    for item in list(recorded.attention):
        key = replace(item.key, half="uncond")
        recorded.attention.add(AttentionMap(key, item.data.flip(1), 1.0))
    recorded.meta["tokens"]["uncond"] = ["<|startoftext|>", "blurry</w>", *["<|endoftext|>"] * 6]
    assert [item.word for item in heatmap.word_maps(recorded, selection=Selection(half="uncond"))] == [
        "blurry"
    ]


def test_what_was_not_recorded_and_unknown_methods_are_refused() -> None:
    with pytest.raises(ValueError, match="uncond"):
        heatmap.word_maps(trace(), selection=Selection(half="uncond"))
    with pytest.raises(ValueError, match="allowed: guided, informed"):
        heatmap.word_maps(trace(), method="guess")  # type: ignore[arg-type]


def test_a_word_that_stands_out_is_strong_and_others_come_last() -> None:
    flat, peak = torch.full((1, 4, 4), 0.1), torch.full((1, 4, 4), 0.1)
    peak[0, 1, 2] = 0.9
    tokens = ["<|startoftext|>", "a</w>", "star</w>", "<|endoftext|>"]
    held = Trace(meta=Meta(tokens={"cond": tokens}))
    for block, (one, two) in {"IN01": (flat, peak), "IN02": (flat, flat)}.items():
        data = torch.stack([flat, one, two, flat], dim=1)
        held.attention.add(AttentionMap(Key(block, "QK", layer=0, kind="cross"), data))
    found = {heat.word: heat for heat in heatmap.word_maps(held, method="daam")}
    assert found["a"].strength == pytest.approx(0, abs=1e-6)
    assert found["star"].strength == pytest.approx(0.9 - (0.1 * 15 + 0.9) / 16)
    assert [heat.word for heat in strength.ordered(list(found.values()))] == ["star", "a"]
    assert strength.is_weak(found["a"], list(found.values()))


def test_layers_of_two_sizes_by_one_name_have_a_strength() -> None:
    """As a refiner's, whose steps follow those of the base model."""
    items = [
        AttentionMap(Key("IN01", "QK", layer=0, kind="cross", step=step), torch.full((1, 3, side, side), 0.2))
        for step, side in enumerate((4, 8))
    ]
    items[1].data[0, 1, 2, 5] = 0.7
    assert strength.strengths(items)[1] == pytest.approx(0.5 * 63 / 64)


@pytest.mark.parametrize("method", heatmap.METHODS)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf"), float("-inf")])
def test_a_head_that_holds_nan_is_left_out(method: heatmap.Method, wrong: float) -> None:
    broken, without = trace(), trace()
    for item in broken.attention.all(block="OUT11"):
        item.data[1, 3, 2, 2] = wrong
    heads = AttentionMaps(
        AttentionMap(item.key, item.data[:1] if item.key.block == "OUT11" else item.data, 1.0)
        for item in without.attention
    )
    best = Key(block=BEST_LAYER, what="QK", layer=0, kind="cross", step=0)
    for attention in (broken.attention, heads):
        attention.add(AttentionMap(best, trace().attention[0].data, 1.0))
    found = heatmap.word_maps(broken, method=method)
    expected = heatmap.word_maps(replace(without, attention=heads), method=method)
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.unit(), two.unit(), atol=1e-5)
        assert one.strength == pytest.approx(two.strength)
        assert np.ptp(one.values) > 0


def test_a_step_that_holds_nan_is_left_out_of_its_head_alone() -> None:
    broken = trace(steps=3)
    layer = broken.attention.all(block="OUT11")
    one_step = layer[1].data.clone()
    layer[1].data[0] = float("nan")
    same = [item.data if at != 1 else one_step for at, item in enumerate(layer)]
    whole = torch.stack([same[0][0] + same[2][0], torch.stack(same).sum(0)[1]])
    whole[0] *= 3 / 2
    only = replace(broken, attention=AttentionMaps(layer))
    [found] = heatmap.word_maps(only, {"red": [1]}, method="daam")
    np.testing.assert_allclose(found.values, whole.mean(0)[1].numpy(), rtol=1e-5)


def test_nan_in_self_attention_is_left_out() -> None:
    recorded, places = trace(), torch.rand(1, 24, 6, 4)
    recorded.attention.add(AttentionMap(Key(block="OUT11", what="QK", layer=0, kind="self"), places))
    before = heatmap.word_maps(recorded)
    broken = torch.full_like(places, float("nan"))
    recorded.attention.add(AttentionMap(Key(block="OUT10", what="QK", layer=0, kind="self"), broken))
    after = heatmap.word_maps(recorded)
    for one, two in zip(before, after, strict=True):
        np.testing.assert_array_equal(one.values, two.values)
    with pytest.raises(ValueError, match="of this place is NaN"):
        self_attention.look(recorded, (0, 0), site="OUT10.0")
    assert "heads of 1 of 8 maps (1 of OUT10.0 self QK" in soundness.describe(recorded.attention)


def test_attention_that_is_nan_throughout_is_refused_in_words() -> None:
    recorded = trace()
    for item in recorded.attention:
        item.data.fill_(float("nan"))
    for method in ("informed", "daam", "vxa"):
        with pytest.raises(ValueError, match="maps of attention hold NaN"):
            heatmap.word_maps(recorded, method=method)


def test_the_bar_beside_heat_has_the_heats_colours() -> None:
    from lib_unet_viz.drawing.sheets import HEAT_BAR

    parts = pytest.importorskip("lib_unet_viz.ui.parts")
    values = np.linspace(0, 1, len(parts.PLASMA), dtype=np.float32)[None, None]
    drawn = HEAT_BAR.fit(values)(values)[0, 0]
    wanted = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for color in parts.PLASMA]
    assert np.abs(drawn.astype(int) - wanted).max() <= 3
