from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
import torch
from conftest import CONTEXT
from torch import nn

from lib_unet_viz import attention as arithmetic
from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.request import BudgetError, Call, Capture, Row, estimate
from lib_unet_viz.maps.words import word_captures
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.trace import MapLookupError, Trace
from lib_unet_viz.unet import UNet

SIZE = (8, 16)  # ldm runs only multiples of 8
ROWS = (Row(0, "uncond"), Row(1, "uncond"), Row(0, "cond"), Row(1, "cond"))


class Steps:
    """Says that the calls are the steps of a run, one after the other."""

    def __init__(self, total: int = 1, rows: tuple[Row, ...] = ROWS) -> None:
        self.step, self.total, self.rows = -1, total, rows

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        self.step += 1
        return Call(self.step, self.total, 10.0 - self.step, self.rows, SIZE)


def run(module: nn.Module, steps: int = 1) -> torch.Tensor:
    """The output of the last of some calls, each with its own noise."""
    generator = torch.Generator().manual_seed(1)
    weight = next(module.parameters())
    for step in range(steps):
        latent = torch.randn(4, 4, *SIZE, generator=generator).to(weight)
        context = torch.randn(4, 77, CONTEXT, generator=generator).to(weight)
        with torch.no_grad():
            output = module(latent, torch.full((4,), 900 - 100 * step), context)
    return output if torch.is_tensor(output) else output[0]


def recorded(module: nn.Module, steps: int = 1, **options: Any) -> Trace:
    with Recorder(module, calls=Steps(steps), **options) as trace:
        run(module, steps)
    return trace


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


# What the maps hold.


def test_features_are_the_blocks_outputs(any_unet: nn.Module) -> None:
    seen: list[torch.Tensor] = []
    with (
        UNet.of(any_unet)
        .blocks["OUT05"]
        .output_module.register_forward_hook(lambda m, a, out: seen.append(out))
    ):
        trace = recorded(any_unet, 2, features=Capture("OUT05", "2", halves=("cond", "uncond"), images=(1,)))
    assert [item.key.half for item in trace.features] == ["uncond", "cond"]
    item = trace.features.one(block="OUT05", step=2, half="cond")
    assert torch.equal(item.data, seen[1][3])
    assert torch.equal(trace.features.one(half="uncond").data, seen[1][1])
    assert (item.axes, item.shape) == (("channel", "y", "x"), (128, 4, 8))
    assert item.key.step == 1
    assert item.sigma == 9.0


def test_probabilities_are_the_softmax_over_all_tokens(any_unet: nn.Module) -> None:
    trace = recorded(any_unet, attention=Capture("OUT05", what="Q,K,QK", kinds="cross,self"))
    for kind in ("cross", "self"):
        q, k, qk = (trace.attention.one(image=0, kind=kind, what=what) for what in ("Q", "K", "QK"))
        scores = torch.einsum("hcyx,htc->htyx", q.data, k.data) / math.sqrt(q.shape[1])
        torch.testing.assert_close(qk.data, scores.softmax(dim=1))
        torch.testing.assert_close(qk.data.sum(1), torch.ones(2, 2, 4))
        assert qk.axes == ("head", "token", "y", "x")
        assert qk.shape == (2, 77 if kind == "cross" else 8, 2, 4)
        assert qk.planes().shape == (2 * qk.shape[1], 2, 4)
        assert k.planes().shape == (2, qk.shape[1], 64)


def test_mixed_values_are_what_the_models_own_attention_puts_out(any_unet: nn.Module) -> None:
    site = UNet.of(any_unet).attention("M00")[1]
    seen: list[torch.Tensor] = []
    with site.to_out.register_forward_pre_hook(lambda m, args: seen.append(args[0])):
        trace = recorded(any_unet, attention=Capture("M00", what="VQK"))
    vqk = trace.attention.one(image=1).data
    torch.testing.assert_close(vqk.flatten(2).permute(2, 0, 1).flatten(1), seen[0][3], rtol=1e-4, atol=1e-5)


