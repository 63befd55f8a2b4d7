"""What an edit will do, as people read it before it runs."""

from __future__ import annotations

import re
from html import unescape

import pytest

from lib_unet_viz.editing import explanation as edit_words
from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.notation.tokens import BOS, END_OF_WORD, EOS
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.ui import readout
from lib_unet_viz.unet import UNet

SOURCE = "a red circle and a big square"


def tokens_of(prompt: str) -> list[str]:
    """Words of more than six letters are two tokens."""
    pieces = []
    for word in prompt.lower().split():
        pieces += [word[:6], f"{word[6:]}{END_OF_WORD}"] if len(word) > 6 else [f"{word}{END_OF_WORD}"]
    return [BOS, *pieces, EOS, EOS, EOS]


def planned(edits: str, **changes: object) -> tuple[Request, Plan]:
    request = Request.of(SOURCE, EditSettings(edits=edits, **changes))  # type: ignore[arg-type]
    return request, request.plan(tokens_of)


def columns(edits: str) -> list[tuple[str, str, str]]:
    _, plan = planned(edits)
    return [
        (
            " ".join("·".join(word) for word in column.source),
            " ".join("·".join(word) for word in column.target),
            " ".join(column.marks),
        )
        for column in edit_words.columns(plan.targets[0])
        if column.marks
    ]


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ("red -> blue", [("red", "blue", "swapped")]),
        ("red -> turquoise", [("red", "turquo·ise", "swapped")]),
        ("red circle -> blue star", [("red", "blue", "swapped"), ("circle", "star", "swapped")]),
        ("circle -> small old star", [("circle", "small old star", "swapped")]),
        ("red circle -> star", [("red circle", "star", "swapped")]),
        ("big -> ", [("big", "", "dropped")]),
        ("circle + indoors", [("", "indoor·s", "new")]),
        ("big * 2.5", [("big", "big", "×2.5")]),
        ("red -> blue; blue * -1", [("red", "blue", "swapped ×-1")]),
        ("= a circle and a big green square", [("red", "", "dropped"), ("", "green", "new")]),
        ("= a red star and a big square", [("circle", "star", "swapped")]),
    ],
)
def test_columns_say_what_became_of_words(edits: str, expected: list[tuple[str, str, str]]) -> None:
    assert columns(edits) == expected


def test_columns_hold_every_token_once_and_in_order() -> None:
    _, plan = planned("red -> turquoise; circle -> ; + in a wonderful landscape; big -> very very big")
    found = edit_words.columns(plan.targets[0])
    for side, prompt in (("source", plan.targets[0].source), ("target", plan.targets[0].target)):
        told = [token for column in found for word in getattr(column, side) for token in word]
        assert told == [
            token.removesuffix(END_OF_WORD) for token in tokens_of(prompt.text) if "<|" not in token
        ]


def test_as_text_columns_stand_under_each_other() -> None:
    _, plan = planned("red -> turquoise; + outside")
    lines = edit_words.aligned(plan.targets[0]).split("\n")
    assert len(lines) == 3
    assert lines[0].index("red") == lines[1].index("turquo·ise") == lines[2].index("swapped")
    assert lines[2].rindex("new") == lines[1].index("outsid·e")
    narrow = edit_words.aligned(plan.targets[0], width=30)
    assert max(map(len, narrow.split("\n"))) <= 30
    assert narrow.count("source:") == narrow.count("target:") > 1


def test_facts_say_when_and_where(ldm_unet: object) -> None:
    steps = {"default": [0.2, 0.8], "red": 0}
    _, plan = planned("red -> blue", cross_steps=steps, self_steps=1, self_size=8, blocks="OUT03-OUT05")
    assert edit_words.facts(plan) == [
        "cross-replace steps: 20% to 80%, red none",
        "self-replace steps: all, up to 8 × 8 positions",
        "in OUT03-OUT05",
    ]
    assert edit_words.facts(plan, UNet.of(ldm_unet))[2] == "in 3 of 16 blocks with attention"  # type: ignore[arg-type]


def test_blended_names_the_words_of_both_prompts() -> None:
    _, plan = planned("red -> blue\n---\n+ outside", subtract="square", blend_start=0.5)
    assert edit_words.blended(plan, 1) == (
        "local blend from 50% of the steps on: only where red, blue shows more than the other words "
        "may change, but not square"
    )
    _, as_in_the_paper = planned("red -> blue", blend_maps="mean")
    assert "only where red, blue shows may change" in edit_words.blended(as_in_the_paper, 1)
    assert "only where outside shows more" in edit_words.blended(plan, 2)
    assert "all of the picture" in edit_words.blended(planned("red -> blue", blend=False)[1], 1)
    assert "nothing may change" in edit_words.blended(planned(f"= {SOURCE}")[1], 1)


def test_the_readout_escapes_what_people_write() -> None:
    request, plan = planned("red -> <script>x</script>\n---\n= <b>")
    html = readout.edit(request, plan)
    assert "<script" not in html
    assert "<b>" not in re.sub(r"<b>Target \d</b>", "", html)
    assert unescape(html).count("<script>x</script>") >= 1
    assert html.count('class="uv-fate-swapped"') == 1
    assert html.count("<section>") == 2


def test_the_readout_tells_of_blocks_that_are_not_there(ldm_unet: object) -> None:
    request, plan = planned("red -> blue", blocks="OUT03, OUT33")
    html = readout.edit(request, plan, UNet.of(ldm_unet))  # type: ignore[arg-type]
    assert 'role="alert"' in html
    assert "^^^^^" in html
