"""Editing attention: against a plain implementation of the paper, and what must stay as it was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import CONTEXT
from p2p_reference import reference_edit
from test_contexts import noise
from torch import Tensor, nn

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.editing.alignment import Pair, Positions
from lib_unet_viz.editing.hooks import EditError, Editing, Plan, map_size
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Cancelled, Pipeline
from lib_unet_viz.notation.specs import BlockSpec, SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.settings import EditSettings, SettingsError
from lib_unet_viz.unet import UNet

PROMPT = "a big red circle and a small blue square"
SIZE = (16, 16)
ROWS = tuple(Row(image, half) for half in ("uncond", "cond") for image in range(2))


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return Pipeline.load()


@pytest.fixture(scope="module")
def precise() -> Pipeline:
    """In float64: sampling multiplies the rounding of float32, to 1e-3 where guidance is strong."""
    model = Pipeline.load()
    for part in (model.pipe.unet, model.pipe.text_encoder, model.pipe.vae):
        part.double()
    return model


def hooks(module: nn.Module) -> int:
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())


def levels(a: Any, b: Any) -> int:
    """The largest difference of two pictures, of 255."""
    return int(np.abs(np.asarray(a).astype(int) - np.asarray(b)).max())


def edited(model: Pipeline, edits: str, *, prompt: str = PROMPT, steps: int = 4, **settings: Any) -> Any:
    return edit(model, prompt, EditSettings(edits=edits, **settings), steps=steps, seed=3)


# Against the paper, written plainly.

CASES: dict[str, dict[str, Any]] = {
    "replace": {"edits": "circle -> star"},
    "replace, another number of tokens": {"edits": "circle -> stars and stripes", "cross_steps": 0.6},
    "refine": {"edits": "+ on a black background"},
    "re-weight": {"edits": "red * 3; blue * -2", "self_steps": 0},
    "all of them": {"edits": "red -> green; square + on a black background; small * 2"},
    "several targets": {"edits": "circle -> star\n---\n= a big red ring and a blue square\n---\nblue ->"},
    "a window for each word": {
        "edits": "circle -> star; red -> green",
        "cross_steps": {"default": 1, "star": [0, 0.4], "red": [0.2, 0.6]},
        "self_steps": [0.2, 0.8],
    },
    "some layers": {"edits": "circle -> star", "blocks": "IN01,IN04,M00,OUT09-OUT11", "self_size": 8},
    "blend": {"edits": "circle -> star", "blend": True},
    "blend by other words": {
        "edits": "circle -> star\n---\n+ on a black background",
        "blend": True,
        "blend_words": "red, circle",
        "subtract": "blue square",
        "threshold": 0.45,
        "blend_start": 0.4,
    },
    "blend, re-weighted": {"edits": "blue -> green; square * 2", "blend": True},
}


def by_the_paper(
    model: Pipeline, plan: Plan, prompts: Sequence[str], **run: Any
) -> tuple[Tensor, list[Tensor]]:
    """`plan` as the reference wants it."""
    blend: dict[str, Any] | None = None
    if plan.blend is not None:
        blend = {
            "words": summed(plan.blend.words),
            "subtract": summed(plan.blend.subtract),
            "threshold": plan.blend.threshold,
            "start": plan.blend.start,
        }
    return reference_edit(
        model.pipe,
        prompts,
        matrices=[target.matrix for target in plan.targets],
        mapped=[target.mapped.float() for target in plan.targets],
        strength=[target.strengths for target in plan.targets],
        alpha=lambda step, total: [target.alpha(plan.cross, step, total) for target in plan.targets],
        self_window=plan.self_,
        self_size=plan.self_size or 16,
        blend=blend,
        names=names_of(model.unet, plan.blocks),
        **run,
    )


def summed(words: Sequence[Sequence[Pair]]) -> list[Positions]:
    """The source's positions, which all targets share here, then those of each target."""
    olds = {at for pairs in words for old, _ in pairs for at in old}
    return [tuple(olds), *(tuple(at for _, new in pairs for at in new) for pairs in words)]


def names_of(unet: UNet, blocks: BlockSpec) -> set[str]:
    chosen = set(blocks.names(unet))
    linears = {id(site.to_q) for site in unet.sites if site.block in chosen}
    return {
        name.removesuffix(".to_q")
        for name, module in unet.module.named_modules()
        if name.endswith(".to_q") and id(module) in linears
    }


