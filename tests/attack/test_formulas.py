"""Hostile formulas (`formulas.json`) are refused with a caret, or give numbers; none reaches anything else.

Run as a script, this file reads and evaluates them all under an audit hook and prints what the hook saw.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_unet_viz.drawing.color import Colorizer
from lib_unet_viz.notation.errors import SpecError
from lib_unet_viz.notation.formula import Formula
from lib_unet_viz.settings import ColorSettings

CORPUS: dict[str, list[str]] = json.loads(Path(__file__).with_name("formulas.json").read_bytes())
REFUSED, HARMLESS = CORPUS["refused"], CORPUS["harmless"]
VALUES = np.linspace(-2, 2, 32 * 32).reshape(32, 32)
MOST = 0.05  # seconds
SEEN = {"compile"}  # by `ast.parse`, which makes a tree and no code


def evaluated(text: str) -> NDArray[np.float64] | SpecError:
    try:
        return Formula.parse(text)(VALUES)
    except SpecError as error:
        return error


def seconds(text: str) -> float:
    """The shorter of two times, since garbage may be collected in one."""
    times = []
    for _ in range(2):
        begun = time.thread_time()
        evaluated(text)
        times.append(time.thread_time() - begun)
    return min(times)


def test_the_corpus_is_large() -> None:
    assert len(set(REFUSED)) == len(REFUSED) >= 500
    assert len(set(HARMLESS)) == len(HARMLESS) >= 100


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_formula_is_refused_with_a_caret_at_once(text: str) -> None:
    refused = evaluated(text)
    assert seconds(text) < MOST
    assert isinstance(refused, SpecError), refused
    message, _, caret = str(refused).split("\n")[:3]
    assert message
    assert set(caret.strip()) == {"^"}
    assert refused.position <= len(text)
    assert len(str(refused)) < 2_000


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_a_formula_gives_a_number_for_every_value_at_once(text: str) -> None:
    found = evaluated(text)
    assert seconds(text) < MOST
    assert not isinstance(found, SpecError), found
    assert found.shape == VALUES.shape
    assert found.dtype == np.float64
    colors = Colorizer.from_settings(ColorSettings("Custom", formulas=(text, text, text)))(VALUES)
    assert colors.shape == (*VALUES.shape, 3)
    assert colors.dtype == np.uint8


def test_no_formula_reaches_a_file_a_process_an_import_or_a_socket() -> None:
    root = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}  # where the package is not installed
    ran = subprocess.run([sys.executable, __file__], env=root, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    said = json.loads(ran.stdout)
    assert said["count"] == len(REFUSED) + len(HARMLESS)
    assert set(said["seen"]) == SEEN
    assert {"open", "import"} <= set(said["control"]), "the hook is deaf"


def audited() -> str:
    """What an audit hook sees of all formulas, and what of opening a file, which it has to see, as JSON."""
    evaluated("v")
    evaluated("v +")
    seen: set[str] = set()
    sys.addaudithook(lambda event, _: seen.add(event))
    for text in (*REFUSED, *HARMLESS):
        evaluated(text)
    events = sorted(seen)
    with Path(__file__).open("rb"), contextlib.suppress(ImportError):
        __import__("no_such_module")
    return json.dumps({"count": len(REFUSED) + len(HARMLESS), "seen": events, "control": sorted(seen)})


if __name__ == "__main__":
    sys.stdout.write(audited())
