"""What the two older extensions fail at on webui 1.10.1, one by one (layer prompts and differences apart)."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

from lib_unet_viz.capture.dump import load_trace
from webui.recording import asking, assert_same_pictures, merged, record, stand_in
from webui.serving import Webui

QUIET = {"show": False, "save": False}
HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.8}


def attention(**values: Any) -> dict[str, Any]:
    return {"attention": {"blocks": "M00,OUT11", "dump": True, **values}, "output": QUIET}


# dumpunet


def test_a_wrong_block_is_told_before_anything_runs(webui: Webui) -> None:
    """Was: a syntax error surfaced at the first U-Net call only."""
    webui.txt2img(**stand_in("probe"), steps=1)
    request = merged(asking("dropdown", {"features": {"blocks": "IN00,OUT99"}}), stand_in("probe"))
    status, answer = webui.post("/sdapi/v1/txt2img", steps=4, **request)
    assert status == 422
    assert "OUT99" in str(answer)
    assert len(webui.probed().calls) == 1


def test_a_reversed_range_is_that_range(webui: Webui) -> None:
    """Was: reversed ranges did nothing."""
    settings = {"features": {"blocks": "OUT01-IN10", "steps": "1", "dump": True}, "output": QUIET}
    recorded = record(webui, {}, settings=settings)
    blocks = {item.key.block for item in recorded.features}
    assert blocks == {"IN10", "IN11", "M00", "OUT00", "OUT01"}


@pytest.mark.parametrize("fields", [{"width": 72, "height": 96}, HIRES], ids=["72x96", "hires"])
def test_attention_of_any_size(webui: Webui, fields: dict[str, Any]) -> None:
    """Was: HTTP 500 at 72x96 and in the hires pass."""
    without = webui.txt2img(**fields)
    recorded = record(webui, fields, settings=attention(parts=["Q", "K", "QK", "VQK"]))
    assert_same_pictures(recorded.answer, without)
    assert {item.key.what for item in recorded.attention} == {"Q", "K", "QK", "VQK"}
    passes = {"first", "hires"} if "enable_hr" in fields else {"first"}
    assert {item.key.pass_ for item in recorded.attention} == passes


def test_v_q_k_at_this_models_widths(webui: Webui) -> None:
    """Was: V*Q*K at SD 1's own widths only."""
    recorded = record(webui, {}, settings=attention(parts=["VQK"]))
    shapes = {(item.key.block, item.shape) for item in recorded.attention}
    assert shapes == {("M00", (2, 64, 2, 2)), ("OUT11", (2, 16, 16, 16))}


def test_a_dump_is_one_file_that_says_what_it_holds(webui: Webui) -> None:
    """Was: one file without a header for each channel; a custom path was an AssertionError."""
    before = webui.dump_paths()
    wanted = {"features": {"blocks": "IN00,M00", "dump": True, "path": "my dumps"}}
    webui.txt2img(**asking("dropdown", wanted), batch_size=2)
    paths = [path for path in webui.dump_paths() if path not in before]
    assert len(paths) == 2
    assert {path.parent.name for path in paths} == {"my dumps"}
    with safe_open(paths[0], framework="pt") as file:
        head = json.loads(file.metadata()["unet_viz"])
    assert head["meta"]["prompt"] == "a big red circle and a small blue square"
    assert head["meta"]["seed"] in (7, 8)
    assert head["meta"]["model"] == "unet-viz-demo"
    trace = load_trace(paths[0])
    assert trace.picture is not None
    assert {item.key.block for item in trace.features} == {"IN00", "M00"}


def test_the_picture_in_a_dump_is_the_picture(webui: Webui) -> None:
    recorded = record(webui, {"batch_size": 2})
    shown = recorded.answer.pixels()
    for trace in recorded.traces:
        assert trace.picture is not None
        np.testing.assert_array_equal(np.asarray(trace.picture), shown[trace.images[0]])


def test_interrupting_keeps_features(webui: Webui) -> None:
    """Was: interrupting lost all features."""
    recorded = record(webui, stand_in("stop", {"what": "interrupt", "step": 1}))
    assert {item.key.step for item in recorded.features} == {0, 1, 2}


@pytest.mark.parametrize(
    "formula",
    [
        "__builtins__.__builtins__['__import__']('os').getpid()",
        "().__class__",
        "v.__class__",
        "[v for v in (1,)][0]",
        "open('/etc/passwd')",
        "lambda: v",
        "'a'",
    ],
)
def test_a_formula_is_only_arithmetic(webui: Webui, formula: str) -> None:
    """Was: a colour formula could run a shell command."""
    for section in ("features", "attention"):
        color = {"method": "Custom", "space": "RGB", "formulas": [formula, "v", "v"]}
        request = asking("dropdown", {section: {"blocks": "M00", "color": color}})
        status, answer = webui.post("/sdapi/v1/txt2img", steps=1, width=64, height=64, **request)
        assert status == 422, answer


def test_a_step_is_no_call(webui: Webui) -> None:
    """Was: "step" was the count of U-Net calls."""
    recorded = record(webui, {"sampler_name": "Heun"})
    assert len(recorded.probed.calls) == 7
    assert {item.key.step for item in recorded.features} == {0, 1, 2, 3}


def test_settings_of_the_request_are_those_of_the_picture(webui: Webui) -> None:
    """Was: through the API, 20 steps of DPM++ 2M and another seed instead of what was asked."""
    asked = {"seed": 12, "steps": 3, "sampler_name": "DDIM", "cfg_scale": 3}
    info = record(webui, asked).answer.info
    assert {name: info[name] for name in asked} == asked
    assert re.search(r"Steps: 3, Sampler: DDIM.*CFG scale: 3.*Seed: 12,", info["infotexts"][0])


def test_many_maps_do_not_flood_the_gallery(webui: Webui) -> None:
    """Was: 25 blocks x all steps in the gallery. The rest is saved, and said."""
    before = set(webui.outputs.rglob("*.png"))
    wanted = {"features": {"blocks": ""}, "output": {"show": True, "save": True, "limit": 5}}
    answer = webui.txt2img(**asking("dropdown", wanted), save_images=True, steps=2)
    assert len(answer.images) == 1 + 5
    assert len(answer.infotexts) == len(answer.images)
    saved = [path for path in webui.outputs.rglob("*.png") if path not in before]
    assert len(saved) == 1 + 25 * 2
    numbers = {path.name.partition("-")[0] for path in saved}
    assert len(numbers) == 1, "not with the picture's number"
    assert "45" in str(answer.info), "what is not shown is not told"


# VXA's extension


def test_opening_the_page_asks_for_no_model(webui: Webui) -> None:
    """Was: the page waited for the model to load. The stand-in notes who asks while it is made."""
    asked: Any = webui.hooks()["model_asked_by"]
    assert asked, "nobody asked for the model while the page was made, not even the webui: is this noted?"
    assert [name for name in asked if "lib_unet_viz" in name or "unet-viz" in name] == []
