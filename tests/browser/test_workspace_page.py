"""The workspace as a file on disk, in Chromium without a network: by mouse, by keyboard, pixel by pixel.

WORKSPACE_SHOTS: a folder to save pictures of the workspace to.
"""

from __future__ import annotations

import base64
import html as escaping
import io
import os
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import workspace_sample as sample
from PIL import Image

from lib_unet_viz.workspace import page

api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.browser

CHROMIUM = "/usr/bin/chromium"
WIDTHS = (1400, 1000, 700)
Values = npt.NDArray[np.float64]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


class Visit:
    """A page that was opened from disk, what it asked for, and what it complained of."""

    def __init__(self, browser: Any, path: Path, *, script: str = "", **settings: Any) -> None:
        given = {"viewport": {"width": 1400, "height": 900}, "locale": "en-US", **settings}
        self.context = browser.new_context(offline=True, **given)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.asked: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)
        if script:
            self.page.add_init_script(script)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready]")

    def keys(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)
        self.settle()

    def settle(self) -> None:
        """Until the maps that are wanted are drawn."""
        self.page.evaluate("() => new Promise((done) => setTimeout(done, 60))")
        self.page.evaluate(
            "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )

    def choose(self, label: str, option: str) -> None:
        self.page.get_by_label(label, exact=True).select_option(option)
        self.settle()

    def pixels(self, part: str) -> npt.NDArray[np.uint8]:
        """(y, x, rgba) of the canvas in that part."""
        width, height, data = self.page.evaluate(
            """(part) => {
              const canvas = document.querySelector(part + " canvas");
              const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
              let text = "";
              for (let at = 0; at < data.length; at += 32768)
                text += String.fromCharCode(...data.subarray(at, at + 32768));
              return [canvas.width, canvas.height, btoa(text)];
            }""",
            part,
        )
        return np.frombuffer(base64.b64decode(data), np.uint8).reshape(height, width, 4)

    def cells(self, side: int, count: int) -> npt.NDArray[np.uint8]:
        """(picture, y, x, rgba) of the sheet, a pixel for each value."""
        grid, pixels = self.page.evaluate("() => uvWorkspace.sheet.grid"), self.pixels(".uv-sheet")
        pitch = side * grid["zoom"] + 1
        places = [(at // grid["columns"] * pitch, at % grid["columns"] * pitch) for at in range(count)]
        zoom = grid["zoom"]
        return np.stack([pixels[y : y + pitch - 1, x : x + pitch - 1][::zoom, ::zoom] for y, x in places])

    def read(self) -> str:
        return str(self.page.locator(".uv-read").inner_text())

    def said(self) -> str:
        return str(self.page.locator("[role=status]").inner_text())

    def state(self, name: str) -> Any:
        return self.page.evaluate("(name) => uvWorkspace.state[name]", name)

    def overflow(self) -> int:
        root = "document.documentElement"
        return int(self.page.evaluate(f"() => {root}.scrollWidth - {root}.clientWidth"))

    def close(self) -> None:
        self.context.close()
        assert self.errors == []
        assert [url for url in self.asked if not url.startswith(("file:", "blob:", "data:"))] == []


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("workspace")
    made = {
        "one": sample.html(),
        "two": sample.html(2),
        "xl": sample.html(1, sample.SDXL, maps=[]),
        "empty": sample.html(maps=[], words=[], picture=None, steps=[], blocks=[], measures={}, means={}),
    }
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in made}


@pytest.fixture
def one(browser: Any, files: dict[str, Path]) -> Iterator[Visit]:
    visit = Visit(browser, files["one"])
    yield visit
    visit.close()


@pytest.fixture
def two(browser: Any, files: dict[str, Path]) -> Iterator[Visit]:
    visit = Visit(browser, files["two"])
    yield visit
    visit.close()


def stored(bundle: Any, run: int, **wanted: Any) -> Values:
    """(n, y, x): values of a map as the file holds them."""
    maps = bundle.manifest["runs"][run]["maps"]
    [entry] = [each for each in maps if all(each[name] == value for name, value in wanted.items())]
    where = entry["values"]
    raw = zlib.decompress(bundle.numbers[where["at"] : where["at"] + where["bytes"]])
    count = where["planes"]
    low, high = (
        np.frombuffer(raw, "<f4", count, at * 4 * count).astype(float)[:, None, None] for at in (0, 1)
    )
    levels = np.frombuffer(raw, np.uint8, offset=8 * count).reshape(count, *where["shape"])
    values: Values = low + (high - low) * levels / 254
    return values


def grey(values: Values, low: Any, high: Any) -> Values:
    shares: Values = np.clip((values - low) / (high - low), 0, 1)
    return np.round(255 * shares)


# Sheets --------------------------------------------------------------------------------------------------

# WebGL2 even where it is by software, which is then not found out.
WEBGL = "WebGL2RenderingContext.prototype.getExtension = () => null;"


@pytest.mark.parametrize("script", [WEBGL, ""], ids=["webgl", "canvas"])
def test_pixels_are_the_values_in_each_range(browser: Any, files: dict[str, Path], script: str) -> None:
    visit, values = (
        Visit(browser, files["one"], script=script),
        stored(sample.bundle(), 0, block="OUT11", step=20),
    )
    assert visit.page.evaluate("() => !!uvWorkspace.sheet.painter.gl") == bool(script)
    visit.choose("Colours", "grey")
    limits = {
        "Each": (values.min((1, 2), keepdims=True), values.max((1, 2), keepdims=True)),
        "Sheet": (values.min(), values.max()),
        "Percentile": tuple(np.quantile(values, (0.01, 0.99))),
        "Symmetric": (-abs(values).max(), abs(values).max()),
    }
    for scale, (low, high) in limits.items():
        visit.choose("Range", scale)
        found = visit.cells(64, 320).astype(float)
        assert (found[..., 3] == 255).all()
        # a level of the table; percentiles are known to a 4096th of the range
        assert abs(found[..., 0] - grey(values, low, high)).max() <= (2 if scale == "Percentile" else 1), (
            scale
        )
    visit.close()


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ("viridis", (68, 1, 84), (253, 231, 37)),
        ("inferno", (0, 0, 4), (252, 255, 164)),
        ("blue-white-red", (33, 102, 172), (178, 24, 43)),
    ],
)
def test_colours_change_at_once(one: Visit, table: str, low: Any, high: Any) -> None:
    one.choose("Colours", table)
    values, found = stored(sample.bundle(), 0, block="OUT11", step=20), one.cells(64, 320)[..., :3]
    assert abs(found[np.unravel_index(values.argmin(), values.shape)].astype(int) - low).max() <= 1
    assert abs(found[np.unravel_index(values.argmax(), values.shape)].astype(int) - high).max() <= 1


