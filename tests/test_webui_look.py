"""Looks into a picture in the webui, without a webui: by its route."""

from __future__ import annotations

from typing import Any

import pytest
from PIL import Image
from test_webui_edit_picture import checkpoint, client, modules, picture

__all__ = ["checkpoint", "client", "modules", "picture"]


def look(client: Any, picture: Image.Image, **fields: Any) -> tuple[int, Any]:
    from lib_unet_viz.extension.schemas import png

    body = {"image": png(picture), "prompt": "a red circle", "timestep": 300, "draws": 1, "numbers": True}
    answer = client.post("/unet-viz/v1/vxa", json={**body, **fields})
    return answer.status_code, answer.json()


def test_words_and_positions_are_the_same(client: Any, picture: Image.Image) -> None:
    status, words = look(client, picture, words=["circle", "red"])
    assert status == 200, words
    assert words["tokens"] == [{"index": 3, "text": "circle"}, {"index": 2, "text": "red"}]
    _, positions = look(client, picture, tokens=[3, 2, 3])
    assert positions == words
    _, every = look(client, picture)
    assert [token["index"] for token in every["tokens"]] == [1, 2, 3]
    assert every["heatmap"] != words["heatmap"]
    _, begin = look(client, picture, tokens=[0])
    assert begin["tokens"] == [{"index": 0, "text": "BOS"}]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tokens": [2, 99]}, "99 is no index of a token; allowed: 0 (BOS) to 76"),
        ({"tokens": [-1]}, "-1 is no index of a token"),
        ({"tokens": [1], "words": ["red"]}, "give words or tokens, not both"),
        ({"words": ["hat"]}, "nowhere"),
    ],
)
def test_what_the_prompt_does_not_hold_is_said(
    client: Any, picture: Image.Image, wrong: dict[str, Any], said: str
) -> None:
    status, answer = look(client, picture, **wrong)
    assert status == 422, answer
    assert said in str(answer["detail"])


def test_an_interrupt_before_anything_was_seen_is_said(
    modules: Any, client: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules.shared.state, "interrupted", True)
    assert look(client, picture) == (409, {"detail": "Interrupted."})


def test_each_run_of_the_unet_is_a_step_of_the_webuis_progress(
    modules: Any, client: Any, picture: Image.Image
) -> None:
    before = modules.shared.state.sampling_step
    status, _ = look(client, picture, timestep=[0, 300], draws=2)
    assert (status, modules.shared.state.sampling_step - before) == (200, 3)
