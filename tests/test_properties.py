"""Of every notation: what is written, read, written again and read again says the same, whatever it is."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("hypothesis")

from hypothesis import given, settings
from hypothesis import strategies as st

from lib_unet_viz.notation import edits, tokens
from lib_unet_viz.notation.errors import SpecError, ranges
from lib_unet_viz.notation.formula import Formula
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec, StepSpec
from lib_unet_viz.settings import Settings

BLOCKS = [*(f"IN{n:02d}" for n in range(12)), "M00", *(f"OUT{n:02d}" for n in range(12))]
VALUES = np.linspace(-2, 2, 17)

settings.register_profile("notations", max_examples=150, deadline=None, derandomize=True, database=None)
settings.load_profile("notations")

blank = st.sampled_from(["", " ", "  ", "\t", "\n"])
place = st.integers(0, len(BLOCKS) - 1)
stride = st.integers(1, 9)


def spaced(parts: Sequence[str], gaps: Sequence[str]) -> str:
    """The parts with blanks around them."""
    return "".join(f"{gap}{part}" for gap, part in zip(itertools.cycle(gaps), parts, strict=False))


def items(one: st.SearchStrategy[int]) -> st.SearchStrategy[list[tuple[int, int, int] | int]]:
    """Single ones, and ranges (first, last, stride)."""
    return st.lists(one | st.tuples(one, one, stride), min_size=1, max_size=8)


def meant(found: Sequence[tuple[int, int, int] | int]) -> set[int]:
    spans = ((each, each, 1) if isinstance(each, int) else each for each in found)
    return {n for a, b, by in spans for n in range(min(a, b), max(a, b) + 1, by)}


def parts(found: Sequence[tuple[int, int, int] | int], names: Sequence[str]) -> list[str]:
    """The parts of a spec's text."""
    text: list[str] = []
    for each in found:
        first, last, by = (each, each, 1) if isinstance(each, int) else each
        text += [",", names[first]]
        if not isinstance(each, int):
            text += ["-", names[last], "(", "+", str(by), ")"]
    return text[1:]


@given(items(place), st.lists(blank, min_size=1, max_size=5), st.booleans())
def test_blocks(found: list[tuple[int, int, int] | int], gaps: list[str], small: bool) -> None:
    text = spaced(parts(found, BLOCKS), gaps)
    names = BlockSpec.parse(text.lower() if small else text).names(BLOCKS)
    assert names == [BLOCKS[n] for n in sorted(meant(found))]
    assert BlockSpec.parse(",".join(names)).names(BLOCKS) == names


@given(items(st.integers(1, 40)), st.lists(blank, min_size=1, max_size=5), st.integers(1, 60))
def test_steps(found: list[tuple[int, int, int] | int], gaps: list[str], total: int) -> None:
    spec = StepSpec.parse(spaced(parts(found, [str(n) for n in range(41)]), gaps))
    named = spec.steps(total)
    assert named == sorted(step for step in meant(found) if step <= total)
    assert spec.beyond(total) == sorted(step for step in meant(found) if step > total)
    assert named == [step for step in range(1, total + 1) if spec.includes(step, total)]
    if named and "more" not in ranges(named):
        assert StepSpec.parse(ranges(named)).steps(total) == named


plain = st.text(st.characters(exclude_characters="(~:);\\{}$_%", exclude_categories=["Cs"]), max_size=12)
chosen = st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4)


@given(
    st.lists(st.tuples(plain, st.lists(st.tuples(chosen, plain), min_size=1, max_size=3)), max_size=3), plain
)
def test_layer_prompts(found: list[tuple[str, list[tuple[list[str], str]]]], end: str) -> None:
    text, each = "", dict.fromkeys(BLOCKS, "")
    for before, choices in found:
        text += before + "(~:" + ";".join(f"{','.join(names)}:{words}" for names, words in choices) + ":~)"
        read = {name: words for names, words in choices for name in names}
        each = {name: said + before + read.get(name, "") for name, said in each.items()}
    prompt = LayerPrompt.parse(text + end)
    assert prompt.per_block(BLOCKS) == {name: said + end for name, said in each.items()}
    assert prompt.erased == "".join(before for before, _ in found) + end
    # Written with one choice a block, it says the same.
    again = "(~:" + ";".join(f"{name}:{said}" for name, said in prompt.per_block(BLOCKS).items()) + ":~)"
    assert LayerPrompt.parse(again).per_block(BLOCKS) == prompt.per_block(BLOCKS)