def test_a_pointer_reads_channel_place_and_value(one: Visit) -> None:
    values = stored(sample.bundle(), 0, block="OUT11", step=20)
    grid, box = (
        one.page.evaluate("() => uvWorkspace.sheet.grid"),
        one.page.locator(".uv-sheet canvas").bounding_box(),
    )
    pitch = 65 * box["width"] / (grid["columns"] * 65 - 1)
    column, row = 3, 5
    one.page.mouse.move(box["x"] + (column + 0.5) * pitch, box["y"] + (row + 0.5) * pitch)
    found = re.fullmatch(r"channel (\d+) · x (\d+), y (\d+) · (.+)", one.read())
    assert found
    channel, x, y = map(int, found.groups()[:3])
    assert channel == row * grid["columns"] + column
    assert float(found[4]) == pytest.approx(values[channel, y, x], rel=5e-3, abs=1e-3)
    one.page.mouse.click(box["x"] + (column + 0.5) * pitch, box["y"] + (row + 0.5) * pitch)
    one.settle()
    assert one.read() == f"Step 20 · channel {channel}"
    one.choose("Colours", "grey")
    assert (
        abs(
            one.cells(64, 1)[0, ..., 0] - grey(values[channel], values[channel].min(), values[channel].max())
        ).max()
        > 1
    )
    one.choose("Range", "Each")
    limits = values[channel].min(), values[channel].max()
    assert abs(one.cells(64, 1)[0, ..., 0] - grey(values[channel], *limits)).max() <= 1
    one.page.get_by_role("button", name="Next").click()
    one.settle()
    assert one.read() == f"Step 20 · channel {channel + 1}"
    one.page.get_by_role("button", name="Whole sheet").click()
    one.settle()
    assert one.state("cell") is None


