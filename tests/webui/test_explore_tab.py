"""In a real webui: the tab U-Net Explore opens the run that was recorded last, and dumps."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_workspace import recorded

from lib_unet_viz.capture.dump import save_trace
from webui.serving import ALWAYS_ON, Webui

PROMPT = "a big red circle and a small blue square"
SETTINGS = {"features": {"enabled": True, "blocks": "OUT11,M00"}, "heatmaps": True}
SECONDS = 120_000


@pytest.fixture(params=["light", "dark"])
def page(webui: Webui, browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page with the tab open."""
    opened = browser.new_page(viewport={"width": 1400, "height": 1000}, color_scheme=request.param)
    opened.set_default_timeout(60_000)
    opened.goto(f"{webui.url}/?__theme={request.param}")
    opened.wait_for_selector("#txt2img_generate")
    opened.wait_for_function("() => document.querySelector('#tab_unet_viz_explore') !== null")
    opened.locator("#tabs > .tab-nav button", has_text="U-Net Explore").click()
    opened.wait_for_selector("#explore-dumps", state="visible")
    yield opened
    folder = os.environ.get("WEBUI_SHOTS")
    if folder:
        opened.screenshot(path=str(Path(folder) / f"explore-{request.param}.png"), full_page=True)
    opened.close()


def shows(page: Any, text: str) -> None:
    frame = page.frame_locator("iframe.uv-workspace")
    frame.locator("#uv-workspace", has_text=text).first.wait_for(timeout=SECONDS)


def test_dumps_and_the_last_run(page: Any, webui: Webui, tmp_path: Path) -> None:
    dumps = [str(save_trace(recorded(seed), tmp_path / name)) for seed, name in ((0, "old"), (5, "new"))]
    for place, dump in zip(("a", "b"), dumps, strict=True):
        page.locator(f"#explore-{place} input[type=file]").set_input_files(dump)
        page.locator(f"#explore-{place}", has_text="KB").first.wait_for()
    page.locator("#explore-dumps").click()
    shows(page, "old")
    webui.txt2img(prompt=PROMPT, steps=3, alwayson_scripts={ALWAYS_ON: {"args": [SETTINGS]}})
    page.locator(".label-wrap", has_text="Open").last.click()
    page.locator("#explore-last").click()
    shows(page, PROMPT)
