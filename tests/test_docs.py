"""What the documents say is so."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from lib_unet_viz.formula import FUNCTIONS, Formula

ROOT = Path(__file__).parents[1]
FORMULAS = (ROOT / "docs" / "formulas.md").read_text(encoding="utf-8")


def test_the_list_of_functions_is_complete() -> None:
    listed = {
        name: int(line.split("|")[1])
        for line in FORMULAS.splitlines()
        if re.match(r"\| \d ", line)
        for name in re.findall(r"`(\w+)`", line)
    }
    assert listed == dict(FUNCTIONS)


@pytest.mark.parametrize("formula", re.findall(r"^\| `([^`]+)` \| \D", FORMULAS, flags=re.MULTILINE))
def test_the_examples_of_formulas_run(formula: str) -> None:
    assert np.isfinite(Formula.parse(formula)(np.linspace(-1, 1, 5))).all()


@pytest.mark.parametrize("path", [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")], ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        assert "://" in target or (path.parent / target).exists(), target