def test_a_sheet_is_entered_by_keyboard(one: Visit) -> None:
    one.page.get_by_role("grid").focus()
    columns = one.page.evaluate("() => uvWorkspace.sheet.grid.columns")
    one.keys("ArrowRight", "ArrowRight", "ArrowDown")
    assert one.read() == one.said() == f"channel {columns + 2}"
    assert one.page.get_by_role("gridcell").get_attribute("aria-label") == f"channel {columns + 2}"
    one.keys("Enter")
    assert one.state("cell") == columns + 2
    one.keys("ArrowRight")
    assert one.state("cell") == columns + 3
    one.keys("Escape")
    assert one.state("cell") is None
    one.keys("z", "z", "End")
    assert one.read() == "channel 319"


def test_heads_by_tokens(one: Visit) -> None:
    one.page.locator("[data-block=IN04]").click()
    one.settle()
    assert one.page.locator(".uv-columns span").all_inner_texts() == list(sample.WORDS)
    assert one.page.locator(".uv-rows span").all_inner_texts() == [str(head) for head in range(8)]
    one.keys("h", "h")
    assert one.state("head") == 1
    assert one.page.locator(".uv-rows span").all_inner_texts() == ["1"]
    one.choose("Colours", "grey")
    values = stored(sample.bundle(), 0, block="IN04", step=20)[6:12]
    assert abs(one.cells(32, 6)[..., 0] - grey(values, values.min(), values.max())).max() <= 1
    one.page.locator(".uv-sheet canvas").hover(position={"x": 5, "y": 5})
    assert one.read().startswith("head 1, token “a” · x")
    one.keys("w", "w", "w")
    assert one.page.locator(".uv-columns .uv-chosen").all_inner_texts() == ["circle"]


# Words, blocks, steps ------------------------------------------------------------------------------------


def test_a_word_lays_its_heat_over_the_greyed_picture(one: Visit) -> None:
    plain = one.pixels(".uv-picture").astype(int)
    assert abs(plain[250, 180, :3] - [200, 40, 40]).max() <= 2
    one.page.get_by_role("button", name="circle").click()
    one.settle()
    found = one.pixels(".uv-picture").astype(int)[..., :3]
    y, x = np.unravel_index(found.sum(-1).argmax(), found.shape[:2])
    assert abs(x / 512 - 0.45) < 0.05
    assert abs(y / 512 - 0.4) < 0.05
    assert np.ptp(found[480, 480]) <= 30  # grey, but for the least of the heat
    assert one.page.locator(".uv-said").first.inner_text() == "“circle” strength 0.264"
    assert one.page.get_by_label("Colour by").input_value() == "word"
    assert one.page.locator(".uv-curve").count() == 1
    assert "“circle” over the steps: 0.293" in one.page.locator(".uv-time").inner_text()
    one.page.get_by_role("button", name="circle").click()
    one.settle()
    assert (one.pixels(".uv-picture") == plain).all()


def test_w_goes_through_the_words_and_back_to_none(one: Visit) -> None:
    found = []
    for _ in range(len(sample.WORDS) + 1):
        one.keys("w")
        found.append(one.state("word"))
    assert found == [*range(len(sample.WORDS)), None]


@pytest.mark.parametrize(("name", "count"), [("one", 25), ("xl", 19)])
def test_the_u_has_the_blocks_of_the_model(
    browser: Any, files: dict[str, Path], name: str, count: int
) -> None:
    visit = Visit(browser, files[name])
    assert visit.page.get_by_role("radio").count() == count
    assert visit.page.locator(".uv-skip").count() == count // 2
    sizes = visit.page.locator(".uv-size").all_text_contents()
    assert sizes == (
        ["64 × 64", "32 × 32", "16 × 16", "8 × 8"] if count == 25 else ["128 × 128", "64 × 64", "32 × 32"]
    )
    visit.close()