QUICK = "all of them"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.heavy) for name in CASES]
)
def test_equals_the_paper(precise: Pipeline, name: str) -> None:
    settings = EditSettings(**{"blend": False, "blend_maps": "mean", **CASES[name]})
    request = Request.of(PROMPT, settings)
    plan = request.plan(partial(host.tokens, precise.pipe))
    ours = edit(precise, PROMPT, settings, steps=4, cfg=7.5, seed=5)
    theirs, masks = by_the_paper(precise, plan, request.prompts, steps=4, cfg=7.5, seed=5)
    assert ours.latents is not None
    assert float((ours.latents - theirs).abs().max()) < 1e-8
    for target in ours.masks:
        for step, mask in ours.masks[target]:
            assert torch.equal(mask, masks[step - 1][target - 1])
    assert bool(ours.masks) == settings.blend


def test_xl_and_v_prediction_equal_the_paper(tiny_xl_pipe: Any, tiny_pipe: Any) -> None:
    from diffusers import DDIMScheduler

    settings = EditSettings(
        edits="red -> circle circle; circle * 2", blend_maps="mean", threshold=0.9, self_size=16
    )
    for pipe in (tiny_xl_pipe, tiny_pipe):
        own = pipe.scheduler
        if pipe is tiny_pipe:
            pipe.scheduler = DDIMScheduler.from_config(own.config, prediction_type="v_prediction")
        try:
            model = Pipeline(pipe, "tiny")
            request = Request.of("red circle", settings)
            plan = request.plan(partial(host.tokens, pipe))
            ours = edit(model, "red circle", settings, steps=3, cfg=7.5, seed=5, size=(128, 192))
            theirs, masks = by_the_paper(
                model, plan, request.prompts, steps=3, cfg=7.5, seed=5, size=(128, 192)
            )
        finally:
            pipe.scheduler = own
        assert ours.latents is not None
        scale = float(theirs.abs().max())
        assert float((ours.latents - theirs).abs().max()) < 1e-4 * max(1, scale)
        assert torch.equal(ours.masks[1][-1][1], masks[-1][0])


# What must stay as it was.


@pytest.mark.parametrize("blend", [True, pytest.param(False, marks=pytest.mark.heavy)])
def test_the_same_prompt_makes_the_same_picture(model: Pipeline, blend: bool) -> None:
    same = edited(model, f"= {PROMPT}", blend=blend, cross_steps=1, self_steps=1)
    assert float((same.latents[1] - same.latents[0]).abs().max()) < 1e-5
    other = edited(model, "circle -> star", blend=False)
    assert float((other.latents[1] - other.latents[0]).abs().max()) > 0.1


def test_the_source_is_the_plain_picture_and_nothing_is_left(model: Pipeline) -> None:
    before = model.picture(PROMPT, steps=4, seed=3)
    source = edited(model, "circle -> star; red * 3").pictures[0]
    assert levels(source, before) <= 1
    assert hooks(model.pipe.unet) == 0
    assert levels(model.picture(PROMPT, steps=4, seed=3), before) == 0


@pytest.mark.heavy
def test_without_any_step_of_the_source_the_target_is_its_own_plain_picture(model: Pipeline) -> None:
    target = edited(model, "circle -> star", cross_steps=0, self_steps=0, blend=False).pictures[1]
    plain = model.picture(PROMPT.replace("circle", "star"), steps=4, seed=3)
    assert levels(target, plain) <= 1


def test_outside_of_the_mask_the_latent_is_the_sources(model: Pipeline) -> None:
    found = edited(model, "blue -> green")
    mask = found.masks[1][-1][1]
    assert 0 < float(mask.float().mean()) < 0.9
    assert torch.equal(found.latents[1][:, ~mask], found.latents[0][:, ~mask])
    assert float((found.latents[1] - found.latents[0])[:, mask].abs().max()) > 0.1
    assert [step for step, _ in found.masks[1]] == [1, 2, 3, 4]


@pytest.mark.heavy
def test_second_calls_of_a_step_are_edited_too(model: Pipeline) -> None:
    from diffusers import HeunDiscreteScheduler

    own = model.pipe.scheduler
    model.pipe.scheduler = HeunDiscreteScheduler.from_config(own.config)
    try:
        same = edited(model, f"= {PROMPT}", cross_steps=1, self_steps=1, blend=False)
        swapped = edited(model, "circle -> star")
    finally:
        model.pipe.scheduler = own
    assert float((same.latents[1] - same.latents[0]).abs().max()) < 1e-4
    mask = swapped.masks[1][-1][1]
    assert torch.equal(swapped.latents[1][:, ~mask], swapped.latents[0][:, ~mask])


