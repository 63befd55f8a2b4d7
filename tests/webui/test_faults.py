"""In a real webui: what goes wrong is told, and leaves nothing behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lib_unet_viz.capture.dump import load_trace
from webui.data import CHECKPOINT, OTHER
from webui.recording import MODES, RECORD, asking, assert_same_pictures, merged, record, stand_in
from webui.serving import ALWAYS_ON, DROPDOWN, Generated, Webui, encoded_image

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.8}
# Wrong settings, and what the message must say.
WRONG: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "unknown section": ({"featurs": {}}, ("featurs", "features", "attention", "heatmaps", "output")),
    "unknown name": ({"features": {"block": "M00"}}, ("block", "blocks", "steps", "halves")),
    "wrong type": ({"features": {"blocks": 3}}, ("features.blocks", "3", "a text")),
    "wrong switch": ({"heatmaps": "yes"}, ("heatmaps", "yes", "true or false")),
    "wrong choice": ({"attention": {"parts": ["QX"]}}, ("QX", "Q", "K", "QK", "VQK")),
    "wrong colour method": (
        {"features": {"color": {"method": "Red"}}},
        ("Red", "White/Black", "Red/Blue", "Custom"),
    ),
    "unknown block": ({"features": {"blocks": "IN00, OUT99"}}, ("OUT99", "^", "OUT00")),
    "no steps": ({"features": {"steps": "0"}}, ("0", "1")),
    "wrong steps": ({"features": {"steps": "1-x"}}, ("1-x", "^")),
    "no attention there": ({"attention": {"blocks": "IN00"}}, ("IN00",)),
    "formula": ({"features": {"color": {"method": "Custom", "formulas": ["v +", "v", "v"]}}}, ("v +", "^")),
    "formula of code": (
        {"features": {"color": {"method": "Custom", "formulas": ["__import__('os').getpid()", "v", "v"]}}},
        ("__import__",),
    ),
    "unknown colour map": (
        {"features": {"color": {"method": "Perceptual", "colormap": "no such map"}}},
        ("no such map",),
    ),
    "too much": ({"attention": {"blocks": "", "kinds": ["self"]}, "budget_mb": 1}, ("MB", "budget")),
    "not an object": ("IN00", ("IN00",)),  # type: ignore[dict-item]
}


@pytest.fixture(scope="module")
def before(webui: Webui) -> Generated:
    """A picture without the extension, before anything else is asked here."""
    return webui.txt2img()


@pytest.fixture(autouse=True)
def _nothing_is_left(webui: Webui, before: Generated) -> Any:
    """After each of these tests the model has the hooks it had, and a plain picture is what it was."""
    hooks = webui.hooks()
    yield
    assert webui.hooks() == hooks
    assert_same_pictures(webui.txt2img(), before)


def refused(webui: Webui, mode: str, settings: Any, **fields: Any) -> tuple[int, str]:
    """Ask for what is wrong; the status, and all that the webui said."""
    status, answer = webui.post("/sdapi/v1/txt2img", **merged({"steps": 4, **fields}, asking(mode, settings)))
    return status, answer if isinstance(answer, str) else str(answer)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda name: name.replace(" ", "-"))
@pytest.mark.parametrize("mode", MODES)
def test_wrong_settings_stop_the_run_with_their_message(webui: Webui, mode: str, wrong: str) -> None:
    settings, words = WRONG[wrong]
    dumps = webui.dump_paths()
    status, said = refused(webui, mode, settings, **stand_in("probe"), width=128, height=128)
    assert status != 200, "a picture was made all the same"
    assert status == 422 if mode == "dropdown" else status in (422, 500), f"{status}: {said}"
    for word in words:
        assert word in said, said
    assert "Traceback" not in said
    assert webui.dump_paths() == dumps


@pytest.mark.parametrize("mode", MODES)
def test_too_large_an_estimate_is_refused_before_anything_runs(webui: Webui, mode: str) -> None:
    webui.txt2img(**stand_in("probe"), steps=2)
    settings = {"attention": {"kinds": ["self", "cross"], "blocks": ""}, "budget_mb": 5}
    status, said = refused(webui, mode, settings, width=512, height=512, steps=150, **stand_in("probe"))
    assert status != 200
    assert re.search(r"\d MB", said), said
    seen = webui.probed()
    assert len(seen.forwards) in (0, 2), "the U-Net ran before the refusal"  # 2: of the request before


@pytest.mark.parametrize("argument", [None, [], [{}, {}], 3])
def test_odd_arguments_are_no_stack_trace(webui: Webui, argument: Any) -> None:
    body = {"script_name": DROPDOWN, "script_args": argument, "steps": 2}
    status, answer = webui.post("/sdapi/v1/txt2img", **body)
    assert status in (200, 422), answer
    assert "Traceback" not in str(answer)


def test_nothing_asked_for_is_an_ordinary_picture(webui: Webui, before: Generated) -> None:
    for mode in MODES:
        answer = webui.txt2img(**asking(mode, {}))
        assert_same_pictures(answer, before)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("call", [1, 3])
def test_an_exception_in_mid_run(webui: Webui, mode: str, call: int) -> None:
    fields = merged(asking(mode, RECORD), stand_in("raise", call))
    status, answer = webui.post("/sdapi/v1/txt2img", **{"steps": 4, "width": 128, "height": 128, **fields})
    assert status == 500
    assert "raised in mid-run" in str(answer)
    recorded = record(webui, {}, mode=mode)  # and the extension is well
    assert len(recorded.features) == 2 * 2 * 4


@pytest.mark.parametrize("mode", MODES)
def test_an_exception_in_the_hires_pass(webui: Webui, mode: str) -> None:
    """The stand-in counts the middle block's calls anew before every sampling; the first pass has but two."""
    fields = merged({**HIRES, "steps": 2, "hr_second_pass_steps": 4}, stand_in("raise", 3))
    status, answer = webui.post("/sdapi/v1/txt2img", **merged(fields, asking(mode, RECORD)))
    assert status == 500
    assert "raised in mid-run" in str(answer)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("what", ["interrupt", "skip"])
