"""In a real webui: pictures are the same with the extension on, and what it records is what it says it is."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from webui.data import EMBEDDING, HYPERNETWORK, INPAINTING, LORA, OTHER
from webui.recording import (
    MODES,
    Plan,
    Recorded,
    assert_right_rows,
    assert_same_pictures,
    label,
    record,
    stand_in,
)
from webui.serving import Generated, Webui, encoded_image

ONE_EACH, SECOND_ORDER = (0, 1, 2, 3), (0, 2, 4, 6)
# For four steps: the denoiser call that begins each step, by the samplers' own loops.
SAMPLERS = {
    "DPM++ 2M": ONE_EACH,
    "DPM++ SDE": SECOND_ORDER,
    "DPM++ 2M SDE": ONE_EACH,
    "DPM++ 2M SDE Heun": ONE_EACH,
    "DPM++ 2S a": SECOND_ORDER,
    "DPM++ 3M SDE": ONE_EACH,
    "Euler a": ONE_EACH,
    "Euler": ONE_EACH,
    "LMS": ONE_EACH,
    "Heun": SECOND_ORDER,
    "DPM2": SECOND_ORDER,
    "DPM2 a": SECOND_ORDER,
    "DPM fast": ONE_EACH,
    "Restart": SECOND_ORDER,
    "DDIM": (0, 1, 2),
    "DDIM CFG++": (0, 1, 2),
    "PLMS": (0, 2, 3),
    "UniPC": ONE_EACH,
    "LCM": ONE_EACH,
}
# How a note names the last of four steps.
NEVER = r"evaluated no 4\b"
# Takes as many calls as its tolerance wants, whatever the number of steps.
ADAPTIVE = "DPM adaptive"

LONG = "a big red circle on a grey ground, " * 12  # past 75 tokens
HIRES = {
    "enable_hr": True,
    "hr_scale": 1.5,
    "hr_upscaler": "Latent",
    "denoising_strength": 0.8,
    "hr_second_pass_steps": 3,
}


def settings(**values: Any) -> dict[str, Any]:
    return {"override_settings": values}


@dataclass(frozen=True)
class Case:
    """A request, and what its U-Net calls are."""

    name: str
    fields: dict[str, Any]
    plan: Plan = field(default_factory=Plan)
    kind: str = "txt2img"


@cache
def picture() -> str:
    image = Image.new("RGB", (128, 128), (90, 120, 90))
    ImageDraw.Draw(image).ellipse((30, 20, 90, 80), fill=(200, 40, 40))
    return encoded_image(image)


@cache
def mask() -> str:
    image = Image.new("L", (128, 128), 0)
    ImageDraw.Draw(image).rectangle((16, 16, 80, 80), fill=255)
    return encoded_image(image)


IMAGE = {"init_images": [picture()], "denoising_strength": 0.75}
TWO = Plan(subs=(1, 1))
CASES = [
    Case("batch-size", {"batch_size": 2}, TWO),
    Case("batch-count", {"n_iter": 2}),
    Case("batch-size-and-count", {"batch_size": 2, "n_iter": 2}, TWO),
    Case("AND", {"prompt": "a red circle AND a blue square :0.6"}, Plan(subs=(2,))),
    Case("AND-batch", {"prompt": "a red circle AND a blue square", "batch_size": 2}, Plan(subs=(2, 2))),
    Case(
        "AND-batch-split",
        {"prompt": "a red circle AND a blue square", "batch_size": 2, **settings(batch_cond_uncond=False)},
        Plan(subs=(2, 2)),
    ),
    Case(
        "AND-unequal-lengths", {"prompt": f"a circle AND {LONG}", "negative_prompt": "red"}, Plan(subs=(2,))
    ),
    Case("AND-three", {"prompt": "red circle AND blue square AND star", "batch_size": 2}, Plan(subs=(3, 3))),
    Case(
        "AND-three-unequal-lengths",
        {"prompt": "red circle AND blue square AND star", "batch_size": 2, "negative_prompt": LONG},
        Plan(subs=(3, 3)),
    ),
    Case("longer-negative", {"negative_prompt": LONG}),
    Case("longer-negative-batch", {"negative_prompt": LONG, "batch_size": 2}, TWO),
    Case(
        "longer-negative-split",
        {"negative_prompt": LONG, "batch_size": 2, **settings(batch_cond_uncond=False)},
        TWO,
    ),
    Case("longer-prompt", {"prompt": LONG}),
    Case("padded", {"negative_prompt": LONG, **settings(pad_cond_uncond=True)}),
    Case("padded-v0", {"negative_prompt": LONG, **settings(pad_cond_uncond_v0=True)}),
    Case("cond-uncond-split", settings(batch_cond_uncond=False)),
    Case("cond-uncond-split-batch", {"batch_size": 2, **settings(batch_cond_uncond=False)}, TWO),
    Case("ngms", {"s_min_uncond": 4.0}),
    Case("ngms-all", {"s_min_uncond": 4.0, "batch_size": 2, **settings(s_min_uncond_all=True)}, TWO),
    Case("ngms-longer-negative", {"s_min_uncond": 4.0, "negative_prompt": LONG}),
    Case("skip-early-cond", settings(skip_early_cond=0.5)),
    Case("skip-early-cond-batch", {"batch_size": 2, **settings(skip_early_cond=0.5)}, TWO),
    Case("cfg-1", {"cfg_scale": 1}),
    Case("no-negative", {"negative_prompt": ""}),
    Case("no-prompt", {"prompt": ""}),
    Case("img2img", {**IMAGE, "steps": 6}, Plan(firsts=range(5)), "img2img"),
    Case("img2img-heun", {**IMAGE, "sampler_name": "Heun"}, Plan(firsts=(0, 2, 4, 6)), "img2img"),
    Case("img2img-ddim", {**IMAGE, "steps": 6, "sampler_name": "DDIM"}, Plan(firsts=range(3)), "img2img"),
    Case("img2img-batch", {**IMAGE, "batch_size": 2, "n_iter": 2}, TWO, "img2img"),
    Case("inpainting", {**IMAGE, "mask": mask(), "inpainting_fill": 1}, Plan(), "img2img"),
    Case(
        "inpainting-full-res",
        {**IMAGE, "mask": mask(), "inpaint_full_res": True, "inpaint_full_res_padding": 8},
        Plan(),
        "img2img",
    ),
    Case(
        "inpainting-model",
        {**IMAGE, "mask": mask(), "inpainting_fill": 1, **settings(sd_model_checkpoint=INPAINTING)},
        Plan(),
        "img2img",
    ),
    Case("hires", HIRES, Plan(hires=range(3))),
    Case("hires-batch", {**HIRES, "batch_size": 2, "n_iter": 2}, Plan(hires=range(3), subs=(1, 1))),
    Case("hires-lanczos", {**HIRES, "hr_upscaler": "Lanczos"}, Plan(hires=range(3))),
    Case("hires-heun", {**HIRES, "hr_sampler_name": "Heun"}, Plan(hires=(0, 2, 4))),
    Case("hires-prompt", {**HIRES, "hr_prompt": LONG, "hr_negative_prompt": ""}, Plan(hires=range(3))),
    Case("hires-checkpoint", {**HIRES, "hr_checkpoint_name": OTHER}, Plan(hires=range(3))),
    Case("refiner", {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5}),
    Case(
        "refiner-batch",
        {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5, "batch_size": 2, "n_iter": 2},
        TWO,
    ),
    Case(
        "refiner-hires",
        {**HIRES, "refiner_checkpoint": OTHER, "refiner_switch_at": 0.5},
        Plan(hires=range(3)),
    ),
    Case("checkpoint-override", settings(sd_model_checkpoint=OTHER)),
    Case("size-72x96", {"width": 72, "height": 96}),
    Case("size-portrait", {"width": 64, "height": 192}),
    Case("size-landscape", {"width": 200, "height": 104}),
    Case("clip-skip", settings(CLIP_stop_at_last_layers=2)),
    Case("BREAK", {"prompt": "a big red circle BREAK a small blue square"}),
    Case("past-75-tokens", {"prompt": LONG + "a star", "negative_prompt": LONG}),
    Case("emphasis-and-schedules", {"prompt": "a (big:1.3) [red:blue:0.5] [circle|square], [star::2]"}),
    Case("textual-inversion", {"prompt": f"a {EMBEDDING} circle"}),
    Case("lora", {"prompt": f"a red circle <lora:{LORA}:1>"}),
    Case("hypernetwork", {"prompt": f"a red circle <hypernet:{HYPERNETWORK}:1>"}),
    Case("token-merging", settings(token_merging_ratio=0.5)),
    Case("variation-seed", {"subseed": 3, "subseed_strength": 0.4}),
    Case("eta-noise", {"sampler_name": "Euler a", "eta": 0.7, "batch_size": 2}, TWO),
    Case("scheduler", {"sampler_name": "DPM++ 2M", "scheduler": "Karras"}),
    Case("one-step", {"steps": 1}, Plan(firsts=(0,))),
    Case("replaced-forward", stand_in("replaced forward")),
    Case("nested-generation", stand_in("nested generation")),
    Case("nested-generation-with-scripts", stand_in("nested generation", "scripts")),
    Case("interrupt", {**stand_in("stop", {"what": "interrupt", "step": 1}), "n_iter": 2}),
    Case(
        "interrupt-heun",
        {**stand_in("stop", {"what": "interrupt", "step": 2}), "sampler_name": "Heun"},
        Plan(firsts=SECOND_ORDER),
    ),
    Case("skip", {**stand_in("stop", {"what": "skip", "step": 1}), "n_iter": 2}),
]
NAMED = {case.name: case for case in CASES}
# What two cases must not share: these change the picture.
DIFFER = (
    "textual-inversion",
    "lora",
    "hypernetwork",
    "clip-skip",
    "refiner",
    "replaced-forward",
    "nested-generation",
)


@pytest.fixture(scope="module")
def plain(webui: Webui) -> Any:
    """Asks without the extension, each case once.

    Image-to-image encodes its picture with what torch's random state was left at by the request before (the
    webui seeds it later only), so there an equal request goes before, and no answer is kept.
    """
    answers: dict[str, Generated] = {}

    def ask(case: Case) -> Generated:
        if case.kind == "img2img":
            webui.generate(case.kind, case.fields)
            return webui.generate(case.kind, case.fields)
        if case.name not in answers:
            answers[case.name] = webui.generate(case.kind, case.fields)
        return answers[case.name]

    return ask


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_picture_is_the_same_and_the_rows_are_right(
    webui: Webui, plain: Any, case: Case, mode: str
) -> None:
    before = webui.hooks()
    without = plain(case)
    recorded = record(webui, case.fields, kind=case.kind, mode=mode)
    assert_same_pictures(recorded.answer, without)
    # A generation inside may be recorded as well, on its own.
    outer = [
        trace for trace in recorded.traces if "nested" not in case.name or trace.meta["size"] == [16, 16]
    ]
    assert_right_rows(replace(recorded, traces=outer), case.plan)
    assert webui.hooks() == before


@pytest.mark.parametrize("name", DIFFER)
def test_the_case_is_one(plain: Any, name: str) -> None:
    """What the cases above are about does take place: without it, the picture is another."""
    case = NAMED[name]
    quiet = {"prompt": re.sub(r"<.*>", "", case.fields.get("prompt", "")).replace(EMBEDDING, "").strip()}
    other = Case(f"not {name}", {key: value for key, value in quiet.items() if value})
    assert any(
        not np.array_equal(one, two)
        for one, two in zip(plain(case).pixels(), plain(other).pixels(), strict=True)
    )


def test_every_sampler_is_known(webui: Webui) -> None:
    assert {one["name"] for one in webui.get("/sdapi/v1/samplers")} == {*SAMPLERS, ADAPTIVE}


@pytest.mark.parametrize("name", SAMPLERS)
def test_steps_are_sampling_steps(webui: Webui, plain: Any, name: str) -> None:
    case = Case(name, {"sampler_name": name}, Plan(firsts=SAMPLERS[name]))
    recorded = record(webui, case.fields)
    assert_same_pictures(recorded.answer, plain(case))
    assert_right_rows(recorded, case.plan)
    sigmas = [sigma for sigma in recorded.traces[0].meta["sigmas"] if sigma is not None]
    if name != "DPM fast":  # its evaluations go back and forth: its steps are evaluations
        assert sigmas == sorted(sigmas, reverse=True)
    assert len(sigmas) == len(SAMPLERS[name])
    assert all(0 < sigma < 200 for sigma in sigmas)


@pytest.mark.parametrize("name", [name for name, firsts in SAMPLERS.items() if len(firsts) < 4])
def test_a_step_that_is_never_evaluated_is_named(webui: Webui, name: str) -> None:
    recorded = record(webui, {"sampler_name": name})
    assert re.search(NEVER, recorded.notes), recorded.notes
    assert re.search(NEVER, recorded.said), "the answer does not tell"


def test_an_adaptive_sampler_shows_calls_in_order(webui: Webui, plain: Any) -> None:
    case = Case(ADAPTIVE, {"sampler_name": ADAPTIVE, "width": 64, "height": 64, "cfg_scale": 1})
    recorded = record(webui, case.fields)
    assert_same_pictures(recorded.answer, plain(case))
    cond = [item for item in recorded.features if item.key.block == "M00" and item.key.half == "cond"]
    assert cond, recorded.notes
    assert {label(item)[0] for item in cond} <= set(range(4))
    rows = [recorded.probed.rows(call)[0] for call in range(len(recorded.probed.calls))]
    places = [
        [at for at, row in enumerate(rows) if torch.equal(row.to(item.data.dtype), item.data)]
        for item in cond
    ]
    assert all(places), "a map is of no call"
    assert places[0][0] == 0
    assert [place[0] for place in places] == sorted({place[0] for place in places})


# The same rows, run alone: nothing that the extension or the probe says about rows is relied upon.


def close(one: torch.Tensor, other: torch.Tensor, *, times: float = 1) -> None:
    """Equal but for rounding; times: how much more of it there may be, after several steps."""
    torch.testing.assert_close(one, other, rtol=1e-3 * times, atol=2e-4 * times)


def alone(webui: Webui, **fields: Any) -> Recorded:
    return record(webui, fields)


@pytest.mark.parametrize("split", [False, True], ids=["together", "split"])
def test_a_batch_is_its_pictures_alone(webui: Webui, split: bool) -> None:
    fields = settings(batch_cond_uncond=not split)
    both = record(webui, {**fields, "batch_size": 2, "n_iter": 2})
    for image in range(4):
        single = alone(webui, seed=7 + image)
        for half in ("cond", "uncond"):
            for step in (1, 4):
                each, other = (
                    both.feature(image=image, half=half, step=step),
                    single.feature(half=half, step=step),
                )
                close(each, other, times=10 if step > 1 else 1)
                each, other = both.map(image=image, half=half, step=step), single.map(half=half, step=step)
                close(each, other, times=10 if step > 1 else 1)
    seeds = [trace.meta_of(trace.images[0])["seed"] for trace in both.traces]
    assert sorted(seeds) == [7, 8, 9, 10]


def test_sub_prompts_are_those_prompts_alone(webui: Webui) -> None:
    together = record(webui, {"prompt": "a red circle AND a blue square", "batch_size": 2})
    for sub, prompt in enumerate(("a red circle", "a blue square")):
        for image in range(2):
            single = alone(webui, prompt=prompt, seed=7 + image)
            close(
                together.feature(sub=sub, image=image, half="cond", step=1),
                single.feature(half="cond", step=1),
            )
            close(together.map(sub=sub, image=image, half="cond", step=1), single.map(half="cond", step=1))


@pytest.mark.parametrize("negative", ["green", LONG], ids=["short", "long"])
def test_the_unconditional_half_is_the_negative_prompt(webui: Webui, negative: str) -> None:
    both = record(webui, {"negative_prompt": negative})
    single = alone(webui, prompt=negative, negative_prompt="a dog")
    close(both.feature(half="uncond", step=1), single.feature(half="cond", step=1))
    close(both.map(half="uncond", step=1), single.map(half="cond", step=1))


def test_the_hires_pass_is_of_its_own_size(webui: Webui) -> None:
    recorded = record(webui, HIRES)
    first = recorded.feature(block="IN05", pass_="first", half="cond", step=1)
    second = recorded.feature(block="IN05", pass_="hires", half="cond", step=1)
    assert first.shape[1:] == (8, 8)
    assert second.shape[1:] == (12, 12)
    meta = recorded.traces[0].meta
    assert (meta["size"], meta["size_hires"]) == ([16, 16], [24, 24])
    assert (meta["steps"], meta["steps_hires"]) == (4, 3)


def test_a_refiners_steps_are_the_refiners(webui: Webui) -> None:
    recorded = record(webui, {"refiner_checkpoint": OTHER, "refiner_switch_at": 0.5})
    by_step = [call["checkpoint"] for call in recorded.probed.calls]
    assert len(set(by_step)) == 2, "the refiner did not come in"
    plain = alone(webui)
    close(recorded.feature(half="cond", step=1), plain.feature(half="cond", step=1))
    assert not torch.allclose(
        recorded.feature(half="cond", step=4), plain.feature(half="cond", step=4), atol=1e-2
    )


@pytest.mark.parametrize(("width", "height"), [(72, 96), (64, 192), (200, 104)])
def test_maps_have_the_pictures_shape(webui: Webui, width: int, height: int) -> None:
    wanted = {"attention": {"blocks": "OUT11,OUT05", "dump": True}, "output": {"show": False, "save": False}}
    recorded = record(webui, {"width": width, "height": height}, settings=wanted)
    found = recorded.map(block="OUT11", step=1)
    assert found.shape[2:] == (height // 8, width // 8)
    torch.testing.assert_close(found.sum(dim=1), torch.ones_like(found[:, 0]), rtol=0, atol=5e-3)
    coarse = recorded.map(block="OUT05", step=1)
    assert coarse.shape[2:] == (-(-height // 8 // 4), -(-width // 8 // 4))


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("a red circle", 77), (LONG, 154), ("a circle BREAK a square", 154)],
    ids=["short", "long", "BREAK"],
)
def test_tokens_are_labelled(webui: Webui, prompt: str, tokens: int) -> None:
    recorded = record(webui, {"prompt": prompt})
    found = next(item for item in recorded.attention if item.key.half == "cond")
    assert found.shape[1] == tokens
    texts = recorded.traces[0].token_texts(found)
    assert len(texts) == tokens
    assert sum("circle" in text for text in texts) == prompt.count("circle")


@pytest.mark.parametrize(
    "optimisation", ["None", "sdp", "sdp-no-mem", "sub-quadratic", "V1", "InvokeAI", "Doggettx"]
)
def test_every_attention_optimisation(webui: Webui, optimisation: str) -> None:
    webui.options(cross_attention_optimization=optimisation)
    try:
        without = webui.txt2img(batch_size=2)
        recorded = record(webui, {"batch_size": 2})
    finally:
        webui.options(cross_attention_optimization="Automatic")
    assert_same_pictures(recorded.answer, without)
    assert_right_rows(recorded, TWO)


def test_merged_tokens_are_refused_for_self_attention_only(webui: Webui) -> None:
    """Merging halves the queries of self-attention in the outermost blocks: no map of positions is left."""
    fields = settings(token_merging_ratio=0.5)
    wanted = {
        "attention": {"blocks": "OUT11", "kinds": ["cross", "self"], "steps": "1", "dump": True},
        "output": {"show": False, "save": False},
    }
    without = webui.txt2img(**fields)
    recorded = record(webui, fields, settings=wanted)
    assert_same_pictures(recorded.answer, without)
    assert {item.key.kind for item in recorded.attention} == {"cross"}
    assert "merg" in recorded.said.lower()


def test_another_u_net_leaves_an_ordinary_picture_and_a_message(webui: Webui) -> None:
    fields = settings(sd_unet="Stand-in U-Net")
    without = webui.txt2img(**fields)
    for mode in MODES:
        recorded = record(webui, fields, mode=mode)
        assert_same_pictures(recorded.answer, without)
        assert not recorded.features
        assert "U-Net" in recorded.said
        assert re.search("TensorRT|SD Unet", recorded.said), "no message in the answer"


@pytest.mark.parametrize("name", ["batch-size-and-count", "hires-batch", "img2img", "refiner"])
def test_the_same_seed_gives_the_same_picture_afterwards(webui: Webui, plain: Any, name: str) -> None:
    case = NAMED[name]
    record(webui, case.fields, kind=case.kind)
    assert_same_pictures(webui.generate(case.kind, case.fields), plain(case))


@pytest.mark.parametrize("mode", MODES)
def test_pictures_are_followed_by_their_sheets(webui: Webui, plain: Any, mode: str) -> None:
    case = Case("batch-size-and-count", {"batch_size": 2, "n_iter": 2})
    wanted = {"features": {"blocks": "M00", "steps": "1,4"}, "attention": {"blocks": "M00", "steps": "4"}}
    recorded = record(webui, case.fields, mode=mode, settings=wanted)
    pictures = recorded.answer.pixels()
    each, rest = divmod(len(pictures), 4)
    assert rest == 0
    assert each > 1, "no sheets"
    for at, expected in enumerate(plain(case).pixels()):
        np.testing.assert_array_equal(pictures[at * each], expected)
    texts = recorded.answer.infotexts
    assert len(texts) == len(pictures)
    for at, text in enumerate(texts):
        assert f"Seed: {7 + at // each}," in text, f"image {at} has another seed: {text}"
        assert "U-Net Viz" in text


@pytest.mark.parametrize(("kind", "fields"), [("txt2img", {}), ("img2img", IMAGE)])
def test_an_infotext_brings_the_settings_back(webui: Webui, kind: str, fields: dict[str, Any]) -> None:
    """The API's own way of PNG Info: the same infotext gives the same request."""
    recorded = record(webui, fields, kind=kind, mode="always on")
    text = recorded.answer.infotexts[0]
    found = re.search(r'U-Net Viz: ("(?:[^"\\]|\\.)*")', text)
    assert found, text
    written = json.loads(json.loads(found.group(1)))
    assert written["features"]["blocks"] == "IN05,M00"
    before = webui.dump_paths()
    again = webui.generate(kind, {**fields, "infotext": text})
    assert_same_pictures(again, recorded.answer)
    repeated = webui.traces_since(before)
    assert repeated, "the settings did not come back"
    assert [str(item.key) for item in repeated[0].features] == [str(item.key) for item in recorded.features]


LOW_MEMORY = [NAMED[name] for name in ("batch-size-and-count", "AND-batch", "hires-batch", "lora", "refiner")]


@pytest.mark.parametrize("argument", ["--medvram", "--lowvram"])
def test_low_memory(started: Any, argument: str) -> None:
    """On a CPU nothing moves anywhere, but the same hooks are installed (lowvram.py)."""
    webui = started(argument)
    for case in LOW_MEMORY:
        without = webui.generate(case.kind, case.fields)
        recorded = record(webui, case.fields, kind=case.kind)
        assert_same_pictures(recorded.answer, without)
        assert_right_rows(recorded, case.plan)
