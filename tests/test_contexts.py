"""Other contexts for some blocks, against a plain loop over the blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from conftest import CONTEXT
from test_record import Steps, hooks
from torch import Tensor, nn

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture
from lib_unet_viz.editing.contexts import Contexts, Part
from lib_unet_viz.unet import AttentionSite, UNet

SIZE, ROWS = (8, 16), 4
TIME = torch.full((ROWS,), 700)


def noise(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


LATENT, CONTEXT_ROWS = noise(ROWS, 4, *SIZE, seed=1), noise(ROWS, 77, CONTEXT, seed=2)
OTHERS: dict[str, Tensor] = {
    "IN01": noise(ROWS, 77, CONTEXT, seed=3),
    "M00": noise(ROWS, 154, CONTEXT, seed=4),
    "OUT05": noise(ROWS, 5, CONTEXT, seed=5),
    "IN00": noise(ROWS, 77, CONTEXT, seed=6),  # has no cross-attention
}


@torch.no_grad()
def run(module: nn.Module) -> Tensor:
    output = module(LATENT, TIME, CONTEXT_ROWS)
    return output if torch.is_tensor(output) else output[0]


def ldm_loop(unet: Any, contexts: Mapping[str, Tensor]) -> Tensor:
    from ldm.modules.diffusionmodules.util import timestep_embedding

    emb = unet.time_embed(timestep_embedding(TIME, unet.model_channels, repeat_only=False))
    h, skips = LATENT, []
    for number, block in enumerate(unet.input_blocks):
        h = block(h, emb, contexts.get(f"IN{number:02}", CONTEXT_ROWS))
        skips.append(h)
    h = unet.middle_block(h, emb, contexts.get("M00", CONTEXT_ROWS))
    for number, block in enumerate(unet.output_blocks):
        h = block(torch.cat([h, skips.pop()], 1), emb, contexts.get(f"OUT{number:02}", CONTEXT_ROWS))
    return unet.out(h)  # type: ignore[no-any-return]


def diffusers_loop(unet: Any, contexts: Mapping[str, Tensor]) -> Tensor:
    from reference import forward

    given = {name: contexts.get(name, CONTEXT_ROWS) for name in UNet.of(unet).blocks}
    return forward(unet, LATENT, TIME, given)


@pytest.mark.parametrize("kind", ["ldm", "diffusers"])
def test_each_block_reads_its_own_context(kind: str, request: pytest.FixtureRequest) -> None:
    module: nn.Module = request.getfixturevalue(f"{kind}_unet")
    plain = run(module)
    asked: list[int] = []

    def provide(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Mapping[str, Tensor]:
        asked.append(len(args[0]))
        return OTHERS

    with Contexts(module, provide):
        together = run(module)
    with torch.no_grad():
        expected = {"ldm": ldm_loop, "diffusers": diffusers_loop}[kind](module, OTHERS)
    assert asked == [ROWS]
    torch.testing.assert_close(together, expected, rtol=1e-5, atol=1e-5)
    assert (together - plain).abs().max() > 0.01


def test_the_same_context_changes_no_byte(any_unet: nn.Module) -> None:
    before = run(any_unet)
    same = {name: CONTEXT_ROWS.clone() for name in UNet.of(any_unet).blocks}
    for given in (same, {}, None, {"IN00": OTHERS["IN00"]}):
        with Contexts(any_unet, lambda args, kwargs, given=given: given):
            assert run(any_unet).numpy().tobytes() == before.numpy().tobytes()


def test_what_runs_between_two_forwards_reads_what_it_is_given(any_unet: nn.Module) -> None:
    to_k = UNet.of(any_unet).attention("M00")[1].to_k
    expected = to_k(CONTEXT_ROWS)
    with Contexts(any_unet, lambda args, kwargs: OTHERS):
        run(any_unet)
        assert torch.equal(to_k(CONTEXT_ROWS), expected)


def test_the_hosts_transformation_acts_on_it(any_unet: nn.Module) -> None:
    seen: list[tuple[str, str]] = []

    def doubled(part: Part, site: AttentionSite, context: Tensor) -> Tensor:
        seen.append((site.name, part))
        return context * 2

    with Contexts(any_unet, lambda args, kwargs: OTHERS, transform=doubled):
        transformed = run(any_unet)
    twice = {name: context * 2 for name, context in OTHERS.items()}
    with Contexts(any_unet, lambda args, kwargs: twice):
        assert torch.equal(run(any_unet), transformed)
    assert sorted(seen) == [(f"{name}.0 cross", part) for name in ("IN01", "M00", "OUT05") for part in "kv"]


def test_a_recording_sees_what_each_block_read(any_unet: nn.Module) -> None:
    unet = UNet.of(any_unet)
    names = {"cond": [f"t{n}</w>" for n in range(77)]}
    other = {"M00": {"cond": ["x", *("y</w>" for _ in range(153))]}}
    meta = {"tokens": names, "tokens_by_block": other}
    capture = Capture("IN02,M00,OUT05", what="K,QK", images=(0,))
    recorder = Recorder(unet, attention=capture, calls=Steps(), meta=meta)
    with Contexts(unet, lambda args, kwargs: OTHERS), recorder as trace:
        run(any_unet)
    texts = {}
    for item in trace.attention.all(what="QK"):
        texts[item.key.block] = trace.token_texts(item)
        torch.testing.assert_close(item.data.sum(1), torch.ones_like(item.data.sum(1)))
    assert {block: len(found) for block, found in texts.items()} == {"IN02": 77, "M00": 154, "OUT05": 5}
    assert texts["M00"][:2] == ["x", "y</w>"]
    assert texts["IN02"][3] == texts["OUT05"][3] == "t3</w>"
    k = trace.attention.one(block="M00", what="K").data  # head, token, channel
    site = unet.attention("M00")[1]
    expected = site.to_k(OTHERS["M00"])[2].unflatten(-1, (site.heads, -1)).transpose(0, 1)
    torch.testing.assert_close(k, expected)


def test_a_mean_of_texts_of_different_lengths_is_as_long_as_the_longest(any_unet: nn.Module) -> None:
    calls = Steps(2)
    recorder = Recorder(any_unet, attention=Capture("M00", mean=True), calls=calls)
    with Contexts(any_unet, lambda args, kwargs: None if calls.step < 0 else OTHERS), recorder as trace:
        run(any_unet)
        run(any_unet)
    mean = trace.attention.one(image=0).data
    assert mean.shape == (1, 154, 1, 2)
    torch.testing.assert_close(mean.sum(1), torch.ones(1, 1, 2))
    assert 0 < mean[0, 77:].sum() < mean[0, :77].sum()  # in one of the two steps only


# No hook is left.


def ends_normally(module: nn.Module) -> None:
    with Contexts(module, lambda args, kwargs: OTHERS):
        run(module)


def providing_fails(module: nn.Module) -> None:
    with Contexts(module, lambda args, kwargs: 1 / 0):  # type: ignore[arg-type]
        run(module)


def unknown_block(module: nn.Module) -> None:
    with Contexts(module, lambda args, kwargs: {"IN99": CONTEXT_ROWS}):
        run(module)


def wrong_rows(module: nn.Module) -> None:
    with Contexts(module, lambda args, kwargs: {"M00": CONTEXT_ROWS[:3]}):
        run(module)


def failing(error: type[BaseException]) -> Callable[[nn.Module], None]:
    def stop(*_: object) -> None:
        raise error("in mid-forward")

    def fail(module: nn.Module) -> None:
        last = UNet.of(module).attention("OUT05")[1].to_q
        with last.register_forward_pre_hook(stop), Contexts(module, lambda args, kwargs: OTHERS):
            run(module)

    return fail


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (ends_normally, None),
        (providing_fails, ZeroDivisionError),
        (unknown_block, ValueError),
        (wrong_rows, ValueError),
        (failing(RuntimeError), RuntimeError),
        (failing(KeyboardInterrupt), KeyboardInterrupt),
    ],
)
def test_no_hook_is_left(
    any_unet: nn.Module, use: Callable[[nn.Module], None], error: type[BaseException] | None
) -> None:
    before = run(any_unet)
    if error is None:
        use(any_unet)
    else:
        with pytest.raises(error):
            use(any_unet)
    assert hooks(any_unet) == 0
    assert run(any_unet).numpy().tobytes() == before.numpy().tobytes()
