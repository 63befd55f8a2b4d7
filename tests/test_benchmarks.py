"""The benchmarks of costs: their arithmetic, and that each runs, on narrow U-Nets."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

pytest.importorskip("diffusers")

import gpu  # noqa: E402 - of the benchmarks
import overhead  # noqa: E402
from interval import Interval  # noqa: E402
from models import MODELS, narrow  # noqa: E402
from variants import DAAM, EDITS, EXPLICIT, FEATURES, PROMPTS, WORDS  # noqa: E402

OURS = {WORDS, FEATURES, PROMPTS, *EDITS}


def test_each_kind_of_call_counts_as_often_as_a_run_has_it() -> None:
    pairs = {"due": [1.4, 1.5, 9.0], "not due": [1.0, 1.0, 1.0, 1.0]}
    found = Interval.of(pairs, {"due": 4, "not due": 16})
    assert found.ratio == pytest.approx(0.2 * 1.5 + 0.8)
    assert found.low == pytest.approx(0.2 * 1.4 + 0.8)
    assert found.high == pytest.approx(0.2 * 9.0 + 0.8)


@pytest.mark.parametrize(
    ("ratios", "bar", "verdict"),
    [
        ([1.0, 1.01, 1.0], 1.02, "met"),
        ([1.03, 1.04, 1.03], 1.02, "missed"),
        ([1.0, 1.03, 1.01], 1.02, "open"),
        ([1.0, 1.0], 1.02, "open"),
    ],
)
def test_a_bar_is_met_or_missed_by_the_whole_interval(ratios: list[float], bar: float, verdict: str) -> None:
    assert Interval.of({"alike": ratios}, {"alike": 1}).verdict(bar) == verdict


@pytest.mark.parametrize(
    ("foreseen", "badly"), [(1.05, False), (1.066, False), (1.08, True), (1.015, True), (1.025, False)]
)
def test_what_is_foreseen_is_within_a_factor_of_what_was_measured(foreseen: float, badly: bool) -> None:
    row = {"foreseen": foreseen, "hooks": 1.04, "interval": [1.035, 1.045]}
    assert overhead.badly_foreseen(row) == badly


@pytest.mark.heavy
def test_a_call_of_each_kind_is_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = of_narrow(monkeypatch, overhead, tmp_path, "--only", "as by default", "--calls", "2", "--bound")
    [row] = found["rows"].values()
    assert (row["pairs"], row["verdict"]) == (4, "open")
    assert row["kept_mb"] > 0
    assert min(row["hooks"], row["foreseen"], row["bound"]) > 1


def of_narrow(
    monkeypatch: pytest.MonkeyPatch, script: ModuleType, folder: Path, *arguments: str
) -> dict[str, Any]:
    """What a script of costs writes about U-Nets of which each is narrow."""
    monkeypatch.setattr(overhead, "MODELS", {name: narrow(model) for name, model in MODELS.items()})
    monkeypatch.setattr("sys.argv", [script.__file__, *arguments, "--json", str(folder / "found.json")])
    assert script.main() in (0, 1)
    found: dict[str, Any] = json.loads((folder / "found.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.heavy
def test_everything_is_measured_beside_plain_calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = of_narrow(monkeypatch, overhead, tmp_path, "--all", "--calls", "1", "--steps", "6")
    assert found["rows"].keys() > {*OURS, DAAM, EXPLICIT}
    assert all(row["ratio"] > 0 for row in found["rows"].values())
    assert all(title in overhead.table(found) for title in found["rows"])


@pytest.mark.heavy
@pytest.mark.parametrize("model", ["sd15", "sdxl"])
def test_the_command_for_a_gpu_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, model: str) -> None:
    """With all that it does but for CUDA's own events."""
    monkeypatch.setattr(gpu, "FEWEST", 1)
    monkeypatch.setattr(gpu, "MOST", 1)
    arguments = ["--device", "cpu", "--small", "--steps", "5", "--minutes", "60", "--model", model]
    found = of_narrow(monkeypatch, gpu, tmp_path, *arguments)
    assert found["passed"], found["missed"]
    [each] = found["models"].values()
    assert each["rows"].keys() > {*OURS, DAAM, EXPLICIT}
    assert all(row["ratio"] > 0 and row["pairs"] == 1 for row in each["rows"].values())
    assert each["kernels"]["plain"]["fused"] == each["kernels"][WORDS]["fused"] > 0


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_command_says_how_to_try_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gpu.py"])
    assert gpu.main() == 2
    assert "--device cpu --small" in capsys.readouterr().err
