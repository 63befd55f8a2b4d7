"""The webui's page in headless Chromium: the script's panel, the gallery, PNG Info, X/Y/Z plots.

WEBUI_SHOTS: a folder to save pictures of the page to.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.recording import asking
from webui.serving import Webui

PROMPT = "a big red circle and a small blue square"
# The webui's own when a size changes: onCalcResolutionHires returns values, its event has no outputs (ui.py).
OF_THE_WEBUI = "Cannot read properties of undefined (reading 'props')"
FAST = {"steps": 4, "width": 128, "height": 128}


@pytest.fixture
def page(webui: Webui, browser: Any) -> Iterator[Any]:
    yield from opened(webui, browser)


def opened(webui: Webui, browser: Any) -> Iterator[Any]:
    """A fresh page, whose errors fail the test, with small pictures chosen in txt2img."""
    shown = browser.new_page(viewport={"width": 1400, "height": 1100}, accept_downloads=True)
    shown.set_default_timeout(40_000)
    wrong: list[str] = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.goto(webui.url, wait_until="domcontentloaded")
    shown.wait_for_selector("#txt2img_generate")
    shown.wait_for_function("typeof gradioApp === 'function' && gradioApp().querySelector('#txt2img_seed')")
    shown.wait_for_timeout(2500)  # the webui's own scripts have yet to take hold
    choose_sizes(shown, "txt2img")
    yield shown
    shown.close()
    assert [error for error in wrong if error != OF_THE_WEBUI] == []


def choose_sizes(page: Any, tab: str) -> None:
    for name, value in FAST.items():
        field = page.locator(f"#{tab}_{name} input[type=number]")
        field.fill(str(value))
        field.press("Tab")
    seed = page.locator(f"#{tab}_seed input[type=number]")
    seed.fill("7")
    seed.press("Tab")
    page.locator(f"#{tab}_prompt textarea").fill(PROMPT)


def shoot(page: Any, name: str) -> None:
    folder = os.environ.get("WEBUI_SHOTS")
    if folder:
        page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


def choose_script(page: Any, tab: str = "txt2img", name: str = "U-Net Viz") -> None:
    choose(page.locator(f"#tab_{tab} #script_list"), name)
    page.wait_for_timeout(500)


def choose(dropdown: Any, name: str) -> None:
    """Pick an entry of one of the page's dropdowns."""
    dropdown.locator("input").click()
    dropdown.locator("ul li").filter(has_text=re.compile(rf"^\W*{re.escape(name)}\s*$")).first.click()


def field(page: Any, path: str, tab: str = "txt2img") -> Any:
    """A component of the script's panel, such as `features.blocks`."""
    return page.locator(f"#{tab}_unet_viz_{path.replace('.', '_')}")


def tick(page: Any, path: str, tab: str = "txt2img", *, on: bool = True) -> None:
    field(page, path, tab).locator("input[type=checkbox]").first.set_checked(on)


def write(page: Any, path: str, text: str, tab: str = "txt2img") -> None:
    box = field(page, path, tab).locator("textarea, input").first
    box.fill(text)
    box.press("Tab")


def generate(page: Any, tab: str = "txt2img") -> None:
    """Press Generate and wait for the end of the run."""
    before = page.locator(f"#{tab}_gallery img").count()
    page.locator(f"#{tab}_generate").click()
    interrupt = page.locator(f"#{tab}_interrupt")
    if not before:
        page.wait_for_selector(f"#{tab}_gallery img", timeout=120_000)
    interrupt.wait_for(state="hidden", timeout=120_000)
    page.wait_for_timeout(500)


def thumbnails(page: Any, tab: str = "txt2img") -> Any:
    return page.locator(f"#{tab}_gallery .thumbnail-item.thumbnail-small")


def said(page: Any, tab: str = "txt2img") -> str:
    """What stands under the gallery."""
    return " ".join(page.locator(f"#html_log_{tab}, #html_info_{tab}").all_inner_texts())


