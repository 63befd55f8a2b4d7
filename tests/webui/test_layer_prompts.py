"""In a real webui: layer prompts, in every case in which the older extension failed, and difference maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from webui.data import LORA
from webui.recording import asking, assert_same_pictures, merged, record, stand_in
from webui.serving import Webui

SPLIT = "(~: IN00-OUT05: red ; OUT06-OUT11: blue :~)"  # most blocks with cross-attention read "red"
SAME = "(~: _: red :~)"
QUIET = {"show": False, "save": False}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.8}
LONG = "a small star, " * 30

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "negative of another length": {"negative_prompt": LONG},
    "prompt of two chunks": {"prompt": f"a big {{}} circle, {LONG}"},
    "AND": {"prompt": "a big {} circle AND a small star :0.5"},
    "BREAK": {"prompt": "a big {} circle BREAK a small star"},
    "prompt editing": {"prompt": "a big {} [circle:square:0.5]"},
    "alternation": {"prompt": "a big {} [circle|square]"},
    "LoRA": {"prompt": f"a big {{}} circle <lora:{LORA}:1>"},
    "72x96": {"width": 72, "height": 96},
    "hires": HIRES,
    "hires prompt": {**HIRES, "hr_prompt": "a small {} star"},
    "batch": {"batch_size": 2, "n_iter": 2},
    "Heun": {"sampler_name": "Heun"},
    "DDIM": {"sampler_name": "DDIM"},
    "halves apart": {"override_settings": {"batch_cond_uncond": False}},
    "NGMS": {"override_settings": {"s_min_uncond": 4.0, "s_min_uncond_all": True}},
    "skip early cond": {"override_settings": {"skip_early_cond": 0.5}},
    "CFG 1": {"cfg_scale": 1},
    "negative prompt": {"prompt": "a circle", "negative_prompt": "a {} star"},
}


def filled(fields: dict[str, Any], text: str) -> dict[str, Any]:
    """The case's fields with a text where its prompts have a gap."""
    whole = {"prompt": "a big {} circle", "steps": 4, **fields}
    return {
        name: value.replace("{}", text) if isinstance(value, str) else value for name, value in whole.items()
    }


def asked(mode: str, **settings: Any) -> dict[str, Any]:
    return asking(mode, {"output": QUIET, **settings})


@pytest.mark.parametrize("name", CASES)
def test_one_text_for_all_blocks_is_the_ordinary_picture(webui: Webui, name: str) -> None:
    plain = webui.txt2img(**filled(CASES[name], "red"))
    same = webui.txt2img(**merged(filled(CASES[name], SAME), asked("dropdown")))
    assert_same_pictures(same, plain)


@pytest.mark.parametrize("name", CASES)
def test_each_block_reads_its_own_text(webui: Webui, name: str) -> None:
    """K of cross-attention is of the text alone: what a block reads is seen there."""
    half = "uncond" if "{}" in str(CASES[name].get("negative_prompt")) else "cond"
    wanted = {"blocks": "IN01,OUT08", "parts": ["K"], "steps": "1,4", "halves": [half], "dump": True}
    settings = {"attention": wanted, "output": QUIET}
    fields = {word: filled(CASES[name], word) for word in (SPLIT, "red", "blue")}
    recorded = {word: record(webui, each, settings=settings) for word, each in fields.items()}
    assert recorded[SPLIT].attention
    for item in recorded[SPLIT].attention:
        if item.key.half == half:
            word = "red" if item.key.block == "IN01" else "blue"
            [other] = [each for each in recorded[word].attention if each.key == item.key]
            length = min(item.shape[1], other.shape[1])
            np.testing.assert_allclose(item.numpy()[:, :length], other.numpy()[:, :length], atol=1e-5)


@pytest.mark.parametrize("mode", ["dropdown", "always on"])
@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        ("a (~: IN99: x :~) b", "IN99"),
        ("a (~: IN01 x :~) b", "does not belong"),
        ("a (~: IN01: x", "not closed"),
        ("a (~: IN01: x (~: M00: y :~) :~)", "inside another"),
        ("a (~: M00: x AND y :~) b", "AND"),
    ],
)
def test_a_wrong_notation_stops_the_run(webui: Webui, mode: str, prompt: str, words: str) -> None:
    webui.txt2img(**stand_in("probe"), steps=1)
    request = merged(asked(mode), stand_in("probe"))
    status, answer = webui.post("/sdapi/v1/txt2img", prompt=prompt, steps=4, width=64, height=64, **request)
    assert status == 422
    assert words in str(answer)


def test_the_infotext_keeps_what_was_typed(webui: Webui) -> None:
    prompt = f"a big {SPLIT} circle"
    made = webui.txt2img(**asked("dropdown"), prompt=prompt, steps=2)
    assert made.infotexts[0].startswith(prompt)


def test_a_reversed_range_is_that_range(webui: Webui) -> None:
    one, other = (
        webui.txt2img(**asked("dropdown"), prompt=f"a (~: {spec}: red ; M00: blue :~) circle", steps=2)
        for spec in ("IN00-OUT11", "OUT11-IN00")
    )
    assert_same_pictures(one, other)


@pytest.mark.parametrize("baseline", ["common", "erased"])
def test_a_difference_is_to_the_same_seed_and_sampler(webui: Webui, baseline: str) -> None:
    """Was: the difference map compared two different seeds, steps and samplers."""
    prompt, before = f"a big {SPLIT} circle", webui.dump_paths()
    wanted = {"blocks": "OUT11", "steps": "4", "baseline": baseline, "dump": True}
    fields = {"steps": 4, "seed": -1, "sampler_name": "DPM++ 2M"}
    made = webui.txt2img(**asking("dropdown", {"difference": wanted}), prompt=prompt, **fields)
    [changed] = webui.traces_since(before)
    item = changed.features.one(block="OUT11", step=4)
    assert float(np.abs(item.numpy()).max()) > 0
    texts = {"common": "a big  red circle", "erased": "a big  circle"}
    told = changed.meta["compared"]
    assert told["a"]["seed"] == told["b"]["seed"]
    plain = webui.txt2img(prompt=texts[baseline], **{**fields, "seed": told["a"]["seed"]})
    assert changed.picture is not None
    drawn = np.abs(made.pixels()[0].astype(int) - plain.pixels()[0].astype(int))
    np.testing.assert_array_equal(np.asarray(changed.picture.convert("RGB")), drawn)


def test_without_the_script_the_notation_is_plain_text_and_that_is_said(webui: Webui) -> None:
    made = webui.txt2img(prompt=f"a big {SPLIT} circle", steps=2)
    assert len(made.images) == 1
