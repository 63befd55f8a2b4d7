"""In a real webui: the VXA tab, the buttons that lead to it, and the routes of our own."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from safetensors.numpy import load as load_numbers

from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.demo import scenes
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import word_maps
from webui.data import CHECKPOINT, EMBEDDING, INPAINTING, LORA, OTHER
from webui.serving import DEFAULTS, Webui, decoded_image, encoded_image

ROUTE = "/unet-viz/v1"
RECORD = {"features": {"blocks": "M00,OUT11", "steps": "1,4"}, "heatmaps": True}
MAIN = ("prompt", "negative_prompt", "seed", "steps", "width", "height", "sampler_name", "cfg_scale")


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, str]:
    """A drawn scene of the size that the model knows, and its caption."""
    drawn = scenes.draw_scene(np.random.default_rng(8), count=2, distinct=True)
    return Image.fromarray(drawn.picture), scenes.caption(drawn, np.random.default_rng(8))


@contextmanager
def checkpoint(webui: Webui, name: str) -> Iterator[None]:
    """Another checkpoint is loaded meanwhile."""
    webui.options(sd_model_checkpoint=name)
    try:
        yield
    finally:
        webui.options(sd_model_checkpoint=CHECKPOINT)


def look(webui: Webui, scene: tuple[Image.Image, str], **fields: Any) -> dict[str, Any]:
    picture, caption = scene
    body = {"image": encoded_image(picture), "prompt": caption, "numbers": True, **fields}
    status, answer = webui.post(f"{ROUTE}/vxa", **body)
    assert status == 200, f"{status}: {answer}\n{webui.log()[-3000:]}"
    found: dict[str, Any] = answer
    return found


def numbers(answer: dict[str, Any]) -> npt.NDArray[np.float32]:
    """The map's, (y, x)."""
    found: npt.NDArray[np.float32] = load_numbers(base64.b64decode(answer["heatmap"]))["heatmap"]
    return found


# Routes.


def test_layers_say_the_shapes_for_a_size(webui: Webui) -> None:
    found = webui.get(f"{ROUTE}/layers?width=192&height=128")
    blocks = {block["name"]: block for block in found["blocks"]}
    assert list(blocks)[:2] == ["IN00", "IN01"]
    assert len(blocks) == 25
    assert blocks["IN00"]["output"][1:] == [16, 24]
    assert blocks["M00"]["cross"] == 1
    assert {"name": "M00.0", "kind": "cross", "heads": 2, "height": 2, "width": 3} in found["attention"]
    assert (found["native_size"], found["timesteps"]) == (128, 1000)
    assert webui.request("GET", f"{ROUTE}/layers?width=9")[0] == 422


def test_the_map_is_the_one_that_diffusers_gives(webui: Webui, scene: tuple[Image.Image, str]) -> None:
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    picture, caption = scene
    pipeline = Pipeline.load()
    trace = vxa.trace_picture(pipeline, picture, caption, noise_seed=3)
    expected = word_maps(trace, {"": (3,)})[0].values
    found = look(webui, scene, tokens=[3], noise_seed=3)
    assert [token["text"] for token in found["tokens"]] == [caption.split()[2]]
    np.testing.assert_allclose(numbers(found), expected, atol=1e-5)
    again = look(webui, scene, words=[caption.split()[2]], noise_seed=3)
    np.testing.assert_allclose(numbers(again), expected, atol=1e-5)


def test_looking_leaves_hooks_and_pictures_as_they_are(webui: Webui, scene: tuple[Image.Image, str]) -> None:
    before, hooks = webui.txt2img().pixels(), webui.hooks()
    first, second = (numbers(look(webui, scene)) for _ in range(2))
    assert np.array_equal(first, second)
    assert webui.hooks() == hooks
    assert np.array_equal(webui.txt2img().pixels()[0], before[0])


