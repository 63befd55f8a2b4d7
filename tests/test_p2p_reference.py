"""The plain implementation of prompt-to-prompt, on its own: without an edit, and with one of no effect."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from p2p_reference import EOS, Edit, reference_alignment, reference_edit
from torch import Tensor

from lib_unet_viz.hosts.diffusers import load_demo

# Older text encoders know no double precision.
pytestmark = pytest.mark.heavy
STEPS, CFG, SEED = 3, 5.0, 3
SOURCE, OTHER = "a red circle and a blue star", "a red circle and a green ring"


@pytest.fixture(scope="module", params=["tiny_pipe", "tiny_xl_pipe", "bundled"])
def pipe(request: pytest.FixtureRequest) -> Any:
    """In double precision: what rounding does in single grows over the steps, most with random weights."""
    bundled = request.param == "bundled"
    found = load_demo() if bundled else copy.deepcopy(request.getfixturevalue(request.param))
    return found.to(torch.float64)


def plain(pipe: Any, prompts: list[str]) -> Tensor:
    generators = [torch.Generator().manual_seed(SEED) for _ in prompts]
    options = {"num_inference_steps": STEPS, "guidance_scale": CFG, "output_type": "latent"}
    latents: Tensor = pipe(prompts, generator=generators, **options).images
    return latents


def edited(pipe: Any, prompts: list[str], *, on: float = 1.0, **options: Any) -> tuple[Tensor, list[Tensor]]:
    """Each token mapped on that of the same place."""
    tokens = pipe.tokenizer.model_max_length
    targets = len(prompts) - 1
    given: dict[str, Any] = {
        "matrices": [torch.eye(tokens)] * targets,
        "mapped": [torch.ones(tokens)] * targets,
        "strength": [torch.ones(tokens)] * targets,
        "alpha": lambda step, total: [torch.full((tokens,), on)] * targets,
        "self_window": (0.0, on),
    }
    return reference_edit(pipe, prompts, **{**given, **options}, steps=STEPS, cfg=CFG, seed=SEED)


def test_without_an_edit_it_is_the_plain_pipeline(pipe: Any) -> None:
    before = pipe.unet.attn_processors
    prompts = [SOURCE, OTHER]
    found, masks = edited(pipe, prompts, on=0.0)
    torch.testing.assert_close(found, plain(pipe, prompts), atol=1e-5, rtol=0)
    assert not masks
    assert pipe.unet.attn_processors == before


def test_an_edit_to_the_same_prompt_is_the_plain_pipeline(pipe: Any) -> None:
    found, _ = edited(pipe, [SOURCE] * 3)
    torch.testing.assert_close(found, plain(pipe, [SOURCE] * 3), atol=1e-5, rtol=0)


def test_a_swap_changes_the_target_and_not_the_source(pipe: Any) -> None:
    found, _ = edited(pipe, [SOURCE, OTHER])
    source, target = plain(pipe, [SOURCE, OTHER])
    torch.testing.assert_close(found[0], source, atol=1e-5, rtol=0)
    assert (found[1] - target).abs().max() > 1e-3
    assert (found[1] - source).abs().max() > 1e-3


def test_a_blend_leaves_the_source_outside_its_mask(pipe: Any) -> None:
    words = [[6, 7], [6, 7]]
    found, masks = edited(pipe, [SOURCE, OTHER], blend={"words": words, "threshold": 0.7, "start": 0.0})
    free, _ = edited(pipe, [SOURCE, OTHER])
    kept = ~masks[-1][0]
    assert len(masks) == STEPS
    assert masks[-1].shape == (1, *found.shape[-2:])
    assert 0 < kept.float().mean() < 1
    assert torch.equal(found[1][:, kept], found[0][:, kept])
    assert not torch.equal(free[1][:, kept], free[0][:, kept])
    _, fewer = edited(
        pipe, [SOURCE, OTHER], blend={"words": words, "subtract": words, "threshold": 0.7, "start": 1.0}
    )
    assert not fewer[-1].any()


def test_only_the_attentions_that_are_named_are_edited(pipe: Any) -> None:
    names = {key.removesuffix(".processor") for key in pipe.unet.attn_processors}
    middle = {name for name in names if name.startswith("mid_block")}
    nothing, part, whole = (
        edited(pipe, [SOURCE, OTHER], names=these)[0][1] for these in (set(), middle, names)
    )
    torch.testing.assert_close(nothing, plain(pipe, [SOURCE, OTHER])[1], atol=1e-5, rtol=0)
    assert not torch.allclose(part, nothing, atol=1e-4)
    assert not torch.allclose(part, whole, atol=1e-4)
    with pytest.raises(ValueError, match="no attention"):
        edited(pipe, [SOURCE, OTHER], names={"attn9"})


def test_probabilities_are_edited_by_the_papers_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    before = torch.rand(3, 2, 5, 4, generator=generator).double()  # (picture, head, position, token)
    matrices, mapped, strength, on = (
        torch.rand(2, *shape, generator=generator).double() for shape in ((4, 4), (4,), (4,), (4,))
    )
    edit = Edit(3, 1, list(matrices), list(mapped), list(strength), lambda step, total: list(on), (0, 0), 16)
    after = before.clone()
    edit.cross(after)
    assert torch.equal(after[0], before[0])
    for target, head, position, token in itertools.product(range(2), range(2), range(5), range(4)):
        own = before[target + 1, head, position, token]
        moved = sum(before[0, head, position, s] * matrices[target, s, token] for s in range(4))
        mixed = strength[target, token] * (moved + (1 - mapped[target, token]) * own)
        expected = on[target, token] * mixed + (1 - on[target, token]) * own
        torch.testing.assert_close(after[target + 1, head, position, token], expected)


def prompt(text: str, *, length: int = 12) -> list[str]:
    tokens = ["<|startoftext|>", *text.split(), EOS]
    return tokens + [EOS] * (length - len(tokens))


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ("a cat", "a cat", {1: 1, 2: 2, 3: 3}),
        ("a cat", "a big cat", {1: 1, 2: 3, 3: 4}),
        ("a big cat", "a cat", {1: 1, 3: 2, 4: 3}),
        ("a cat sits", "a dog sits", {1: 1, 3: 3, 4: 4}),
        ("a cat", "a cat and a cat", {1: 1, 2: 2, 3: 6}),
        ("red cat blue dog", "blue dog", {3: 1, 4: 2, 5: 3}),
    ],
)
def test_alignment(source: str, target: str, pairs: dict[int, int]) -> None:
    matrix, mapped = reference_alignment(prompt(source), prompt(target))
    padding = range(max(len(source.split()), len(target.split())) + 2, 12)
    assert {tuple(pair) for pair in matrix.nonzero().tolist()} == {
        (0, 0),
        *pairs.items(),
        *((place, place) for place in padding),
    }
    assert mapped.tolist() == matrix.sum(0).tolist()
