"""In a real webui: an edit's source is its plain picture, targets differ where they may, nothing is left."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load
from torch.nn.functional import max_pool2d

from webui.data import EMBEDDING, HYPERNETWORK, INPAINTING, LORA, OTHER
from webui.recording import asking, assert_same_pictures, merged, stand_in
from webui.serving import DEFAULTS, Generated, Pixels, Webui, encoded_image
from webui.test_page import PROMPT, choose_script, field, generate, opened, shoot, thumbnails, tick, write

SWAP = "circle -> star"
TARGET = "a big red star and a small blue square"
CAPTION = "U-Net Viz sheet"
QUIET = {"show": False, "save": False}
LONG = "a small star, " * 30
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.8}
CASES: dict[str, dict[str, Any]] = {
    "Euler": {},
    "Euler a": {"sampler_name": "Euler a"},
    "DPM++ 2M": {"sampler_name": "DPM++ 2M"},
    "DPM++ SDE": {"sampler_name": "DPM++ SDE"},
    "Heun": {"sampler_name": "Heun"},
    "DDIM": {"sampler_name": "DDIM"},
    "PLMS": {"sampler_name": "PLMS"},
    "UniPC": {"sampler_name": "UniPC"},
    "Restart": {"sampler_name": "Restart"},
    "batch": {"batch_size": 2, "n_iter": 2},
    "variation": {"batch_size": 2, "subseed": 5, "subseed_strength": 0.3},
    "halves apart": {"override_settings": {"batch_cond_uncond": False}},
    "NGMS": {"s_min_uncond": 4.0, "override_settings": {"s_min_uncond_all": True}},
    "CFG 1": {"cfg_scale": 1},
    "negative of another length": {"negative_prompt": LONG},
    "prompt of two chunks": {"prompt": f"a big red circle, {LONG}"},
    "padded": {"negative_prompt": LONG, "override_settings": {"pad_cond_uncond": True}},
    "emphasis": {"prompt": "a big (red circle:1.2) and a [small] blue square"},
    "BREAK": {"prompt": "a big red circle BREAK a small blue square"},
    "LoRA": {"prompt": f"a big red circle <lora:{LORA}:1> and a star"},
    "embedding": {"prompt": f"a big red circle {EMBEDDING}"},
    "hypernetwork": {"prompt": f"a big red circle and a star <hypernet:{HYPERNETWORK}:1>"},
    "refiner": {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5},
    "72x96": {"width": 72, "height": 96},
    "hires": HIRES,
    "hires pixels": {**HIRES, "hr_upscaler": "Lanczos"},
    "hires prompt": {**HIRES, "hr_prompt": "a small red circle", "hr_negative_prompt": "blue"},
}
EXACT = [
    "Euler", "Euler a", "DPM++ 2M", "DPM++ SDE", "Heun", "DDIM", "PLMS", "UniPC", "Restart",
    "batch", "halves apart", "NGMS", "CFG 1", "negative of another length", "LoRA", "refiner",
    "72x96", "hires",
]  # fmt: skip


def edit(edits: str = SWAP, **more: Any) -> dict[str, Any]:
    """The fields of a request for an edit, without sheets."""
    return asking("dropdown", {"edit": {"edits": edits, **more}, "output": QUIET})


def fields(name: str) -> dict[str, Any]:
    return {"prompt": "a big red circle and a small blue square", **CASES[name]}


def apart(one: Pixels, other: Pixels) -> int:
    """By how many levels of 255 two pictures differ at most."""
    return int(np.abs(one.astype(int) - other.astype(int)).max())


def pictures(made: Generated) -> list[Pixels]:
    """Without the grid that comes first where there are several."""
    return made.pixels()[int(made.info["index_of_first_image"]) :]


def latents(webui: Webui) -> list[torch.Tensor]:
    """The last request's batches, (picture, channel, y, x), after all scripts."""
    found = load(base64.b64decode(webui.get("/stand-ins/latents")["latents"]))
    return [found[str(at)] for at in range(len(found))]


@pytest.fixture(scope="module")
def plain(webui: Webui) -> Any:
    """Plain pictures of the cases, each made once, before anything was edited."""
    made = {name: webui.txt2img(**fields(name)) for name in CASES}
    return made.__getitem__


@pytest.fixture
def _nothing_is_left(webui: Webui, plain: Any) -> Iterator[None]:
    """After such a test, no hook is left, and a plain picture is what it was."""
    before = webui.hooks()
    yield
    assert webui.hooks() == before
    assert_same_pictures(webui.txt2img(**fields("Euler")), plain("Euler"))


