"""Which token stands for which: swapped words, words added and removed, prompts given as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from lib_unet_viz.editing.alignment import Alignment, Prompt, align, needleman_wunsch
from lib_unet_viz.notation import edits
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.notation.windows import Windows, window, within

LENGTH = 16
SPLIT = {"lionfish": ["lion", "fish</w>"], "goldfish": ["gold", "fish</w>"]}


def tokens(prompt: str, length: int = LENGTH) -> list[str]:
    """A word a token, but for those of `SPLIT`."""
    text = [piece for word in prompt.lower().split() for piece in SPLIT.get(word, [f"{word}</w>"])]
    return [BOS, *text, *[EOS] * (length - 1 - len(text))]


def aligned(source: str, text: str) -> Alignment:
    [target] = edits.targets(source, text)
    return align(Prompt(source, tokens(source)), target, tokens(target.prompt))


def told(alignment: Alignment) -> list[str]:
    """The target's words: what became of each."""
    there = [at for at, token in enumerate(alignment.target.tokens) if token not in (BOS, EOS)]
    return [alignment.fate(at) for at in there]


def test_the_other_words_are_those_of_both_prompts_that_are_not_beside_a_chosen_one() -> None:
    found = aligned("a big cat with a hat", "cat -> lionfish; + right here")
    hat = [found.positions("hat")]
    assert found.others(hat) == (((1,), (1,)), ((2,), (2,)), ((3,), (3, 4)), ((4,), (5,)), ((), (9,)))
    cat = [found.positions("cat")]
    assert found.others(cat) == (((1,), (1,)), ((5,), (6,)), ((6,), (7,)), ((), (8,)), ((), (9,)))


def test_a_swapped_word_takes_the_other_ones_place() -> None:
    found = aligned("a cat with a hat", "cat -> dog")
    assert told(found) == ["kept", "swapped", "kept", "kept", "kept"]
    assert torch.equal(found.matrix, torch.eye(LENGTH))
    assert bool(found.mapped.all())
    assert found.changed() == (((2,), (2,)),)


def test_more_tokens_share_a_words_map_and_all_after_them_move() -> None:
    found = aligned("a cat here", "cat -> lionfish")
    assert found.matrix[2, 2:4].tolist() == [0.5, 0.5]
    assert found.matrix[3].tolist() == [float(at == 4) for at in range(LENGTH)]  # here
    assert found.matrix[4].tolist() == [float(at == 5) for at in range(LENGTH)]  # EOS
    assert found.matrix[6].tolist() == [float(at == 6) for at in range(LENGTH)]  # padding, by its place
    assert found.changed() == (((2,), (2, 3)),)


def test_fewer_tokens_get_the_maps_of_all() -> None:
    found = aligned("a lionfish here", "lionfish -> cat")
    assert found.matrix[:, 2].tolist() == [float(at in (2, 3)) for at in range(LENGTH)]
    # Where the source has text or EOS, the target's padding keeps its own.
    assert [at for at in range(LENGTH) if not found.mapped[at]] == [5]


def test_as_many_tokens_are_mapped_one_by_one() -> None:
    found = aligned("a lionfish", "lionfish -> goldfish")
    assert torch.equal(found.matrix, torch.eye(LENGTH))


def test_added_words_are_new() -> None:
    found = aligned("a cat", "+ in snow")
    assert told(found) == ["kept", "kept", "new", "new"]
    assert found.matrix[:, 3:5].sum() == 0
    assert found.mapped.tolist() == [at not in (3, 4) for at in range(LENGTH)]
    assert found.changed() == (((), (3, 4)),)


def test_removed_words_leave_the_others_with_their_maps() -> None:
    found = aligned("a big red cat", "big ->")
    assert told(found) == ["kept"] * 3
    assert (found.stands_for(2), found.stands_for(3)) == ((3,), (4,))
    assert found.changed() == (((2,), ()),)


def test_a_swap_holds_though_the_new_word_stands_elsewhere() -> None:
    found = aligned("a cat and a dog", "cat -> dog")
    assert told(found) == ["kept", "swapped", "kept", "kept", "kept"]
    assert torch.equal(found.matrix, torch.eye(LENGTH))


