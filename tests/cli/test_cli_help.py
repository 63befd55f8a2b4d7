"""What commands say of themselves, and of a model's blocks."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import lib_unet_viz
from cli.typed import run
from lib_unet_viz.cli.parser import parse

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "app",
    "trace",
    "vxa",
    "blocks",
    "show",
    "render",
    "maps",
    "page",
    "export",
    "diff",
    "sweep",
    "edit",
    "score",
    "study",
    "study-report",
)


@pytest.mark.heavy
def test_the_module_runs_as_the_script_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out == f"unet-viz {lib_unet_viz.__version__}\n"
    command = [sys.executable, "-m", "lib_unet_viz", "blocks", "IN0x"]
    wrong = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 2


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    text = capsys.readouterr().out
    examples = re.findall(r"^  (unet-viz .*)", text, re.MULTILINE)
    assert len(examples) >= 2
    assert {parse(shlex.split(example)[1:]).command for example in examples} == {command}


def test_the_examples_of_the_documents_can_be_read() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *ROOT.glob("docs/*.md"))]
    examples = re.findall(r"^    (unet-viz .*)", "\n".join(texts), re.MULTILINE)
    assert len(examples) > 10
    assert all(parse(shlex.split(example)[1:]).run for example in examples)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^ +{command}( |$)", text, re.MULTILINE) for command in COMMANDS)


def test_blocks_one_name_a_line(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("blocks", "IN10-OUT01(+2)", "--model", model) == 0
    assert capsys.readouterr().out == "IN10\nM00\nOUT01\n"
    assert run("blocks", "--model", model) == 0
    assert len(capsys.readouterr().out.splitlines()) == 25


def test_blocks_with_shapes(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("blocks", "IN00,M00", "--json", "--size", "192x128", "--model", model) == 0
    first, middle = json.loads(capsys.readouterr().out)
    assert first == {
        "name": "IN00",
        "input": [4, 16, 24],
        "output": [32, 16, 24],
        "prompt": False,
        "cross": 0,
        "heads": 0,
        "depth": 0,
    }
    assert (middle["output"], middle["prompt"], middle["heads"]) == ([128, 2, 3], True, 2)
