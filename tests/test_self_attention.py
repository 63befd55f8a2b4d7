from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.maps import self_attention
from lib_unet_viz.trace import AttentionMap, AttentionMaps, Key, Trace

HEIGHT, WIDTH = 16, 24


@pytest.fixture(scope="module")
def recorded(diffusers_unet: Any) -> Trace:
    """Two steps of a small U-Net: QK, Q and K of single steps, and means."""
    step = 0

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(step=step, total=2, sigma=1.0, rows=(Row(0, "cond"),), size=(HEIGHT, WIDTH))

    captures = [Capture("IN01,IN04", kinds="self", what="Q,K"), Capture("IN04", kinds="self", what="QK")]
    captures.append(Capture(kinds="self", mean=True, most=100))
    generator = torch.Generator().manual_seed(0)
    with Recorder(diffusers_unet, attention=captures, calls=calls) as trace, torch.no_grad():
        for step in range(2):  # noqa: B007  (`calls` reads it)
            latent = torch.randn(1, 4, HEIGHT, WIDTH, generator=generator)
            diffusers_unet(latent, 500, torch.randn(1, 5, 128, generator=generator))
    return trace


def blocks(*, places: int = 16) -> torch.Tensor:
    """Looks of a 4 x 4 grid whose left and right half look only to themselves."""
    right = torch.arange(places) % 4 >= 2
    return (right[:, None] == right[None]).float() / (places / 2)


def test_most_leaves_larger_layers_out(recorded: Trace) -> None:
    means = [item for item in recorded.attention if item.key.step is None]
    assert {item.shape[-2:] for item in means} == {(8, 12), (4, 6), (2, 3)}
    table = self_attention.table(recorded)
    assert table is not None
    looks, size = table
    assert size == (8, 12)
    np.testing.assert_allclose(looks.sum(1), 1, rtol=1e-4)


def test_a_place_is_answered_alike_from_qk_and_from_q_and_k(recorded: Trace) -> None:
    fewer = AttentionMaps(item for item in recorded.attention if item.key.what != "QK")
    parts = Trace(attention=fewer)
    for head, step in ((1, 2), (0, None), (None, 1)):
        one, other = (
            self_attention.look(trace, (0.5, 0.3), site="IN04.0", head=head, step=step)
            for trace in (recorded, parts)
        )
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    # IN01 has 16 x 24 places: no table of them is made, one place is told all the same.
    found = self_attention.look(recorded, (0.99, 0.0), site="IN01.0", head=1, step=1)
    assert found.shape == (HEIGHT, WIDTH)
    assert found.sum() == pytest.approx(1, abs=1e-4)
    sites = {site.name: site for site in self_attention.sites(recorded)}
    assert (sites["IN01.0"].heads, sites["IN01.0"].steps) == (2, (1, 2))
    assert sites["M00.0"].steps == ()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"site": "OUT99.0"}, "it has IN01.0"),
        ({"site": "IN04.0", "head": 7}, "no head 7"),
        ({"site": "IN04.0", "step": 9}, "steps: 1, 2"),
        ({"site": "M00.0", "head": 0}, "only their mean"),
        ({"at": (-0.1, 0.5)}, "outside of the picture"),
    ],
)
def test_what_is_not_there_is_said(recorded: Trace, options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        self_attention.look(recorded, **{"at": (0.5, 0.5), **options})
    with pytest.raises(ValueError, match="no self-attention"):
        self_attention.look(Trace(), (0.5, 0.5))


def test_layers_that_tell_nothing_count_for_nothing() -> None:
    telling, same = blocks(), torch.full((16, 16), 1 / 16)
    maps = AttentionMaps(
        AttentionMap(Key(name, "QK", 0, "self"), looks.T.reshape(1, 16, 4, 4))
        for name, looks in (("IN01", telling), ("IN02", same))
    )
    found = self_attention.table(Trace(attention=maps))
    assert found is not None
    np.testing.assert_allclose(found[0], telling, atol=1e-4)


def test_segments_and_components_tell_the_halves_apart() -> None:
    looks = (blocks() + 0.02) / (blocks() + 0.02).sum(1, keepdim=True)
    found = self_attention.segments(looks, (4, 4))
    assert set(found.ravel()) == {0, 1}
    assert (found[:, :2] == found[0, 0]).all()
    assert (found[:, 2:] == found[0, 3]).all()
    colors = self_attention.components(looks, (4, 4))
    assert colors.shape == (4, 4, 3)
    assert abs(colors[0, 0, 0] - colors[0, 3, 0]) > 0.9
    assert np.ptp(colors[:, :2, 0]) < 0.1


def test_a_refiners_layer_of_another_size_is_told_of_its_own_steps() -> None:
    """The U-Net changed in the run: the last one's layer is asked."""

    def attention(step: int, height: int, width: int) -> AttentionMap:
        key = Key(block="OUT05", what="QK", layer=0, kind="self", step=step)
        return AttentionMap(key, torch.rand(2, height * width, height, width).softmax(1), 1.0)

    trace = Trace(attention=AttentionMaps([attention(0, 2, 3), attention(1, 4, 6), attention(2, 4, 6)]))
    [site] = self_attention.sites(trace)
    assert (site.size, site.steps) == ((4, 6), (2, 3))
    for asked in (None, "OUT05.0"):
        found = self_attention.look(trace, (0.5, 0.5), site=asked)
        assert found.shape == (4, 6)
        assert found.sum() == pytest.approx(1, abs=1e-4)
    with pytest.raises(ValueError, match="steps: 2, 3"):
        self_attention.look(trace, (0.5, 0.5), site="OUT05.0", step=1)