def test_one_tick_and_generate_gives_something_to_look_at(page: Any) -> None:
    choose_script(page)
    tick(page, "features.enabled")
    shoot(page, "panel")
    generate(page)
    assert thumbnails(page).count() > 4
    shoot(page, "gallery")
    thumbnails(page).nth(1).click()
    page.wait_for_timeout(800)
    text = said(page)
    assert "Seed: 7" in text
    assert "IN02" in text, f"no caption of the sheet: {text}"


def test_word_maps(page: Any) -> None:
    choose_script(page)
    tick(page, "heatmaps")
    generate(page)
    assert thumbnails(page).count() == 2
    shoot(page, "words")


def test_img2img_has_the_script_too(page: Any, tmp_path: Path) -> None:
    file = tmp_path / "in.png"
    Image.effect_noise((128, 128), 90).convert("RGB").save(file)
    page.locator("#tabs").get_by_role("button", name="img2img", exact=True).click()
    choose_sizes(page, "img2img")
    page.locator("#img2img_image input[type=file]").first.set_input_files(str(file))
    page.wait_for_selector("#img2img_image img")
    choose_script(page, "img2img")
    tick(page, "features.enabled", "img2img")
    write(page, "features.blocks", "M00", "img2img")
    write(page, "features.steps", "1", "img2img")
    generate(page, "img2img")
    assert thumbnails(page, "img2img").count() == 2


def test_the_read_out_of_layers_follows_without_generate(page: Any) -> None:
    choose_script(page)
    tick(page, "features.enabled")
    write(page, "features.blocks", "IN00,M00")
    readout = page.locator("#tab_txt2img .uv-readout:visible").last  # the first ones are of the word maps
    readout.get_by_text("M00").first.wait_for()
    first = readout.inner_text()
    write(page, "features.blocks", "IN00-OUT11")
    page.wait_for_function(
        "before => [...document.querySelectorAll('#tab_txt2img .uv-readout')]"
        ".some(e => e.offsetParent && e.innerText !== before && e.innerText.includes('25'))",
        arg=first,
    )
    write(page, "features.blocks", "IN00, OUT99")
    page.locator("#tab_txt2img .uv-readout:visible [role=alert]").first.wait_for()
    assert "OUT99" in readout.inner_text()
    assert "^" in readout.inner_text()
    shoot(page, "readout")


def test_sliders_are_shown_only_where_they_apply(page: Any) -> None:
    choose_script(page)
    transform, minimum = field(page, "features.color.transform"), field(page, "features.color.minimum")
    gain = field(page, "features.color.gain")
    assert not minimum.is_visible()
    transform.get_by_text("Linear").click()
    minimum.wait_for(state="visible")
    transform.get_by_text("Sigmoid").click()
    gain.wait_for(state="visible")
    minimum.wait_for(state="hidden")


def test_wrong_settings_are_told_in_the_page(page: Any) -> None:
    choose_script(page)
    tick(page, "features.enabled")
    write(page, "features.blocks", "IN00, OUT99")
    page.locator("#txt2img_generate").click()
    page.wait_for_function(
        "document.querySelector('#txt2img_results').innerText.includes('OUT99')", timeout=60_000
    )
    text = page.locator("#txt2img_results").inner_text()
    assert "Traceback" not in text
    assert "this model has no block OUT99 (at “OUT99” in “IN00, OUT99”); allowed: IN00" in text


