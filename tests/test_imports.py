"""What the package imports: the core little, and each module only those below it."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "lib_unet_viz"
ROOT = Path(__file__).parents[1] / PACKAGE
OUTSIDE_CORE = ("hosts", "ui", "ui_edit", "app", "cli", "demo", "webui", "__main__")
MODULES = sorted(
    ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
    for path in ROOT.rglob("*.py")
    if path.name != "__init__.py"
)
CORE = [name for name in MODULES if name.split(".")[1] not in OUTSIDE_CORE]
ALLOWED = {"torch", "numpy", "PIL", "safetensors", PACKAGE}
# Looked up late, where installed.
OPTIONAL = {"matplotlib"}
# From the bottom up; a module imports those of its own room and of the rooms below.
ROOMS = (
    {"grammar", "layer_prompt", "edits", "trace", "attention", "formula", "norm"},
    {"unet", "tokens", "alignment", "color", "capture", "cost"},
    {"record", "taps", "settings", "contexts"},
    {"render", "montage", "bars", "lettering", "sheets", "naming", "readout", "dump", "heatmap", "edit"}
    | {
        "aggregation",
        "self_attention",
        "segmentation",
        "local_blend",
        "mixing",
        "edit_plan",
        "edit_words",
        "denoiser",
    }
    | {"inversion"},
    {"difference", "sweep", "edit_sheets", "edit_uploaded"},
    {"ui", "ui_edit", "vxa", "asking"},
    {"hosts", "demo"},
    {"app"},
    {"cli", "webui", "__main__"},
)

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


def imports(name: str) -> Iterator[str]:
    """The package's modules that a module imports, anywhere in its text."""
    path = ROOT.parent.joinpath(*name.split(".")).with_suffix(".py")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            base = node.module if not node.level else f"{name.rsplit('.', node.level)[0]}.{node.module}"
            yield from ({f"{base}.{alias.name}" for alias in node.names} & set(MODULES)) or {base}


def test_the_core_imports_little() -> None:
    command = [sys.executable, "-c", WATCH, *CORE]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=True)
    seen, heavy = json.loads(done.stdout)
    assert set(seen) <= ALLOWED
    assert heavy == []


@pytest.mark.parametrize("name", CORE)
def test_a_core_module_names_no_other_library(name: str) -> None:
    foreign = {module.partition(".")[0] for module in imports(name)}
    assert foreign <= ALLOWED | OPTIONAL | set(sys.stdlib_module_names)


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_one_way(name: str) -> None:
    def room(module: str) -> int:
        found = [level for level, names in enumerate(ROOMS) if module.split(".")[1] in names]
        assert found, f"{module} has no room yet: say in ROOMS where it belongs"
        return found[0]

    for module in imports(name):
        if module.startswith(f"{PACKAGE}."):
            assert room(module) <= room(name), f"{name} imports {module}"


def test_no_module_imports_itself_over_others() -> None:
    graph = {name: {module for module in imports(name) if module in MODULES} for name in MODULES}

    def visit(name: str, above: tuple[str, ...]) -> None:
        assert name not in above, f"a circle of imports: {' -> '.join((*above, name))}"
        for module in sorted(graph[name]):
            visit(module, (*above, name))

    for name in MODULES:
        visit(name, ())