@pytest.mark.parametrize("mode", ["masked", "greyscale", "heat overlay", "mask"])
@pytest.mark.parametrize("size", [(300, 90), (70, 333)])
def test_pictures_of_any_size(webui: Webui, mode: str, size: tuple[int, int]) -> None:
    noise = Image.effect_noise(size, 90).convert("RGB")
    image = decoded_image(look(webui, (noise, "hat, neck"), mode=mode)["image"])
    assert abs(image.width / image.height / (size[0] / size[1]) - 1) < 0.1


def test_a_long_prompt_and_an_embedding(webui: Webui, scene: tuple[Image.Image, str]) -> None:
    prompt = f"{EMBEDDING}, " + "a red circle, " * 25 + "BREAK (a star:1.2)"
    found = look(webui, (scene[0], prompt))["tokens"]
    assert [token["text"] for token in found[:3]] == [EMBEDDING, EMBEDDING, ","]
    assert found[-1] == {"index": 2 * 77 + 2, "text": "star"}


def test_a_lora_counts_while_it_is_asked_for(webui: Webui, scene: tuple[Image.Image, str]) -> None:
    picture, caption = scene
    plain = numbers(look(webui, scene, layers="M00"))
    changed = look(webui, (picture, f"{caption} <lora:{LORA}:1>"), layers="M00")
    assert len(changed["tokens"]) == len(caption.split())
    assert not np.allclose(numbers(changed), plain, rtol=1e-3)
    assert np.array_equal(numbers(look(webui, scene, layers="M00")), plain)


@pytest.mark.parametrize("name", [OTHER, INPAINTING])
def test_another_checkpoint(webui: Webui, scene: tuple[Image.Image, str], name: str) -> None:
    before = numbers(look(webui, scene))
    with checkpoint(webui, name):
        found = look(webui, scene)
        assert found["model"] == name
        assert not np.allclose(numbers(found), before, rtol=1e-3)
        assert np.array_equal(numbers(look(webui, scene)), numbers(found))
    assert np.allclose(numbers(look(webui, scene)), before)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"words": ["hat"]}, "nowhere"),
        ({"words": ["star"], "tokens": [1]}, "not both"),
        ({"tokens": [99]}, "allowed: 0 (BOS) to 76"),
        ({"layers": "OUT99"}, "OUT11"),
        ({"layers": "IN00"}, "cross-attention"),
        ({"timestep": 1000}, "999"),
        ({"timestep": [350, 1000]}, "999"),
        ({"timestep": list(range(9)), "draws": 64}, "up to 256"),
        ({"method": "guess"}, "informed"),
        ({"mode": "rainbow"}, "heat overlay"),
        ({"prompt": " "}, "empty"),
        ({"image": "!"}, "PNG"),
        ({"picture": "!"}, "picture"),
        ({"draws": 65}, "64"),
    ],
)
def test_wrong_requests_are_answered_in_words(
    webui: Webui, scene: tuple[Image.Image, str], wrong: dict[str, Any], said: str
) -> None:
    body = {"image": encoded_image(scene[0]), "prompt": scene[1], **wrong}
    status, answer = webui.post(f"{ROUTE}/vxa", **body)
    assert status == 422, answer
    assert said in str(answer["detail"])
    assert "Traceback" not in str(answer)


def test_progress_and_interrupt(webui: Webui) -> None:
    picture, answers = Image.effect_noise((128, 128), 90), []
    body = {"image": encoded_image(picture), "prompt": "a hat", "draws": 64, "timestep": 350}
    worker = threading.Thread(target=lambda: answers.append(webui.post(f"{ROUTE}/vxa", **body)))
    worker.start()
    while not (state := webui.get("/sdapi/v1/progress?skip_current_image=true"))["state"]["sampling_step"]:
        assert worker.is_alive(), answers
        time.sleep(0.02)
    assert state["state"]["job"] == "unet-viz-vxa"
    assert state["state"]["sampling_steps"] == 64
    assert 0 < state["progress"] < 1
    webui.post("/sdapi/v1/interrupt")
    worker.join()
    assert answers[0][0] == 200
    state = webui.get("/sdapi/v1/progress?skip_current_image=true")["state"]
    assert 0 < state["sampling_step"] < 64
    assert state["job"] == ""


