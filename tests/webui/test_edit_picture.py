"""In a real webui: a picture of one's own is edited, by our route and in its tab."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from lib_unet_viz.demo import scenes
from lib_unet_viz.editing.uploaded import LIMIT, PSNR, RMSE
from lib_unet_viz.sampling.inversion import CFG, Inversion
from lib_unet_viz.settings import EditSettings
from webui.data import EMBEDDING, LORA, OTHER
from webui.serving import Webui, decoded_image, encoded_image
from webui.test_vxa_tab import checkpoint

ROUTE = "/unet-viz/v1/edit"
JOB = "unet-viz-edit"
STEPS = 5


@pytest.fixture(scope="module")
def scene() -> tuple[Image.Image, str, str]:
    """A drawn scene of the size that the model knows, what it shows, and an edit of one colour."""
    drawn = scenes.draw_scene(np.random.default_rng(12), count=2, pattern="plain", distinct=True)
    first, second = drawn.things
    new = next(color for color in scenes.COLORS if color not in (first.color, second.color))
    prompt = f"a {first.phrase} and a {second.phrase} on a {drawn.background} background"
    return Image.fromarray(drawn.picture), prompt, f"{first.color} -> {new}"


def edited(webui: Webui, scene: tuple[Image.Image, str, str], **fields: Any) -> dict[str, Any]:
    picture, prompt, edits = scene
    body = {"image": encoded_image(picture), "prompt": prompt, "steps": STEPS, "edit": {"edits": edits}}
    status, answer = webui.post(ROUTE, **{**body, **fields})
    assert status == 200, f"{status}: {answer}\n{webui.log()[-3000:]}"
    found: dict[str, Any] = answer
    return found


def pixels(answer: dict[str, Any]) -> list[npt.NDArray[np.int32]]:
    """(y, x, channel) of the source and of each target."""
    return [np.asarray(decoded_image(text), dtype=np.int32) for text in answer["pictures"]]


# The route.


@pytest.mark.parametrize("inversion", get_args(Inversion))
def test_it_is_the_edit_that_diffusers_makes(
    webui: Webui, scene: tuple[Image.Image, str, str], inversion: Inversion
) -> None:
    from lib_unet_viz.hosts.diffusers.edit import edit
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    picture, prompt, edits = scene
    settings = EditSettings(edits=edits)
    expected = edit(
        Pipeline.load(), prompt, settings, picture=picture, inversion=inversion, steps=STEPS, cfg=CFG
    )
    found = edited(webui, scene, inversion=inversion)
    assert found["prompts"] == expected.request.prompts
    for one, other in zip(pixels(found), expected.pictures, strict=True):
        assert np.abs(one - np.asarray(other, dtype=np.int32)).max() <= 2
    assert found["errors"][RMSE] == pytest.approx(expected.errors[RMSE], rel=1e-3)
    assert found["errors"][LIMIT] == pytest.approx(expected.errors[LIMIT], abs=0.1)
    if inversion == "direct":
        assert found["errors"][RMSE] == 0
        assert found["errors"][PSNR] == found["errors"][LIMIT]


def test_an_edit_leaves_hooks_and_pictures_as_they_are(
    webui: Webui, scene: tuple[Image.Image, str, str]
) -> None:
    before, hooks = webui.txt2img().pixels(), webui.hooks()
    first, second = (pixels(edited(webui, scene)) for _ in range(2))
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert webui.hooks() == hooks
    assert np.array_equal(webui.txt2img().pixels()[0], before[0])


@pytest.mark.parametrize("size", [(300, 90), (70, 333)])
def test_a_picture_of_any_size(
    webui: Webui, scene: tuple[Image.Image, str, str], size: tuple[int, int]
) -> None:
    noise = Image.effect_noise(size, 90)
    found = pixels(edited(webui, scene, image=encoded_image(noise), edit={"edits": f"{scene[2]}; star * 2"}))
    height, width, _ = found[1].shape
    assert found[0].shape == found[1].shape
    assert abs(width / height / (size[0] / size[1]) - 1) < 0.1


def test_sheets_are_of_the_targets(webui: Webui, scene: tuple[Image.Image, str, str]) -> None:
    found = edited(webui, scene, edit={"edits": f"{scene[2]}\n---\nstar -> circle"})
    assert len(found["pictures"]) == len(found["prompts"]) == 3
    assert [decoded_image(mask).width > 128 for mask in found["masks"]] == [True, True]
    assert decoded_image(found["comparison"]).width > 3 * 128
    assert edited(webui, scene, edit={"edits": scene[2], "blend": False})["masks"] == [None]


def test_emphasis_an_embedding_and_several_chunks(webui: Webui, scene: tuple[Image.Image, str, str]) -> None:
    plain = pixels(edited(webui, scene))
    strong = edited(webui, scene, prompt=scene[1].replace("red", "(red:1.4)"))
    assert "(orange:1.4)" in strong["prompts"][1]
    assert not np.array_equal(pixels(strong)[1], plain[1])
    prompt = f"{scene[1]}, {EMBEDDING}, " + "a blue ring, " * 20 + "BREAK (a red star:1.2)"
    blend = {"edits": "red#2 -> green", "blend_words": "red#2"}
    later = edited(webui, scene, prompt=prompt, edit=blend)
    assert later["prompts"][1].endswith("(a green star:1.2)")
    assert later["errors"][RMSE] == 0
    same = edited(
        webui, scene, prompt=prompt, inversion="negative", cfg_scale=2, edit={"edits": f"= {prompt}"}
    )
    source, target = pixels(same)
    assert np.abs(source - target).max() <= 1
    longer = edited(webui, scene, edit={"edits": "+ and " + "a blue ring, " * 20})
    assert longer["errors"][RMSE] == 0


def test_a_lora_counts_while_it_is_asked_for(webui: Webui, scene: tuple[Image.Image, str, str]) -> None:
    plain = pixels(edited(webui, scene))
    changed = edited(webui, scene, prompt=f"{scene[1]} <lora:{LORA}:1>")
    assert "lora" not in str(changed["prompts"])
    assert not np.array_equal(pixels(changed)[1], plain[1])
    assert np.array_equal(pixels(edited(webui, scene))[1], plain[1])


def test_another_checkpoint(webui: Webui, scene: tuple[Image.Image, str, str]) -> None:
    before = pixels(edited(webui, scene))
    with checkpoint(webui, OTHER):
        found = edited(webui, scene)
        assert found["model"] == OTHER
        assert not np.array_equal(pixels(found)[1], before[1])
    assert np.array_equal(pixels(edited(webui, scene))[1], before[1])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "!"}, "PNG"),
        ({"prompt": "a circle"}, "does not hold these words"),
        ({"prompt": "a red star AND a square"}, "AND joins"),
        ({"prompt": "a red star on a [brown:blue:0.5] background"}, "changes during the run"),
        ({"negative_prompt": "[blue|green]"}, "changes during the run"),
        ({"edit": {"edits": f"= a star <lora:{LORA}:1>"}}, "source and targets alike"),
        ({"edit": {}}, "no edit"),
        ({"edit": {"edit": "red -> blue"}}, "allowed: enabled, edits"),
        ({"edit": {"edits": "red -> blue", "blocks": "OUT99"}}, "OUT11"),
        ({"inversion": "null"}, "null-text"),
        ({"steps": 151}, "150"),
        ({"cfg_scale": 0.5}, "1"),
        ({"seed": 3}, "seed"),
    ],
)
def test_wrong_requests_are_answered_in_words(
    webui: Webui, scene: tuple[Image.Image, str, str], wrong: dict[str, Any], said: str
) -> None:
    body = {"image": encoded_image(scene[0]), "prompt": scene[1], "edit": {"edits": scene[2]}, **wrong}
    status, answer = webui.post(ROUTE, **body)
    assert status == 422, answer
    assert said in str(answer["detail"])
    assert "Traceback" not in str(answer)


def running(webui: Webui) -> dict[str, Any]:
    """The webui's state, once our job has made a step."""
    for _ in range(3000):
        state = webui.get("/sdapi/v1/progress?skip_current_image=true")
        if state["state"]["job"] == JOB and state["state"]["sampling_step"]:
            return dict(state)
        time.sleep(0.02)
    raise AssertionError("the job did not begin")


