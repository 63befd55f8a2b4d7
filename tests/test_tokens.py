from __future__ import annotations

import pytest

from lib_unet_viz import tokens
from lib_unet_viz.grammar import SpecError

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
