"""Which places of a picture the words of an edit win, of maps that are known."""

from __future__ import annotations

import pytest
import torch
from test_alignment import aligned, tokens
from torch import Tensor

from lib_unet_viz.editing.local_blend import Blend, LocalBlend, paste
from lib_unet_viz.settings import BlendMaps

SIZE = (16, 16)
PROMPT = "a red fox near a cake"
LEFT, RIGHT = (slice(2, 14), slice(1, 7)), (slice(2, 14), slice(9, 15))


def map_of(*, left: float, right: float, rest: float = 0.01) -> Tensor:
    found = torch.full(SIZE, rest)
    found[LEFT], found[RIGHT] = left, right
    return found


FOX = map_of(left=0.5, right=0.25)  # it grazes the cake
CAKE = map_of(left=0.1, right=0.6)
FLAT = torch.full(SIZE, 0.2)


def mask(
    shown: dict[str, Tensor], *, maps: BlendMaps = "informed", without: str = "", chosen: str = "fox"
) -> Tensor:
    """Of the edit fox -> cat, whose words have these maps in both prompts, and all others none."""
    target = aligned(PROMPT, "fox -> cat")
    words, left_out = (tuple(target.positions(word) for word in text.split()) for text in (chosen, without))
    blend = Blend((words,), (left_out,), (target.others([*words, *left_out]),), start=0, maps=maps)
    local = LocalBlend(blend)
    sides = []
    for prompt in (PROMPT, PROMPT.replace("fox", "cat")):
        heads = torch.full((2, len(tokens(prompt)), *SIZE), 1e-4)
        for word, each in shown.items():
            name = word if word in prompt else "cat"
            heads[:, prompt.split().index(name) + 1] = each
        sides.append(heads.flatten(2))
    local.add(1, target, sides, SIZE)
    return local.mask(1, 1, SIZE)


def share(of: Tensor, part: tuple[slice, slice]) -> float:
    return float(of[part].float().mean())


def test_a_word_does_not_take_in_what_another_word_shows_more() -> None:
    found = mask({"fox": FOX, "cake": CAKE})
    assert share(found, LEFT) == 1
    assert share(found, RIGHT) == 0


def test_as_in_the_paper_words_do_not_compete() -> None:
    found = mask({"fox": FOX, "cake": CAKE}, maps="mean")
    assert share(found, LEFT) == share(found, RIGHT) == 1


def test_a_word_of_the_same_thing_takes_nothing_from_it() -> None:
    stronger = FOX.clone()
    stronger[4:12, 3:5] = 0.9  # the middle of it
    assert torch.equal(mask({"fox": FOX, "cake": CAKE, "red": stronger}), mask({"fox": FOX, "cake": CAKE}))


def test_a_word_that_is_nowhere_in_particular_takes_nothing() -> None:
    assert torch.equal(mask({"fox": FOX, "cake": CAKE, "near": FLAT}), mask({"fox": FOX, "cake": CAKE}))


def test_a_word_that_is_everywhere_may_change_all() -> None:
    assert bool(mask({"fox": FLAT, "cake": CAKE}).all())


def test_words_to_blend_by_do_not_compete_with_each_other() -> None:
    found = mask({"fox": FOX, "cake": CAKE}, chosen="fox cake")
    assert share(found, LEFT) == share(found, RIGHT) == 1


def test_what_is_subtracted_is_its_own_place_only() -> None:
    wide = map_of(left=0.4, right=0.6)  # above the threshold at the fox, too
    found = mask({"fox": FOX, "cake": wide}, without="cake")
    assert share(found, LEFT) == 1
    assert share(found, RIGHT) == 0


@pytest.mark.parametrize("strength", [0, -2])
def test_a_word_without_strength_is_where_the_source_has_it(strength: float) -> None:
    target = aligned(PROMPT, f"fox * {strength}")
    pairs = (target.positions("fox"),)
    local = LocalBlend(Blend((pairs,), (), (target.others(pairs),)))
    heads = torch.full((2, len(target.source.tokens), *SIZE), 1e-4)
    heads[:, 3], heads[:, 6] = FOX, CAKE
    weaker = heads.clone()
    weaker[:, 3] *= strength
    local.add(1, target, [heads.flatten(2), weaker.flatten(2)], SIZE)
    found = local.mask(1, 1, SIZE)
    assert share(found, LEFT) == 1
    assert share(found, RIGHT) == 0


@pytest.mark.parametrize("maps", ["informed", "mean"])
def test_before_any_map_nothing_may_change(maps: BlendMaps) -> None:
    words = ((((3,), (3,)),),)
    assert not LocalBlend(Blend(words, maps=maps)).mask(1, 1, (32, 32)).any()


def test_outside_the_mask_a_picture_is_the_source_to_the_pixel() -> None:
    source, target = torch.rand(2, 3, 32, 64, generator=torch.Generator().manual_seed(1))
    allowed = torch.zeros(4, 8, dtype=torch.bool)
    allowed[:, :4] = True  # the left 32 of 64 pixels
    found = paste(source, target, allowed)
    assert torch.equal(found[..., :28], target[..., :28])
    assert torch.equal(found[..., 36:], source[..., 36:])
    between = found[..., 28:36]
    low, high = torch.minimum(source, target)[..., 28:36], torch.maximum(source, target)[..., 28:36]
    assert bool(((low - 1e-6 <= between) & (between <= high + 1e-6)).all())