def test_what_was_captured_before_a_stop_is_kept(webui: Webui, mode: str, what: str) -> None:
    recorded = record(webui, stand_in("stop", {"what": what, "step": 1}), mode=mode)
    steps = {item.key.step for item in recorded.features}
    assert steps == set(range(len(recorded.probed.calls)))
    assert 0 < len(steps) < 4
    assert recorded.answer.images


def test_sheets_are_there_after_an_interrupt(webui: Webui) -> None:
    wanted = {"features": {"blocks": "M00", "steps": "1"}}
    answer = webui.txt2img(
        **merged(asking("dropdown", wanted), stand_in("stop", {"what": "interrupt", "step": 1}))
    )
    assert len(answer.images) == 2
    assert len(answer.infotexts) == 2


@pytest.mark.parametrize("mode", MODES)
def test_a_model_switch_between_and_within_runs(webui: Webui, mode: str) -> None:
    webui.options(sd_model_checkpoint=OTHER)
    try:
        without = webui.txt2img()
        assert_same_pictures(record(webui, {}, mode=mode).answer, without)
        back = record(webui, {"override_settings": {"sd_model_checkpoint": CHECKPOINT}}, mode=mode)
        assert len(back.features) == 2 * 2 * 4
        assert_same_pictures(record(webui, {}, mode=mode).answer, without)
    finally:
        webui.options(sd_model_checkpoint=CHECKPOINT)


def test_a_reloaded_checkpoint(webui: Webui, before: Generated) -> None:
    for route in ("/sdapi/v1/unload-checkpoint", "/sdapi/v1/reload-checkpoint"):
        assert webui.post(route)[0] == 200
    recorded = record(webui, {})
    assert_same_pictures(recorded.answer, before)
    assert len(recorded.features) == 2 * 2 * 4


def test_two_requests_at_once_keep_apart(webui: Webui, before: Generated) -> None:
    from concurrent.futures import ThreadPoolExecutor

    known = webui.dump_paths()
    request = merged({}, asking("dropdown", {**RECORD}))
    with ThreadPoolExecutor(3) as pool:
        one = pool.submit(webui.txt2img, **request)
        other = pool.submit(webui.txt2img, **{**request, "seed": 8})
        plain = pool.submit(webui.txt2img)
    assert_same_pictures(one.result(), before)
    assert_same_pictures(plain.result(), before)
    assert other.result().images
    traces = webui.traces_since(known)
    assert sorted(trace.meta["seed"] for trace in traces) == [7, 8]
    assert [len(trace.features) for trace in traces] == [16, 16]


