"""Make the README's pictures of the webui anew: `python docs/webui_pictures.py`, its URL in SD_WEBUI_URL.

The webui there has this extension, and the bundled model loaded (`python -m lib_unet_viz.demo.export`).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

FOLDER = Path(__file__).parent
PROMPT = "a big red circle and a small blue square on a white background"
WIDTH = 1280
PAUSE = 1500  # ms, for what the page does by itself


def main() -> None:
    """Open the webui in Chromium, use it as a person would, and keep what is seen."""
    with sync_playwright() as play:
        options = {"executable_path": shutil.which("chromium")} if shutil.which("chromium") else {}
        browser = play.chromium.launch(args=["--no-sandbox"], **options)  # type: ignore[arg-type]
        page = browser.new_page(viewport={"width": WIDTH, "height": 1000})
        page.goto(os.environ["SD_WEBUI_URL"], wait_until="networkidle")
        page.wait_for_selector("#txt2img_prompt textarea")
        _choose(page)
        page.locator("#txt2img_results_panel").evaluate("e => e.scrollIntoView()")
        _generate(page)
        _panel(page)
        _gallery(page)
        _edit(page)
        _vxa(page)
        browser.close()


def _choose(page: Any) -> None:
    page.fill("#txt2img_prompt textarea", PROMPT)
    page.locator("#tab_txt2img #script_list input").click()
    page.locator("ul.options li", has_text="U-Net Viz").first.click()
    for name, value in (("width", "128"), ("height", "128"), ("steps", "20"), ("seed", "7")):
        field = page.locator(f"#txt2img_{name} input[type=number]")
        field.fill(value)
        field.press("Enter")
    page.wait_for_timeout(PAUSE)
    page.locator("#txt2img_unet_viz_heatmaps input").check()
    page.locator("#txt2img_unet_viz_features_enabled input").check()
    page.locator("#txt2img_unet_viz_features_steps textarea, #txt2img_unet_viz_features_steps input").fill(
        "20"
    )
    page.wait_for_timeout(PAUSE)


def _generate(page: Any) -> None:
    page.click("#txt2img_generate")
    page.wait_for_selector(
        "#txt2img_gallery .thumbnail-item img, #txt2img_gallery .thumbnails img", timeout=300_000
    )
    page.wait_for_timeout(2 * PAUSE)


def _panel(page: Any) -> None:
    panel = page.locator("#txt2img_script_container")
    panel.screenshot(path=FOLDER / "webui-panel.png")


def _gallery(page: Any) -> None:
    thumbnails = page.locator("#txt2img_gallery .thumbnails button, #txt2img_gallery .thumbnail-item")
    thumbnails.nth(1).click()
    page.wait_for_timeout(PAUSE)
    page.locator("#txt2img_results").screenshot(path=FOLDER / "webui-gallery.png")
    thumbnails.nth(0).click()
    page.wait_for_timeout(PAUSE)


def _edit(page: Any) -> None:
    panel = page.locator("#txt2img_script_container")
    for name in ("heatmaps", "features_enabled"):
        page.locator(f"#txt2img_unet_viz_{name} input").uncheck()
    panel.locator("button:visible", has_text="Edit").first.click()
    page.locator("#txt2img_unet_viz_edit_enabled input").check()
    page.locator("#txt2img_unet_viz_edit_edits textarea").fill(
        "circle -> star\n---\nred -> green; square * 2"
    )
    page.wait_for_timeout(2 * PAUSE)
    panel.screenshot(path=FOLDER / "webui-edit.png")


def _vxa(page: Any) -> None:
    page.click("#txt2img_send_to_vxa")
    page.wait_for_timeout(2 * PAUSE)
    page.locator("#vxa-tokens label", has_text="circle").click()
    page.wait_for_timeout(PAUSE)
    page.click("#vxa-visualize")
    page.wait_for_selector("#vxa-result img", timeout=300_000)
    page.wait_for_timeout(2 * PAUSE)
    _looks(page)


def _looks(page: Any) -> None:
    page.get_by_text("Self-attention: click the picture").last.click()
    page.wait_for_timeout(PAUSE)
    picture = page.locator("#vxa-result img")
    box = picture.bounding_box()
    picture.click(position={"x": box["width"] * 0.5, "y": box["height"] * 0.35})
    page.wait_for_selector("#vxa-look img")
    page.wait_for_timeout(PAUSE)
    page.locator("#vxa-look").evaluate("e => e.scrollIntoView({block: 'end'})")
    page.screenshot(path=FOLDER / "webui-looks.png")


if __name__ == "__main__":
    main()