def test_a_trace_in_one_request(webui: Webui, tmp_path: Path) -> None:
    fields = {name: DEFAULTS[name] for name in MAIN}
    status, answer = webui.post(f"{ROUTE}/trace", **fields, settings=RECORD)
    assert status == 200, answer
    plain = webui.txt2img()
    assert np.array_equal(np.asarray(decoded_image(answer["image"])), plain.pixels()[0])
    assert answer["seed"] == DEFAULTS["seed"]
    assert f"Seed: {DEFAULTS['seed']}" in answer["infotext"]
    file = tmp_path / "trace.safetensors"
    file.write_bytes(base64.b64decode(answer["trace"]))
    trace = load_trace(file)
    assert [item.key.labels()["step"] for item in trace.features.all(block="M00")] == [1, 4]
    assert {heat.word for heat in word_maps(trace)} >= {"circle", "square"}
    assert np.array_equal(np.asarray(trace.picture), plain.pixels()[0])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"settings": {}}, "features"),
        ({"settings": {"featurs": {}}}, "allowed: features, attention"),
        ({"settings": {"features": {"blocks": "OUT99"}}}, "OUT11"),
        ({"settings": {"features": {"dump": True}}}, "no use for"),
        ({"settings": {"features": {}, "budget_mb": 99999}}, "up to 512"),
        ({"settings": {"features": {"blocks": ""}, "budget_mb": 1}, "width": 1024}, "budget of 1.0 MB"),
        ({"width": 100}, "multiples of 8"),
        ({"width": 4096}, "2048"),
        ({"sampler_name": "Euler z"}, "Euler a"),
        ({"scheduler": "None"}, "Karras"),
        ({"steps": 0}, "1"),
        ({"enable_hr": True}, "enable_hr"),
    ],
)
def test_wrong_traces_are_refused(webui: Webui, wrong: dict[str, Any], said: str) -> None:
    status, answer = webui.post(f"{ROUTE}/trace", prompt="a hat", **{"settings": RECORD, **wrong})
    assert status == 422, answer
    assert said in str(answer["detail"])


def test_the_routes_ask_for_the_apis_password(started: Any, scene: tuple[Image.Image, str]) -> None:
    webui = started("--medvram", auth="me:secret")
    assert webui.request("GET", f"{ROUTE}/layers", auth="me:wrong")[0] == 401
    assert webui.request("GET", f"{ROUTE}/layers", auth="secret:me")[0] == 401
    assert len(numbers(look(webui, scene))) == 128
    bare = Webui(webui.url, webui.data)
    assert bare.request("GET", f"{ROUTE}/layers")[0] == 401
    for path in ("vxa", "trace", "edit"):
        assert bare.request("POST", f"{ROUTE}/{path}", {})[0] == 401


# The page.


@pytest.fixture
def page(webui: Webui, browser: Any) -> Iterator[Any]:
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(60_000)
    opened.goto(webui.url)
    opened.wait_for_selector("#txt2img_generate")
    opened.wait_for_function("() => document.querySelector('#tab_unet_viz_vxa') !== null")
    yield opened
    opened.close()


def box(page: Any, name: str) -> Any:
    return page.locator(f"#{name} textarea, #{name} input").first


def open_tab(page: Any) -> None:
    page.locator("#tabs > .tab-nav button", has_text="VXA").click()
    page.wait_for_selector("#vxa-visualize", state="visible")


def said(page: Any, words: str) -> None:
    """Wait until the line over the result says so."""
    page.locator("#vxa-status", has_text=words).first.wait_for()


