"""Requests that no person writes, to the webui's routes: answered in words with 422, never with 500.

`test_whatever_the_schema_allows_is_answered` makes requests from the routes' own schema.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from test_webui_edit_picture import checkpoint, modules, picture

from lib_unet_viz.cli import main

__all__ = ["checkpoint", "modules", "picture"]

# The test client leaves streams to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
PREFIX = "/unet-viz/v1"
NAMES = ("edit", "layers", "trace", "vxa")
LONGEST = 3_000  # of an answer to one wrong value, in characters

# As JSON texts, which `json.dumps` would not write.
NUMBERS = {
    "400 digits": "9" * 400,
    "5000 digits": "9" * 5_000,
    "1e400": "1e400",
    "-1e400": "-1e400",
    "NaN": "NaN",
    "-Infinity": "-Infinity",
}
OTHERS = {
    "null": "null",
    "brackets as text": json.dumps("[" * 5_000),
    "digits as text": json.dumps("9" * 5_000),
    "surrogate": r'"\ud800"',
    "NUL": r'"\u0000"',
    "lists in lists": "[" * 200 + "]" * 200,
    "objects in objects": '{"a":' * 200 + "1" + "}" * 200,
    "long text": json.dumps("x" * 100_000),
    "names": json.dumps({"x" * 10_000: 1}),
}
PLACES = {
    "vxa": ("prompt", "words", "tokens", "layers", "timestep", "method", "noise_seed", "draws", "image"),
    "trace": (
        *("prompt", "seed", "steps", "cfg_scale", "width", "sampler_name", "settings"),
        *("settings.budget_mb", "settings.features", "settings.features.steps", "settings.attention.blocks"),
    ),
    "edit": (
        *(
            "prompt",
            "steps",
            "cfg_scale",
            "inversion",
            "image",
            "mask",
            "edit",
            "edit.edits",
            "edit.threshold",
        ),
        *("edit.cross_steps", "edit.self_steps", "edit.self_size", "edit.blend", "edit.blend_words"),
    ),
}
NUMERIC = {
    "vxa": ("tokens", "timestep", "noise_seed", "draws"),
    "trace": ("seed", "steps", "cfg_scale", "width", "settings.budget_mb"),
    "edit": ("steps", "cfg_scale", "edit.threshold", "edit.cross_steps", "edit.self_steps", "edit.self_size"),
}


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture
def client(modules: Any, checkpoint: Any) -> Any:
    """Errors of the server are answers of 500 here, not exceptions."""
    fastapi, testclient = pytest.importorskip("fastapi"), pytest.importorskip("fastapi.testclient")
    from lib_unet_viz.extension import routes

    def generate(p: Any) -> Any:
        made = modules.processing.Processed(p, [Image.new("RGB", (64, 64))])
        made.all_seeds = [1]
        return made

    modules.processing.generate.append(generate)
    modules.shared.cmd_opts.api = True
    app = fastapi.FastAPI()
    routes.add(None, app)
    return testclient.TestClient(app, raise_server_exceptions=False)


def bodies(image: Image.Image) -> dict[str, dict[str, Any]]:
    """A right request of each route."""
    from lib_unet_viz.extension.schemas import png

    return {
        "vxa": {"image": png(image), "prompt": "a red circle", "timestep": 300, "draws": 1},
        "trace": {"prompt": "a red circle", "steps": 2, "settings": {"features": {"blocks": "M00"}}},
        "edit": {
            "image": png(image),
            "prompt": "a red circle",
            "steps": 2,
            "edit": {"edits": "red -> green"},
        },
    }


def with_value(body: Mapping[str, Any], place: str, value: str) -> str:
    """The body as JSON, with a JSON text at a place."""
    first, _, rest = place.partition(".")
    if not rest:
        return json.dumps({**body, first: None}).replace(f'"{first}": null', f'"{first}": {value}')
    inner = body.get(first)
    return with_value(body, first, with_value(inner if isinstance(inner, dict) else {}, rest, value))


def asked(client: Any, route: str, body: str | bytes) -> tuple[int, str]:
    answer = client.post(f"{PREFIX}/{route}", content=body, headers={"Content-Type": "application/json"})
    return answer.status_code, answer.text


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("route", NUMERIC)
def test_numbers_that_are_none_are_refused_in_words(
    client: Any, picture: Image.Image, route: str, number: str
) -> None:
    for place in NUMERIC[route]:
        status, said = asked(client, route, with_value(bodies(picture)[route], place, NUMBERS[number]))
        # 5,000 digits are no JSON to Python: what FastAPI says of that is 400 in older and 422 in newer ones.
        assert status == 422 or (status == 400 and number == "5000 digits"), (place, status, said[:300])
        assert 0 < len(said) < LONGEST, place


@pytest.mark.parametrize("value", OTHERS)
@pytest.mark.parametrize("route", PLACES)
def test_no_value_is_an_error_of_the_server(
    client: Any, picture: Image.Image, route: str, value: str
) -> None:
    for place in PLACES[route]:
        status, said = asked(client, route, with_value(bodies(picture)[route], place, OTHERS[value]))
        assert status in (200, 422), (place, status, said[:300])
        if status == 422:
            assert json.loads(said)["detail"], place


BROKEN = [b"", b"[" * 5_000, b"{", b"[]", b"null", b"1", b'"a"', b'{"a":' * 5_000, b"\0", b"\xff\xfe"]
SIZES = ["9" * 400, "9" * 5_000, "1e400", "NaN", "-1", "", "%00", "[" * 5_000, "64.5"]


@pytest.mark.parametrize("body", BROKEN)
@pytest.mark.parametrize("route", PLACES)
def test_what_is_no_request_is_refused(client: Any, route: str, body: bytes) -> None:
    status, said = asked(client, route, body)
    assert status in (400, 422), said[:300]


@pytest.mark.parametrize("size", SIZES)
def test_sizes_of_layers(client: Any, size: str) -> None:
    answer = client.get(f"{PREFIX}/layers?width={size}&height={size}")
    assert answer.status_code == 422, answer.text[:300]


@pytest.mark.parametrize("examples", [12, pytest.param(60, marks=pytest.mark.heavy)])
def test_whatever_the_schema_allows_is_answered(client: Any, examples: int) -> None:
    schemathesis: Any = pytest.importorskip("schemathesis")
    hypothesis: Any = pytest.importorskip("hypothesis")
    schema = schemathesis.openapi.from_dict(client.app.openapi())
    calm = hypothesis.settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )

    def ask(case: Any) -> None:
        body = {} if case.method == "GET" else {"json": case.body}
        answer = client.request(case.method, case.formatted_path, params=dict(case.query or {}), **body)
        assert answer.status_code in (200, 422), answer.text[:300]

    operations = [found.ok() for found in schema.get_all_operations()]
    ours = [operation for operation in operations if operation.path.startswith(PREFIX)]
    for operation in ours:
        calm(hypothesis.given(operation.as_strategy())(ask))()
    assert sorted(operation.path for operation in ours) == [f"{PREFIX}/{name}" for name in NAMES]


@pytest.mark.parametrize("text", [*NUMBERS.values(), "[" * 5_000, '{"a":' * 5_000, "", "\0", "null", '"x"'])
def test_settings_files_of_the_command_line(text: str, tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "these.json"
    for whole in (text, f'{{"budget_mb": {text}}}', f'{{"features": {{"steps": {text}}}}}'):
        file.write_text(whole, encoding="utf-8")
        assert main(["trace", "a red circle", "--settings", str(file), "--out", str(tmp_path)]) == 2
        said = capsys.readouterr().err
        assert 0 < len(said) < LONGEST
        assert "settings" in said or file.name in said or "^" in said
        assert "Traceback" not in said