@pytest.mark.parametrize("name", CASES)
def test_the_source_is_its_plain_picture(webui: Webui, plain: Any, name: str) -> None:
    made = webui.txt2img(**merged(fields(name), edit()))
    without = pictures(plain(name))
    found = pictures(made)
    assert len(found) == 2 * len(without)
    for source, target, wanted in zip(found[::2], found[1::2], without, strict=True):
        assert apart(source, wanted) <= 1
        assert apart(target, source) > 20


@pytest.mark.parametrize("name", CASES)
def test_the_same_prompt_again_is_the_source(webui: Webui, name: str) -> None:
    made = webui.txt2img(**merged(fields(name), edit("red -> red")))
    found = pictures(made)
    for source, target in zip(found[::2], found[1::2], strict=True):
        assert apart(source, target) <= 1


@pytest.mark.parametrize("name", EXACT)
def test_outside_the_mask_the_latent_is_the_sources(webui: Webui, name: str) -> None:
    asked = merged(fields(name), stand_in("latents"))
    for blend, some in ((True, True), (False, False)):
        made = pictures(webui.txt2img(**merged(asked, edit(blend=blend, threshold=0.6))))
        for batch, source, target in zip(latents(webui), made[::2], made[1::2], strict=True):
            there = (batch[1] == batch[0]).all(0)
            # A whole position away from what may change, pixels are the source's, too.
            changed = max_pool2d((~there)[None].float(), 3, stride=1, padding=1)[0].numpy()
            away = np.kron(changed, np.ones((8, 8))) == 0
            assert away.any() == some or name == "Restart"  # which keeps single positions only
            assert np.array_equal(np.asarray(source)[away], np.asarray(target)[away])
            same = there.float().mean()
            assert (0.05 < same < 0.99) if some else same < 0.05


# An inpainting model's second latent is drawn after the first ones of all pictures of a batch.
@pytest.mark.parametrize(
    ("more", "levels"), [({}, 1), ({"mask": True}, 1), ({"model": INPAINTING, "mask": True}, 4)], ids=str
)
def test_a_picture_made_from_another_is_edited(webui: Webui, more: dict[str, Any], levels: int) -> None:
    start = webui.txt2img(prompt="a green triangle").images[0]
    asked: dict[str, Any] = {**fields("Euler"), "denoising_strength": 0.8}
    asked["init_images"] = [encoded_image(start)]
    if "mask" in more:
        mask = Image.new("L", start.size)
        mask.paste(255, (0, 0, 128, 64))
        asked["mask"] = encoded_image(mask)
    if "model" in more:
        asked["override_settings"] = {"sd_model_checkpoint": more["model"]}
    without, swapped, same = (_drawn(webui, asked, how) for how in ({}, edit(), edit("red -> red")))
    for at, wanted in enumerate(without):
        assert apart(swapped[2 * at], wanted) <= levels
        assert apart(swapped[2 * at + 1], wanted) > 10
        assert apart(same[2 * at + 1], same[2 * at]) <= 1


LEFT = (0, 0, 48, 128)
INPAINTED: dict[str, dict[str, Any]] = {
    "mask": {},
    "inverted": {"inpainting_mask_invert": 1},
    "blurred": {"mask_blur": 8},
    "latent noise": {"inpainting_fill": 2},
    "soft": {"alwayson_scripts": {"Soft inpainting": {"args": [True, 1, 0.5, 4, 0, 0.5, 2]}}},
    "only masked": {"inpaint_full_res": True, "inpaint_full_res_padding": 8},
}


def inpainting(webui: Webui, box: tuple[int, int, int, int] = LEFT, **more: Any) -> dict[str, Any]:
    start = webui.txt2img(prompt="a green triangle").images[0]
    mask = Image.new("L", start.size)
    mask.paste(255, box)
    usual = {"denoising_strength": 0.8, "inpaint_full_res": False, "mask_blur": 0}
    asked = {**fields("Euler"), **usual, **more}
    return {**asked, "init_images": [encoded_image(start)], "mask": encoded_image(mask)}


@pytest.mark.parametrize("name", INPAINTED)
@pytest.mark.parametrize("blend", [True, False], ids=["and words", "alone"])
def test_the_mask_of_inpainting_is_the_edits(webui: Webui, name: str, blend: bool) -> None:
    asked = inpainting(webui, **INPAINTED[name])
    made = webui.img2img(**merged(merged(asked, stand_in("latents")), edit(blend=blend)))
    [batch] = latents(webui)
    changed = (batch[1] != batch[0]).any(0)
    inside = torch.zeros_like(changed)
    if name == "only masked":
        inside[:] = True
    else:
        inside[:, : {"blurred": 8, "soft": 10}.get(name, 6)] = True
    inside = ~inside if name == "inverted" else inside
    assert changed.any()
    assert not (changed & ~inside).any()
    source, target = (each.astype(int) for each in pictures(made))
    assert np.abs(target - source).max() > 10
    if name in ("mask", "only masked"):
        assert np.array_equal(target[:, 80:], source[:, 80:])  # the webui lays the first picture over it
    digests = [text.partition("U-Net Viz mask: ")[2][:10] for text in made.infotexts]
    assert len(set(digests)) == 1
    assert len(digests[0]) == 10