def test_recording_at_the_same_time_changes_nothing(model: Pipeline) -> None:
    plain = edited(model, "circle -> star", steps=3)
    calls = host.attach(model.pipe).calls
    with Recorder(model.unet, attention=Capture("", what=("Q", "K", "QK")), calls=calls) as trace:
        looked = edited(model, "circle -> star", steps=3)
    assert torch.equal(looked.latents, plain.latents)
    assert {item.key.image for item in trace.attention} == {0, 1}


def test_cancelling_leaves_nothing(model: Pipeline) -> None:
    with pytest.raises(Cancelled):
        edit(model, PROMPT, EditSettings(edits="circle -> star"), steps=3, cancelled=lambda: True)
    assert hooks(model.pipe.unet) == 0


# One call of a U-Net, in both layouts.


def plan_of(edits: str, *, length: int = 77, mask: Any = None, **settings: Any) -> Plan:
    def tokens(prompt: str) -> list[str]:
        words = [f"{word}</w>" for word in prompt.split()]
        return [BOS, *words, *[EOS] * (length - 1 - len(words))]

    return Request.of("a red circle", EditSettings(edits=edits, **settings), mask=mask).plan(tokens)


class Places:
    """Says that each call is the first step's, with these rows."""

    def __init__(self, rows: Sequence[Row] = ROWS, size: tuple[int, int] = SIZE) -> None:
        self.rows, self.size, self.step = tuple(rows), size, 0

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call | None:
        return Call(self.step, 10, 1.0, self.rows, self.size)


LATENT, CONTEXTS = noise(4, 4, *SIZE, seed=1), noise(4, 77, CONTEXT, seed=2)


@torch.no_grad()
def run(module: nn.Module, rows: Sequence[int] = range(4), *, length: int = 77) -> Tensor:
    context = torch.cat([CONTEXTS, CONTEXTS[:, -1:].repeat(1, length - 77, 1)], 1)
    at = list(rows)
    output = module(LATENT[at], torch.full((len(at),), 700), context[at])
    return output if torch.is_tensor(output) else output[0]


def with_edit(module: nn.Module, plan: Plan, calls: Any = None, **more: Any) -> Tensor:
    with Editing(module, plan, calls=calls or Places()):
        return run(module, **more)


def test_only_the_targets_conditional_row_changes(any_unet: nn.Module) -> None:
    plain, changed = run(any_unet), with_edit(any_unet, plan_of("red -> blue"))
    assert torch.equal(changed[:3], plain[:3])
    assert float((changed[3] - plain[3]).abs().max()) > 1e-3


def test_rows_may_come_in_any_order_and_the_halves_apart(any_unet: nn.Module) -> None:
    plan = plan_of("red -> blue")
    together = with_edit(any_unet, plan)
    turned = with_edit(any_unet, plan, Places([ROWS[at] for at in (3, 0, 2, 1)]), rows=(3, 0, 2, 1))
    apart = with_edit(any_unet, plan, Places(ROWS[2:]), rows=(2, 3))
    alone = with_edit(any_unet, plan, Places(ROWS[:2]), rows=(0, 1))
    assert torch.allclose(turned, together[[3, 0, 2, 1]], atol=1e-5)
    assert torch.allclose(torch.cat([alone, apart]), together, atol=1e-5)


def test_several_pictures_of_one_edit(any_unet: nn.Module) -> None:
    rows = [Row(image, "cond") for image in (6, 7, 0, 1)]
    found = with_edit(any_unet, plan_of("red -> blue"), Places(rows), rows=(2, 3, 2, 3))
    once = with_edit(any_unet, plan_of("red -> blue"))
    assert torch.allclose(found, once[[2, 3, 2, 3]], atol=1e-5)


def test_longer_contexts_are_padding(any_unet: nn.Module) -> None:
    rows = [Row(0, "cond"), Row(1, "cond")]
    long = with_edit(any_unet, plan_of("red -> blue"), Places(rows), rows=(2, 3), length=154)
    whole = with_edit(any_unet, plan_of("red -> blue", length=154), Places(rows), rows=(2, 3), length=154)
    assert torch.allclose(long, whole, atol=1e-6)