def test_queries_in_chunks_give_the_same(any_unet: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = Capture("IN01", what="QK,VQK", kinds="cross,self")
    asked = [raw, Capture("IN01", kinds="cross,self", mean=True)]
    whole = recorded(any_unet, attention=asked)
    monkeypatch.setattr(arithmetic, "_CHUNK_VALUES_CPU", 2 * 128 * 5)
    parts = recorded(any_unet, attention=asked)
    for one, two in zip(whole.attention, parts.attention, strict=True):
        torch.testing.assert_close(one.data, two.data)


def test_only_the_tokens_asked_for_are_kept(any_unet: nn.Module) -> None:
    every = recorded(any_unet, attention=Capture("OUT03", kinds="cross,self")).attention
    some = recorded(any_unet, attention=Capture("OUT03", kinds="cross,self", tokens=(3, 76))).attention
    cross = some.one(kind="cross", image=0)
    assert cross.tokens == (3, 76)
    assert torch.equal(cross.data, every.one(kind="cross", image=0).data[:, [3, 76]])
    assert some.one(kind="self", image=0).shape == every.one(kind="self", image=0).shape
    with pytest.raises(ValueError, match="tokens 0 to 76"):
        recorded(any_unet, attention=Capture("OUT03", tokens=(77,)))


def test_a_mean_over_heads_and_steps_takes_constant_memory(any_unet: nn.Module) -> None:
    raw = recorded(any_unet, 3, attention=Capture("M00,OUT04", "1,3", images=(0,)))
    mean = recorded(any_unet, 3, attention=Capture("M00,OUT04", "1,3", images=(0,), mean=True))
    assert len(mean.attention) == 2
    item = mean.attention.one(block="M00")
    both = [raw.attention.one(block="M00", step=step).data for step in (1, 3)]
    torch.testing.assert_close(item.data, torch.stack(both).mean((0, 1))[None])
    assert (item.key.step, item.sigma, item.shape[0]) == (None, None, 1)
    assert mean.nbytes == recorded(any_unet, attention=Capture("M00,OUT04", images=(0,), mean=True)).nbytes


def refining(trace: Trace) -> list[torch.Tensor]:
    return [item.data for item in trace.attention.all(kind="self")]


def test_word_maps_have_the_cross_attention_of_all_steps_and_self_attention_of_late_ones(
    any_unet: nn.Module,
) -> None:
    words = recorded(any_unet, 8, attention=word_captures("M00", halves=("cond",)))
    late, every = (
        recorded(any_unet, 8, attention=word_captures("M00", halves=("cond",), refining=steps))
        for steps in ("5-8", "")
    )
    assert torch.equal(words.attention[0].data, every.attention[0].data)
    assert all(map(torch.equal, refining(words), refining(late)))
    assert not any(map(torch.equal, refining(words), refining(every)))


def test_a_run_that_ends_before_its_late_steps_says_what_it_lacks(any_unet: nn.Module) -> None:
    with Recorder(any_unet, attention=word_captures(), calls=Steps(20)) as trace:
        run(any_unet, 3)
    assert {item.key.kind for item in trace.attention} == {"cross"}
    lacking = (
        "attention: no call was of a step asked for (4 steps of the last third) and had cond or uncond rows."
    )
    assert trace.notes == [lacking]


def test_layers_that_change_their_size_are_averaged_before_and_that_is_said_once(any_unet: nn.Module) -> None:
    """As where a refiner has layers of other sizes by the same names."""
    sizes = [SIZE, (16, 16)]

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        height, width = (args[0] if args else kwargs["x"]).shape[-2:]
        return Call(sizes.index((height, width)), 2, 1.0, ROWS, (height, width))

    with Recorder(any_unet, attention=Capture("IN04,M00", mean=True), calls=calls) as trace, torch.no_grad():
        for size in sizes:
            any_unet(torch.randn(4, 4, *size), torch.full((4,), 900), torch.randn(4, 77, CONTEXT))
    assert {item.key.block: item.shape[2:] for item in trace.attention} == {"IN04": (4, 8), "M00": (1, 2)}
    [note] = trace.notes
    assert "as with a refiner" in note


def test_a_call_that_comes_again_adds_to_a_mean_and_is_noted_otherwise(any_unet: nn.Module) -> None:
    def again(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(0, 1, 1.0, ROWS, SIZE)

    captures = [Capture("M00", images=(0,)), Capture("M00", images=(0,), mean=True)]
    with Recorder(any_unet, attention=captures, calls=again) as trace:
        run(any_unet, 2)
    assert trace.notes == ["attention: a step came again for the same image; only its first is recorded"]
    both = recorded(any_unet, 2, attention=Capture("M00", images=(0,))).attention
    first = next(item for item in trace.attention if item.key.step == 0)
    mean = next(item for item in trace.attention if item.key.step is None)
    assert torch.equal(first.data, both[0].data)
    torch.testing.assert_close(mean.data[0], (both[0].data.mean(0) + both[1].data.mean(0)) / 2)


def test_a_map_that_two_captures_ask_for_is_kept_once(any_unet: nn.Module) -> None:
    trace = recorded(any_unet, attention=[Capture("M00"), Capture("M00,OUT03")])
    assert [(item.key.block, item.key.image) for item in trace.attention] == [
        ("M00", 0), ("M00", 1), ("OUT03", 0), ("OUT03", 1)
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "kept"), [(torch.float16, torch.float16), (torch.bfloat16, torch.float32)])
def test_what_a_half_precision_model_gives(
    diffusers_unet: nn.Module, dtype: torch.dtype, kept: torch.dtype
) -> None:
    module = copy.deepcopy(diffusers_unet).to(dtype)
    options: dict[str, Any] = {"features": Capture("M00"), "attention": Capture("M00", what="Q,QK")}
    trace = recorded(module, **options)
    assert {item.data.dtype for item in (*trace.features, *trace.attention)} == {kept}
    assert trace.features[0].numpy().dtype == "float32"
    assert trace.nbytes == estimate(module, **options, size=SIZE, total=1, images=2)
    exact = recorded(diffusers_unet, **options).attention.one(what="QK", image=0)
    half = trace.attention.one(what="QK", image=0)
    torch.testing.assert_close(half.data.float(), exact.data, rtol=0.5, atol=0.02)


def test_maps_made_in_inference_mode_are_ordinary_tensors(any_unet: nn.Module) -> None:
    with torch.inference_mode():
        trace = recorded(
            any_unet, features=Capture("M00"), attention=[Capture("M00"), Capture("M00", mean=True)]
        )
    for item in (*trace.features, *trace.attention):
        assert not item.data.is_inference()
        item.data.add_(1)


def test_maps_are_copies(any_unet: nn.Module) -> None:
    module = UNet.of(any_unet).blocks["M00"].output_module
    recorder = Recorder(any_unet, features=Capture("M00"), calls=Steps())
    with (
        recorder as trace,
        module.register_forward_hook(lambda m, args, out: out.zero_().sum().item() or None),
    ):
        run(any_unet)
    item = trace.features.one(image=0)
    assert item.data.abs().sum() > 0
    assert item.data.untyped_storage().nbytes() == item.nbytes


def test_meta_holds_the_run(any_unet: nn.Module) -> None:
    trace = recorded(any_unet, 2, features=Capture("M00", "1"), meta={"prompt": "a cat"})
    blocks = UNet.of(any_unet).blocks
    shapes = {name: list(block.shapes((8, 16))[1]) for name, block in blocks.items()}
    assert trace.meta == {
        "prompt": "a cat", "blocks": list(blocks), "steps": 2, "size": [8, 16], "sigmas": [10.0, 9.0],
        "shapes": shapes,
    }  # fmt: skip


# Looking changes nothing.

BOTH: dict[str, Any] = {
    "features": Capture(halves="cond,uncond"),
    "attention": Capture(what="Q,K,QK,VQK", kinds="cross,self"),
}


def test_the_output_is_the_same_to_the_byte(any_unet: nn.Module) -> None:
    before = run(any_unet, 2)
    with Recorder(any_unet, **BOTH, calls=Steps(2)) as trace:
        during = run(any_unet, 2)
    assert hooks(any_unet) == 0
    assert len(trace.features) == 25 * 2 * 4
    assert len(trace.attention) == 32 * 4 * 2 * 2
    for output in (during, run(any_unet, 2)):
        assert output.numpy().tobytes() == before.numpy().tobytes()


def ends_normally(module: nn.Module) -> None:
    with Recorder(module, **BOTH, calls=Steps()):
        run(module)


def bad_spec(module: nn.Module) -> None:
    with Recorder(module, features=Capture("IN00-IN99"), attention=Capture(), calls=Steps()):
        run(module)


def bad_layer(module: nn.Module) -> None:
    with Recorder(module, features=Capture(), attention=Capture("M00.5"), calls=Steps()):
        run(module)


def failing(error: type[BaseException]) -> Callable[[nn.Module], None]:
    def stop(*_: object) -> None:
        raise error("in mid-forward")

    def fail(module: nn.Module) -> None:
        last = UNet.of(module).attention("OUT05")[0].to_k
        with last.register_forward_pre_hook(stop), Recorder(module, **BOTH, calls=Steps()) as trace:
            try:
                run(module)
            finally:
                assert trace.features.one(block="OUT04", image=0, half="cond").shape == (128, 2, 4)

    return fail


def installing_fails(module: nn.Module) -> None:
    recorder = Recorder(module, **BOTH, calls=Steps())
    recorder._taps[1].install = lambda hooks: 1 / 0  # type: ignore[method-assign, assignment]
    with recorder:
        run(module)


@pytest.mark.parametrize(
    ("use", "error"),
    [
        (ends_normally, None),
        (bad_spec, SpecError),
        (bad_layer, SpecError),
        (failing(RuntimeError), RuntimeError),
        (failing(KeyboardInterrupt), KeyboardInterrupt),
        (installing_fails, ZeroDivisionError),
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


def test_a_mean_survives_an_exception(any_unet: nn.Module) -> None:
    calls = Steps(5)
    recorder = Recorder(any_unet, attention=Capture("M00", mean=True), calls=calls)

    def stop(*_: object) -> None:
        if calls.step == 2:
            raise KeyboardInterrupt

    with any_unet.register_forward_pre_hook(stop), pytest.raises(KeyboardInterrupt), recorder:
        run(any_unet, 5)
    assert len(recorder.trace.attention) == 2


# What is asked for and is not there.


def test_steps_beyond_the_run_are_named(any_unet: nn.Module) -> None:
    trace = recorded(any_unet, 2, features=Capture("M00", "1-8(+7)"))
    assert {item.key.step for item in trace.features} == {0}
    assert trace.notes == ["features: the run had 2 steps; not recorded: 8"]


def nothing(module: nn.Module) -> None:
    """No run at all."""


@pytest.mark.parametrize(
    ("options", "use", "reason"),
    [
        ({"features": Capture("M00")}, nothing, "the U-Net was not called"),
        ({"features": Capture("M00", "7")}, run, "no step of '7' is among the run's 1.*not recorded: 7"),
        ({"features": Capture("M00", images=(4,))}, run, "no call.*had cond rows of the images 4"),
        ({"attention": Capture("M00"), "calls": lambda args, kwargs: None}, run, "called 1 times, but none"),
    ],
)
def test_nothing_recorded_is_an_error_that_says_why(
    any_unet: nn.Module, options: dict[str, Any], use: Callable[[nn.Module], Any], reason: str
) -> None:
    with pytest.raises(NothingCaptured, match=reason), Recorder(any_unet, **{"calls": Steps(), **options}):
        use(any_unet)
    assert hooks(any_unet) == 0


def test_fused_projections_are_split(diffusers_unet: nn.Module) -> None:
    module: Any = copy.deepcopy(diffusers_unet)
    asked: dict[str, Any] = {"attention": Capture("M00,OUT05", what="Q,K,QK,VQK", kinds="cross,self")}
    apart = recorded(module, **asked)
    module.fuse_qkv_projections()
    fused = recorded(module, **asked)
    assert [item.key for item in fused.attention] == [item.key for item in apart.attention]
    assert fused.notes == []
    for one, other in zip(fused.attention, apart.attention, strict=True):
        torch.testing.assert_close(one.data, other.data, rtol=1e-4, atol=1e-4)
    module.unfuse_qkv_projections()
    for one, other in zip(recorded(module, **asked).attention, apart.attention, strict=True):
        assert torch.equal(one.data, other.data)


def test_perturbed_rows_are_known(diffusers_unet: nn.Module) -> None:
    """As in perturbed-attention guidance: one self-attention lets its last rows' values through."""
    site = UNet.of(diffusers_unet).attention("M00")[0]
    rows = (Row(0, "uncond"), Row(1, "uncond"), Row(0, "cond"), Row(0, "perturbed"))
    chosen = Capture("M00,OUT05", halves="cond,uncond,perturbed", kinds="self,cross", what="QK,VQK")
    with (
        site.to_q.register_forward_hook(lambda m, args, out: out[:3]),
        site.to_k.register_forward_hook(lambda m, args, out: out[:3]),
        site.to_v.register_forward_hook(lambda m, args, out: out[:3]),
        Recorder(diffusers_unet, attention=chosen, calls=Steps(rows=rows)) as trace,
        pytest.raises(RuntimeError),  # the plain processor cannot go on with fewer rows
    ):
        run(diffusers_unet)
    found = trace.attention.all(block="M00", kind="self", what="VQK")
    assert [item.key.half for item in found] == ["uncond", "uncond", "cond"]
    assert "M00.0 self is not recorded in perturbed rows: they skip it" in trace.notes


def test_two_threads_on_one_unet_record_their_own_calls(any_unet: nn.Module) -> None:
    together = Barrier(2)

    def steps(seed: int, wait: Callable[[], object]) -> Trace:
        latents = torch.randn(3, 4, 4, *SIZE, generator=torch.Generator().manual_seed(seed))
        asked: dict[str, Any] = {"features": Capture("M00"), "attention": Capture("OUT05", what="Q,K,QK")}
        with Recorder(any_unet, **asked, calls=Steps(3)) as trace, torch.no_grad():
            for step, latent in enumerate(latents):
                wait()
                any_unet(latent, torch.full((4,), 900 - step), torch.ones(4, 77, CONTEXT))
            wait()
        return trace

    alone = [steps(seed, lambda: None) for seed in (1, 2)]
    with ThreadPoolExecutor(2) as threads:
        both = list(threads.map(steps, (1, 2), [together.wait] * 2))
    for one, other in zip(both, alone, strict=True):
        found, expected = ([*trace.features, *trace.attention] for trace in (one, other))
        assert [item.key for item in found] == [item.key for item in expected]
        assert one.notes == []
        assert all(torch.equal(a.data, b.data) for a, b in zip(found, expected, strict=True))
    assert hooks(any_unet) == 0


def test_a_run_in_another_thread_is_said(any_unet: nn.Module) -> None:
    with (
        pytest.raises(NothingCaptured, match="called in another thread only"),
        Recorder(any_unet, features=Capture("M00"), calls=Steps()),
        ThreadPoolExecutor(1) as threads,
    ):
        threads.submit(run, any_unet).result()


def test_a_compiled_unet_is_refused_where_torch_cannot_run_it_otherwise(
    diffusers_unet: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch._dynamo")
    module = copy.deepcopy(diffusers_unet)
    module.compile(backend="eager")
    monkeypatch.delattr(torch.compiler, "set_stance", raising=False)
    recorder = Recorder(module, features=Capture("M00"), calls=Steps())
    with pytest.raises(ValueError, match="hand over the model as it was before, or use torch 2.6"):
        recorder.install()
    assert hooks(module) == 0


def test_merged_tokens_are_not_taken_for_a_picture(any_unet: nn.Module) -> None:
    site = UNet.of(any_unet).attention("M00")[0]
    with site.to_q.register_forward_hook(lambda m, args, out: out[:, :-1]):
        trace = recorded(any_unet, attention=Capture("M00,OUT00-OUT03", kinds="self"))
    assert {item.key.block for item in trace.attention} == {"OUT03"}
    assert "M00.0 self is not recorded: it attended with 4 rows of 1 positions" in trace.notes[0]


def test_blocks_without_attention_are_refused_with_those_that_have_it(any_unet: nn.Module) -> None:
    with pytest.raises(SpecError, match=r"(?s)no cross-attention in these blocks.*allowed: IN01, IN02"):
        Recorder(any_unet, attention=Capture("IN00, IN03"), calls=Steps())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"what": "KQ"}, "what: 'KQ' is not one of Q, K, QK, VQK"),
        ({"kinds": ""}, "kinds: '' is not one of cross, self"),
        ({"halves": ()}, "halves: at least one of cond, uncond"),
        ({"what": "Q,QK", "mean": True}, "a mean is of QK only"),
    ],
)
def test_words_that_are_not_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Capture(**options)