def test_a_picture_of_ones_own(page: Any, tmp_path: Path, scene: tuple[Image.Image, str]) -> None:
    picture, caption = scene
    picture.save(tmp_path / "scene.png")
    open_tab(page)
    page.locator("#vxa-visualize").click()
    said(page, "no picture")
    page.locator("#vxa-upload input[type=file]").set_input_files(str(tmp_path / "scene.png"))
    page.wait_for_selector("#vxa-upload img")
    box(page, "vxa-prompt").fill(caption)
    word = page.locator("#vxa-tokens label", has_text=f"3 {caption.split()[2]}")
    word.click()
    page.wait_for_function(
        "() => document.querySelector('#vxa-indices input, #vxa-indices textarea').value === '3'"
    )
    page.locator("#vxa-visualize").click()
    said(page, f"3 {caption.split()[2]} · 16 layers · timestep 150, 250, 350")
    first = page.wait_for_selector("#vxa-result img").get_attribute("src")
    page.locator("#vxa-mode label", has_text="masked").click()
    page.wait_for_function("old => document.querySelector('#vxa-result img').src !== old", arg=first)
    box(page, "vxa-other").fill("a green ring")
    box(page, "vxa-other").press("Enter")
    said(page, "a green ring · 16 layers")
    assert page.locator("#vxa-status .uv-problem").count() == 0
    box(page, "vxa-indices").fill("1, x")
    page.locator("#vxa-index-problem", has_text="no index of a token").first.wait_for()


def test_a_gallerys_picture_is_sent_with_its_prompt(page: Any) -> None:
    page.locator("#txt2img_prompt textarea").fill("a red circle above a blue square")
    for name, value in (("steps", 2), ("width", 128), ("height", 128), ("batch_count", 2)):
        field = page.locator(f"#txt2img_{name} input[type=number]")
        field.fill(str(value))
        field.press("Tab")
    page.locator("#txt2img_generate").click()
    page.locator("#txt2img_gallery .thumbnail-item").nth(2).click()
    page.locator("#txt2img_prompt textarea").fill("something else")
    page.locator("#txt2img_send_to_vxa").click()
    page.wait_for_selector("#vxa-visualize", state="visible")
    page.wait_for_selector("#vxa-upload img")
    page.locator("#vxa-tokens label", has_text="7 square").wait_for()
    assert box(page, "vxa-prompt").input_value() == "a red circle above a blue square"
    size = (
        "() => [...document.querySelectorAll('#vxa-upload img')].map(i => i.naturalWidth / i.naturalHeight)"
    )
    assert page.evaluate(size) == [1]  # the second picture, not the grid
    page.locator("#vxa-visualize").click()
    said(page, "all tokens")


def test_the_tab_follows_the_checkpoint(
    webui: Webui, page: Any, tmp_path: Path, scene: tuple[Image.Image, str]
) -> None:
    scene[0].save(tmp_path / "scene.png")
    open_tab(page)
    page.locator("#vxa-upload input[type=file]").set_input_files(str(tmp_path / "scene.png"))
    page.wait_for_selector("#vxa-upload img")
    box(page, "vxa-prompt").fill(scene[1])
    page.locator("#vxa-tokens label").first.wait_for()
    page.locator("#vxa-visualize").click()
    said(page, "all tokens")
    first = page.wait_for_selector("#vxa-result img").get_attribute("src")
    with checkpoint(webui, OTHER):
        page.locator("#vxa-visualize").click()
        page.wait_for_function("old => document.querySelector('#vxa-result img').src !== old", arg=first)
    assert page.locator("#vxa-status .uv-problem").count() == 0


def test_our_style_changes_nothing_of_the_rest_of_the_page(page: Any) -> None:
    reached = page.evaluate(
        """() => {
        const styles = [...document.querySelectorAll('style')], found = [];
        const ours = styles.filter(style => style.textContent.includes('.uv-heading'));
        for (const style of ours) for (const rule of style.sheet.cssRules)
            for (const element of document.querySelectorAll(rule.selectorText))
                if (!element.closest('#tab_unet_viz_vxa, [class*=uv-], [id*=unet_viz]'))
                    found.push(rule.selectorText);
        return [ours.length, found];
    }"""
    )
    assert reached[0] > 0
    assert reached[1] == []
