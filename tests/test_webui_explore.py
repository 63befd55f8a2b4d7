"""The webui's tab U-Net Explore: each visitor's last run, and nobody else's."""

from __future__ import annotations

import importlib
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio")

from PIL import Image  # noqa: E402
from test_webui_glue import modules  # noqa: E402, F401  a fixture
from test_workspace import recorded  # noqa: E402

PICTURES = [Image.new("RGB", (8, 8))]


@pytest.fixture
def kept(modules: Any) -> Any:  # noqa: F811
    return importlib.import_module("lib_unet_viz.extension.last_runs")


def test_each_login_has_its_own(kept: Any) -> None:
    runs = kept.LastRuns()
    traces = {name: recorded(prompt=f"of {name}") for name in ("ann", "bob")}
    for name, trace in traces.items():
        runs.keep(name, trace, PICTURES)
    assert all(runs.runs.trace(runs.last(name)) is trace for name, trace in traces.items())
    assert runs.last("eve") == runs.last(None) == ""
    runs.keep("ann", later := recorded(), PICTURES)
    assert runs.runs.trace(runs.last("ann")) is later


def test_without_logins_an_open_webui_keeps_nothing(
    kept: Any,
    modules: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs = kept.LastRuns()
    runs.keep(None, recorded(), PICTURES)
    assert runs.last(None)
    monkeypatch.setattr(modules.shared.cmd_opts, "webui_is_non_local", True, raising=False)
    with pytest.raises(kept.NotKeptError, match="without a login"):
        runs.last(None)
    opened = kept.LastRuns()
    opened.keep(None, recorded(), PICTURES)
    opened.keep("ann", recorded(), PICTURES)
    monkeypatch.setattr(modules.shared.cmd_opts, "webui_is_non_local", False)
    assert opened.last(None) == ""
    assert opened.last("ann")


def test_a_large_run_is_not_kept_and_says_so(kept: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = kept.LastRuns()
    runs.keep(None, recorded(), PICTURES)
    monkeypatch.setattr(kept, "MOST", 100)
    runs.keep(None, recorded(), PICTURES)
    with pytest.raises(kept.NotKeptError, match="open a dump"):
        runs.last(None)


def test_the_tab_opens_what_was_recorded_last(kept: Any) -> None:
    tab = importlib.import_module("lib_unet_viz.extension.explore_tab")
    assert tab.build()
    assert tab.last(SimpleNamespace(username=None)) is None
    kept.here().keep(None, recorded(), PICTURES)
    source = tab.last(SimpleNamespace(username=None))
    assert source.batch
    assert kept.here().runs.words(source.run)[0] == (PICTURES[0], "image 0")