def test_a_whole_prompt_pairs_as_many_words_as_changed() -> None:
    found = aligned("a cat with a hat", "= a lionfish with a big hat")
    assert told(found) == ["kept", "swapped", "swapped", "kept", "kept", "new", "kept"]
    assert found.matrix[2, 2:4].tolist() == [0.5, 0.5]


def test_a_whole_prompt_with_another_number_of_words_has_new_ones() -> None:
    assert told(aligned("a cat here", "= a big dog here")) == ["kept", "new", "new", "kept"]


def test_strengths_are_of_all_tokens_of_a_word() -> None:
    found = aligned("a lionfish", "lionfish * 2.5")
    assert found.strengths.tolist() == [2.5 if at in (2, 3) else 1.0 for at in range(LENGTH)]
    assert found.changed() == (((2, 3), (2, 3)),)


def test_edits_apart_from_each_other_are_words_of_their_own() -> None:
    found = aligned("a big cat with a hat", "cat -> dog; big ->; hat * 2; + here")
    assert found.changed() == (((3,), (2,)), ((6,), (5, 6)), ((2,), ()))


def test_chunks_of_a_long_prompt_keep_their_borders() -> None:
    source = [BOS, "a</w>", "cat</w>", EOS, EOS, BOS, "hat</w>", EOS, EOS, EOS]
    longer = [BOS, "a</w>", "big</w>", "cat</w>", EOS, BOS, "hat</w>", EOS, EOS, EOS]
    [target] = edits.targets("a cat hat", "= a big cat hat")
    found = align(Prompt("a cat hat", source), target, longer)
    pairs = {new: found.stands_for(new) for new in range(10)}
    assert pairs == {0: (0,), 1: (1,), 2: (), 3: (2,), 4: (3,), 5: (5,), 6: (6,), 7: (7,), 8: (8,), 9: (9,)}


def test_a_word_that_the_tokenizer_dropped_is_named() -> None:
    [target] = edits.targets("a cat", "cat -> ☃")
    with pytest.raises(SpecError, match="the tokenizer dropped these words"):
        align(Prompt("a cat", tokens("a cat")), target, tokens("a"))


def test_words_are_found_on_both_sides() -> None:
    found = aligned("a cat with a hat", "cat -> dog")
    assert found.positions("cat") == found.positions("dog") == ((2,), (2,))
    assert found.positions("a") == ((1, 4), (1, 4))
    with pytest.raises(SpecError, match="neither prompt holds 'cow'"):
        found.positions("cow")


@pytest.mark.parametrize(
    ("given", "steps"),
    [
        (0.8, {"cat": range(8), "hat": range(8)}),
        ([0.2, 0.55], {"cat": range(2, 5), "hat": range(2, 5)}),
        ({"default": 0.8, "dog": [0, 0.4]}, {"cat": range(4), "hat": range(8)}),
        ({"default_": 1, "cat": 0.0}, {"cat": range(0), "hat": range(10)}),
    ],
)
def test_windows_of_words(given: object, steps: dict[str, Sequence[int]]) -> None:
    found = aligned("a cat with a hat", "cat -> dog")
    for word, wanted in steps.items():
        [at] = found.positions(word)[1]
        active = [step for step in range(10) if found.alpha(Windows.of(given), step, 10)[at]]
        assert active == list(wanted)


@pytest.mark.parametrize(
    "given", ["0.8", [0.8], [0.8, 0.2], -0.1, 1.1, [0, 1, 2], None, {"cat": "all"}, [0, "1"]]
)
def test_windows_that_cannot_be(given: object) -> None:
    with pytest.raises(ValueError, match="a fraction such as 0.8 is expected"):
        Windows.of(given)


def test_a_window_rounds_down() -> None:
    assert [step for step in range(7) if within(window(0.5), step, 7)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        ("abc", "abc", [(0, 0), (1, 1), (2, 2)]),
        ("abc", "xabyc", [(0, 1), (1, 2), (2, 4)]),
        ("abc", "ac", [(0, 0), (2, 1)]),
        ("abc", "xyz", []),
        ("", "abc", []),
    ],
)
def test_needleman_wunsch(source: str, target: str, pairs: list[tuple[int, int]]) -> None:
    assert needleman_wunsch(list(source), list(target)) == pairs
