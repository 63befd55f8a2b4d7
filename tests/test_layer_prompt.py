"""The notation of layer prompts, with the examples of the extension Dump U-Net's two READMEs."""

from __future__ import annotations

import pytest

from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import Layout, SpecError

SD1 = tuple([f"IN{i:02d}" for i in range(12)] + ["M00"] + [f"OUT{i:02d}" for i in range(12)])
WITHOUT = ("IN00", "IN03", "IN06", "IN09", "IN10", "IN11", "OUT00", "OUT01", "OUT02")
LAYOUT = Layout(SD1, {name: int(name not in WITHOUT) for name in SD1})


def per_block(text: str) -> dict[str, str]:
    return LayerPrompt.parse(text).per_block(LAYOUT)


def only(otherwise: str = "", **texts: str) -> dict[str, str]:
    return {name: texts.get(name, otherwise) for name in SD1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(~: IN00: A ; IN01: B :~)", only(IN00=" A ", IN01=" B ")),
        ("(~: IN00: A ; IN01: B ; IN02: C :~)", only(IN00=" A ", IN01=" B ", IN02=" C ")),
        ("(~: IN00: A ; IN01: B ; IN02: C ; _ : D :~)", only(" D ", IN00=" A ", IN01=" B ", IN02=" C ")),
        ("(~: IN00,IN01: A ; M00 : B :~)", only(IN00=" A ", IN01=" A ", M00=" B ")),
        ("(~: IN00-OUT11: A ; M00 : B :~)", only(" A ", M00=" B ")),
    ],
)
def test_the_five_examples(text: str, expected: dict[str, str]) -> None:
    assert per_block(text) == expected


@pytest.mark.parametrize(
    ("text", "everywhere", "middle"),
    [
        ("a (~: IN00-OUT11: cute ; M00: excellent :~) girl", "a  cute  girl", "a  excellent  girl"),
        ("a (~: IN00-OUT11: cute; M00: excellent :~) girl", "a  cute girl", "a  excellent  girl"),
        ("a (~:IN00-OUT11:cute;M00:excellent:~) girl", "a cute girl", "a excellent girl"),
        ("a (~:\n IN00 - OUT11 :cute ;\n\tM00\n:excellent;\n:~) girl", "a cute  girl", "a excellent girl"),
        ("a (~: OUT11-IN00:x;M00: y ;:~)", "a x", "a  y "),
        ("(~:M00:y; _:x; _:z:~)", "z", "y"),
        ("(~:_:x;M00:y:~)", "x", "y"),
        ("(~:M00:y;IN00-OUT11:x:~)", "x", "x"),
        ("(~:IN00-OUT11(+2):x; M00:y; _:x:~)", "x", "y"),
        ("(~:_:a:~) (~:M00:b:~)(~:_:c\n,d:~) e", "a c\n,d e", "a bc\n,d e"),
        (r"(~:_:a\;b\(c\)\\;M00:[d:e:3] (f:1.2) \\;:~)", r"a;b\(c\)\;M00:[d:e:3] (f:1.2) \;", None),
        ("(~:_::~)", "", ""),
        ("(~: _ : (a:1.2) [b:c:0.5] ; in4,m0: d:e:~)", " (a:1.2) [b:c:0.5] ", " d:e"),
        ("a (:~ b ~:) :~ ) c;d", "a (:~ b ~:) :~ ) c;d", "a (:~ b ~:) :~ ) c;d"),
    ],
)
def test_what_blocks_read(text: str, everywhere: str, middle: str | None) -> None:
    found = per_block(text)
    assert found["OUT05"] == everywhere
    assert found["M00"] == (everywhere if middle is None else middle)


def test_every_prompt_that_the_jinja_template_makes() -> None:
    template = "a cute school girl, pink hair, wide shot, (~:{{layer}}:bad anatomy:~)"
    for name in SD1:
        plain = "a cute school girl, pink hair, wide shot, "
        found = per_block(template.replace("{{layer}}", name))
        assert found == only(plain, **{name: plain + "bad anatomy"})