def test_save_and_zip(page: Any, webui: Webui) -> None:
    choose_script(page)
    tick(page, "features.enabled")
    write(page, "features.blocks", "M00,OUT11")
    write(page, "features.steps", "1")
    generate(page)
    assert thumbnails(page).count() == 3
    thumbnails(page).nth(1).click()
    before = _saved(webui)
    page.locator("#save_txt2img").click()
    page.wait_for_function("document.querySelector('#html_log_txt2img').innerText.includes('Saved')")
    assert len(_saved(webui) - before) == 1
    webui.options(save_selected_only=False)
    try:
        page.locator("#save_zip_txt2img").click()
        page.wait_for_function(
            "document.querySelector('#download_files_txt2img').innerText.includes('.zip')", timeout=60_000
        )
    finally:
        webui.options(save_selected_only=True)
    newest = max(_saved(webui, "*.zip"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(newest) as archive:
        assert len([name for name in archive.namelist() if name.endswith(".png")]) == 3


def _saved(webui: Webui, pattern: str = "*.png") -> set[Path]:
    """In the folder of the Save button: `outdir_save`, by default log/images below the data folder."""
    folder = Path(str(webui.get("/sdapi/v1/options")["outdir_save"]))
    return set((folder if folder.is_absolute() else webui.data / folder).rglob(pattern))


def test_sheets_are_saved_beside_their_picture(page: Any, webui: Webui) -> None:
    before = set(webui.outputs.rglob("*.png"))
    choose_script(page)
    tick(page, "features.enabled")
    write(page, "features.blocks", "M00")
    write(page, "features.steps", "1,4")
    generate(page)
    new = sorted(path for path in webui.outputs.rglob("*.png") if path not in before)
    assert len(new) == 3
    assert len({path.parent for path in new}) == 1
    assert len({path.name.split("-")[0] for path in new}) == 1
    assert sum("M00" in path.name for path in new) == 2
    for path in new:
        with Image.open(path) as image:
            assert "Seed: 7" in image.info["parameters"]


def test_png_info_brings_the_settings_back(page: Any, webui: Webui, tmp_path: Path) -> None:
    wanted = {
        "features": {"blocks": "IN03,M00", "steps": "2,4", "color": {"transform": "Linear", "minimum": -3}}
    }
    answer = webui.txt2img(prompt="a star", **asking("dropdown", wanted), save_images=True)
    newest = max(webui.outputs.rglob("*.png"), key=lambda path: path.stat().st_mtime_ns)
    sheets = len(answer.images) - 1
    assert sheets == 4
    page.locator("#tabs").get_by_role("button", name="PNG Info", exact=True).click()
    page.locator("#pnginfo_image input[type=file]").first.set_input_files(str(newest))
    page.wait_for_function("document.querySelector('#tab_pnginfo').innerText.includes('U-Net Viz')")
    page.locator("#txt2img_tab:visible, #tab_pnginfo button:has-text('txt2img')").last.click()
    page.wait_for_timeout(3000)
    assert page.locator("#txt2img_prompt textarea").input_value() == "a star"
    assert page.locator("#tab_txt2img #script_list input").input_value() == "U-Net Viz"
    assert field(page, "features.enabled").locator("input").is_checked()
    assert field(page, "features.blocks").locator("textarea, input").first.input_value() == "IN03,M00"
    assert field(page, "features.steps").locator("textarea, input").first.input_value() == "2,4"
    assert field(page, "features.color.transform").locator("input:checked").input_value() == "Linear"
    assert not field(page, "heatmaps").locator("input").is_checked()
    generate(page)
    assert thumbnails(page).count() == 1 + sheets


def test_the_always_on_accordion_goes_with_another_script(page: Any) -> None:
    page.locator("#txt2img_unet_viz_accordion").get_by_text("U-Net Viz").first.click()
    always = page.locator("#txt2img_unet_viz_always_features_enabled")
    always.wait_for(state="visible")
    always.locator("input").check()
    write(page, "always.features.blocks", "M00")
    write(page, "always.features.steps", "1")
    choose_script(page, name="Prompt matrix")
    page.locator("#txt2img_prompt textarea").fill("a circle|red")
    generate(page)
    # the matrix's grid and its two pictures: it counts them, so the sheets are saved only
    assert thumbnails(page).count() == 1 + 2
    assert "counts its pictures" in page.locator("#html_log_txt2img").first.inner_text()
    shoot(page, "accordion")


def test_the_accordion_is_absent_unless_chosen(started: Any, browser: Any) -> None:
    webui = started("--server-name", "127.0.0.1", unet_viz_always_on=False)
    for page in opened(webui, browser):
        assert page.locator("#txt2img_unet_viz_accordion").count() == 0
        choose_script(page)
        field(page, "features.enabled").wait_for(state="visible")


def test_the_option_is_on_the_settings_page(page: Any) -> None:
    page.locator("#tabs").get_by_role("button", name="Settings", exact=True).click()
    page.locator("#settings_search input, #settings_search textarea").first.fill("U-Net Viz")
    page.locator("#setting_unet_viz_always_on").wait_for(state="visible")


# X/Y/Z plots


def plot(
    webui: Webui,
    x: tuple[str, str],
    y: tuple[str, str] = ("Nothing", ""),
    *,
    kind: str = "txt2img",
    **more: Any,
) -> Any:
    """An X/Y/Z plot by the API, with the always-on script as `more` says: the grid, then its cells."""
    names = {
        arg["label"]: arg
        for script in webui.get("/sdapi/v1/script-info")
        if script["name"].lower() == "x/y/z plot" and script["is_img2img"] == (kind == "img2img")
        for arg in script["args"]
    }
    types = names["X type"]["choices"]
    arguments = [types.index(x[0]), x[1], [], types.index(y[0]), y[1], [], 0, "", []]
    # legend, sub images, sub grids, -1 for seeds, vary seeds for X, Y, Z, margin, text inputs
    arguments += [False, True, False, False, False, False, False, 0, False]
    return webui.generate(kind, {"script_name": "x/y/z plot", "script_args": arguments, **more})


def test_a_plot_of_layers(webui: Webui) -> None:
    """Each cell shows that layer's sheet: the same as a run of its own."""
    answer = plot(webui, ("[U-Net Viz] Layers", "M00,OUT11"), ("[U-Net Viz] Steps", "1,4"))
    grid = answer.images[0]
    for row, step in enumerate("14"):
        for column, block in enumerate(("M00", "OUT11")):
            single = webui.txt2img(
                **asking("dropdown", {"features": {"blocks": block, "steps": step}})
            ).pixels()[1]
            cells = [np.asarray(image.convert("RGB")) for image in answer.images[1:]]
            assert any(cell.shape == single.shape and (cell == single).all() for cell in cells), (row, column)
    assert grid.width >= 2 * 128


def test_a_plot_of_words(webui: Webui) -> None:
    answer = plot(webui, ("[U-Net Viz] Word", "circle,square"))
    assert len(answer.images) >= 3
    one, other = (np.asarray(image.convert("RGB")) for image in answer.images[1:3])
    assert one.shape != other.shape or (one != other).any()


def test_a_plot_of_something_else_keeps_its_pictures(webui: Webui) -> None:
    plain = plot(webui, ("Seed", "1,2"))
    wanted = asking("always on", {"features": {"blocks": "M00", "steps": "1"}})
    with_sheets = plot(webui, ("Seed", "1,2"), **wanted)
    shown = {image.tobytes() for image in with_sheets.pixels()}
    for picture in plain.pixels()[1:]:
        assert picture.tobytes() in shown


def test_a_plot_of_a_wrong_layer_is_refused(webui: Webui) -> None:
    with pytest.raises(AssertionError, match="OUT99"):
        plot(webui, ("[U-Net Viz] Layers", "M00,OUT99"))


def test_a_difference_that_no_longer_fits_the_controls_is_out_of_date(page: Any) -> None:
    choose_script(page)
    page.locator("#txt2img_prompt textarea").fill("a (~: IN00-M00: red ; OUT00-OUT11: blue :~) circle")
    page.locator("#tab_txt2img").get_by_role("button", name="Layer prompts", exact=True).click()
    tick(page, "difference.enabled")
    generate(page)
    stale = page.locator("#txt2img_unet_viz_difference-out-of-date .uv-stale")
    assert stale.count() == 0
    page.locator("#txt2img_prompt textarea").fill("a (~: IN00-M00: red ; OUT00-OUT11: green :~) circle")
    stale.wait_for()
    assert "Changed since then: Prompt. Press Generate" in stale.inner_text()
    shoot(page, "difference-out-of-date")
    page.locator("#txt2img_prompt textarea").fill("a (~: IN00-M00: red ; OUT00-OUT11: blue :~) circle")
    stale.wait_for(state="detached")