WORDS = ["cat", "red hat", "sofa", "a", "dog's"]
word = st.sampled_from(WORDS)
line = st.one_of(
    st.builds("{} -> {}".format, word, st.sampled_from(["dog", "two dogs", ""])),
    st.builds("+ {}".format, word),
    st.builds("{} + {}".format, word, word),
    st.builds("{} * {}".format, word, st.floats(-2, 10).map("{:.3f}".format)),
    st.builds("= {}".format, word),
)


@given(st.lists(word, min_size=1, max_size=6).map(" ".join), st.lists(line, min_size=1, max_size=4))
def test_edits(source: str, lines: list[str]) -> None:
    try:
        (target,) = edits.targets(source, "\n".join(lines))
    except SpecError:
        return  # such as two edits of one word
    assert edits.targets(source, target.summary) == (target,)
    assert edits.targets(source, f"{target.summary}\n---\n{target.summary}") == (target, target)
    for old, new in target.swapped:
        assert source[slice(*old)].lower() in {each.partition(" ->")[0] for each in lines}
        assert target.prompt[slice(*new)] in {"dog", "two dogs"}


number = st.floats(0, 100).map(repr) | st.integers(0, 99).map(str)
operator = st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "<", ">=", "==", "&", "and", "or"])
formula = st.recursive(
    st.sampled_from(["v", "pi", "e"]) | number,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, operator, inner),
        st.builds("{}({})".format, st.sampled_from(["abs", "sin", "-", "not ", "sqrt"]), inner),
        st.builds("where({}, {}, {})".format, inner, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
    ),
    max_leaves=12,
)


@given(formula)
def test_formulas(text: str) -> None:
    found = Formula.parse(text)(VALUES)
    again = ast.unparse(ast.parse(text, mode="eval"))
    np.testing.assert_array_equal(Formula.parse(again)(VALUES), found)
    np.testing.assert_array_equal(Formula.parse(f" \n{text}\t")(VALUES), found)


anything = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@given(items(place), anything, st.integers(1, 100), st.sampled_from(["common", "erased"]))
def test_settings(found: list[tuple[int, int, int] | int], text: str, size: int, baseline: str) -> None:
    values = {
        "features": {"blocks": "".join(parts(found, BLOCKS)), "path": text, "color": {"gain": size / 7}},
        "edit": {"edits": text, "self_size": size},
        "difference": {"baseline": baseline},
    }
    read = Settings.from_dict(values)
    assert (read.features.path, read.edit.edits, read.edit.self_size) == (text, text, size)
    assert Settings.from_dict(json.loads(json.dumps(read.to_dict()))) == read
    assert Settings.restored(json.loads(json.dumps(read.changes()))) == read


# Words among tokens, against the plain way to look for them


def split(text: str, sizes: Sequence[int]) -> list[str]:
    """Tokens of a text: its words, cut into pieces."""
    made = [tokens.BOS]
    for each, cut in zip(text.split(), itertools.cycle(sizes), strict=False):
        made += [*(each[at : at + cut] for at in range(0, len(each), cut))]
        made[-1] += tokens.END_OF_WORD
    return [*made, tokens.EOS]


def by_word(there: Sequence[tokens.Word], phrase: str) -> list[tuple[int, ...]]:
    """Every place of a phrase, word for word."""
    found = []
    for start in range(len(there)):
        used = start
        for piece in phrase.lower().split():
            spelled = ""
            while used < len(there) and len(spelled) < len(piece):
                spelled, used = spelled + there[used].text.lower(), used + 1
            if spelled != piece:
                break
        else:
            found.append(tuple(p for each in there[start:used] for p in each.positions))
    return found


@given(
    st.text("ab1 ", max_size=40),
    st.text("ab1 ", min_size=1, max_size=6),
    st.lists(st.integers(1, 3), min_size=1),
)
def test_phrases_are_found_where_they_are(text: str, phrase: str, sizes: list[int]) -> None:
    made = split(text, sizes)
    places = by_word(tokens.words(made), phrase) if phrase.strip() else []
    for number, positions in enumerate(places, start=1):
        assert tokens.find(made, f"{phrase}#{number}") == positions
    if not places:
        with pytest.raises(SpecError, match="nowhere"):
            tokens.find(made, phrase)


@given(st.text("abİ1(), ", max_size=30), st.lists(st.integers(1, 3), min_size=1))
def test_typed_words_stand_where_they_are_said_to(prompt: str, sizes: list[int]) -> None:
    made = split(prompt.lower(), sizes)
    found = tokens.typed(prompt, made, syntax=False)
    assert [each.text.lower() for each in found] == prompt.lower().split()
    assert [prompt[each.start : each.end] for each in found] == prompt.split()
    assert [p for each in found for p in each.positions] == list(range(1, len(made) - 1))
