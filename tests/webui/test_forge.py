"""In a real Forge: pictures are the same with the extension on, and what it records is what it says it is.

What a row is, is checked with runs of that prompt and seed alone: K of cross-attention depends on the text
only, features of a first step on the text and the seed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from webui.forge import LOOK, LORA, OTHER, SMALL, forge, generate, look
from webui.recording import Recorded, asking, assert_same_pictures
from webui.serving import Generated, Webui, decoded_image, encoded_image

HIRES: dict[str, Any] = {
    "enable_hr": True,
    "hr_scale": 1.5,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.6,
    "hr_additional_modules": ["Use same choices"],
    "hr_cfg": 5,
}
CAT, DOG = "a red cat", "a blue dog"
LONG, LONGEST = "x " * 100, "x " * 500  # two chunks of 75 tokens, seven
CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch": {"batch_size": 2},
    "batch count": {"n_iter": 2},
    "AND batch": {"prompt": f"{CAT} AND {DOG}", "batch_size": 2},
    "CFG 1": {"cfg_scale": 1},
    "Heun": {"sampler_name": "Heun", "steps": 3},
    "DDIM": {"sampler_name": "DDIM"},
    "hires": HIRES,
    "72x96": {"width": 72, "height": 96},
}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Webui]:
    with forge(tmp_path_factory.mktemp("forge-data")) as webui:
        yield webui


@pytest.fixture(scope="module")
def plain(running: Webui) -> Generated:
    """A picture without the extension, before anything else is asked."""
    return generate(running)


@pytest.fixture(scope="module")
def alone(running: Webui) -> Any:
    """Recordings of one prompt and seed, each made once."""
    made: dict[Any, Recorded] = {}

    def ask(prompt: str, seed: int = 1) -> Recorded:
        if (prompt, seed) not in made:
            made[prompt, seed] = look(running, prompt=prompt, seed=seed)
        return made[prompt, seed]

    return ask


@pytest.fixture
def _nothing_is_left(running: Webui, plain: Generated) -> Iterator[None]:
    """After such a test, a plain picture is what it was."""
    yield
    assert_same_pictures(generate(running), plain)


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def same(one: Generated, other: Generated) -> bool:
    return all(map(np.array_equal, one.pixels(), other.pixels()))


def key(recorded: Recorded, **asked: Any) -> torch.Tensor:
    """K of a block's cross-attention, (head, token, channel)."""
    return recorded.map(**{"what": "K", "block": "OUT08", "step": 1, "half": "cond", **asked})


def inside(recorded: Recorded, **asked: Any) -> torch.Tensor:
    """The middle block's output, (channel, y, x)."""
    return recorded.feature(**{"step": 1, "half": "cond", **asked})


@pytest.mark.parametrize("name", CASES)
def test_the_picture_is_the_same(running: Webui, name: str) -> None:
    without = generate(running, **CASES[name])
    recorded = look(running, **CASES[name])
    assert recorded.features, recorded.said
    assert recorded.attention, recorded.said
    assert_same_pictures(recorded.answer, without)


def test_sheets_follow_their_pictures(running: Webui, plain: Generated) -> None:
    answer = generate(running, **asking("dropdown", {"features": {"blocks": "M00", "steps": "1,2"}}))
    assert len(answer.images) == len(answer.infotexts) == 3
    np.testing.assert_array_equal(answer.pixels()[0], plain.pixels()[0])


def test_halves_are_their_prompts(running: Webui, alone: Any) -> None:
    """Forge puts the unconditional rows first."""
    both = look(running, prompt=CAT, negative_prompt=DOG)
    for half, prompt in (("cond", CAT), ("uncond", DOG)):
        close(key(both, half=half), key(alone(prompt)))
        close(inside(both, half=half), inside(alone(prompt)))
    assert not torch.allclose(key(alone(CAT)), key(alone(DOG)), atol=1e-2)


def test_a_batch_is_its_pictures_alone(running: Webui, alone: Any) -> None:
    both = look(running, batch_size=2)
    for image in range(2):
        for half in ("cond", "uncond"):
            for step in (1, 2):
                asked: dict[str, Any] = {"half": half, "step": step}
                close(inside(both, image=image, **asked), inside(alone(CAT, 1 + image), **asked))
    assert not torch.allclose(inside(alone(CAT, 1)), inside(alone(CAT, 2)), atol=1e-2)


@pytest.mark.parametrize("images", [1, 2])
def test_sub_prompts_are_those_prompts_alone(running: Webui, alone: Any, images: int) -> None:
    """Forge has the last sub-prompt first."""
    together = look(running, prompt=f"{CAT} AND {DOG}", batch_size=images)
    for image in range(images):
        for sub, prompt in enumerate((CAT, DOG)):
            close(key(together, image=image, sub=sub), key(alone(prompt)))
            close(inside(together, image=image, sub=sub), inside(alone(prompt, 1 + image)))


