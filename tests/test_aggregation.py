"""Methods of aggregation against plain, independent re-computations in float64."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lib_unet_viz import attention
from lib_unet_viz.attention import information, informed_mean, probabilities
from lib_unet_viz.maps import aggregation
from lib_unet_viz.maps.aggregation import aggregate
from lib_unet_viz.settings import Method
from lib_unet_viz.trace import AttentionMap, Key

TOKENS, CONTENT = 8, (1, 2, 3, 4)
LAYERS = {
    "IN01": (2, 8, 6),
    "IN04": (3, 4, 3),
    "M00": (4, 1, 1),
    aggregation.BEST_LAYER: (3, 4, 3),
    "OUT11": (2, 8, 6),
}


def recorded(*, steps: int = 2, without: str = "") -> list[AttentionMap]:
    """Softmaxed random attention of layers of different sizes and numbers of heads, non-square."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for block, (heads, *size) in LAYERS.items():
        for step in range(steps):
            data = torch.randn(heads, TOKENS, *size, generator=generator).mul(2).softmax(1)
            if block != without:
                key = Key(block=block, what="QK", layer=0, kind="cross", step=step)
                found.append(AttentionMap(key, data, 1.0))
    return found


def cubic(distance: float) -> float:
    """Keys 1981, a = -0.75, as torch has it."""
    x, a = abs(distance), -0.75
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0


def upsampling(old: int, new: int) -> np.ndarray:
    """A matrix (new, old), written out from the definition: centres aligned, edges repeated."""
    matrix = np.zeros((new, old))
    for row in range(new):
        centre = (row + 0.5) * old / new - 0.5
        for near in range(math.floor(centre) - 1, math.floor(centre) + 3):
            matrix[row, min(max(near, 0), old - 1)] += cubic(centre - near)
    return matrix


def daam(maps: list[AttentionMap], size: tuple[int, int]) -> np.ndarray:
    """castorini/daam in float64: per (layer, head) sum over steps, upsample, clip; mean over all of them."""
    sums: dict[tuple[str, int], Any] = {}
    for item in maps:
        if item.key.block != "M00":
            for head, values in enumerate(item.data.double().numpy()):
                sums[item.key.block, head] = sums.get((item.key.block, head), 0) + values
    enlarged = [
        upsampling(each.shape[1], size[0]) @ each @ upsampling(each.shape[2], size[1]).T
        for each in sums.values()
    ]
    found: np.ndarray = np.mean([np.clip(each, 0, None) for each in enlarged], axis=0)
    return found


def test_daam_equals_castorinis_in_float64() -> None:
    found = aggregate(recorded(), "daam", content=CONTENT)
    np.testing.assert_allclose(found, daam(recorded(), (8, 6)), rtol=1e-3, atol=1e-6)


def test_vxa_sums_the_middle_blocks_heads_in_float64() -> None:
    middle = [item.data.double().numpy() for item in recorded() if item.key.block == "M00"]
    found = aggregate(recorded(), "vxa", content=CONTENT)
    np.testing.assert_allclose(found, sum(each.sum(0) for each in middle), rtol=1e-3)


def test_vxa_best_is_one_layer_and_says_where_it_is_missing() -> None:
    chosen = [item for item in recorded() if item.key.block == aggregation.BEST_LAYER]
    found = aggregate(recorded(), "vxa_best", content=CONTENT)
    np.testing.assert_allclose(found, sum(item.data.sum(0) for item in chosen), rtol=1e-6)
    with pytest.raises(ValueError, match="holds IN01, IN04, M00"):
        aggregate(recorded(without=aggregation.BEST_LAYER), "vxa_best", content=CONTENT)


def test_information_is_that_of_textbooks() -> None:
    assert information(torch.eye(4)).item() == pytest.approx(math.log(4))
    assert information(torch.outer(torch.rand(3), torch.rand(5))).item() == pytest.approx(0, abs=1e-6)
    joint = torch.tensor([[3.0, 1.0], [1.0, 3.0]])
    expected = math.log(2) + 0.75 * math.log(0.75) + 0.25 * math.log(0.25)
    assert information(torch.stack([joint, 7 * joint])).tolist() == pytest.approx([expected] * 2)


