"""The page in a browser, by mouse and keyboard, on a small stand-in model.

PAGE_PYTHON: another interpreter to serve the page with, such as one of an environment with an older gradio.
PAGE_SHOTS: a folder to save pictures of the page to.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

ROOT = Path(__file__).parents[2]
CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
api.expect.set_options(timeout=10_000)
PROMPT = "a big red circle and a small blue square"
WIDTHS = (1280, 700)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The page, served on a free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    python = os.environ.get("PAGE_PYTHON", sys.executable)
    command = [python, "tests/standin.py", "--port", str(port), "--pause", "0.15"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(url, server)
        yield url
    finally:
        server.terminate()
        server.wait(10)


LONG = 120_000  # milliseconds, for a picture


def _wait_for(url: str, server: subprocess.Popen[bytes], seconds: float = 90) -> None:
    for _ in range(int(seconds * 2)):
        if server.poll() is not None:
            pytest.fail(f"the page's server ended with {server.returncode}")
        try:
            urllib.request.urlopen(url).close()
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.5)
        else:
            return
    pytest.fail("the page's server does not answer")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture(params=WIDTHS, ids=[f"{width}px" for width in WIDTHS])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": request.param, "height": 900})
    opened.set_default_timeout(20_000)
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.goto(address, wait_until="domcontentloaded")
    opened.wait_for_selector("#generate")
    opened.wait_for_timeout(500)  # its scripts have yet to listen
    yield opened
    shoot(opened, f"{request.node.originalname}-{request.param}")
    wide = opened.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    opened.close()
    assert wide <= 0, "the page scrolls sideways"
    assert wrong == []


def shoot(page: Any, name: str) -> None:
    folder = os.environ.get("PAGE_SHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def box(page: Any, name: str) -> Any:
    return page.locator(f"#{name} textarea, #{name} input").first


def generate(page: Any, prompt: str = PROMPT) -> None:
    box(page, "prompt").click()
    page.keyboard.type(prompt)
    page.keyboard.press("Enter")


def open_tab(page: Any, name: str) -> None:
    # gradio 3's tabs are plain buttons
    tab = page.get_by_role("tab", name=name, exact=True)
    tab.or_(page.get_by_role("button", name=name, exact=True)).first.click()


def done(page: Any) -> None:
    api.expect(page.locator("#status").first).to_contain_text("MB recorded", timeout=40_000)
    api.expect(page.locator("#features button.thumbnail-item")).to_have_count(7)


def test_enter_shows_progress_then_picture_and_words(page: Any) -> None:
    generate(page)
    api.expect(page.locator("#status").first).to_contain_text("of 30")
    api.expect(page.locator("#picture img")).to_be_visible()
    shoot(page, f"running-{page.viewport_size['width']}")
    done(page)
    words = page.locator("#words button.thumbnail-item")
    api.expect(words).to_have_count(9)
    words.nth(8).click()
    api.expect(page.locator("#word").first).to_contain_text("Word map: square")
    assert page.locator("#picture img").bounding_box()["width"] > 200
    api.expect(page.locator("#attention button.thumbnail-item")).to_have_count(1)


def test_cancel_ends_the_run(page: Any) -> None:
    generate(page)
    page.locator("#cancel").click()
    api.expect(page.locator("#status").first).to_contain_text("Cancelled")
    api.expect(page.locator("#generate")).to_be_visible()


def test_an_empty_prompt_is_answered_in_place(page: Any) -> None:
    page.locator("#generate").click()
    api.expect(page.locator("#status [role=alert]")).to_contain_text("prompt is empty")


def test_the_readout_follows_the_block_spec(page: Any) -> None:
    page.locator(".label-wrap:has-text('Features: ')").click()
    readout = page.locator(".uv-readout").first
    api.expect(readout).to_contain_text("7 of 7 blocks")
    layers = page.get_by_label("Layers").first
    layers.click()
    page.keyboard.type("IN00-OUT02(+2)")
    page.keyboard.press("Tab")
    api.expect(readout).to_contain_text("4 of 7 blocks")
    layers.fill("IN00, OUT99")
    api.expect(readout.locator("[role=alert]")).to_contain_text("^^^^^")


def test_a_transform_shows_its_own_sliders(page: Any) -> None:
    page.locator(".label-wrap:has-text('Features: ')").click()
    clamp = page.get_by_text("Clamp min.").first
    api.expect(clamp).not_to_be_visible()
    page.locator("label:has-text('Linear')").first.click()
    api.expect(clamp).to_be_visible()
    page.locator("label:has-text('Sigmoid')").first.click()
    api.expect(clamp).not_to_be_visible()
    api.expect(page.get_by_text("Gain").first).to_be_visible()


def test_a_dump_is_offered(page: Any) -> None:
    generate(page)
    done(page)
    page.locator("#write-dump").click()
    link = page.locator("#dump a").first
    api.expect(link).to_be_visible()
    with page.expect_download() as download:
        link.click()
    assert Path(download.value.path()).stat().st_size > 1_000_000


def test_vxa_by_clicking_a_word(page: Any) -> None:
    open_tab(page, "VXA")
    page.locator("#vxa-visualize").click()
    api.expect(page.locator("#vxa-status [role=alert]")).to_contain_text("no picture")
    page.locator("#vxa-examples button.thumbnail-item").nth(1).click()
    tokens = page.locator("#vxa-tokens label")
    api.expect(tokens.first).to_contain_text("1 ")
    tokens.nth(3).click()
    api.expect(box(page, "vxa-indices")).to_have_value("4")
    page.locator("#vxa-visualize").click()
    api.expect(page.locator("#vxa-status").first).to_contain_text("4 glasses")
    api.expect(page.locator("#vxa-result img")).to_be_visible()
    box(page, "vxa-indices").fill("2, 4")
    api.expect(page.locator("#vxa-tokens input:checked")).to_have_count(2)
    box(page, "vxa-indices").fill("1, x")
    api.expect(page.locator("#vxa-index-problem").first).to_contain_text("no index of a token")


def test_a_look_that_no_longer_fits_the_controls_is_out_of_date(page: Any) -> None:
    """Words are drawn again at once; what needs another look is named, until it is as it was."""
    open_tab(page, "VXA")
    page.locator("#vxa-examples button.thumbnail-item").nth(1).click()
    tokens = page.locator("#vxa-tokens label")
    tokens.nth(3).click()
    api.expect(box(page, "vxa-indices")).to_have_value("4")
    page.locator("#vxa-visualize").click()
    api.expect(page.locator("#vxa-status").first).to_contain_text("4 glasses")
    stale = page.locator("#vxa-out-of-date .uv-stale")
    api.expect(stale).to_have_count(0)

    prompt = box(page, "vxa-prompt").input_value()
    box(page, "vxa-prompt").fill(f"{prompt} there")
    api.expect(stale).to_contain_text("Out of date. Changed since then: Prompt")
    box(page, "vxa-prompt").fill(prompt)
    api.expect(stale).to_have_count(0)

    tokens.nth(1).click()
    api.expect(page.locator("#vxa-status").first).to_contain_text(" + 4 glasses")
    api.expect(stale).to_have_count(0)
    box(page, "vxa-other").fill("circle")
    api.expect(stale).to_contain_text("Other words")
    box(page, "vxa-other").press("Enter")
    api.expect(page.locator("#vxa-status").first).to_contain_text("circle")
    api.expect(page.locator("#vxa-tokens input:checked")).to_have_count(0)
    api.expect(stale).to_have_count(0)
    tokens.nth(3).click()
    api.expect(page.locator("#vxa-status").first).to_contain_text("4 glasses")
    api.expect(box(page, "vxa-other")).to_have_value("")
    api.expect(stale).to_have_count(0)


def test_a_picture_that_no_longer_fits_the_controls_is_out_of_date(page: Any) -> None:
    box(page, "prompt").fill("a big red circle")
    page.locator("#generate").click()
    api.expect(page.locator("#status").first).to_contain_text("Done", timeout=LONG)
    stale = page.locator("#picture-out-of-date .uv-stale")
    api.expect(stale).to_have_count(0)
    box(page, "prompt").fill("a big blue circle")
    api.expect(stale).to_contain_text("Prompt")
    box(page, "prompt").fill("a big red circle")
    api.expect(stale).to_have_count(0)


def test_vxa_takes_an_uploaded_picture(page: Any, tmp_path: Path) -> None:
    from PIL import Image

    file = tmp_path / "tall.png"
    Image.effect_noise((90, 333), 80).save(file)
    open_tab(page, "VXA")
    page.locator("#vxa-upload input[type=file]").set_input_files(str(file))
    page.wait_for_selector("#vxa-upload img")
    box(page, "vxa-prompt").fill("hat, neck")
    api.expect(page.locator("#vxa-tokens").first).to_contain_text("3 neck")
    box(page, "vxa-prompt").press("Enter")
    api.expect(page.locator("#vxa-status").first).to_contain_text("all tokens")
    api.expect(page.locator("#vxa-result img")).to_be_visible()


def test_a_mask_is_painted_on_the_source(page: Any) -> None:
    open_tab(page, "Edit")
    box(page, "edit-prompt").fill(PROMPT)
    box(page, "edits").fill("red -> green")
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("Changed by", timeout=40_000)
    page.locator(".label-wrap", has_text="Mask").click()
    page.locator("#edit-mask-on-picture").click()
    canvas = page.locator("#edit-mask canvas").last
    canvas.scroll_into_view_if_needed()
    page.wait_for_timeout(2000)  # the picture comes into the canvas
    at = canvas.bounding_box()
    page.mouse.move(at["x"] + at["width"] / 2, at["y"] + at["height"] / 2)
    page.mouse.down()
    page.mouse.move(at["x"] + at["width"] * 0.6, at["y"] + at["height"] * 0.6, steps=8)
    page.mouse.up()
    page.wait_for_timeout(1500)  # the strokes are sent
    shoot(page, f"mask-{page.viewport_size['width']}")
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("inside the given mask", timeout=40_000)


def test_an_edit_by_its_words(page: Any) -> None:
    open_tab(page, "Edit")
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status [role=alert]")).to_contain_text("prompt is empty")
    box(page, "edit-prompt").fill(PROMPT)
    box(page, "edits").fill("hat -> cap")
    api.expect(page.locator("#alignment [role=alert]")).to_contain_text("^^^")
    box(page, "edits").fill("red -> green\nsmall * 2.5")
    api.expect(page.locator("#alignment .uv-fate-swapped")).to_contain_text("green")
    api.expect(page.locator("#alignment .uv-weighted")).to_contain_text("×2.5")
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("of 30")
    api.expect(page.locator("#edit-status").first).to_contain_text("Changed by", timeout=40_000)
    api.expect(page.locator("#edit-comparison img")).to_be_visible()
    api.expect(page.locator("#edit-preview")).not_to_be_visible()
    pictures = page.locator("#edit-pictures button.thumbnail-item")
    api.expect(pictures).to_have_count(2)
    api.expect(page.locator("#edit-masks button.thumbnail-item")).to_have_count(1)
    shoot(page, f"edited-{page.viewport_size['width']}")
    page.locator("#edit-sweep").click()
    api.expect(page.locator("#cancel-edit")).to_be_visible()
    api.expect(page.locator("#edit-status").first).to_contain_text("of the steps")
    page.locator("#cancel-edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("Cancelled")
    api.expect(page.locator("#edit")).to_be_enabled()


def test_an_edit_that_no_longer_fits_the_controls_is_out_of_date(page: Any) -> None:
    open_tab(page, "Edit")
    stale = page.locator("#edit-out-of-date .uv-stale")
    box(page, "edit-prompt").fill(PROMPT)
    box(page, "edits").fill("red -> green")
    api.expect(stale).to_have_count(0)  # there is no result yet
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("Changed by", timeout=LONG)
    api.expect(stale).to_have_count(0)
    box(page, "edits").fill("red -> yellow")
    api.expect(stale).to_contain_text("Edits. Press Edit to update")
    api.expect(page.locator("#edit-comparison img")).to_have_css("opacity", "0.45")
    shoot(page, f"edit-out-of-date-{page.viewport_size['width']}")
    box(page, "edits").fill("red -> green")
    api.expect(stale).to_have_count(0)
    page.locator(".label-wrap", has_text="A picture of yours").click()
    page.locator("#edit-upload input[type=file]").set_input_files(str(ROOT / "docs" / "sweep.png"))
    api.expect(stale).to_contain_text("Picture")


def test_a_comparison_that_no_longer_fits_the_controls_is_out_of_date(page: Any) -> None:
    box(page, "prompt").fill("a (~: IN00-M00: red ; OUT00-OUT02: blue :~) circle")
    page.locator("#compare").click()
    api.expect(page.locator("#compare-status").first).to_contain_text("Done", timeout=LONG)
    stale = page.locator("#compare-out-of-date .uv-stale")
    api.expect(stale).to_have_count(0)
    box(page, "prompt").fill("a (~: IN00-M00: red ; OUT00-OUT02: green :~) circle")
    api.expect(stale).to_contain_text("Prompt. Press Compare with and without to update")
    shoot(page, f"comparison-out-of-date-{page.viewport_size['width']}")
    page.locator("#compare").click()
    api.expect(stale).to_have_count(0, timeout=LONG)


def workspace(page: Any, title: str) -> Any:
    """What is in the frame of the tab Explore, once it shows this."""
    frame = page.frame_locator("iframe.uv-workspace")
    api.expect(frame.locator("#uv-workspace").first).to_contain_text(title, timeout=LONG)
    return frame


def test_a_run_is_explored_by_keys_and_saved(page: Any) -> None:
    generate(page)
    done(page)
    page.locator("#explore-run").click()
    frame = workspace(page, PROMPT)
    api.expect(frame.get_by_role("button", name="square").first).to_be_visible()
    frame.get_by_role("button", name="Keys").press("?")
    api.expect(frame.get_by_text("Next word").first).to_be_visible()
    page.keyboard.press("Escape")
    api.expect(frame.get_by_text("Next word").first).not_to_be_visible()
    page.locator("#explore-save").click(timeout=LONG)
    link = page.locator("#explore-file a").first
    api.expect(link).to_be_visible(timeout=LONG)
    with page.expect_download() as download:
        link.click()
    saved = Path(download.value.path()).read_text(encoding="utf-8")
    assert "connect-src" not in saved
    assert "default-src 'none'" in saved
    assert PROMPT in saved


def test_an_edit_is_explored_before_and_after(page: Any) -> None:
    open_tab(page, "Edit")
    box(page, "edit-prompt").fill(PROMPT)
    box(page, "edits").fill("red -> green")
    page.locator("#edit").click()
    api.expect(page.locator("#edit-status").first).to_contain_text("Changed by", timeout=LONG)
    page.locator("#explore-edit").click()
    frame = workspace(page, "target 1: red -> green")
    api.expect(frame.get_by_text("source").first).to_be_visible()
    api.expect(frame.get_by_role("button", name="Difference").first).to_be_visible()


def test_dumps_are_explored_and_what_is_none_is_refused(page: Any, tmp_path: Path) -> None:
    from test_workspace import recorded

    from lib_unet_viz.capture.dump import save_trace

    dumps = [str(save_trace(recorded(seed), tmp_path / name)) for seed, name in ((0, "old"), (5, "new"))]
    open_tab(page, "Explore")
    page.locator("#explore-last").click()
    api.expect(page.locator("#explore-note [role=alert]")).to_contain_text("nothing to open")
    for place, dump in zip(("a", "b"), dumps, strict=True):
        page.locator(f"#explore-{place} input[type=file]").set_input_files(dump)
        api.expect(page.locator(f"#explore-{place}").first).to_contain_text("KB", timeout=LONG)
    page.locator("#explore-dumps").click()
    frame = workspace(page, "red circle")
    for name in ("old", "new"):
        api.expect(frame.get_by_text(name, exact=True).first).to_be_visible()
    shoot(page, f"explored-{page.viewport_size['width']}")