@pytest.mark.parametrize(
    "text",
    [
        "a (~:{{layer}}:bad anatomy:~)",
        "(~:{{ layers[0:2] }}: x ; M00: y:~)",
        "(~:{% if a %}IN00{% else %}M00{% endif %}:x; M00: y:~)",
        "(~: IN0__digit__: x; M00: y:~)",
        "(~: {IN00|IN01}:x; M00: y:~)",
        "(~: ${block}: x; M00: y:~)",
        "(~: __choices/a__ ; M00: y:~)",
    ],
)
def test_while_typing_templates_pass_and_only_then(text: str) -> None:
    prompt = LayerPrompt.parse(text, lenient=True)
    assert len(prompt.pending) == 1
    assert prompt.pending[0] in text
    assert ("M00: y" in text) == prompt.per_block(LAYOUT)["M00"].endswith(" y")
    with pytest.raises(SpecError):
        LayerPrompt.parse(text)
    with pytest.raises(SpecError, match="IN99"):
        LayerPrompt.parse(text + "(~:IN99:x:~)", lenient=True).per_block(LAYOUT)


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        ("a (~: IN12: x :~)", "IN12", "no block IN12"),
        ("a\n(~: _: y; IN00-IN99: x :~)", "IN99", "no block IN99"),
        ("a (~: XY: x :~)", "XY", "a block is expected"),
        ("a (~: IN00 cute ; M00: x :~)", "cute", "does not belong here"),
        ("a (~: IN00 ; M00: x :~)", " ; M00", "a colon and the text"),
        ("a (~: IN00 :~) b", " :~)", "a colon and the text"),
        ("a (~:IN00:~) b", ":~)", "a colon and the text"),
        ("a (~: M00: x;; IN00: y :~)", "; IN00", "blocks are expected"),
        ("a (~: : x :~)", ": x", "blocks are expected"),
        ("a (~: :~) b", ":~)", "blocks are expected"),
        ("a (~: IN00,_: x :~)", "_:", "a block is expected"),
        ("a (~: IN07.1: x :~)", ".1", "whole blocks"),
        ("a (~: IN00: x ", "(~:", "not closed"),
        ("a (~: IN00: x (~: M00: y :~) :~)", "(~: M00", "inside another"),
        ("a (~: IN00: x :~) b :~)", ":~)", "no (~: is open"),
        ("b :~) (~: IN00: x :~)", ":~) (", "no (~: is open"),
    ],
)
def test_mistakes_have_their_place_in_the_whole_prompt(text: str, place: str, says: str) -> None:
    with pytest.raises(SpecError) as caught:
        LayerPrompt.parse(text).per_block(LAYOUT)
    assert caught.value.text == text
    assert caught.value.position in (text.find(place), text.rfind(place))
    assert says in str(caught.value)


def test_the_caret_stands_under_the_block() -> None:
    with pytest.raises(SpecError) as caught:
        per_block("a red circle,\na (~: _: x; IN00, IN99: blue :~) square")
    assert str(caught.value).splitlines()[:3] == [
        "this model has no block IN99",
        "  a (~: _: x; IN00, IN99: blue :~) square",
        "                    ^^^^",
    ]


def test_what_most_blocks_read() -> None:
    prompt = LayerPrompt.parse("a (~:M00,IN00,OUT00:red; _:big:~) dog")
    assert not prompt.plain
    assert prompt.erased == "a  dog"
    assert prompt.common(LAYOUT) == "a big dog"
    # IN00 and OUT00 have no cross-attention: nothing is read there.
    assert list(prompt.distinct(LAYOUT)) == ["a big dog", "a red dog"]
    assert prompt.distinct(LAYOUT)["a red dog"] == ("M00",)
    # Of nine blocks without and three with cross-attention, only these count.
    assert LayerPrompt.parse("(~:IN00-IN11:x; IN01-IN05: y:~)").common(LAYOUT) == ""
    assert LayerPrompt.parse("(~:IN00:x:~)").common(["IN00", "M00"]) == "x"


def test_a_prompt_without_groups_is_everybodys() -> None:
    prompt = LayerPrompt.parse("a; \\; dog")
    assert prompt.plain
    assert prompt.erased == prompt.common(LAYOUT) == "a; \\; dog"
    assert list(prompt.distinct(LAYOUT)) == ["a; \\; dog"]
    assert LayerPrompt.parse("").per_block(LAYOUT) == only()