def test_blocks_by_mouse_and_by_keyboard(one: Visit) -> None:
    radio = one.page.get_by_role("radio", checked=True)
    assert one.page.locator(".uv-block[tabindex='0']").count() == 1
    one.page.locator("[data-block=IN04]").click()
    assert "IN04 · 32 × 32 · 640 channels · Activation norm: 2.8 · has maps" in radio.get_attribute(
        "aria-label"
    )
    radio.focus()
    one.keys("ArrowDown")
    assert one.page.evaluate("() => document.activeElement.dataset.block") == "IN05"
    assert (
        one.page.locator(".uv-empty").inner_text()
        == "This run holds no maps of IN05. Blocks with a dot have maps."
    )
    one.keys("ArrowUp", "ArrowUp", "ArrowUp", "ArrowUp")
    assert one.page.locator(".uv-sheet h2").inner_text() == "IN01"
    assert one.said() == "IN01 · Features · Step 20 · 320 pictures of 64 × 64"
    one.choose("Colour by", "words")
    dark, light = (
        one.page.locator(f"[data-block={name}] rect").evaluate("(rect) => rect.style.fill")
        for name in ("IN01", "OUT10")
    )
    assert (dark, light) == ("rgb(68, 1, 84)", "rgb(253, 231, 37)")
    assert one.page.locator("[data-block=IN00] rect").evaluate("(rect) => rect.style.fill") == ""


def test_steps_by_key_slider_and_curve(one: Visit) -> None:
    assert one.page.locator("output").inner_text() == "Step 20 · noise level 5"
    one.keys("ArrowLeft")
    assert one.page.locator("output").inner_text() == "Step 10 · noise level 10"
    values = stored(sample.bundle(), 0, block="OUT11", step=10)
    one.choose("Colours", "grey")
    assert abs(one.cells(64, 320)[..., 0] - grey(values, values.min(), values.max())).max() <= 1
    one.page.get_by_role("slider", name="Steps").fill("0")
    assert one.state("step") == 0
    one.page.locator(".uv-chart").click(position={"x": 420, "y": 20})
    assert one.state("step") == 1
    one.page.locator("h1").click()
    one.keys(" ")
    one.page.wait_for_function("() => uvWorkspace.state.step === 3")
    one.page.wait_for_function("() => uvWorkspace.state.step === 0")
    assert one.page.get_by_role("button", name="Pause").is_visible()
    one.keys(" ")
    assert one.page.get_by_role("button", name="Play").is_visible()


def test_help_theme_and_keys_of_sheets(one: Visit) -> None:
    one.keys("?")
    assert "Difference of two runs" in one.page.get_by_role("dialog").inner_text()
    one.keys("Escape")
    assert one.page.get_by_role("dialog").count() == 0
    one.keys("c", "n")
    assert (one.state("colours"), one.state("scale")) == ("inferno", "Percentile")
    one.keys("d")
    assert one.said() == "There is only one run; nothing to compare with."
    one.page.get_by_role("button", name="Light or dark").click()
    assert one.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 24)"


# Two runs ------------------------------------------------------------------------------------------------


def test_two_runs_beside_each_other_swiped_and_subtracted(two: Visit) -> None:
    a, b = (stored(sample.bundle(2), run, block="OUT11", step=20) for run in (0, 1))
    two.choose("Colours", "grey")
    low, high = min(a.min(), b.min()), max(a.max(), b.max())
    assert two.page.locator(".uv-names").inner_text().split() == ["A", "B"]
    for mode, values in (("A", a), ("B", b)):
        two.page.locator(f"[data-mode={mode}]").click()
        two.settle()
        assert abs(two.cells(64, 320)[..., 0] - grey(values, values.min(), values.max())).max() <= 1
    two.page.locator("[data-mode=Side]").click()
    two.settle()
    second = two.page.evaluate("() => uvWorkspace.sheet.second")
    assert abs(two.cells(64, 320)[..., 0] - grey(a, low, high)).max() <= 1
    assert abs(two.pixels(".uv-sheet")[:64, second : second + 64, 0] - grey(b[0], low, high)).max() <= 1
    two.page.locator("[data-mode=Swipe]").click()
    two.page.get_by_role("slider", name="Border").fill("500")
    two.settle()
    columns = two.page.evaluate("() => uvWorkspace.sheet.grid.columns")
    found = two.cells(64, 320)[..., 0]
    assert abs(found[0] - grey(a[0], low, high)).max() <= 1
    assert abs(found[columns - 1] - grey(b[columns - 1], low, high)).max() <= 1
    two.keys("d")
    assert two.state("mode") == "Difference"
    found = two.cells(64, 320).astype(int)
    assert (found[..., 0] >= found[..., 2] - 4)[b - a > 0.02].all()  # red where B is more
    assert two.page.get_by_label("Colour by").input_value() == "change"
    two.page.locator(".uv-sheet canvas").hover(position={"x": 30, "y": 20})
    numbers = [float(each) for each in re.findall(r"(?:B − A|A|B): (\S+)", two.read())]
    assert numbers[0] == pytest.approx(numbers[2] - numbers[1], abs=0.02)
    two.keys("d")
    assert two.state("mode") == "Side"


