"""In a real webui with the real ADetailer and the real Dynamic Prompts beside us."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from webui import neighbours
from webui.families import SD1_BLOCKS
from webui.neighbours import adetailer, jinja
from webui.recording import BOTH, MODES, asking, assert_same_pictures, merged
from webui.serving import Webui
from webui.test_edit import apart, pictures
from webui.test_page import choose_script, field, opened, thumbnails

QUIET = {"show": False, "save": False}
RECORD = {
    "features": {"blocks": "IN05,M00", "halves": BOTH, "dump": True},
    "attention": {"blocks": "M00", "halves": BOTH, "dump": True},
    "output": QUIET,
}
BATCHES = {"batch_size": 2, "n_iter": 2}
CUTE = "a cute school girl, pink hair, wide shot"
# As the older extension's readme has it, word for word but for the line breaks in its list of blocks.
SWEEP = (
    "{% for layer in [ "
    + ", ".join(f'"{name}"' for name in SD1_BLOCKS)
    + " ] %}\n{% prompt %}"
    + CUTE
    + ", (~:{{layer}}:bad anatomy:~){% endprompt %}\n{% endfor %}"
)
# Blocks without cross-attention: no text reaches them.
SILENT = ("IN00", "IN03", "IN06", "IN09", "IN10", "IN11", "OUT00", "OUT01", "OUT02")


@pytest.fixture(scope="module")
def busy(started: Any) -> Webui:
    missing = neighbours.missing()
    if missing:
        pytest.skip(f"not set: {', '.join(missing)}")
    webui: Webui = started(also=neighbours.make, **neighbours.CONFIG)
    return webui


@pytest.fixture(scope="module")
def dynamic(busy: Webui) -> str:
    """The name of Dynamic Prompts' script, which has its version in it."""
    names = busy.get("/sdapi/v1/scripts")["txt2img"]
    return next(str(name) for name in names if name.startswith("dynamic prompts"))


@pytest.fixture(autouse=True)
def _nothing_is_left(busy: Webui) -> Any:
    before = busy.hooks()["hooks"]
    yield
    assert busy.hooks()["hooks"] == before


# ADetailer.


def test_adetailer_paints(busy: Webui) -> None:
    """What the tests below are about does take place."""
    plain, painted = busy.txt2img(), busy.txt2img(**adetailer())
    assert apart(plain.pixels()[0], painted.pixels()[0]) > 20
    assert "ADetailer model" in painted.infotexts[0]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", [{}, BATCHES], ids=["one", "batches"])
def test_a_recording_beside_adetailer(busy: Webui, mode: str, more: dict[str, Any]) -> None:
    """The picture is the one without us, and the recording the one without ADetailer."""
    before = busy.dump_paths()
    busy.txt2img(**merged(more, asking(mode, RECORD)))
    alone = busy.traces_since(before)
    before = busy.dump_paths()
    both = busy.txt2img(**merged(merged(more, adetailer()), asking(mode, RECORD)))
    found = busy.traces_since(before)
    assert_same_pictures(both, busy.txt2img(**merged(more, adetailer())))
    assert len(found) == len(alone) == (4 if more else 1)
    for one, other in zip(found, alone, strict=True):
        for name in ("features", "attention"):
            maps, expected = list(getattr(one, name)), list(getattr(other, name))
            assert [item.key for item in maps] == [item.key for item in expected]
            for item, same in zip(maps, expected, strict=True):
                np.testing.assert_array_equal(item.numpy(), same.numpy())


@pytest.mark.parametrize("mode", MODES)
def test_sheets_beside_adetailer(busy: Webui, mode: str) -> None:
    made = busy.txt2img(**merged({**BATCHES, **adetailer()}, asking(mode, {"heatmaps": True})))
    first = made.info["index_of_first_image"]
    assert len(made.images) - first == 4 * 2
    assert len(made.images) == len(made.infotexts)


def test_layer_prompts_beside_adetailer(busy: Webui) -> None:
    same = merged({"prompt": "a (~: _: red :~) circle", **adetailer()}, asking("dropdown", {"output": QUIET}))
    assert_same_pictures(busy.txt2img(**same), busy.txt2img(prompt="a red circle", **adetailer()))