# Budgets.


@pytest.mark.parametrize(
    "options",
    [
        {"features": Capture()},
        {"attention": Capture(what="Q,K,QK,VQK", kinds="cross,self", halves="cond,uncond")},
        {"features": Capture("M00", images=(1,)), "attention": Capture("OUT03", "2", tokens=(1, 2))},
        {"attention": [Capture(mean=True), Capture("M00", "1")]},
    ],
)
def test_the_estimate_is_exact(any_unet: nn.Module, options: dict[str, Any]) -> None:
    needed = recorded(any_unet, 2, **options).nbytes
    assert estimate(any_unet, **options, size=SIZE, total=2, images=2) == needed
    assert recorded(any_unet, 2, **options, budget=needed).nbytes == needed
    with pytest.raises(BudgetError, match=rf"\({needed} bytes\).*budget.*\({needed - 1} bytes\)"):
        recorded(any_unet, 2, **options, budget=needed - 1)


def test_the_budget_refuses_before_anything_runs(any_unet: nn.Module) -> None:
    ran: list[str] = []
    first = UNet.of(any_unet).blocks["IN00"].input_module
    with first.register_forward_hook(lambda *_: ran.append("IN00")), pytest.raises(BudgetError):
        recorded(any_unet, 20, features=Capture(), budget=1000)
    assert ran == []