def test_nothing_is_computed_anew_where_no_step_is_edited(any_unet: nn.Module) -> None:
    plan = plan_of("red -> blue", cross_steps=[0.5, 1], self_steps=[0.5, 1], blend=False)
    assert torch.equal(with_edit(any_unet, plan), run(any_unet))


def test_blocks_before_the_edited_ones_stay(any_unet: nn.Module) -> None:
    def features(plan: Plan | None) -> dict[str, Tensor]:
        with Recorder(any_unet, features=Capture("", halves="cond"), calls=Places()) as trace:
            if plan is None:
                run(any_unet)
            else:
                with_edit(any_unet, plan)
        return {item.key.block: item.data for item in trace.features if item.key.image == 1}

    plain, changed = features(None), features(plan_of("red -> blue", blocks="OUT05"))
    same = [name for name in plain if torch.equal(plain[name], changed[name])]
    assert same == [name for name in plain if not name.startswith("OUT") or name < "OUT05"]


@pytest.mark.parametrize(
    ("calls", "rows", "says"),
    [
        (Places([Row(1, "cond")]), (3,), "without its source"),
        (Places([Row(0, "cond"), Row(0, "cond", 1), Row(1, "cond")]), (2, 2, 3), "AND"),
        (Places(ROWS[2:], (8, 8)), (2, 3), "switch token merging or tiling"),
    ],
)
def test_what_cannot_be_edited_is_refused_and_nothing_is_left(
    any_unet: nn.Module, calls: Places, rows: tuple[int, ...], says: str
) -> None:
    plain = run(any_unet)
    with pytest.raises(EditError, match=says):
        with_edit(any_unet, plan_of("red -> blue"), calls, rows=rows)
    assert hooks(any_unet) == 0
    assert torch.equal(run(any_unet), plain)


def test_too_few_tokens_are_refused(any_unet: nn.Module) -> None:
    with pytest.raises(EditError, match="the model reads 77 tokens, but the prompts have 154"):
        with_edit(any_unet, plan_of("red -> blue", length=154))
    assert hooks(any_unet) == 0


def test_blocks_that_the_model_lacks_are_refused(any_unet: nn.Module) -> None:
    with pytest.raises(SpecError, match="IN12"):
        Editing(any_unet, plan_of("red -> blue", blocks="IN12"), calls=Places())


@pytest.mark.parametrize(
    ("latent", "size"),
    [
        ((64, 64), (16, 16)),
        ((96, 96), (24, 24)),
        ((64, 96), (16, 24)),
        ((48, 64), (12, 16)),
        ((8, 8), (8, 8)),
    ],
)
def test_which_maps_a_blend_looks_at(any_unet: nn.Module, latent: Any, size: Any) -> None:
    assert map_size(UNet.of(any_unet), latent) == size


# What is asked for.


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"cross_steps": "most"}, "edit.cross_steps: 'most' is neither a number nor JSON"),
        ({"cross_steps": 2}, "edit.cross_steps: steps are 2"),
        ({"self_steps": {"default": 1}}, "edit.self_steps: steps are"),
        ({"self_size": -1}, "edit.self_size is -1"),
        ({"threshold": 1.5}, "edit.threshold is 1.5; expected 0 to 1"),
        ({"blend_start": -1}, "edit.blend_start is -1"),
        ({"blocks": "XX"}, "XX"),
        ({"blend_words": "cow"}, "neither prompt holds 'cow'"),
        ({"subtract": "cow"}, "neither prompt holds 'cow'"),
        ({"cross_steps": '{"cow": 1}'}, "neither prompt holds 'cow'"),
    ],
)
def test_wrong_settings_say_what_is_allowed(settings: dict[str, Any], says: str) -> None:
    with pytest.raises((SettingsError, SpecError)) as caught:
        plan_of("red -> blue", **settings)
    assert says in str(caught.value)


def test_layer_prompts_cannot_be_edited() -> None:
    with pytest.raises(SettingsError, match="no layer prompts"):
        Request.of("a (~: M00: red :~) circle", EditSettings(edits="red -> blue"))


def test_settings_may_be_texts(model: Pipeline) -> None:
    texts = EditSettings(
        edits="red -> blue", cross_steps='{"default": 0.5, "red": [0, 1]}', self_steps="0.25"
    )
    values = replace(texts, cross_steps={"default": 0.5, "red": [0, 1]}, self_steps=0.25)
    assert Request.of("red", texts).cross == Request.of("red", values).cross
    assert Request.of("red", texts).self_ == (0, 0.25)