@pytest.mark.usefixtures("_nothing_is_left")
def test_sheets_show_the_drawn_mask_at_its_place(webui: Webui) -> None:
    crop = inpainting(webui, (8, 8, 56, 56), **INPAINTED["only masked"])
    made = webui.img2img(**merged(crop, asking("dropdown", {"edit": {"edits": SWAP, "blend": False}})))
    sheets = made.infotexts[int(made.info["index_of_first_image"]) + 2 :]
    texts = [text.rpartition(f"{CAPTION}: ")[2] for text in sheets]
    assert texts == ["source and targets of an edit", "where target 1 may change the picture"]


@pytest.mark.usefixtures("_nothing_is_left")
def test_a_drawn_mask_without_white_is_refused(webui: Webui) -> None:
    asked = merged({**DEFAULTS, **inpainting(webui, (0, 0, 0, 0))}, edit())
    status, answer = webui.post("/sdapi/v1/img2img", **asked)
    assert status == 422, answer
    assert "no white pixel" in answer["detail"]


def _drawn(webui: Webui, asked: dict[str, Any], how: dict[str, Any]) -> list[Pixels]:
    """Two pictures; the autoencoder's noise is that of the last seed before (rng.py, manual_seed)."""
    webui.txt2img(steps=1)
    return pictures(webui.img2img(**merged({**asked, "n_iter": 2}, how)))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"edits": ""}, "there is no edit"),
        ({"edits": "moon -> star"}, "does not hold these words"),
        ({"edits": "circle star"}, "cannot read this edit\n  circle star\n  ^^^^^^^^^^^"),
        ({"edits": "circle * 11"}, "-2 to 10"),
        ({"edits": SWAP, "blocks": "IN99"}, "IN99"),
        ({"edits": SWAP, "cross_steps": {"moon": 0.5}}, "neither prompt holds 'moon'"),
        ({"edits": SWAP, "cross_steps": 2}, "a fraction such as 0.8"),
        ({"edits": SWAP, "blend_words": "moon"}, "neither prompt holds 'moon'"),
        ({"edits": SWAP, "threshold": 2}, "0 to 1"),
        ({"edits": SWAP, "sweep": "all"}, "none, steps, blocks, both"),
        ({"edits": f"+ <lora:{LORA}:1>"}, "write them into the prompt"),
        ({"edits": f"+ {LONG}"}, "must have as many"),
        ({"edits": "+ [red:blue:2]"}, "changes during the run"),
        ({"edits": "+ AND a star"}, "AND"),
        ({"edit": SWAP}, "allowed: enabled, edits"),
    ],
)
@pytest.mark.usefixtures("_nothing_is_left")
def test_what_is_wrong_is_said(webui: Webui, asked: dict[str, Any], words: str) -> None:
    request = asking("dropdown", {"edit": asked})
    status, answer = webui.post("/sdapi/v1/txt2img", **{**DEFAULTS, **fields("Euler"), **request})
    assert status == 422
    assert words in answer["detail"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"prompt": "a circle AND a square"}, "AND"),
        ({"prompt": "a [red:blue:2] circle"}, "changes during the run"),
        ({"prompt": "a (~: M00: red :~) circle"}, "layer prompts"),
        ({"prompt": "a circle", "negative_prompt": "a (~: M00: red :~) star"}, "layer prompts"),
        ({"sampler_name": "DPM adaptive"}, "DPM adaptive"),
        ({"override_settings": {"token_merging_ratio": 0.5}}, "token merging"),
        ({"override_settings": {"sd_unet": "Stand-in U-Net"}}, "edits cannot act"),
        (stand_in("wildcards"), "another extension changed the prompts"),
    ],
    ids=lambda value: str(value)[:40],
)
@pytest.mark.usefixtures("_nothing_is_left")
def test_what_cannot_be_edited_is_said(webui: Webui, more: dict[str, Any], words: str) -> None:
    request = merged({**DEFAULTS, **fields("Euler"), **more}, edit())
    status, answer = webui.post("/sdapi/v1/txt2img", **request)
    assert status == 422, answer
    assert words in answer["detail"]


