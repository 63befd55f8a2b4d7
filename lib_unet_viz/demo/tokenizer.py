"""The bundled model's tokenizer: CLIP's format and rules, a small vocabulary learned from captions.

Every byte is a token of its own, so any text tokenises; every word of the captions is one token.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from lib_unet_viz.demo.scenes import caption, draw_scene
from lib_unet_viz.demo.things.captions import vocabulary

if TYPE_CHECKING:
    from pathlib import Path

BOS, EOS = "<|startoftext|>", "<|endoftext|>"
# openai/CLIP, clip/simple_tokenizer.py
WORDS = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def build(folder: Path, *, captions: int = 4000, merges: int = 600) -> int:
    """Learn merges from captions; write vocabulary, merges and configuration; the vocabulary's size.

    First those of shapes, then what the words of things need beside them: words of shapes keep their tokens.
    """
    rng = np.random.default_rng(0)
    corpus = [caption(draw_scene(rng), rng) for _ in range(captions)]
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(
        corpus,
        trainers.BpeTrainer(
            vocab_size=512 + merges, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
        ),
    )
    learned = json.loads(tokenizer.to_str())["model"]["merges"]
    pairs = [(a, b) for a, b in (pair.split(" ") if isinstance(pair, str) else pair for pair in learned)]
    pairs = further(pairs, vocabulary())
    names = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *("".join(pair) for pair in pairs),
        BOS,
        EOS,
    ]
    numbers = {name: index for index, name in enumerate(dict.fromkeys(names))}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(numbers, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 77,
        "bos_token": BOS,
        "eos_token": EOS,
        "unk_token": EOS,
        "pad_token": EOS,
        "do_lower_case": True,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    return len(numbers)


def further(pairs: list[tuple[str, str]], words: list[str]) -> list[tuple[str, str]]:
    """More merges after the given ones, the most frequent pairs first, until each word is one token."""
    pairs = list(pairs)
    pieces = [_merged([*word[:-1], f"{word[-1]}</w>"], pairs) for word in words]
    while any(len(each) > 1 for each in pieces):
        counted = Counter(pair for each in pieces for pair in zip(each, each[1:], strict=False))
        pairs.append(max(counted, key=lambda pair: (counted[pair], pair)))
        pieces = [_merged(each, pairs[-1:]) for each in pieces]
    return pairs


def _merged(pieces: list[str], pairs: list[tuple[str, str]]) -> list[str]:
    """The pieces after merges, in the order of the pairs."""
    for pair in pairs:
        at = 0
        while at < len(pieces) - 1:
            if (pieces[at], pieces[at + 1]) == pair:
                pieces = [*pieces[:at], "".join(pair), *pieces[at + 2 :]]
            at += 1
    return pieces