def test_three_sub_prompts(running: Webui, alone: Any) -> None:
    prompts = (CAT, DOG, "a star")
    together = look(running, prompt=" AND ".join(prompts))
    for sub, prompt in enumerate(prompts):
        close(key(together, sub=sub), key(alone(prompt)))


@pytest.mark.parametrize("negative", [LONG, LONGEST], ids=["repeated", "a call of its own"])
def test_unequal_lengths(running: Webui, alone: Any, negative: str) -> None:
    """Up to four times as long, the shorter text is repeated; beyond, each has its call (condition.py)."""
    recorded = look(running, negative_prompt=negative)
    short, long = key(recorded), key(recorded, half="uncond")
    close(long, key(alone(negative)))
    expected = key(alone(CAT))
    assert short.shape[1] % expected.shape[1] == 0
    for columns in short.split(expected.shape[1], dim=1):
        close(columns, expected)


def test_sub_prompts_of_very_unequal_lengths(running: Webui, alone: Any) -> None:
    """Forge lengthens the shorter one by its last token (prompt_parser.py, stack_conds): one call."""
    recorded = look(running, prompt=f"{CAT} AND {LONGEST}")
    for sub, prompt in enumerate((CAT, LONGEST)):
        wanted = key(alone(prompt))
        close(key(recorded, sub=sub)[:, : wanted.shape[1]], wanted)


def test_without_guidance_there_is_no_unconditional_half(running: Webui, alone: Any) -> None:
    recorded = look(running, cfg_scale=1)
    assert {item.key.half for item in (*recorded.features, *recorded.attention)} == {"cond"}
    close(key(recorded), key(alone(CAT)))
    close(inside(recorded), inside(alone(CAT)))


def test_steps_of_heun_are_sampling_steps(running: Webui) -> None:
    recorded = look(running, sampler_name="Heun", steps=3)
    assert {item.key.step for item in recorded.features} == {0, 1, 2}
    sigmas = recorded.traces[0].meta["sigmas"]
    assert len(sigmas) == 3
    assert sigmas == sorted(set(sigmas), reverse=True)


def test_the_step_that_ddim_leaves_out_is_named(running: Webui) -> None:
    recorded = look(running, sampler_name="DDIM")
    assert {item.key.step for item in recorded.features} == {0}
    assert re.search(r"evaluated no 2\b", recorded.said), recorded.said


def test_the_hires_pass_is_of_its_own_size(running: Webui, alone: Any) -> None:
    recorded = look(running, **HIRES)
    for name, side in (("first", 4), ("hires", 6)):
        feature = recorded.feature(block="IN05", pass_=name, half="cond", step=1)
        assert feature.shape[1:] == (side, side)
        close(key(recorded, pass_=name), key(alone(CAT)))
    close(inside(recorded, pass_="first"), inside(alone(CAT)))
    assert (recorded.traces[0].meta["size"], recorded.traces[0].meta["size_hires"]) == ([8, 8], [12, 12])


# Layer prompts.


@pytest.mark.parametrize("fields", [{}, HIRES], ids=["one", "hires"])
def test_one_text_for_all_blocks_is_that_text(running: Webui, fields: dict[str, Any]) -> None:
    layered = look(running, {}, prompt="a (~: _: red :~) cat", **fields)
    assert_same_pictures(layered.answer, generate(running, **fields))


@pytest.mark.usefixtures("_nothing_is_left")
def test_a_block_reads_its_own_text(running: Webui, alone: Any, plain: Generated) -> None:
    layered = look(running, prompt="a (~: IN00-OUT05: red; OUT06-OUT11: blue :~) cat")
    close(key(layered, block="IN01"), key(alone(CAT), block="IN01"))
    close(key(layered, block="OUT08"), key(alone("a blue cat"), block="OUT08"))
    close(key(layered, half="uncond"), key(alone(CAT), half="uncond"))
    assert not same(layered.answer, plain), "the text did not reach the picture"


def test_a_sub_prompts_block_reads_its_own_text(running: Webui, alone: Any) -> None:
    layered = look(running, prompt=f"a (~: IN00-OUT05: red; OUT06-OUT11: blue :~) cat AND {DOG}")
    close(key(layered, sub=0), key(alone("a blue cat")))
    close(key(layered, sub=1), key(alone(DOG)))


def test_a_block_reads_its_own_text_beside_a_longer_one(running: Webui, alone: Any) -> None:
    layered = look(running, prompt="a (~: IN00-OUT05: red; OUT06-OUT11: blue :~) cat", negative_prompt=LONG)
    expected = key(alone("a blue cat"))
    for columns in key(layered).split(expected.shape[1], dim=1):
        close(columns, expected)
    close(key(layered, half="uncond"), key(alone(LONG)))


# Models.