@pytest.mark.usefixtures("_nothing_is_left")
def test_the_always_on_script_refuses_an_edit(webui: Webui) -> None:
    request = asking("always on", {"edit": {"edits": SWAP}})
    status, answer = webui.post("/sdapi/v1/txt2img", **{**DEFAULTS, **fields("Euler"), **request})
    assert status == 422
    assert "list of scripts" in answer["detail"]


@pytest.mark.parametrize("end", ["success", "error", "interrupt"])
@pytest.mark.usefixtures("_nothing_is_left")
def test_nothing_is_left_on_the_model(webui: Webui, end: str) -> None:
    more = {
        "success": {},
        "error": stand_in("raise", 3),
        "interrupt": stand_in("stop", {"what": "interrupt", "step": 2}),
    }[end]
    request = merged({**fields("Euler"), **more}, edit())
    status, answer = webui.post("/sdapi/v1/txt2img", **{**DEFAULTS, **request})
    assert status == (500 if end == "error" else 200)
    assert end == "error" or len(answer["images"]) == 2


def test_what_is_recorded_is_of_source_and_targets(webui: Webui) -> None:
    """K of cross-attention is of the text alone."""
    before = webui.dump_paths()
    recorded = {"blocks": "OUT08", "parts": ["K"], "steps": "4", "dump": True}
    settings = {"edit": {"edits": SWAP}, "attention": recorded, "output": QUIET}
    webui.txt2img(**merged(fields("Euler"), asking("dropdown", settings)))
    traces = webui.traces_since(before)
    assert [trace.meta["prompt"] for trace in traces] == [fields("Euler")["prompt"], TARGET]
    for trace in traces:
        before = webui.dump_paths()
        alone = asking("dropdown", {"attention": recorded, "output": QUIET})
        webui.txt2img(prompt=trace.meta["prompt"], **alone)
        [own] = webui.traces_since(before)
        found, wanted = (one.attention.one(what="K", half="cond").numpy() for one in (trace, own))
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_sheets_follow_source_and_targets(webui: Webui) -> None:
    asked = {"edits": f"{SWAP}\n---\nred -> green; blue -> red", "sweep": "both"}
    made = webui.txt2img(**fields("Euler"), batch_size=2, **asking("dropdown", {"edit": asked}))
    texts = made.infotexts[made.info["index_of_first_image"] :]
    assert len(made.images) == len(made.infotexts)
    shown = [text.rpartition(f"{CAPTION}: ")[2] if CAPTION in text else "picture" for text in texts]
    one = ["picture", "picture", "picture", "source and targets of an edit"]
    one += [f"where target {target} may change the picture" for target in (1, 2)]
    assert shown == [*one, "edit from 0 % to 100 %", *one]
    assert [f"Seed: {seed}" in text for text in texts for seed in (7,)] == [True] * 7 + [False] * 6


def test_a_targets_infotext_brings_back_the_run(webui: Webui) -> None:
    made = webui.txt2img(**merged(fields("hires prompt"), edit()))
    source, target = made.infotexts
    assert source.startswith(fields("Euler")["prompt"])
    assert target.startswith(TARGET)
    assert "U-Net Viz source" not in source
    assert f"U-Net Viz source: {fields('Euler')['prompt']}" in target
    assert "U-Net Viz hires source: a small red circle" in target


# In the page.


def test_the_page_says_what_becomes_of_each_word_and_brings_a_run_back(webui: Webui, browser: Any) -> None:
    for page in opened(webui, browser):
        choose_script(page)
        page.locator("#tab_txt2img button:visible", has_text="Edit").first.click()
        tick(page, "edit.enabled")
        write(page, "edit.edits", "moon -> star")
        shown = page.locator("#tab_txt2img .uv-readout:visible").last
        page.wait_for_function("document.body.innerText.includes('does not hold these words')")
        write(page, "edit.edits", SWAP)
        page.wait_for_function("document.body.innerText.includes('swapped')")
        assert TARGET in shown.inner_text()
        shoot(page, "edit")
        generate(page)
        assert thumbnails(page).count() == 5  # grid, source, target, comparison, mask
        thumbnails(page).nth(2).click()
        page.wait_for_timeout(800)
        page.locator("#txt2img_prompt textarea").fill(_infotext(page))
        write(page, "edit.edits", "")
        page.locator("#paste").first.click()
        page.wait_for_function(f"document.querySelector('#txt2img_prompt textarea').value === {PROMPT!r}")
        assert field(page, "edit.edits").locator("textarea").input_value() == SWAP


def _infotext(page: Any) -> str:
    text: str = page.locator("#html_info_txt2img p").first.inner_text()
    assert text.startswith(TARGET)
    return text