def test_a_head_that_shows_all_words_alike_counts_for_nothing() -> None:
    telling = torch.full((TOKENS, 4, 4), 0.01)
    telling[1, :2], telling[2, 2:] = 0.2, 0.2
    loud = torch.rand(1, 4, 4).repeat(TOKENS, 1, 1) / TOKENS
    key = Key(block=aggregation.BEST_LAYER, what="QK", layer=0, kind="cross", step=0)
    maps = [AttentionMap(key, torch.stack([telling, loud]), 1.0)]
    found = aggregate(maps, "informed", content=(1, 2))
    np.testing.assert_allclose(found, telling, atol=1e-4)
    assert not np.allclose(aggregate(maps, "daam", content=(1, 2)), telling, atol=1e-2)


def test_refining_averages_over_the_places_that_are_looked_to() -> None:
    looks = torch.rand(48, 48, generator=torch.Generator().manual_seed(1)).softmax(1)
    plain = aggregate(recorded(), "daam", content=CONTENT)
    found = aggregate(recorded(), "refined", content=CONTENT, affinity=(looks, (8, 6)))
    expected = np.einsum("qk,tk->tq", looks.double(), plain.double().flatten(1)).reshape(plain.shape)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    itself = aggregate(recorded(), "refined", content=CONTENT, affinity=(torch.eye(48), (8, 6)))
    np.testing.assert_allclose(itself, plain)


@pytest.mark.parametrize("method", aggregation.METHODS)
def test_every_method_gives_a_map_per_token(method: Method) -> None:
    looks = (torch.rand(12, 12).softmax(1), (4, 3))
    found = aggregate(recorded(), method, content=CONTENT, affinity=looks)
    assert found.shape[0] == TOKENS
    assert torch.isfinite(found).all()
    assert found.min() >= 0


def test_sharpening_takes_entropy_away() -> None:
    looks = torch.rand(12, 12).softmax(1)
    sharp = aggregation.sharpened(looks)
    np.testing.assert_allclose(sharp.sum(1), 1, rtol=1e-5)
    assert (-torch.xlogy(sharp, sharp).sum(1) < -torch.xlogy(looks, looks).sum(1)).all()


@pytest.mark.parametrize("chunk", [2**18, 9 * 9 * 2, 9 * 4])
def test_the_informed_mean_weighs_heads_by_mutual_information(
    chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the definition, in float64; with several heads at once, and a part of one."""
    monkeypatch.setattr(attention, "_CHUNK_VALUES_CPU", chunk)
    generator = torch.Generator().manual_seed(3)
    q, k = torch.randn(5, 9, 4, generator=generator) * 4, torch.randn(5, 9, 4, generator=generator) * 4
    each = (q.double() @ k.double().transpose(1, 2) * 0.5).softmax(-1)
    joint = each / 9
    alike = joint.sum(1, keepdim=True) * joint.sum(2, keepdim=True)
    weights = (joint * (joint / alike).log()).sum((1, 2))
    expected = torch.einsum("h,hqt->tq", weights / weights.sum(), each)
    np.testing.assert_allclose(informed_mean(q, k, 0.5), expected, atol=1e-6)


def test_the_informed_mean_leaves_out_a_head_that_always_looks_the_same_way() -> None:
    generator = torch.Generator().manual_seed(2)
    q, k = torch.randn(2, 9, 4, generator=generator) * 3, torch.randn(2, 9, 4, generator=generator) * 3
    q[1] = q[1, :1]  # one query for all places
    [(_, each)] = probabilities(q, k, 0.5)
    np.testing.assert_allclose(informed_mean(q, k, 0.5), each[0].T, atol=1e-5)
    q[0] = q[1]  # neither tells anything: a plain mean
    np.testing.assert_allclose(informed_mean(q, k, 0.5).sum(0), 1, atol=1e-5)


@pytest.mark.parametrize("method", aggregation.METHODS)
def test_layers_that_a_refiner_has_in_another_size_count_by_themselves(method: Method) -> None:
    """A run whose U-Net changed after the first step: names are the same, shapes are not."""
    maps = [item for item in recorded() if item.key.step == 0]
    key = Key(block="IN04", what="QK", layer=0, kind="cross", step=1)
    later = AttentionMap(key, torch.rand(5, TOKENS, 2, 2).softmax(1), 1.0)
    found = aggregate([*maps, later], method, content=CONTENT)
    assert bool(found.isfinite().all())
    if method == "daam":
        apart = AttentionMap(replace(key, block="IN05"), later.data, 1.0)
        torch.testing.assert_close(found, aggregate([*maps, apart], method, content=CONTENT))