def test_the_budget_holds_where_the_estimate_was_too_low(any_unet: nn.Module) -> None:
    """A run with a long prompt: 154 tokens."""
    options: dict[str, Any] = {"attention": Capture("M00", images=(0,)), "budget": 2 * 77 * 2 * 4}
    context = torch.zeros(4, 154, CONTEXT)
    with Recorder(any_unet, calls=Steps(), **options) as trace, torch.no_grad():
        any_unet(torch.zeros(4, 4, *SIZE), torch.zeros(4), context)
    assert trace.nbytes == 0
    [note] = trace.notes
    assert note.startswith("the recording ended at step 1: the maps need")


# What goes wrong in looking costs nobody a picture.


def fault(*_: Any, **__: Any) -> Any:
    raise RuntimeError("injected")


@pytest.mark.parametrize(
    ("place", "name"),
    [
        ("capture.recorder.Recorder", "_before"),
        ("capture.recorder.Recorder", "_after"),
        ("capture.recorder", "_described"),
        ("capture.recorder", "estimate"),
        ("capture.hooks.Tap", "begin"),
        ("capture.hooks.Tap", "end"),
        ("capture.hooks.FeatureTap", "_output"),
        ("capture.hooks.AttentionTap", "_output"),
        ("capture.hooks", "token_maps"),
        ("capture.hooks", "_copied"),
    ],
)
def test_a_fault_in_looking_ends_the_recording_and_not_the_run(
    any_unet: nn.Module, monkeypatch: pytest.MonkeyPatch, place: str, name: str
) -> None:
    folder, module, *within = place.split(".")
    owner: Any = importlib.import_module(f"lib_unet_viz.{folder}.{module}")
    before = run(any_unet)
    with monkeypatch.context() as patched:
        patched.setattr(getattr(owner, within[0]) if within else owner, name, fault)
        with Recorder(any_unet, **BOTH, calls=Steps(), budget=10**9) as trace:
            after = run(any_unet)
    assert torch.equal(before, after)
    assert "RuntimeError: injected" in str(trace.notes)
    assert hooks(any_unet) == 0
    assert recorded(any_unet, **BOTH).features


