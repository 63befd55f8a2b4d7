"""Make the README's pictures anew: `python docs/pictures.py` (those of the page need Debian's chromium)."""

from __future__ import annotations

import argparse
import io
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from lib_unet_viz.app import txt2img
from lib_unet_viz.demo import report
from lib_unet_viz.demo.things import scorer
from lib_unet_viz.demo.things.scenes import draw_scene
from lib_unet_viz.drawing import edit_sheets, sheets
from lib_unet_viz.drawing.difference import DISTANCE
from lib_unet_viz.drawing.montage import montage
from lib_unet_viz.drawing.render import save_png
from lib_unet_viz.drawing.sweep import Sweep
from lib_unet_viz.drawing.sweep import run as run_sweep
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import word_maps
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.ui.edit_tab import EXAMPLES
from lib_unet_viz.ui.run_controls import SEED
from lib_unet_viz.workspace import page as workspace
from lib_unet_viz.workspace.bundle import Bundle

FOLDER = Path(__file__).parent
PROMPT = txt2img.EXAMPLES[0]
UNLAYERED, LAYERED = "a red car and a tree", "a (~: IN00-OUT11: red ; OUT08-OUT11: blue :~) car and a tree"
SEEN_PROMPT, SEEN = "a hat and glasses", ("hat", "glasses")
SWEPT, SWEPT_WORD = "a blue car and a tree", "blue"
(EDITED, SWAP), REFINEMENT = EXAMPLES[0], "+ in the snow"
EDITED_OTHER = "burger"  # which is to stay
SHAPES, MASKED_SEED = "a big red circle and a small blue square", 4
SETTINGS = {"features": {"blocks": "OUT08", "steps": "10"}, "attention": {"blocks": "OUT10", "steps": "15"}}
EXPLORED = {part: {"blocks": "", "steps": "1,5,10,15,20"} for part in ("features", "attention")}


def generated(model: Pipeline, *, seed: int) -> None:
    """words.png, features.png, attention.png: one run of the bundled model."""
    settings = Settings.from_dict(SETTINGS)
    trace = model.generate(PROMPT, settings=settings, seed=seed)
    if trace.picture is None:
        raise RuntimeError("the run made no picture")
    overlays = [(trace.picture, "the picture")]
    overlays += [(image, sheets.word_label(heat)) for image, heat in sheets.heat_overlays(trace)]
    save_png(_row(overlays), FOLDER / "words.png")
    save_png(sheets.feature_sheets(trace, settings.features)[0].image, FOLDER / "features.png")
    save_png(sheets.attention_sheets(trace, settings.attention)[0].image, FOLDER / "attention.png")


def looked_at(model: Pipeline, *, seed: int) -> None:
    """vxa.png: a drawn scene, and where its two things are found in it."""
    scene = draw_scene(np.random.default_rng(seed), relation="and", names=SEEN)
    picture = Image.fromarray(scene.picture)
    trace = vxa.trace_picture(model, picture, SEEN_PROMPT, noise_seed=seed)
    words = vxa.positions(trace, SEEN)
    heats = [(sheets.word_picture(picture, heat), heat.word) for heat in word_maps(trace, words)]
    save_png(_row([(picture, "a drawn scene"), *heats]), FOLDER / "vxa.png")


def swept(model: Pipeline, *, seed: int) -> None:
    """sweep.png, sweep-chart.png: one word in each block alone, and in all but that block."""
    sweep = Sweep.of(SWEPT, SWEPT_WORD, model.unet)
    found = run_sweep(sweep, lambda case: model.picture(case.prompt, seed=seed, steps=20))
    save_png(found.sheet(), FOLDER / "sweep.png")
    save_png(found.chart(), FOLDER / "sweep-chart.png")


def edited(model: Pipeline) -> None:
    """edit.png, edit-masks.png: a swap and a refinement, without control, by attention, with local blend."""
    cells, changes = [], []
    for edits in (SWAP, REFINEMENT):
        replaced, blended = (
            edit(model, EDITED, EditSettings(edits=edits, blend=blend), seed=SEED) for blend in (False, True)
        )
        plain = model.picture(replaced.request.targets[0].prompt, seed=SEED)
        row = [replaced.pictures[0], plain, replaced.pictures[1], blended.pictures[1]]
        cells += [np.asarray(picture.convert("RGB")) for picture in row]
        masks = edit_sheets.mask_sheet(blended, 1)
        if edits == SWAP and masks is not None:
            save_png(masks, FOLDER / "edit-masks.png")
            changes = _changes_of_other(cells)
    told = f"the {EDITED_OTHER} changes by {', '.join(changes)} ({DISTANCE})"
    sheet = montage(
        np.stack(cells),
        columns=4,
        gap=4,
        column_labels=["source", "no control", "by attention", "and local blend"],
        row_labels=["swap", "refinement"],
        caption=f"“{EDITED}”\nswap: {SWAP}; refinement: {REFINEMENT}. In the swap, {told}",
    )
    save_png(sheet, FOLDER / "edit.png")


def masked(model: Pipeline) -> None:
    """edit-own-mask.png: both colours are edited, and a mask keeps to the red circle."""
    picture = model.picture(SHAPES, seed=MASKED_SEED)
    mask = Image.new("L", picture.size)
    ImageDraw.Draw(mask).ellipse((18, 42, 102, 126), fill=255)
    settings = EditSettings(edits="red -> yellow; blue -> green")
    edited = edit(model, SHAPES, settings, seed=MASKED_SEED, mask=mask)
    save_png(edit_sheets.comparison(edited), FOLDER / "edit-own-mask.png")