@pytest.mark.usefixtures("_nothing_is_left")
def test_a_checkpoint_change_inside_a_run(running: Webui, alone: Any, plain: Generated) -> None:
    """Forge makes a new U-Net after the script began: hooks set before would see nothing."""
    names = [one["model_name"] for one in running.get("/sdapi/v1/sd-models")]
    first = running.get("/sdapi/v1/options")["sd_model_checkpoint"]
    others = [name for name in names if name not in first]
    if not others:
        pytest.skip(f"there is one checkpoint only: {names}")
    fields = {"sd_model_checkpoint": others[0]}
    try:
        changed = look(running, override_settings=fields)
        assert others[0] in changed.answer.infotexts[0]
        if others[0] == OTHER:  # the same numbers
            assert_same_pictures(changed.answer, plain)
            close(inside(changed), inside(alone(CAT)))
        assert_same_pictures(changed.answer, generate(running, override_settings=fields))
        assert {item.key.step for item in changed.features} == {0, 1}
    finally:
        running.options(sd_model_checkpoint=first)


@pytest.mark.usefixtures("_nothing_is_left")
def test_a_lora(running: Webui, alone: Any, plain: Generated) -> None:
    names = [one["name"] for one in running.get("/sdapi/v1/loras")]
    if LORA not in names:
        pytest.skip(f"there is no LoRA {LORA}: Forge was not started here")
    prompt = f"{CAT} <lora:{LORA}:1>"
    without = generate(running, prompt=prompt)
    assert not same(without, plain), "the LoRA did not act"
    recorded = look(running, prompt=prompt)
    assert_same_pictures(recorded.answer, without)
    close(key(recorded, block="IN01"), key(alone(CAT), block="IN01"))
    wanted = {**LOOK, "attention": {**LOOK["attention"], "blocks": "M00"}}
    with_it, without_it = (look(running, wanted, prompt=text) for text in (prompt, CAT))
    assert not torch.allclose(key(with_it, block="M00"), key(without_it, block="M00"), atol=1e-2)


@pytest.mark.usefixtures("_nothing_is_left")
def test_offloading(running: Webui, alone: Any) -> None:
    """Forge's own switch for little memory; on a CPU little moves, but models are unloaded in between."""
    least = {"alwayson_scripts": {"Never OOM Integrated": {"args": [True, False]}}}
    without = generate(running, **least)
    recorded = look(running, **least)
    assert_same_pictures(recorded.answer, without)
    close(inside(recorded), inside(alone(CAT)))


# Routes, and what goes wrong.


def test_an_uploaded_picture_is_looked_at(running: Webui) -> None:
    image = Image.effect_noise((96, 128), 60).convert("RGB")
    asked = {"image": encoded_image(image), "prompt": "a red circle", "words": ["circle"]}
    status, answer = running.post("/unet-viz/v1/vxa", **asked)
    assert status == 200, answer
    assert answer["layers"]
    assert "circle" in [token["text"].strip() for token in answer["tokens"]]
    status, answer = running.post("/unet-viz/v1/vxa", **asked, layers="IN99")
    assert status == 422
    assert "IN99" in str(answer)


def test_an_uploaded_picture_is_edited(running: Webui) -> None:
    image = Image.effect_noise((96, 128), 60).convert("RGB")
    prompt = "a (red:1.2) circle"
    asked: dict[str, Any] = {"image": encoded_image(image), "prompt": prompt, "steps": 2}
    asked["edit"] = {"edits": "red -> blue\n---\n+ and " + "a green star, " * 30}
    status, answer = running.post("/unet-viz/v1/edit", **asked)
    assert status == 200, answer
    assert answer["prompts"][1] == "a (blue:1.2) circle"
    assert answer["errors"]["latent RMSE"] == 0
    source, *targets = [np.asarray(decoded_image(text)) for text in answer["pictures"]]
    assert source.shape == (128, 96, 3)
    assert [np.array_equal(source, target) for target in targets] == [False, False]
    same = {**asked, "inversion": "negative", "cfg_scale": 2, "edit": {"edits": f"= {prompt}"}}
    status, answer = running.post("/unet-viz/v1/edit", **same)
    source, target = (np.asarray(decoded_image(text), dtype=int) for text in answer["pictures"])
    assert np.abs(source - target).max() <= 1
    status, answer = running.post("/unet-viz/v1/edit", **{**asked, "inversion": "null-text"})
    assert status == 422
    assert "needs gradients" in str(answer)


def test_layers_are_told(running: Webui) -> None:
    blocks = running.get("/unet-viz/v1/layers")["blocks"]
    assert [block["name"] for block in blocks][12:14] == ["M00", "OUT00"]
    assert len(blocks) == 25


