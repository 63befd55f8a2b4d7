from __future__ import annotations

import re
from typing import Any

import pytest
import torch
from conftest import CONTEXT, diffusers_unet, ldm_unet, sdxl_unet
from torch import nn

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.notation.specs import BlockSpec, SpecError
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet, UnsupportedModelError

SD1_NAMES = [*(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12))]
# Where Stable Diffusion 1 attends to the prompt.
SD1_CROSS = "IN01-IN02, IN04-IN05, IN07-IN08, M00, OUT03-OUT11"

RESNET = {
    "in_layers.0": "norm1",
    "in_layers.2": "conv1",
    "emb_layers.1": "time_emb_proj",
    "out_layers.0": "norm2",
    "out_layers.3": "conv2",
    "skip_connection": "conv_shortcut",
}
OUTSIDE = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out",
    "out.2": "conv_out",
}


def diffusers_key(key: str) -> str:
    """The name of an ldm weight in diffusers, for Stable Diffusion 1."""
    for old, new in OUTSIDE.items():
        if key.startswith(f"{old}."):
            return key.replace(old, new, 1)
    part, rest = re.fullmatch(r"(input_blocks\.\d+|middle_block|output_blocks\.\d+)\.(.+)", key).groups()  # type: ignore[union-attr]
    position, rest = rest.split(".", 1)
    index = int(part.partition(".")[2] or 0)
    for old, new in RESNET.items():
        rest = re.sub(rf"^{re.escape(old)}\.", f"{new}.", rest)
    is_resnet = rest.split(".")[0] in RESNET.values()
    if part == "middle_block":
        place = {"0": "resnets.0", "1": "attentions.0", "2": "resnets.1"}[position]
        return f"mid_block.{place}.{rest}"
    if part.startswith("input"):
        level, within = divmod(index - 1, 3)
        if within == 2:
            return f"down_blocks.{level}.downsamplers.0.{rest.replace('op.', 'conv.')}"
        return f"down_blocks.{level}.{'resnets' if is_resnet else 'attentions'}.{within}.{rest}"
    level, within = divmod(index, 3)
    if rest.startswith("conv.") and position != "0":
        return f"up_blocks.{level}.upsamplers.0.{rest}"
    return f"up_blocks.{level}.{'resnets' if is_resnet else 'attentions'}.{within}.{rest}"


