"""What a person gets wrong, command by command."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli.typed import PROMPT, refused

BAD: dict[str, tuple[list[str], str]] = {
    "no command": ([], "required"),
    "unknown command": (["dance"], "invalid choice"),
    "unknown option": (["blocks", "--dance"], "--dance"),
    "no such block": (["blocks", "IN99", "--model", "MODEL"], "IN99"),
    "no such model": (["blocks", "--model", "nowhere"], "nowhere"),
    "bad seed": (["trace", "x", "--seed", "-1"], "whole number"),
    "bad steps": (["trace", "x", "--steps", "0"], "1 or more"),
    "bad size": (["trace", "x", "--size", "100x100"], "multiples of 8"),
    "bad part": (["trace", "x", "--parts", "QKV"], "VQK"),
    "bad step spec": (["trace", "x", "--at", "1-"], "step"),
    "bad formula": (["trace", "x", "--formulas", "v; open(1); 1"], "^"),
    "two formulas": (["trace", "x", "--formulas", "v; v"], "three"),
    "bad colour map": (["trace", "x", "--colors", "nocolour"], "viridis"),
    "bad range": (["trace", "x", "--transform", "linear", "--min", "2"], "minimum"),
    "unclosed layer prompt": (["trace", "a (~: M00: x", "--model", "nowhere"], "not closed"),
    "layer prompt without a colon": (["trace", "x", "--negative", "(~: M00 :~)"], "colon"),
    "layer prompt for no block": (["trace", "a (~: IN99: x :~)", "--model", "MODEL"], "IN99"),
    "no settings file": (["trace", "x", "--settings", "nowhere.json"], "nowhere.json"),
    "folder is a file": (["trace", "x", "--out", "PHOTO/out"], "is a file"),
    "too much": (["trace", "x", "--blocks", "", "--budget", "1", "--at", "", "--model", "MODEL"], "budget"),
    "no picture": (["vxa", "nowhere.png", "x"], "nowhere.png"),
    "not a picture": (["vxa", "FOREIGN", "x"], "no picture of a known kind"),
    "no such word": (["vxa", "PHOTO", PROMPT, "--words", "red,blue", "--model", "MODEL"], "circle"),
    "no word": (["vxa", "PHOTO", PROMPT, "--words", ",", "--model", "MODEL"], "no word"),
    "no such token": (["vxa", "PHOTO", PROMPT, "--tokens", "1,99", "--model", "MODEL"], "99"),
    "words and tokens": (["vxa", "PHOTO", PROMPT, "--words", "a", "--tokens", "1"], "not allowed with"),
    "no prompt": (["vxa", "PHOTO", " ", "--model", "MODEL"], "prompt"),
    "no such timestep": (["vxa", "PHOTO", PROMPT, "--timestep", "1000", "--model", "MODEL"], "999"),
    "layer without prompt": (["vxa", "PHOTO", PROMPT, "--layer", "IN00", "--model", "MODEL"], "IN00"),
    "no png": (["vxa", "PHOTO", PROMPT, "--out", "out.gif"], ".png"),
    "no dump": (["show", "nowhere.safetensors"], "nowhere"),
    "no dump to compare": (["diff", "nowhere.safetensors", "FOREIGN"], "nowhere"),
    "a sweep of nothing": (["sweep", "x", "--word", " ", "--model", "MODEL"], "word is empty"),
    "a sweep of groups": (["sweep", "(~:M00:x:~)", "--word", "x", "--model", "MODEL"], "no groups"),
    "a sweep into a file": (["sweep", "x", "--word", "x", "--out", "PHOTO"], "is a file"),
    "an edit of a word that is not there": (["edit", PROMPT, "--edit", "hat -> cap"], "red, circle"),
    "a wrong second edit": (["edit", PROMPT, "--edit", "red -> blue", "--edit", "cirle * 2"], "^^^^^"),
    "no edit": (["edit", PROMPT], "--edit"),
    "an empty edit": (["edit", PROMPT, "--edit", " "], "no edit"),
    "no such picture to edit": (["edit", PROMPT, "--edit", "red -> blue", "--image", "none.png"], "none.png"),
    "a method without a picture": (["edit", PROMPT, "--edit", "red ->", "--inversion", "ddim"], "--image"),
    "no such mask": (["edit", PROMPT, "--edit", "red -> blue", "--mask", "none.png"], "none.png"),
    "a mask with colours": (["edit", PROMPT, "--edit", "red -> blue", "--mask", "PHOTO"], "has colours"),
    "a size for a picture": (
        ["edit", PROMPT, "--edit", "red ->", "--image", "none.png", "--size", "64"],
        "--size",
    ),
    "wrong steps of an edit": (
        ["edit", PROMPT, "--edit", "red -> blue", "--cross-steps", "0,8"],
        "cross_steps",
    ),
    "no such threshold": (["edit", PROMPT, "--edit", "red -> blue", "--threshold", "2"], "0 to 1"),
    "an edit of no block": (
        ["edit", PROMPT, "--edit", "red -> x", "--blocks", "IN99", "--model", "MODEL"],
        "IN99",
    ),
    "an edit into a file": (["edit", PROMPT, "--edit", "red -> blue", "--out", "PHOTO"], "is a file"),
    "foreign dump": (["render", "FOREIGN"], "no dump"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD)
def test_what_is_wrong_takes_two_lines_and_leaves_nothing(
    arguments: list[str],
    says: str,
    model: str,
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_text("this is not what its name says")
    before = sorted(tmp_path.rglob("*"))
    places = {"MODEL": model, "PHOTO": str(photo), "FOREIGN": str(foreign)}
    pattern = re.compile("|".join(places))
    given = [pattern.sub(lambda found: places[found[0]], argument) for argument in arguments]
    assert says in refused(capsys, *given)
    assert sorted(tmp_path.rglob("*")) == before


def test_the_caret_stands_under_the_place(capsys: pytest.CaptureFixture[str]) -> None:
    first, second = refused(capsys, "blocks", "IN00, XY01").splitlines()
    assert first.index("XY01") == second.index("^")