@pytest.mark.usefixtures("_nothing_is_left")
@pytest.mark.parametrize("wrong", [{"features": {"blocks": "IN99"}}, {"attention": {"blocks": "IN00"}}])
def test_wrong_blocks_are_refused(running: Webui, wrong: dict[str, Any]) -> None:
    status, said = refused(running, settings=wrong)
    assert status == 422
    assert next(iter(wrong.values()))["blocks"] in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("_nothing_is_left")
def test_a_problem_found_in_mid_run(running: Webui) -> None:
    """AND within a group is judged when the prompts are encoded, and raised in the U-Net's call."""
    status, said = refused(running, settings=LOOK, prompt="a (~: _: red; M00: blue AND green :~) cat")
    assert status == 422
    assert "AND" in said
    assert "Traceback" not in said


def refused(running: Webui, *, settings: Any, **fields: Any) -> tuple[int, str]:
    body = {**SMALL, **fields, **asking("dropdown", dict(settings))}
    status, answer = running.post("/sdapi/v1/txt2img", **body)
    return status, str(answer)


@pytest.mark.usefixtures("_nothing_is_left")
def test_what_was_captured_before_an_interrupt_is_kept(running: Webui) -> None:
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(look, running, steps=30)
        while not asked.done():
            state = running.get("/sdapi/v1/progress?skip_current_image=true")["state"]
            if state["sampling_step"] >= 2 and state["sampling_steps"] == 30:
                running.post("/sdapi/v1/interrupt")
                break
            time.sleep(0.2)
        recorded = asked.result()
    steps = {item.key.step for item in recorded.features}
    assert 0 < len(steps) < 30
    assert steps == set(range(len(steps)))
    assert recorded.answer.images


# Edits.

EDITED: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch": {"batch_size": 2},
    "CFG 1": {"cfg_scale": 1},
    "Heun": {"sampler_name": "Heun", "steps": 3},
    "DDIM": {"sampler_name": "DDIM", "steps": 4},
    "hires": HIRES,
    "repeated": {"negative_prompt": LONG},
    "two calls": {"negative_prompt": LONGEST},
}


def edited(
    running: Webui, edits: str, *, blend: bool = False, threshold: float = 0.3, **fields: Any
) -> list[Any]:
    """Pixels of each source and target."""
    edit = {"edits": edits, "blend": blend, "threshold": threshold}
    settings = {"edit": edit, "output": {"show": False, "save": False}}
    made = generate(running, prompt=CAT, **fields, **asking("dropdown", settings))
    return made.pixels()[int(made.info["index_of_first_image"]) :]


def apart(one: Any, other: Any) -> int:
    return int(np.abs(one.astype(int) - other.astype(int)).max())


@pytest.mark.parametrize("name", EDITED)
def test_an_edits_source_is_its_plain_picture(running: Webui, name: str) -> None:
    without = generate(running, prompt=CAT, **EDITED[name]).pixels()
    made = edited(running, "cat -> dog\n---\ncat -> cat", **EDITED[name])
    wanted = without[-EDITED[name].get("batch_size", 1) :]
    for picture, source, swapped, same in zip(wanted, made[::3], made[1::3], made[2::3], strict=True):
        assert apart(source, picture) <= 1
        assert apart(swapped, source) > 1
        assert apart(same, source) <= 1


@pytest.mark.usefixtures("_nothing_is_left")
def test_outside_the_mask_a_target_is_its_source(running: Webui) -> None:
    """No map is above its own maximum, so that the mask is empty."""
    for case in ({}, {"sampler_name": "Heun", "steps": 3}):
        source, target = edited(running, "cat -> dog", blend=True, threshold=1, **case)
        np.testing.assert_array_equal(source, target)


@pytest.mark.parametrize(
    ("fields", "edit", "words"),
    [
        ({}, {"edits": "moon -> star"}, "does not hold these words"),
        ({"prompt": f"{CAT} AND {DOG}"}, {"edits": "cat -> star"}, "AND"),
        ({"prompt": f"{CAT} {LONG}"}, {"edits": f"+ {LONG}"}, "must have as many"),
    ],
)
@pytest.mark.usefixtures("_nothing_is_left")
def test_a_wrong_edit_is_refused(
    running: Webui, fields: dict[str, Any], edit: dict[str, Any], words: str
) -> None:
    request = {**SMALL, **fields, **asking("dropdown", {"edit": edit})}
    status, answer = running.post("/sdapi/v1/txt2img", **request)
    assert status == 422
    assert words in str(answer)


def test_an_edit_has_its_sheets(running: Webui) -> None:
    settings = {"edit": {"edits": "cat -> dog", "sweep": "steps"}}
    made = generate(running, prompt=CAT, **asking("dropdown", settings))
    assert len(made.images) == len(made.infotexts)
    assert [text.rpartition("U-Net Viz sheet: ")[2][:6] for text in made.infotexts[-3:]] == [
        "source",
        "where ",
        "edit f",
    ]
