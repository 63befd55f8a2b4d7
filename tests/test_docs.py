"""What the documents say is so."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lib_unet_viz.cli.parser import parse
from lib_unet_viz.notation.formula import FUNCTIONS, Formula
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import SpecError

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


LAYERS = (ROOT / "docs" / "layer-prompts.md").read_text(encoding="utf-8")
SD1 = [
    f"{part}{number:02d}" for part, count in (("IN", 12), ("M", 1), ("OUT", 12)) for number in range(count)
]


@pytest.mark.parametrize("example", re.findall(r"^```layers\n(.*?)^```$", LAYERS, re.MULTILINE | re.DOTALL))
def test_the_examples_of_layer_prompts(example: str) -> None:
    prompt, *results = re.split(r"\n(?=[A-Z]+\d\d: \"|[ ]*\^)", example.rstrip("\n"))
    assert results
    for line in results:
        if "^" in line:
            with pytest.raises(SpecError) as caught:
                LayerPrompt.parse(prompt).per_block(SD1)
            assert line == f"{str(caught.value).splitlines()[2][2:]} {caught.value.message}"
        else:
            name, text = line.split(": ", 1)
            assert text == f'"{LayerPrompt.parse(prompt).per_block(SD1)[name]}"'


def test_the_commands_on_layer_prompts_can_be_read() -> None:
    commands = re.findall(r"^    (unet-viz .*)", LAYERS, re.MULTILINE)
    assert {parse(shlex.split(command)[1:]).command for command in commands} == {"trace", "diff", "sweep"}


@pytest.mark.slow
def test_the_python_of_layer_prompts_runs() -> None:
    pytest.importorskip("diffusers")
    names = run_python(LAYERS)
    assert names["texts"]["IN00"] == "a big  red  circle"
    assert names["picture"].size == (128, 128)


@pytest.mark.heavy
def test_the_python_of_the_library_runs() -> None:
    pytest.importorskip("diffusers")
    names = run_python((ROOT / "docs" / "library.md").read_text(encoding="utf-8"))
    assert [feature.key.block for feature in names["trace"].features][:2] == ["IN00", "IN02"]
    assert [picture.size for picture in (names["source"], names["target"])] == [(128, 128)] * 2


@pytest.mark.heavy
def test_the_host_of_writing_a_host_runs_and_is_short() -> None:
    pytest.importorskip("diffusers")
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
    from lib_unet_viz.maps import vxa

    text = (ROOT / "docs" / "writing-a-host.md").read_text(encoding="utf-8")
    host = "\n".join(python_of(text)[:2])
    assert sum(bool(line.strip()) for line in host.splitlines()) < 60
    names = run_python(text)
    assert {heat.word for heat in names["words"]} >= {"circle", "square"}
    assert len(names["trace"].features.all(block="OUT11")) == 10
    assert [heat.word for heat in names["others"]] == ["a", "square"]
    assert names["edited"].errors["latent RMSE"] == 0
    assert names["edited"].pictures[0].size == names["trace"].picture.size == (128, 128)
    # The plain host's model is the pipeline's.
    theirs = vxa.trace_picture(Pipeline.load(), names["trace"].picture, "a red circle")
    for found, expected in zip(names["looked"].attention, theirs.attention, strict=True):
        assert found.key == expected.key
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4)


def python_of(text: str) -> list[str]:
    """The blocks of a page's Python."""
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def run_python(text: str) -> dict[str, Any]:
    """Run a page's Python from top to bottom; what it defined."""
    names: dict[str, Any] = {}
    exec("\n".join(python_of(text)), names)
    return names


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in ROOT.glob("docs/*.md")} - {"README.md"}
    assert set(re.findall(r"\]\((\w[\w-]*\.md)\)", index)) == pages


def test_the_reference_is_what_the_docstrings_say() -> None:
    place = importlib.util.spec_from_file_location("reference", ROOT / "docs" / "reference.py")
    assert place is not None
    assert place.loader is not None
    reference = importlib.util.module_from_spec(place)
    place.loader.exec_module(reference)
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), "run python docs/reference.py"
    found = reference.SETTINGS_PAGE.read_text(encoding="utf-8")
    assert found == reference.settings_page(), "run python docs/reference.py"
