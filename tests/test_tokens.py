from __future__ import annotations

import pytest

from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.specs import SpecError

PROMPT = [
    "<|startoftext|>",
    "hat</w>",
    ",</w>",
    "un",
    "known</w>",
    "hat</w>",
    "<|endoftext|>",
    "<|endoftext|>",
]


def test_words_join_their_tokens_and_skip_bos_eos_and_padding() -> None:
    assert [(word.text, word.positions) for word in tokens.words(PROMPT)] == [
        ("hat", (1,)),
        (",", (2,)),
        ("unknown", (3, 4)),
        ("hat", (5,)),
    ]
    assert tokens.content(PROMPT) == [1, 2, 3, 4, 5]


def test_a_word_without_bos_stays_and_padding_of_sd_2_is_dropped() -> None:
    padded = ["<|startoftext|>", "hat</w>", "<|endoftext|>", "!", "!", "!"]
    assert [word.text for word in tokens.words(padded)] == ["hat"]


def test_find_takes_words_phrases_and_ordinals() -> None:
    assert tokens.find(PROMPT, "hat") == (1,)
    assert tokens.find(PROMPT, "HAT#2") == (5,)
    assert tokens.find(PROMPT, "unknown hat") == (3, 4, 5)


@pytest.mark.parametrize("phrase", ["cat", "hat#3", "", "hat#x"])
def test_find_names_the_words_that_there_are(phrase: str) -> None:
    with pytest.raises(SpecError, match="unknown"):
        tokens.find(PROMPT, phrase)


def test_indices_count_from_the_first_token_after_bos() -> None:
    assert tokens.indices("1, 3", PROMPT) == (1, 3)
    assert tokens.indices(" ", PROMPT) == (1, 2, 3, 4, 5)
    with pytest.raises(SpecError) as error:
        tokens.indices("1, x", PROMPT)
    assert error.value.position == 3
    with pytest.raises(SpecError, match="0 \\(BOS\\) to 7"):
        tokens.indices("8", PROMPT)


def test_bytes_are_read_back_as_text() -> None:
    assert tokens.readable("Ã¼ber</w>") == "über"
    assert tokens.readable("<|endoftext|>") == "EOS"


def chunk(*words: str, pad: str = "<|endoftext|>") -> list[str]:
    text = ["<|startoftext|>", *(f"{word}</w>" for word in words), "<|endoftext|>"]
    return text + [pad] * (8 - len(text))


def test_long_prompts_are_several_chunks() -> None:
    long = [*chunk("a", "cat", pad="!"), *chunk("!", "dog")]
    assert [(word.text, word.positions) for word in tokens.words(long)] == [
        ("a", (1,)),
        ("cat", (2,)),
        ("!", (9,)),
        ("dog", (10,)),
    ]
    assert tokens.special(long) == {
        "BOS": (0, 8),
        "EOS": (3, 11),
        "padding": (4, 5, 6, 7, 12, 13, 14, 15),
    }
    assert tokens.find(long, "BOS") == (0, 8)


def test_find_reads_through_the_webuis_syntax_and_clips_digits() -> None:
    there = chunk("red", "cat", "5", "1")
    assert tokens.find(there, "(red cat:1.2)") == (1, 2)
    assert tokens.find(there, "[cat]") == (2,)
    assert tokens.find(there, "51") == (3, 4)
    with pytest.raises(SpecError):
        tokens.find(there, "cat:1.2")
    assert tokens.find(chunk("(", "cat", ")"), "(cat)") == (1, 2, 3)  # a host that reads no syntax


def test_repeated_words_are_numbered() -> None:
    assert tokens.named(PROMPT) == {"hat": (1,), ",": (2,), "unknown": (3, 4), "hat#2": (5,)}


@pytest.mark.parametrize(
    ("prompt", "words", "expected"),
    [
        ("a (CAT:1.2) 1 dog", ["a", "cat", "1", "dog"], ["a", "CAT", "1", "dog"]),
        ("[(cat)] BREAK dog", ["cat", "dog"], ["cat", "dog"]),
        (r"cat \(black\)", ["cat", "(", "black", ")"], ["cat", r"\(", "black", r"\)"]),
        ("hat, hat", ["hat", ",", "hat"], ["hat", ",", "hat"]),
    ],
)
def test_words_are_found_in_what_was_typed(prompt: str, words: list[str], expected: list[str]) -> None:
    found = tokens.typed(prompt, chunk(*words), syntax=True)
    assert [prompt[item.start : item.end].lstrip("\\") for item in found] == [
        text.lstrip("\\") for text in expected
    ]
    assert [item.start for item in found] == sorted({item.start for item in found})
    assert [item.positions for item in found] == [(at + 1,) for at in range(len(words))]


def test_sub_prompts_have_tokens_of_their_own() -> None:
    prompt = "cat AND (cat:1.5) dog AND:0.3 sky"
    found = tokens.typed(prompt, [chunk("cat"), chunk("cat", "dog"), chunk("sky")], syntax=True)
    assert [(item.text, item.start, item.sub, item.positions) for item in found] == [
        ("cat", 0, 0, (1,)),
        ("cat", 9, 1, (1,)),
        ("dog", 18, 1, (2,)),
        ("sky", 30, 2, (1,)),
    ]


def test_a_host_without_syntax_is_read_literally() -> None:
    prompt = "(cat:1.2)"
    found = tokens.typed(prompt, chunk("(", "cat", ":", "1", "."), syntax=False)
    assert [item.text for item in found] == ["(", "cat", ":", "1", "."]
