from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import CONTEXT, diffusers_unet, ldm_unet, sdxl_unet
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lib_unet_viz.capture.cost import added_time, operations
from lib_unet_viz.capture.request import Capture
from lib_unet_viz.maps.words import word_captures
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.unet import UNet

diffusers = pytest.importorskip("diffusers")
attention_processor = pytest.importorskip("diffusers.models.attention_processor")

SIZE = (16, 24)


@pytest.mark.parametrize("make", [diffusers_unet, ldm_unet, sdxl_unet])
def test_a_unets_operations_are_those_that_torch_counts(make: Callable[[], Any]) -> None:
    module = make()
    if make is not ldm_unet:  # torch does not count fused attention on a CPU
        module.set_attn_processor(attention_processor.AttnProcessor())
    added = {"text_embeds": torch.zeros(1, 64), "time_ids": torch.zeros(1, 6)}
    more = {"added_cond_kwargs": added} if make is sdxl_unet else {}
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(torch.zeros(1, 4, *SIZE), torch.zeros(1), torch.zeros(1, 77, CONTEXT), **more)
    ours = sum(operations(block, SIZE, 77) for block in UNet.of(module).blocks.values())
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_a_selections_share_grows_with_what_is_asked_for(diffusers_unet: nn.Module) -> None:
    unet = UNet.of(diffusers_unet)

    def share(capture: Capture, total: int = 20) -> float:
        return added_time(unet, attention=capture, size=SIZE, total=total)

    assert share(Capture("M00", "1")) < share(Capture("M00")) < share(Capture())
    assert share(Capture(halves="cond,uncond")) == pytest.approx(2 * share(Capture()))
    assert share(Capture("M00", "1"), 20) == pytest.approx(share(Capture("M00", "1"), 10) / 2)
    assert share(Capture(), 20) == pytest.approx(share(Capture(), 50))
    assert share(Capture(kinds="self", most=1)) == 0
    features = added_time(unet, features=Capture(), size=SIZE, total=20)
    assert (
        0
        < features
        == pytest.approx(20 / 3 * added_time(unet, features=Capture(steps="1-3"), size=SIZE, total=20))
    )


def test_word_maps_cost_little_at_true_size() -> None:
    with torch.device("meta"):
        unet = UNet.of(diffusers.UNet2DConditionModel(attention_head_dim=8, cross_attention_dim=768))
    assert 0.002 < added_time(unet, attention=word_captures(halves=("cond",)), size=(64, 64), total=20) < 0.02


def test_a_block_that_is_not_there_is_refused(diffusers_unet: nn.Module) -> None:
    with pytest.raises(SpecError, match="OUT99"):
        added_time(diffusers_unet, features=Capture("OUT99"), size=SIZE, total=1)
