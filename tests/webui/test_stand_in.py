"""The stand-in for the webui's modules, name by name against the real ones."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from webui.data import ROOT

STAND_IN = ROOT / "tests" / "stand_in" / "modules"
# What only tests use: not the webui's.
OWN = {"processing.generate", "images.saved"}
OWN |= {f"processing.StableDiffusionProcessing{kind}" for kind in ("", "Txt2Img", "Img2Img")}
GLUE = [
    *(ROOT / "scripts").glob("*.py"),
    *(ROOT / "lib_unet_viz" / "extension").glob("*.py"),
    *(ROOT / "lib_unet_viz" / "hosts" / "webui").glob("*.py"),
]
# Run by the webui's own Python: signatures, without annotations, of `module.name` and `module.name.method`.
INSPECT = """
import importlib, inspect, json, os, sys
folder, package, names = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
data = sys.argv[4]
sys.path.insert(0, folder)
if package == "real":
    os.chdir(folder)
    sys.argv = ["webui.py", "--skip-torch-cuda-test", "--no-half", "--use-cpu", "all", "--data-dir", data]
    from modules import initialize
    initialize.imports()
def told(path):
    module, _, inner = path.partition(".")
    value = importlib.import_module(f"modules.{module}")
    for name in filter(None, inner.split(".")):
        if not hasattr(value, name):
            return "missing"
        value = getattr(value, name)
    if not callable(value):
        return "a value"
    try:
        found = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return "callable"
    return ["class" if inspect.isclass(value) else "function"] + [
        [one.name, one.kind.name, one.default is not one.empty and repr(one.default)] for one in found
    ]
print("<<<" + json.dumps({name: told(name) for name in names}))
"""


def offered() -> list[str]:
    """All public names of the stand-in: `module.name`, and `module.Class.method`."""
    names = []
    for path in sorted(STAND_IN.glob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            names += [f"{path.stem}.{name}" for name in _defined(node)]
    return [name for name in names if name not in OWN and not name.startswith("__init__")]


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef):
        methods = [f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)]
        return [node.name, *(name for name in methods if not name.endswith("__"))]
    if isinstance(node, ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name) and not one.id.startswith("__")]


def used() -> set[str]:
    """`module.name` for every name of the webui's that the glue uses."""
    found = set()
    for path in GLUE:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        modules = {
            alias.asname or alias.name: alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "modules"
            for alias in node.names
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("modules."):
                found |= {f"{str(node.module).partition('.')[2]}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                found |= {f"{modules[node.value.id]}.{node.attr}"} if node.value.id in modules else set()
    return found


def inspected(folder: Path, package: str, names: list[str], data: Path) -> dict[str, Any]:
    python = os.environ.get("SD_WEBUI_PYTHON", sys.executable)
    (data / "extensions").mkdir(exist_ok=True)
    command = [python, "-c", INSPECT, str(folder), package, json.dumps(names), str(data)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "<<<" in done.stdout, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.rpartition("<<<")[2])
    return told


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    folder = os.environ.get("SD_WEBUI_DIR")
    if not folder:
        pytest.skip("SD_WEBUI_DIR is not set: there are no real modules to compare with")
    names, data = sorted({*offered(), *used()}), tmp_path_factory.mktemp("data")
    return inspected(STAND_IN.parent, "stand-in", offered(), data), inspected(
        Path(folder), "real", names, data
    )


@pytest.mark.parametrize("name", offered())
def test_a_name_is_as_the_webuis(both: tuple[dict[str, Any], dict[str, Any]], name: str) -> None:
    stand_in, real = both
    assert real[name] != "missing", "the webui has no such name"
    assert stand_in[name] == real[name]


def test_all_that_the_glue_uses_is_there(both: tuple[dict[str, Any], dict[str, Any]]) -> None:
    """In the webui itself. What it looks up with `getattr` may be missing."""
    real = both[1]
    assert {name for name in used() if real[name] == "missing"} == set()