def diffusers_keys(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {diffusers_key(key): value for key, value in state.items()}


def inputs(
    size: tuple[int, int] = (16, 16), rows: int = 2
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(7)
    latent = torch.randn(rows, 4, *size, generator=generator)
    return latent, torch.full((rows,), 500), torch.randn(rows, 77, CONTEXT, generator=generator)


def recorded(module: nn.Module, size: tuple[int, int] = (16, 16), **options: Any) -> Trace:
    call = Call(0, 1, 1.0, (Row(0, "uncond"), Row(0, "cond")), size)
    latent, timestep, context = inputs(size)
    with Recorder(module, calls=lambda args, kwargs: call, **options) as trace, torch.no_grad():
        module(latent, timestep, context)
    return trace


def test_both_codes_of_stable_diffusion_have_the_same_blocks(any_unet: nn.Module) -> None:
    unet = UNet.of(any_unet)
    assert list(unet.blocks) == SD1_NAMES
    reached = [name for name, block in unet.blocks.items() if block.cross]
    assert reached == BlockSpec.parse(SD1_CROSS).names(unet)
    assert all(block.heads == 2 and block.depth == 1 for block in unet.blocks.values() if block.cross)
    assert [site.name for site in unet.attention("IN04")] == ["IN04.0 self", "IN04.0 cross"]
    assert len(unet.sites) == 32
    assert unet.layout.depth["IN03"] == 0


def test_equal_weights_give_equal_features_and_attention(ldm_unet: nn.Module) -> None:
    other = diffusers_unet()
    other.load_state_dict(diffusers_keys(ldm_unet.state_dict()), strict=True)
    latent, timestep, context = inputs()
    with torch.no_grad():
        torch.testing.assert_close(
            ldm_unet(latent, timestep, context), other(latent, timestep, context).sample, rtol=1e-4, atol=1e-4
        )
    attention = Capture(what="QK", kinds=("cross", "self"))
    ours, theirs = (recorded(m, features=Capture(), attention=attention) for m in (ldm_unet, other))
    assert [item.key for item in ours.features] == [item.key for item in theirs.features]
    assert [item.key for item in ours.attention] == [item.key for item in theirs.attention]
    assert len(ours.features) == 25
    assert len(ours.attention) == 32
    for one, two in zip(
        [*ours.features, *ours.attention], [*theirs.features, *theirs.attention], strict=True
    ):
        assert_close(one.data, two.data, str(one.key))


def assert_close(one: torch.Tensor, two: torch.Tensor, name: str) -> None:
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4, msg=lambda message: f"{name}: {message}")


@pytest.mark.parametrize("size", [(16, 16), (8, 24), (13, 10)])
def test_shapes_are_those_that_run(size: tuple[int, int]) -> None:
    check_shapes(diffusers_unet(), size)


def test_shapes_in_ldm() -> None:
    check_shapes(ldm_unet(), (8, 24))


def check_shapes(module: nn.Module, size: tuple[int, int]) -> None:
    seen: dict[str, list[tuple[int, ...]]] = {}

    def note(name: str, tensor: torch.Tensor | tuple[torch.Tensor]) -> None:
        seen.setdefault(name, []).append(tuple((tensor if torch.is_tensor(tensor) else tensor[0]).shape[1:]))

    unet = UNet.of(module)
    for name, block in unet.blocks.items():
        block.input_module.register_forward_pre_hook(lambda m, args, n=name: note(n, args))
        block.output_module.register_forward_hook(lambda m, args, out, n=name: note(n, out))
    latent, timestep, context = inputs(size)
    with torch.no_grad():
        module(latent, timestep, context)
    assert {name: tuple(shapes) for name, shapes in seen.items()} == {
        name: block.shapes(size) for name, block in unet.blocks.items()
    }


def test_sdxl_has_19_blocks_with_several_transformer_layers() -> None:
    unet = UNet.of(sdxl_unet())
    names = [*(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9))]
    assert list(unet.blocks) == names
    depth = [0, 0, 0, 0, 2, 2, 0, 3, 3, 3, 3, 3, 3, 2, 2, 2, 0, 0, 0]
    assert list(unet.layout.depth.values()) == depth
    assert [site.layer for site in unet.attention("IN07")] == [0, 0, 1, 1, 2, 2]
    assert {site.kind for site in unet.attention("IN07")} == {"self", "cross"}
    assert BlockSpec.parse("IN07.2").sites(unet) == [("IN07", 2)]
    assert unet.blocks["OUT02"].shapes((16, 16)) == ((128, 4, 4), (64, 8, 8))


def test_an_attention_without_scale_has_the_usual_one() -> None:
    module = ldm_unet()
    expected = [site.scale for site in UNet.of(module).sites]
    for part in module.modules():
        if hasattr(part, "to_q"):
            del part.scale
    assert [site.scale for site in UNet.of(module).sites] == expected


def test_a_distilled_unet_without_middle_block() -> None:
    module = diffusers_unet(mid_block_type=None)
    assert "M00" not in UNet.of(module).blocks
    check_shapes(module, (16, 16))


def test_a_unet_is_its_own_unet(diffusers_unet: nn.Module) -> None:
    unet = UNet.of(diffusers_unet)
    assert UNet.of(unet) is unet


def test_unknown_block_is_refused_with_the_models_names(diffusers_unet: nn.Module) -> None:
    with pytest.raises(SpecError, match="IN99"):
        UNet.of(diffusers_unet).attention("IN99")


def test_transformer_models_are_refused() -> None:
    module = pytest.importorskip("diffusers").SD3Transformer2DModel(
        sample_size=8, num_layers=1, attention_head_dim=4, num_attention_heads=2, joint_attention_dim=8,
        caption_projection_dim=8, pooled_projection_dim=8,
    )  # fmt: skip
    with pytest.raises(UnsupportedModelError, match="SD3Transformer2DModel.*Supported.*SD 3, Flux"):
        UNet.of(module)
    with pytest.raises(UnsupportedModelError, match="Linear"):
        UNet.of(nn.Linear(1, 1))
