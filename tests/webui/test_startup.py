"""What the extension adds to a webui's start: import time, and no dependency."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from webui import data
from webui.data import ROOT
from webui.serving import Webui, start

TARGET_MS = 150
LIMIT_MS = 500  # generous: a busy machine is no fault of the extension
IMPORTED = re.compile(r"import time:\s+\d+ \|\s+(\d+) \| ( *)(\S+)")
# What the webui's own environment has of what the extension may import (requirements_versions.txt).
ALLOWED = {"torch", "numpy", "PIL", "safetensors", "gradio", "fastapi", "pydantic", "modules", "lib_unet_viz"}
OPTIONAL = {"matplotlib", "xarray", "backend"}  # looked up late: colour maps; labelled arrays; Forge's own
HEAVY = ("diffusers", "matplotlib", "transformers", "lib_unet_viz.demo", "lib_unet_viz.cli")
# What only a run, a look or a request needs.
LATE = (
    "lib_unet_viz.drawing.color",
    "lib_unet_viz.drawing.montage",
    "lib_unet_viz.drawing.render",
    "lib_unet_viz.drawing.sheets",
    "lib_unet_viz.drawing.labels",
    "lib_unet_viz.drawing.lettering",
    "lib_unet_viz.drawing.difference",
    "lib_unet_viz.drawing.sweep",
    "lib_unet_viz.drawing.edit_sheets",
    "lib_unet_viz.editing",
    "lib_unet_viz.hosts.webui.generation",
)
# Run by the webui's Python, with stand-ins for the webui's modules: first what it has loaded itself by then,
# then the script.
_LOAD = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import fastapi.security, gradio, numpy, PIL.ImageDraw, PIL.ImageFont, PIL.ImageFilter, PIL.ImageOps, pydantic
import safetensors.numpy, safetensors.torch, torch
from modules import call_queue, images, infotext_utils, processing, scripts, sd_models, ui_components
before = time.process_time()
sys.path.insert(0, sys.argv[1] + "/scripts")
import unet_viz
print(1000 * (time.process_time() - before))
"""


@dataclass(frozen=True)
class Import:
    """A module in the log of `-X importtime`; `ms` counts what it imported first, too."""

    name: str
    ms: float
    importers: tuple[str, ...]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> list[Import]:
    """What starting the webui imports because the extension does."""
    folder = os.environ.get("SD_WEBUI_DIR")
    if not folder:
        pytest.skip("SD_WEBUI_DIR is not set: no webui can be started with -X importtime")
    made = data.make(tmp_path_factory.mktemp("webui-data"))
    webui = start(Path(folder), made, python_options=("-X", "importtime"))
    webui.stop()
    return [one for one in _tree(webui.log()) if any(map(_own, (one.name, *one.importers)))]


def _own(name: str) -> bool:
    return name.startswith("lib_unet_viz")


def _tree(log: str) -> Iterator[Import]:
    """A module stands after those that it imports, less indented: so read from the end."""
    above: list[tuple[int, str]] = []
    for match in reversed(list(IMPORTED.finditer(log))):
        depth = len(match[2])
        while above and above[-1][0] >= depth:
            above.pop()
        yield Import(match[3], int(match[1]) / 1000, tuple(name for _, name in above))
        above.append((depth, match[3]))


def test_import_time(imports: list[Import], record_property: Any) -> None:
    tops = [one for one in imports if not any(map(_own, one.importers))]
    assert tops, "the extension was not loaded"
    total = sum(one.ms for one in tops)
    record_property("extension_import_ms", total)
    slowest = [f"{one.name} {one.ms:.0f}" for one in sorted(imports, key=lambda one: -one.ms)[:12]]
    print(f"the extension's imports: {total:.0f} ms of {TARGET_MS}; {', '.join(slowest)}")  # noqa: T201
    assert total <= LIMIT_MS


def test_nothing_heavy_is_imported_at_the_start(imports: list[Import]) -> None:
    assert not [one.name for one in imports if one.name.startswith(HEAVY + LATE)]


def test_loading_the_script_costs_little(record_property: Any) -> None:
    """In the processor's own time, the least of some runs: how busy the machine is counts for little."""
    command = [os.environ.get("SD_WEBUI_PYTHON", sys.executable), "-c", _LOAD]
    command += [str(ROOT), str(ROOT / "tests" / "stand_in")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    runs = [
        float(subprocess.run(command, env=environment, capture_output=True, check=True, text=True).stdout)
        for _ in range(5)
    ]
    record_property("extension_load_ms", sorted(runs)[2])
    print(f"loading the script: {', '.join(f'{run:.0f}' for run in sorted(runs))} ms")  # noqa: T201
    assert min(runs) <= TARGET_MS


def test_what_the_extension_imports_is_there() -> None:
    """Wherever in their text: the modules that the webui loads import nothing that it lacks."""
    files = [*(ROOT / "scripts").glob("*.py"), ROOT / "install.py"]
    for folder in (
        "",
        "notation",
        "capture",
        "maps",
        "editing",
        "sampling",
        "drawing",
        "ui",
        "extension",
        "hosts/webui",
    ):
        files += (ROOT / "lib_unet_viz" / folder).glob("*.py")
    foreign = {
        (path.name, name)
        for path in files
        for name in _imported(path)
        if name not in ALLOWED | OPTIONAL | set(sys.stdlib_module_names)
    }
    assert not foreign


def _imported(path: Path) -> set[str]:
    """The top-level names that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add((node.module or "").partition(".")[0])
    return found


def test_the_installer_installs_nothing(tmp_path: Path) -> None:
    """It runs as the webui runs it, with the webui's Python, and asks pip for nothing."""
    folder = os.environ.get("SD_WEBUI_DIR")
    if not folder:
        pytest.skip("SD_WEBUI_DIR is not set")
    environment = {**os.environ, "PYTHONPATH": folder, "PIP_NO_INDEX": "1"}
    python = os.environ.get("SD_WEBUI_PYTHON", sys.executable)
    freeze = [python, "-m", "pip", "freeze"]
    before = subprocess.run(freeze, capture_output=True, check=True).stdout
    command = [python, str(ROOT / "install.py")]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert subprocess.run(freeze, capture_output=True, check=True).stdout == before


def test_loading_is_without_errors(webui: Webui) -> None:
    if not webui.log_path:
        pytest.skip("a webui that runs already: its log is not known")
    log = webui.log()
    assert "Error loading script" not in log
    assert not re.search(r"\*\*\* Error.*unet[-_]viz", log)
