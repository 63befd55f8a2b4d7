"""Real webuis for the tests: $SD_WEBUI_URL, or started from $SD_WEBUI_DIR; without either, all is skipped.

Forge has a test file of its own, and the variables $FORGE_URL and $FORGE_DIR.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from webui import data
from webui.serving import Webui, start

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
Starter = Callable[..., Webui]
Filler = Callable[[Path, Path], None]  # of the webui's folder and its data folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip with a reason what has no webui to ask."""
    here = [item for item in items if Path(__file__).parent in item.path.parents]
    for item in here:
        name = "FORGE" if item.path.name.startswith("test_forge") else "SD_WEBUI"
        if not os.environ.get(f"{name}_URL") and not os.environ.get(f"{name}_DIR"):
            item.add_marker(pytest.mark.skip(reason=f"neither {name}_URL nor {name}_DIR is set"))


@pytest.fixture(scope="session")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Starter]:
    """Starts a webui with more arguments, once for each; `auth`: of the API, `config`: of its config.json.

    also: puts more into its data folder.
    """
    running: dict[Any, Webui] = {}

    def one(*arguments: str, auth: str | None = None, also: Filler | None = None, **config: Any) -> Webui:
        key = (arguments, auth, also, tuple(sorted(config.items())))
        if key not in running:
            folder = os.environ.get("SD_WEBUI_DIR")
            if not folder:
                pytest.skip("SD_WEBUI_DIR is not set: a webui with other arguments cannot be started")
            made = data.make(tmp_path_factory.mktemp("webui-data"), **config)
            if also is not None:
                also(Path(folder), made)
            running[key] = start(Path(folder), made, *arguments, auth=auth)
        return running[key]

    yield one
    for webui in running.values():
        webui.stop()


@pytest.fixture(scope="session")
def webui(started: Starter) -> Webui:
    """The webui that most tests ask: the always-on script is switched on in its settings."""
    url = os.environ.get("SD_WEBUI_URL")
    if not url:
        return started()
    folder = os.environ.get("SD_WEBUI_DATA")
    if not folder:
        pytest.skip("SD_WEBUI_URL is set, but SD_WEBUI_DATA, its data folder, is not")
    return Webui(url.rstrip("/"), Path(folder))


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no Chromium at {CHROMIUM}; say in CHROMIUM where it is")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM, headless=True, args=list(CHROMIUM_ARGUMENTS)
        )
        yield opened
        opened.close()
