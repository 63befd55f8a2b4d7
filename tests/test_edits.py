"""The grammar of edits: what prompts they make, where the changes stand, what is refused and how."""

from __future__ import annotations

import pytest

from lib_unet_viz.notation import edits
from lib_unet_viz.notation.edits import Target
from lib_unet_viz.notation.specs import SpecError

CAT = "a cat with a hat"


def one(source: str, text: str) -> Target:
    [target] = edits.targets(source, text)
    return target


@pytest.mark.parametrize(
    ("text", "prompt"),
    [
        ("cat -> dog", "a dog with a hat"),
        ("cat→dog", "a dog with a hat"),
        ("CAT -> dog", "a dog with a hat"),
        ("a  cat -> two dogs", "two dogs with a hat"),
        ("cat -> dog; hat -> scarf", "a dog with a scarf"),
        ("hat -> scarf\n\ncat -> dog", "a dog with a scarf"),
        ("with a hat ->", "a cat "),
        ("+ wearing sunglasses", "a cat with a hat wearing sunglasses"),
        ("cat + on a mat", "a cat on a mat with a hat"),
        ("hat * 2.5", CAT),
        ("= a dog", "a dog"),
        ("a -> one", "one cat with one hat"),
        ("a#2 -> the", "a cat with the hat"),
    ],
)
def test_a_target_prompt(text: str, prompt: str) -> None:
    assert one(CAT, text).prompt == prompt


@pytest.mark.parametrize(
    ("text", "explained"),
    [
        ("cat -> dog; hat ->", ("“cat” becomes “dog”", "“hat” is left out")),
        ("+ in snow; cat + on a mat", ("“in snow” is added at the end", "“on a mat” is added after “cat”")),
        ("hat * 2.5; = a hat", ("“hat” acts 2.5 times as strongly", "the prompt becomes “a hat”")),
    ],
)
def test_each_edit_says_what_it_does(text: str, explained: tuple[str, ...]) -> None:
    assert one(CAT, text).explained == explained


def test_every_kind_of_edit_reads_its_own_example() -> None:
    """And no other kind reads it first: so a kind that is added shows where it stands in the others' way."""
    for kind in edits.OPERATIONS:
        line = edits.Line(kind.syntax, 0, kind.syntax)
        assert type(next(found for each in reversed(edits.OPERATIONS) if (found := each.parse(line)))) is kind


def test_words_count_as_a_whole() -> None:
    assert one("cats and a cat", "cat -> dog").prompt == "cats and a dog"


def test_a_number_sign_in_the_prompt_is_a_letter_first() -> None:
    assert one("a cat#2 cat", "cat#2 -> dog").prompt == "a dog cat"


def test_places_stand_for_each_other() -> None:
    target = one(CAT, "hat -> red scarf; cat -> dog; + in snow")
    assert [(CAT[slice(*old)], target.prompt[slice(*new)]) for old, new in target.swapped] == [
        ("cat", "dog"),
        ("hat", "red scarf"),
    ]
    assert [target.prompt[slice(*span)].strip() for span in target.added] == ["in snow"]


def test_weights_are_of_the_target_prompt() -> None:
    target = one(CAT, "cat -> dog; dog * -2; a * 10")
    assert [(target.prompt[slice(*span)], factor) for span, factor in target.weights] == [
        ("dog", -2),
        ("a", 10),
        ("a", 10),
    ]


def test_several_targets_in_their_order() -> None:
    found = edits.targets(CAT, "cat -> dog\n---\n= a fox; fox * 2\n-----\n+ in snow")
    assert [target.prompt for target in found] == ["a dog with a hat", "a fox", f"{CAT} in snow"]
    assert [target.whole for target in found] == [False, True, False]
    assert found[1].summary == "= a fox; fox * 2"


@pytest.mark.parametrize(
    ("text", "says", "marked"),
    [
        ("", "there is no edit", ""),
        (" \n ", "there is no edit", " "),
        ("cat", "cannot read this edit", "cat"),
        ("hat * 2; cat dog", "cannot read this edit", "cat dog"),
        ("hat -> scarf\ncow -> dog", "does not hold these words", "cow"),
        ("cow * 2", "does not hold these words", "cow"),
        ("cat#2 -> dog", "does not hold these words", "cat#2"),
        ("cat#0 -> dog", "does not hold these words", "cat#0"),
        ("-> dog", "nothing stands before the arrow", "-> dog"),
        ("hat * 11", "this strength is not possible", "11"),
        ("hat * nan", "this strength is not possible", "nan"),
        ("hat * much", "this is no number", "much"),
        ("hat *", "this is no number", ""),
        ("cat->dog->bird", "one edit has one arrow", "->"),
        ("cat -> dog; a cat -> two dogs", "already changed", "cat -> dog"),
        ("= a dog; cat -> dog", "a whole target prompt leaves nothing", "cat -> dog"),
        ("= a dog; = a fox", "a whole target prompt leaves nothing", "= a fox"),
        ("=", "the target prompt is blank", "="),
        ("--- \n cat -> dog", "no edit stands before", "---"),
    ],
)
def test_what_cannot_be_read_is_shown_in_its_place(text: str, says: str, marked: str) -> None:
    with pytest.raises(SpecError) as caught:
        edits.targets(CAT, text)
    assert says in caught.value.message
    assert text[caught.value.position : caught.value.end] == marked


def test_a_missing_word_says_which_there_are() -> None:
    with pytest.raises(SpecError) as caught:
        edits.targets(CAT, "cow -> dog")
    assert caught.value.allowed == ("a", "cat", "with", "hat")


def test_the_syntax_of_the_webui_stays() -> None:
    assert one("a (cat:1.2), <lora:x:1>", "cat -> dog").prompt == "a (dog:1.2), <lora:x:1>"