def test_adetailer_reads_a_runs_layer_prompt_as_plain_text_and_that_is_said(busy: Webui) -> None:
    """It encodes the run's prompt by itself, where no prompt of its own is given."""
    asked = merged({"prompt": "a (~: _: red :~) circle", **adetailer(ad_prompt="")}, asking("dropdown", {}))
    made = busy.txt2img(**asked)
    assert "a generation inside this one read (~: as plain text, as of ADetailer" in str(made.info)


def test_an_edit_beside_adetailer(busy: Webui) -> None:
    """The source is its plain picture, which ADetailer has painted, too."""
    edit = asking("dropdown", {"edit": {"edits": "circle -> star"}, "output": QUIET})
    source, target = pictures(busy.txt2img(**merged(adetailer(), edit)))
    [plain] = pictures(busy.txt2img(**adetailer()))
    assert apart(source, plain) <= 2
    assert apart(target, source) > 20


# Dynamic Prompts: the sweep of the older extension's readme.


def test_the_sweep_over_all_blocks(busy: Webui, dynamic: str) -> None:
    """A picture for each block, each that of its prompt alone; where no text reaches, the plain one."""
    ours = asking("dropdown", {"output": QUIET})
    made = busy.txt2img(
        **merged({"prompt": SWEEP, "steps": 2, "n_iter": len(SD1_BLOCKS), **jinja(dynamic)}, ours)
    )
    found = pictures(made)
    assert len(found) == len(SD1_BLOCKS)
    texts = made.infotexts[made.info["index_of_first_image"] :]
    for block, picture, text in zip(SD1_BLOCKS, found, texts, strict=True):
        prompt = f"{CUTE}, (~:{block}:bad anatomy:~)"
        assert text.startswith(prompt)
        assert apart(picture, busy.txt2img(**merged({"prompt": prompt, "steps": 2}, ours)).pixels()[0]) <= 1
    plain = busy.txt2img(prompt=f"{CUTE}, ", steps=2).pixels()[0]
    changed = {block for block, picture in zip(SD1_BLOCKS, found, strict=True) if apart(picture, plain)}
    assert changed == set(SD1_BLOCKS) - set(SILENT)


@pytest.mark.parametrize("mode", MODES)
def test_a_recording_of_prompts_that_are_made_meanwhile(busy: Webui, dynamic: str, mode: str) -> None:
    """As many pictures as the template says, each with its own prompt in its dump."""
    template = (
        "{% for word in ['red', 'blue', 'green'] %}{% prompt %}a {{word}} circle{% endprompt %}{% endfor %}"
    )
    before = busy.dump_paths()
    fields = {"prompt": template, "steps": 2, "n_iter": 3, **jinja(dynamic)}
    made = busy.txt2img(**merged(fields, asking(mode, RECORD)))
    traces = busy.traces_since(before)
    assert [trace.meta["prompt"] for trace in traces] == [
        f"a {word} circle" for word in ("red", "blue", "green")
    ]
    assert [len(trace.features) for trace in traces] == [2 * 2 * 2] * 3
    for trace in traces:
        assert trace.picture is not None
    assert len(pictures(made)) == 3


def test_the_sweep_by_hand(busy: Webui, browser: Any) -> None:
    for page in opened(busy, browser):
        choose_script(page)
        group = page.locator("#tab_txt2img")
        group.get_by_text("Dynamic Prompts", exact=True).first.click()
        group.get_by_text("Jinja2 templates", exact=True).first.click()
        page.locator(
            "#sddp-txt2img-enable-jinja-templates input, [id*=enable-jinja-templates] input"
        ).first.check()
        page.locator("#txt2img_prompt textarea").fill(SWEEP.replace(CUTE, "a big circle"))
        count = page.locator("#txt2img_batch_count input[type=number]")
        count.fill(str(len(SD1_BLOCKS)))
        count.press("Tab")
        page.locator("#txt2img_generate").click()
        page.wait_for_function(
            "document.querySelectorAll('#txt2img_gallery .thumbnail-item.thumbnail-small').length >= 26",
            timeout=120_000,
        )
        assert thumbnails(page).count() == 1 + len(SD1_BLOCKS)
        assert field(page, "output.show").count() == 1