def test_a_swipe_follows_the_pointer(two: Visit) -> None:
    two.page.locator("[data-mode=Swipe]").click()
    box = two.page.locator(".uv-picture canvas").bounding_box()
    two.page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 50)
    two.page.mouse.down()
    two.page.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 50)
    two.page.mouse.up()
    two.settle()
    assert two.state("border") == pytest.approx(0.25, abs=0.01)
    found = two.pixels(".uv-picture").astype(int)
    assert found[256, 100, 1] == 40  # A's disc is red
    assert found[256, 200, 1] == 160  # B's is not


def test_differences_of_pictures_and_of_words(two: Visit) -> None:
    two.keys("d")
    found = two.pixels(".uv-picture").astype(int)
    assert abs(found[256, 180, :3] - [128, 128 + 60, 128]).max() <= 2
    assert abs(found[20, 480, :3] - [128, 128, 118]).max() <= 2
    two.keys("w")
    found = two.pixels(".uv-picture").astype(int)
    red, blue = found[int(0.6 * 512), 77], found[int(0.4 * 512), 77]
    assert red[0] - red[2] > 60
    assert blue[2] - blue[0] > 60
    assert two.page.locator(".uv-said").first.inner_text() == "“a” A: strength 0.11, B: strength 0.11"


def test_words_of_both_runs_have_chips(browser: Any, tmp_path: Path) -> None:
    bundle = sample.bundle(2)
    bundle.manifest["runs"][1]["words"][1]["text"] = "yellow"
    (tmp_path / "x.html").write_text(page.text(bundle), encoding="utf-8")
    visit = Visit(browser, tmp_path / "x.html")
    assert visit.page.locator(".uv-chip").all_inner_texts() == [*sample.WORDS, "yellow"]
    visit.page.get_by_role("button", name="yellow").click()
    visit.settle()
    assert visit.page.locator(".uv-said").first.inner_text() == "“yellow” A: –, B: strength 0.194"
    visit.close()


def test_change_comes_from_norms_where_nothing_was_subtracted(two: Visit) -> None:
    two.choose("Colour by", "change")
    label = two.page.locator("[data-block=IN00]").get_attribute("aria-label")
    assert "Change of norm from A to B: 0.05" in label  # (2.1 - 2.0) / 2.0


# Taking along --------------------------------------------------------------------------------------------


def taken(visit: Visit, name: str) -> tuple[str, bytes]:
    with visit.page.expect_download(timeout=30_000) as download:
        visit.page.get_by_role("button", name=name, exact=True).click()
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def test_what_is_shown_is_saved(one: Visit) -> None:
    values = stored(sample.bundle(), 0, block="OUT11", step=20)
    name, data = taken(one, ".npy")
    assert name == "OUT11-features-step20.npy"
    found = np.load(io.BytesIO(data), allow_pickle=False)
    assert found.shape == (320, 64, 64)
    assert found == pytest.approx(values, abs=1e-5)
    name, data = taken(one, "PNG")
    assert name == "OUT11-features-step20.png"
    assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGBA")) == one.pixels(".uv-sheet")).all()
    one.keys("z")
    name, data = taken(one, "CSV")
    assert name == "OUT11-features-step20-picture0.csv"
    lines = data.decode().splitlines()
    assert lines[0].startswith("picture,y,x 0,x 1,")
    assert lines[3].startswith('"channel 0",2,')
    assert [float(each) for each in lines[3].split(",")[2:]] == pytest.approx(list(values[0, 2]), abs=1e-5)


