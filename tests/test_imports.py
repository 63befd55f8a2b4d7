"""What the package imports: the core little, each folder those below it, and late what is heavy."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import lib_unet_viz

PACKAGE = "lib_unet_viz"
ROOT = Path(__file__).parents[1] / PACKAGE
OUTSIDE_CORE = (
    "hosts",
    "ui",
    "app",
    "cli",
    "demo",
    "extension",
    "studies",
    "__main__",
    "record",
    "layer_prompt",
)
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if path.name != "__init__.py"
)
CORE = [name for name in MODULES if name.split(".")[1] not in OUTSIDE_CORE]
ALLOWED = {"torch", "numpy", "PIL", "safetensors", PACKAGE}
# Looked up late, where installed.
OPTIONAL = {"matplotlib", "xarray"}
# Paths that the README of version 0.1.0 showed.
OLD = ("record", "layer_prompt", "hosts.diffusers_edit", "hosts.diffusers_prompts", "hosts.pipeline")

# As click's tests/test_imports.py does: a module's own imports are seen by the import function.
WATCH = """
import builtins, importlib, json, sys
seen, original = set(), builtins.__import__
def watch(name, globals=None, locals=None, fromlist=(), level=0):
    if level == 0 and ((globals or {}).get("__name__") or "").startswith("lib_unet_viz"):
        seen.add(name.partition(".")[0])
    return original(name, globals, locals, fromlist, level)
builtins.__import__ = watch
for module in sys.argv[1:]:
    importlib.import_module(module)
heavy = {"diffusers", "transformers", "gradio", "matplotlib", "ldm", "modules"} & set(sys.modules)
print(json.dumps([sorted(seen - set(sys.stdlib_module_names)), sorted(heavy)]))
"""


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(name: str) -> Iterator[str]:
    """What a module imports, anywhere in its text."""
    for node in ast.walk(parse(ROOT.parent.joinpath(*name.split(".")).with_suffix(".py"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


# Parsed as tests are collected: while threads of other tests parse as well, Python before 3.11.8 may say "AST
# constructor recursion depth mismatch" (gh-106905).
LIBRARIES = {name: {module.partition(".")[0] for module in imports(name)} for name in CORE}
FOLDERS = {path: ast.get_docstring(parse(path)) for path in ROOT.rglob("__init__.py")}


def python(*arguments: str) -> str:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True).stdout


def test_the_core_imports_little() -> None:
    seen, heavy = json.loads(python("-c", WATCH, *CORE))
    assert set(seen) <= ALLOWED
    assert heavy == []


@pytest.mark.parametrize("name", CORE)
def test_a_core_module_names_no_other_library(name: str) -> None:
    assert LIBRARIES[name] <= ALLOWED | OPTIONAL | set(sys.stdlib_module_names)


def test_imports_point_one_way() -> None:
    """By the contracts of pyproject.toml, which `lint-imports` explains at length."""
    pytest.importorskip("importlinter", reason="import-linter is part of the extra 'dev'")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter import cli; cli.lint_imports_command()",
            "--no-cache",
        ],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_folder_says_what_lives_in_it() -> None:
    assert all(text for path, text in FOLDERS.items() if "model" not in path.parts), FOLDERS


def test_the_public_names_are_there_and_come_late() -> None:
    late = "import sys, lib_unet_viz; assert 'torch' not in sys.modules; from lib_unet_viz import *; UNet"
    python("-c", late)
    assert lib_unet_viz.__all__ == sorted(lib_unet_viz.__all__, key=lambda name: (name.islower(), name))
    assert all(getattr(lib_unet_viz, name) is not None for name in lib_unet_viz.__all__)
    with pytest.raises(AttributeError, match=r"no attribute 'Recoder'; it has .*Recorder"):
        _ = lib_unet_viz.Recoder


def test_old_paths_still_lead_to_the_names() -> None:
    code = (
        "import importlib, json, sys\n"
        "old = {name: importlib.import_module(name) for name in sys.argv[1:]}\n"
        "print(json.dumps({name: [getattr(module, each).__module__ for each in module.__all__] "
        "for name, module in old.items()}))"
    )
    names = [f"{PACKAGE}.{name}" for name in OLD]
    found = json.loads(python("-c", code, *names))
    assert set(found) == set(names)
    for name, modules in found.items():
        assert modules
        assert name not in modules