def test_progress_and_interrupt(webui: Webui, scene: tuple[Image.Image, str, str]) -> None:
    answers: list[tuple[int, Any]] = []
    body = {"image": encoded_image(scene[0]), "prompt": scene[1], "edit": {"edits": scene[2]}, "steps": 150}
    worker = threading.Thread(target=lambda: answers.append(webui.post(ROUTE, **body)))
    worker.start()
    state = running(webui)
    assert state["state"]["sampling_steps"] == 300
    assert 0 < state["progress"] < 1
    webui.post("/sdapi/v1/interrupt")
    worker.join()
    ((status, answer),) = answers
    assert (status, answer["detail"]) == (409, "Interrupted.")
    assert webui.get("/sdapi/v1/progress?skip_current_image=true")["state"]["job"] == ""
    assert len(edited(webui, scene)["pictures"]) == 2


# The page.


@pytest.fixture
def page(webui: Webui, browser: Any) -> Iterator[Any]:
    """The page with the tab open."""
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.set_default_timeout(60_000)
    opened.goto(webui.url)
    opened.wait_for_selector("#txt2img_generate")
    opened.wait_for_function("() => document.querySelector('#tab_unet_viz_edit') !== null")
    opened.locator("#tabs > .tab-nav button", has_text="Edit picture").click()
    opened.wait_for_selector("#edit", state="visible")
    yield opened
    opened.close()