def test_within_a_frame_that_may_only_run_scripts(
    browser: Any, files: dict[str, Path], tmp_path: Path
) -> None:
    text = escaping.escape(files["one"].read_text("utf-8"))
    given = 'sandbox="allow-scripts allow-downloads" style="width: 1150px; height: 860px"'
    frame = f'<iframe {given} srcdoc="{text}"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!doctype html><html data-ready>{frame}", encoding="utf-8")
    visit = Visit(browser, tmp_path / "frame.html")
    inside = visit.page.frame_locator("iframe")
    inside.get_by_role("button", name="circle").click()
    with visit.page.expect_download(timeout=30_000) as download:
        inside.get_by_role("button", name=".npy", exact=True).click()
    assert download.value.suggested_filename == "OUT11-features-step20.npy"
    box = inside.locator(".uv-time").bounding_box()
    assert box["y"] + box["height"] <= 860 + 10
    visit.close()


# Whatever the file holds ---------------------------------------------------------------------------------


def test_an_empty_run_is_said_in_words(browser: Any, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["empty"])
    text = visit.page.locator("body").inner_text()
    for said in (
        "This run holds no picture.",
        "No words are known of this run.",
        "This run holds no features and no attention maps.",
        "This run does not say which blocks the U-Net has.",
        "Mean over steps",
    ):
        assert said in text
    visit.keys("w", "h", "d", "z", "m", " ", "ArrowUp", "ArrowLeft", "Escape")
    visit.close()


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format": 1', '"format": 2', "its format is 2, and this script reads 1"),
        ('{"format": 1', "{", "This page cannot be read"),
        ('"runs": [', '"runs": [], "others": [', "This page holds no run"),
    ],
)
def test_what_cannot_be_read_is_said(
    browser: Any, files: dict[str, Path], tmp_path: Path, old: str, new: str, said: str
) -> None:
    text = files["empty"].read_text("utf-8")
    assert old in text
    (tmp_path / "x.html").write_text(text.replace(old, new, 1), encoding="utf-8")
    visit = Visit(browser, tmp_path / "x.html")
    assert said in visit.page.get_by_role("alert").inner_text()
    visit.close()


def test_numbers_that_are_damaged_are_said(browser: Any, tmp_path: Path) -> None:
    bundle = sample.bundle()
    damaged = type(bundle)(bundle.manifest, bytes(len(bundle.numbers)))
    (tmp_path / "x.html").write_text(page.text(damaged), encoding="utf-8")
    visit = Visit(browser, tmp_path / "x.html")
    assert visit.page.locator(".uv-empty").inner_text() == "The numbers of this map cannot be read."
    visit.keys("w", "ArrowLeft")
    visit.close()


def test_japanese(browser: Any, files: dict[str, Path]) -> None:
    visit = Visit(browser, files["two"], locale="ja-JP")
    assert visit.page.locator("html").get_attribute("lang") == "ja"
    text = visit.page.locator("body").inner_text()
    assert all(
        word in text
        for word in ("画像", "プロンプトの単語", "ステップ 20", "差分", "特徴量")
        if word != "特徴量"
    )
    assert not re.search(r"Picture|Step |Whole|Colour|Range|Save", text)
    visit.close()


# Widths, themes, contrast --------------------------------------------------------------------------------

CONTRAST = """() => {
  const light = (colour) => {
    const [r, g, b] = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const colour = getComputedStyle(node).backgroundColor;
      if (!/, 0\\)$|transparent/.test(colour)) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const low = [];
  for (const node of document.querySelectorAll("#uv-workspace *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !node.getClientRects().length || node.closest("svg, :disabled")) continue;
    const [a, b] = [getComputedStyle(node).color, ground(node)].map(light);
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push(node.className + " " + node.textContent.slice(0, 30) + " " + ratio.toFixed(2));
  }
  return low;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_it_is_readable_at_each_width(browser: Any, files: dict[str, Path], width: int, theme: str) -> None:
    for name in ("one", "two"):
        visit = Visit(browser, files[name], viewport={"width": width, "height": 900}, color_scheme=theme)
        visit.keys("w", "w", "w")
        assert visit.overflow() == 0
        assert visit.page.evaluate(CONTRAST) == []
        for part in (".uv-picture", ".uv-unet", ".uv-sheet", ".uv-time"):
            box = visit.page.locator(part).bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
        if folder := os.environ.get("WORKSPACE_SHOTS"):
            visit.page.screenshot(path=f"{folder}/{name}-{width}-{theme}.png", full_page=True)
        visit.close()