def _changes_of_other(pictures: list[Any]) -> list[str]:
    """Of each picture but the first, over the places in which the judge sees what is to stay."""
    source, *others = pictures
    there = scorer.load().middle(source, EDITED_OTHER)
    if not there.any():
        raise RuntimeError(f"the judge sees no {EDITED_OTHER} in the source picture")
    errors = [other[there].astype(np.float64) - source[there] for other in others]
    return [f"{np.sqrt((error**2).mean()):.1f}" for error in errors]


def edits_swept(model: Pipeline) -> None:
    """edit-sweep.png: the swap, with the source's attention in 0 % to 100 % of steps, of blocks."""
    settings = EditSettings(edits=SWAP, blend=False)
    draw = partial(edit, model, EDITED, seed=SEED)
    _, sheet = edit_sheets.sweep(edit_sheets.cases(settings, model.unet), draw, lambda *_: None)
    save_png(sheet, FOLDER / "edit-sweep.png")


def page() -> None:
    """page.png: the page after a click on Generate."""
    with _browsed() as tab:
        tab.get_by_label("Prompt", exact=True).first.fill(PROMPT)
        tab.locator("#generate").click()
        tab.locator("#words img").first.wait_for(timeout=180_000)
        tab.wait_for_timeout(4000)
        tab.screenshot(path=FOLDER / "page.png")


def edit_page() -> None:
    """edit-page.png: the page's tab Edit after a click on Edit."""
    with _browsed() as tab:
        tab.get_by_role("tab", name="Edit").click()
        tab.locator("#edit-prompt textarea, #edit-prompt input").first.fill(EDITED)
        tab.locator("#edits textarea").fill(SWAP)
        tab.locator("#alignment .uv-words").wait_for()
        tab.locator("#edit").click()
        tab.locator("#edit-pictures img").first.wait_for(timeout=180_000)
        tab.set_viewport_size({"width": 1280, "height": 1560})
        tab.evaluate("window.scrollTo(0, 0)")
        tab.wait_for_timeout(4000)
        tab.screenshot(path=FOLDER / "edit-page.png")


def explored(model: Pipeline) -> None:
    """explore.webp, explore-compare.webp: a run with a layer prompt and one without it, from disk."""
    from playwright.sync_api import sync_playwright

    recorded = Settings.from_dict(EXPLORED)
    runs = [model.generate(prompt, settings=recorded, seed=2, steps=20) for prompt in (UNLAYERED, LAYERED)]
    one = workspace.text(Bundle.of(runs[:1]))
    both = workspace.text(Bundle.of(runs, names=("without", "with")))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for name, text, scheme, keys in (
            ("explore", one, "light", "www"),
            ("explore-compare", both, "dark", "d"),
        ):
            file = Path(folder) / f"{name}.html"
            file.write_text(text, encoding="utf-8")
            tab = browser.new_page(viewport={"width": 1280, "height": 820}, color_scheme=scheme)
            tab.goto(file.as_uri())
            tab.wait_for_timeout(1500)
            for key in keys:
                tab.keyboard.press(key)
            tab.wait_for_timeout(1500)
            shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB")
            shot.save(FOLDER / f"{name}.webp", quality=82)
        browser.close()


@contextmanager
def _browsed() -> Iterator[Any]:
    """The page on the bundled model, in a browser."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "lib_unet_viz", "app", "--no-browser", "--port", str(port)]
    server = subprocess.Popen(command)
    try:
        with sync_playwright() as playwright:
            options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=options)
            tab = browser.new_page(viewport={"width": 1280, "height": 1150})
            for _ in range(120):
                try:
                    tab.goto(f"http://127.0.0.1:{port}")
                    break
                except Exception:  # not up yet
                    time.sleep(1)
            tab.locator("#generate").wait_for()
            tab.wait_for_timeout(1000)  # its scripts have yet to listen
            yield tab
            browser.close()
    finally:
        server.terminate()
        server.wait()


def _row(pictures: list[tuple[Image.Image, str]]) -> Image.Image:
    cells = np.stack([np.asarray(picture.convert("RGB")) for picture, _ in pictures])
    columns = -(-len(pictures) // -(-len(pictures) // 5))  # as few rows as 5 columns take
    rows = [
        montage(
            cells[at : at + columns],
            columns=len(cells[at : at + columns]),
            gap=4,
            column_labels=[text for _, text in pictures[at : at + columns]],
        )
        for at in range(0, len(cells), columns)
    ]
    sheet = Image.new(
        "RGB", (max(row.width for row in rows), sum(row.height for row in rows)), rows[0].getpixel((0, 0))
    )
    top = 0
    for row in rows:
        sheet.paste(row, (0, top))
        top += row.height
    return sheet


def main() -> None:
    """Read the command line and make the pictures asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    edits = ("edit", "edit-own-mask", "edit-sweep")
    names = ("generated", "vxa", "sweep", *edits, "report", "page", "edit-page", "explore")
    parser.add_argument("--only", choices=names, help="instead of all")
    parser.add_argument("--seed", type=int, default=2)
    choice = parser.parse_args()
    model = Pipeline.load()
    makers = {
        "generated": lambda: generated(model, seed=SEED),
        "vxa": lambda: looked_at(model, seed=choice.seed),
        "sweep": lambda: swept(model, seed=choice.seed),
        "edit": lambda: edited(model),
        "edit-own-mask": lambda: masked(model),
        "edit-sweep": lambda: edits_swept(model),
        "report": lambda: report.write(FOLDER),
        "page": page,
        "edit-page": edit_page,
        "explore": lambda: explored(model),
    }
    for name, make in makers.items():
        if choice.only in (None, name):
            make()


if __name__ == "__main__":
    main()