def said(page: Any, words: str) -> None:
    """Wait until the line over the results says so."""
    page.locator("#edit-status", has_text=words).first.wait_for()


def fill(page: Any, folder: Path, scene: tuple[Image.Image, str, str], *, steps: int = STEPS) -> None:
    scene[0].save(folder / "scene.png")
    page.locator("#edit-upload input[type=file]").set_input_files(str(folder / "scene.png"))
    page.wait_for_selector("#edit-upload img")
    page.locator("#edit-prompt textarea").fill(scene[1])
    page.locator("#edits textarea").fill(scene[2])
    field = page.locator("#edit-steps input[type=number]")
    field.fill(str(steps))
    field.press("Tab")


def test_a_picture_of_ones_own(page: Any, tmp_path: Path, scene: tuple[Image.Image, str, str]) -> None:
    page.locator("#edit").click()
    said(page, "Write what the picture shows")
    page.locator("#edit-prompt textarea").fill(scene[1])
    page.locator("#edit").click()
    said(page, "no picture")
    fill(page, tmp_path, scene)
    page.locator("#alignment .uv-fate-swapped", has_text="orange").first.wait_for()
    page.locator("#edit").click()
    said(page, "Reconstruction: latent RMSE 0")
    page.wait_for_selector("#edit-comparison img")
    assert page.locator("#edit-pictures .thumbnail-item").count() == 2
    assert page.locator("#edit-masks .thumbnail-item").count() == 1
    page.locator("#edits textarea").fill("moon -> sun")
    page.locator("#alignment [role=alert]", has_text="does not hold these words").wait_for()


def test_a_sweep_can_be_cancelled(
    webui: Webui, page: Any, tmp_path: Path, scene: tuple[Image.Image, str, str]
) -> None:
    fill(page, tmp_path, scene, steps=1)
    page.locator("#edit-sweep").click()
    page.wait_for_selector("#edit-swept img")
    fill(page, tmp_path, scene, steps=100)
    page.locator("#edit-sweep").click()
    running(webui)
    page.locator("#cancel-edit").click()
    said(page, "Cancelled")
    assert webui.get("/sdapi/v1/progress?skip_current_image=true")["state"]["job"] == ""


def test_the_tab_follows_the_checkpoint(
    webui: Webui, page: Any, tmp_path: Path, scene: tuple[Image.Image, str, str]
) -> None:
    fill(page, tmp_path, scene)
    page.locator("#edit").click()
    first = page.wait_for_selector("#edit-comparison img").get_attribute("src")
    with checkpoint(webui, OTHER):
        page.locator("#edit").click()
        page.wait_for_function("old => document.querySelector('#edit-comparison img').src !== old", arg=first)
    assert page.locator("#edit-status .uv-problem").count() == 0