def test_dumps_are_named_by_the_server(webui: Webui) -> None:
    known = webui.dump_paths()
    webui.txt2img(**asking("dropdown", {"features": {"blocks": "M00", "dump": True, "path": "mine/own"}}))
    (path,) = [path for path in webui.dump_paths() if path not in known]
    assert path.parent == webui.outputs / "mine" / "own"
    assert re.search(r"-7\b.*\.safetensors$", path.name), path.name
    assert load_trace(path).features
    webui.txt2img(**asking("dropdown", {"features": {"blocks": "M00", "dump": True}}))
    (other,) = [new for new in webui.dump_paths() if new not in [*known, path]]
    assert other.parent.parent == webui.outputs / "unet-viz"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", other.parent.name), other


def test_a_path_elsewhere_is_allowed_on_ones_own_machine(webui: Webui, tmp_path: Path) -> None:
    webui.txt2img(
        **asking("dropdown", {"features": {"blocks": "M00", "dump": True, "path": str(tmp_path / "here")}})
    )
    (path,) = (tmp_path / "here").iterdir()
    assert load_trace(path).features


def test_a_dumps_path_is_told(webui: Webui) -> None:
    recorded = record(webui, {})
    path = webui.dump_paths()[-1]
    assert path.name in recorded.said


# A webui that others can reach, or that hides directories.


def test_no_path_is_taken_where_others_can_reach_the_webui(started: Any) -> None:
    webui = started("--server-name", "127.0.0.1", unet_viz_always_on=False)
    _refuses_paths(webui)


def test_no_path_is_taken_where_directories_are_hidden(started: Any) -> None:
    webui = started("--hide-ui-dir-config", "--api-auth", "user:secret", auth="user:secret")
    _refuses_paths(webui)


def _refuses_paths(webui: Webui) -> None:
    for path in ("../out", "/tmp/out", "a/../../out", "~/out"):
        settings = {"features": {"blocks": "M00", "dump": True, "path": path}}
        status, said = refused(webui, "dropdown", settings)
        assert status == 422, f"{path}: {said}"
        assert not list(webui.data.rglob("out")), f"{path} was written to"
        assert not Path("/tmp/out").exists()
    fine = record(webui, {})
    assert len(fine.features) == 16


def test_own_routes_honour_the_apis_password(started: Any) -> None:
    webui = started("--hide-ui-dir-config", "--api-auth", "user:secret", auth="user:secret")
    for method, path in (("GET", "layers"), ("POST", "vxa"), ("POST", "edit"), ("POST", "trace")):
        status, _ = webui.request(
            method, f"/unet-viz/v1/{path}", {} if method == "POST" else None, auth="a:b"
        )
        assert status == 401, path
    status, _ = webui.request("GET", "/unet-viz/v1/layers")
    assert status in (200, 503)  # 503: the checkpoint is still being loaded


def test_the_own_routes_are_in_the_schema(webui: Webui) -> None:
    paths = webui.get("/openapi.json")["paths"]
    assert {path for path in paths if "unet-viz" in path} == {
        "/unet-viz/v1/edit",
        "/unet-viz/v1/layers",
        "/unet-viz/v1/trace",
        "/unet-viz/v1/vxa",
    }


def test_layers_are_told(webui: Webui) -> None:
    text = str(webui.get("/unet-viz/v1/layers"))
    for block in ("IN00", "M00", "OUT11"):
        assert block in text


def test_an_uploaded_picture_is_looked_at(webui: Webui) -> None:
    from PIL import Image

    image = encoded_image(Image.effect_noise((96, 128), 60).convert("RGB"))
    status, answer = webui.post("/unet-viz/v1/vxa", image=image, prompt="a red circle")
    assert status == 200, answer


def test_the_always_on_script_is_there_only_if_asked_for(started: Any, webui: Webui) -> None:
    quiet = started("--server-name", "127.0.0.1", unet_viz_always_on=False)
    for tab in ("txt2img", "img2img"):
        assert ALWAYS_ON.lower() in webui.get("/sdapi/v1/scripts")[tab]
        listed = quiet.get("/sdapi/v1/scripts")[tab]
        assert DROPDOWN.lower() in listed
        assert ALWAYS_ON.lower() not in listed