def test_a_host_that_is_wrong_about_its_call_ends_the_recording(any_unet: nn.Module) -> None:
    before = run(any_unet)
    for calls in (Steps(rows=ROWS[:3]), lambda args, kwargs: 1 / 0):
        with Recorder(any_unet, **BOTH, calls=calls) as trace:  # type: ignore[arg-type]
            assert torch.equal(run(any_unet), before)
        assert len(trace.notes) == 1, trace.notes
        assert "ended at step" in trace.notes[0]


# Asking a trace.


@pytest.fixture(scope="module")
def trace(diffusers_unet: nn.Module) -> Iterator[Trace]:
    return recorded(diffusers_unet, 2, features=Capture("M00, OUT11"), attention=Capture("M00", images=(1,)))  # type: ignore[return-value]


def test_one_and_all_ask_by_what_is_given(trace: Trace) -> None:
    assert len(trace.features.all(block="OUT11")) == 4
    assert len(trace.features.all(step=3)) == 0
    assert trace.attention.one(step=2) is trace.attention[1]
    assert trace.images == [0, 1]
    assert repr(trace.attention.one(step=2)) == (
        "AttentionMap(M00.0 cross QK step 2 image 1 cond: head 2, token 77, y 1, x 2)"
    )


def test_an_ambiguous_question_lists_what_differs(trace: Trace) -> None:
    with pytest.raises(MapLookupError, match=r"^4 maps fit; say which: step 1, 2; image 0, 1$"):
        trace.features.one(block="M00")


def test_a_missing_map_lists_what_there_is(trace: Trace) -> None:
    with pytest.raises(
        LookupError, match=r"no map fits; there are: block M00, OUT11; .*step 1, 2; .*half cond"
    ):
        trace.features.one(block="IN00")
    with pytest.raises(ValueError, match="nothing was recorded here"):
        Trace().attention.one()
