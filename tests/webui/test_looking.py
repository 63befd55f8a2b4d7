"""In a real webui: looking never costs a picture, and what is asked in vain is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from webui.families import drawing
from webui.recording import BOTH, MODES, asking, assert_same_pictures, merged, stand_in
from webui.serving import DEFAULTS, Generated, Webui, encoded_image

HIRES = {"enable_hr": True, "hr_scale": 1.5, "hr_upscaler": "Latent", "denoising_strength": 0.8}
ALL: dict[str, Any] = {
    "features": {"blocks": "M00", "steps": "1,4", "halves": BOTH, "dump": True},
    "attention": {
        "blocks": "M00",
        "steps": "1",
        "kinds": ["cross", "self"],
        "parts": ["Q", "QK"],
        "dump": True,
    },
    "heatmaps": True,
}
HOST, TAPS = "lib_unet_viz.hosts.webui", "lib_unet_viz.capture.hooks"
RESULTS = "lib_unet_viz.extension.results"
# Everything of ours that runs while a picture is made or after it, and what looking is built of.
FAULTS = (
    f"{HOST}.generation:Generation._check",
    f"{HOST}.generation:Generation._unet",
    f"{HOST}.generation:Generation._watch",
    f"{HOST}.run_recording:RunRecording.install",
    f"{HOST}.run_recording:RunRecording._new",
    f"{HOST}.description:Description.add_batch",
    f"{HOST}.description:Description._add_texts",
    f"{HOST}.description:_run",
    "lib_unet_viz.settings.run:Settings.captures",
    f"{HOST}.needs:check",
    f"{HOST}.needs:estimate",
    f"{HOST}.step_rows:StepRows.announce",
    f"{HOST}.step_rows:StepRows.count",
    f"{HOST}.step_rows:StepRows.call",
    f"{HOST}.step_rows:_rows",
    f"{HOST}.steps:Steps.place",
    f"{HOST}.steps:sigma",
    "lib_unet_viz.capture.recorder:Recorder.install",
    "lib_unet_viz.capture.recorder:Recorder._before",
    "lib_unet_viz.capture.recorder:Recorder._after",
    "lib_unet_viz.capture.recorder:Recorder.finish",
    "lib_unet_viz.capture.recorder:Recorder._check",
    f"{TAPS}:Tap.begin",
    f"{TAPS}:FeatureTap.install",
    f"{TAPS}:FeatureTap._output",
    f"{TAPS}:AttentionTap._output",
    f"{TAPS}:AttentionTap.finish",
    f"{TAPS}:token_maps",
    f"{TAPS}:mean_over_heads",
    f"{TAPS}:_copied",
    "lib_unet_viz.drawing.sheets:word_sheet",
    "lib_unet_viz.drawing.sheets:feature_sheet",
    "lib_unet_viz.drawing.sheets:attention_sheet",
    f"{RESULTS}:_made",
    f"{RESULTS}:save_trace",
    f"{RESULTS}:_save",
    "lib_unet_viz.extension.paths:new_file",
)


@pytest.fixture(scope="module")
def plain(webui: Webui) -> dict[str, Generated]:
    """Pictures without the extension, before anything goes wrong."""
    return {"one": webui.txt2img(), "hires": webui.txt2img(**HIRES)}


@pytest.fixture(autouse=True)
def _all_is_well_afterwards(webui: Webui, plain: dict[str, Generated]) -> Iterator[None]:
    hooks = webui.hooks()["hooks"]
    yield
    fault(webui, "")
    assert webui.hooks()["hooks"] == hooks
    made = webui.txt2img(**asking("dropdown", {"heatmaps": True}))
    assert_same_pictures(Generated(made.images[:1], {}), plain["one"])
    assert len(made.images) == 2


def fault(webui: Webui, name: str) -> None:
    status, answer = webui.post("/stand-ins/fault", name=name)
    assert status == 200, f"{name}: {answer}"


@pytest.mark.parametrize("name", FAULTS, ids=lambda name: name.rpartition(".")[2])
@pytest.mark.parametrize("mode", MODES)
def test_a_fault_in_looking_costs_no_picture(
    webui: Webui, plain: dict[str, Generated], mode: str, name: str
) -> None:
    for kind, fields in (("one", {}), ("hires", HIRES))[: 2 if mode == "dropdown" else 1]:
        fault(webui, name)
        made = webui.txt2img(**merged(dict(fields), asking(mode, ALL)), save_images=True)
        fault(webui, "")
        assert_same_pictures(Generated(made.images[:1], {}), plain[kind])
        assert len(made.images) == len(made.infotexts)
        assert "stand-in: injected" in str(made.info), f"not said: {made.info['extra_generation_params']}"


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("lib_unet_viz.hosts.webui.layer_prompts:Layers.take", {"prompt": "a (~: M00: red :~) circle"}),
        ("lib_unet_viz.hosts.webui.layer_prompts:Layers.encode", {"prompt": "a (~: M00: red :~) circle"}),
        ("lib_unet_viz.hosts.webui.layer_prompts:Layers.contexts", {"prompt": "a (~: M00: red :~) circle"}),
        ("lib_unet_viz.hosts.webui.edit:EditRun.check_prompts", {}),
        ("lib_unet_viz.hosts.webui.edit:EditRun.begin", {}),
        ("lib_unet_viz.hosts.webui.edit:EditRun.install", {}),
        ("lib_unet_viz.hosts.webui.edit:EditRun.blend", {}),
        ("lib_unet_viz.hosts.webui.step_rows:StepRows.announce", {}),
    ],
)
def test_a_fault_in_acting_is_raised(webui: Webui, name: str, fields: dict[str, Any]) -> None:
    """A picture that is not what was asked for is none."""
    settings: dict[str, Any] = {} if fields else {"edit": {"edits": "circle -> star"}}
    fault(webui, name)
    request = merged({**DEFAULTS, **fields}, asking("dropdown", settings))
    status, answer = webui.post("/sdapi/v1/txt2img", **request)
    assert status == 500
    assert "stand-in: injected" in str(answer)


def test_a_fault_in_looking_leaves_acting_as_it_is(webui: Webui) -> None:
    """Blocks read their own texts, and edits keep the source's attention, all the same."""
    layered = {"prompt": "a (~: IN00-OUT05: red ; OUT06-OUT11: blue :~) circle"}
    edit: dict[str, Any] = {"edit": {"edits": "circle -> star"}}
    acting: list[tuple[dict[str, Any], dict[str, Any]]] = [(layered, {}), ({}, edit)]
    for fields, settings in acting:
        quiet = {"output": {"show": False, "save": False}}
        whole = webui.txt2img(**merged(dict(fields), asking("dropdown", {**settings, **quiet})))
        fault(webui, f"{TAPS}:FeatureTap._output")
        made = webui.txt2img(**merged(dict(fields), asking("dropdown", {**settings, **ALL, **quiet})))
        fault(webui, "")
        assert "stand-in: injected" in str(made.info)
        assert_same_pictures(Generated(pictures_of(made), {}), Generated(pictures_of(whole), {}))


def pictures_of(made: Generated) -> list[Any]:
    return made.images[int(made.info["index_of_first_image"]) :]


def test_a_fault_in_the_run_without_layer_prompts_keeps_the_picture(webui: Webui) -> None:
    prompt = "a (~: M00: red :~) circle"
    whole = webui.txt2img(**asking("dropdown", {"output": {"show": False, "save": False}}), prompt=prompt)
    fault(webui, "lib_unet_viz.extension.compare:_plain")
    made = webui.txt2img(**asking("dropdown", {"difference": {"blocks": "M00"}}), prompt=prompt)
    assert_same_pictures(made, whole)
    assert "no difference was made: RuntimeError: stand-in: injected" in str(made.info)


# Folders that take no dumps.


@pytest.mark.parametrize("section", ["features", "attention", "difference"])
@pytest.mark.parametrize("kind", ["a name of 300 letters", "a file in its place", "a folder that takes none"])
def test_a_folder_that_takes_no_dumps_is_told_before_the_run(
    webui: Webui, tmp_path: Path, section: str, kind: str
) -> None:
    (tmp_path / "file").write_text("here", encoding="utf-8")
    path = {
        "a name of 300 letters": "x" * 300,
        "a file in its place": str(tmp_path / "file"),
        "a folder that takes none": "/proc/self",  # as one that is read-only does, also for root
    }[kind]
    webui.txt2img(**stand_in("probe"), steps=1)
    request = asking("dropdown", {section: {"blocks": "M00", "dump": True, "path": path}})
    status, answer = webui.post("/sdapi/v1/txt2img", **merged({**DEFAULTS, **stand_in("probe")}, request))
    assert status == 422
    assert "dumps cannot be written to" in answer["detail"]
    assert len(webui.probed().calls) == 1, "the U-Net ran before that was told"


def test_a_dump_that_fails_after_the_run_is_a_note(webui: Webui, plain: dict[str, Generated]) -> None:
    """The disk is full, or the folder gone, only then."""
    fault(webui, f"{RESULTS}:save_trace")
    made = webui.txt2img(**asking("dropdown", {"features": {"blocks": "M00", "steps": "1", "dump": True}}))
    assert_same_pictures(Generated(made.images[:1], {}), plain["one"])
    assert len(made.images) == 2, "its sheet is lost"
    assert "no dump" in str(made.info)


# What a request asks in vain.


def refused(webui: Webui, path: str, words: str, **body: Any) -> None:
    status, answer = webui.post(path, **body)
    assert status == 422, f"{status}: {answer}"
    assert words in str(answer["detail"]), answer
    assert "Traceback" not in str(answer)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"explore": True}, "explore"),
        ({"features": {"color": {"method": "Custom", "formulas": ["v"]}}}, "expected 3"),
        ({"features": {"color": {"method": "Custom", "formulas": ["v"] * 4}}}, "expected 3"),
        ({"difference": {"blocks": "IN99"}}, "this model has no block IN99"),
        ({"difference": {"steps": "0"}}, "0"),
        ({"features": {"blocks": "IN99"}}, "this model has no block IN99"),
        ({"features": {"halves": []}}, "at least one of"),
    ],
    ids=str,
)
def test_the_script_refuses_what_it_cannot_do(webui: Webui, settings: dict[str, Any], words: str) -> None:
    for prompt in ("a circle", "a (~: M00: red :~) circle"):
        fields = {**DEFAULTS, "prompt": prompt, **asking("dropdown", settings)}
        refused(webui, "/sdapi/v1/txt2img", words, **fields)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"difference": {"blocks": "M00"}}, "choose U-Net Viz in the list of scripts"),
        ({"edit": {"edits": "circle -> star"}}, "choose U-Net Viz in the list of scripts"),
        ({"explore": True}, "explore"),
    ],
    ids=str,
)
def test_the_always_on_script_refuses_what_it_cannot_do(
    webui: Webui, settings: dict[str, Any], words: str
) -> None:
    refused(webui, "/sdapi/v1/txt2img", words, **{**DEFAULTS, **asking("always on", settings)})


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"settings": {"heatmaps": True, "edit": {"edits": "a -> b"}}}, "no use for 'edit'"),
        ({"settings": {"heatmaps": True, "difference": {"blocks": "M00"}}}, "no use for 'difference'"),
        ({"settings": {"heatmaps": True, "explore": True}}, "no use for 'explore'"),
        ({"settings": {"heatmaps": True, "output": {"show": False}}}, "no use for 'output'"),
        ({"settings": {"heatmaps": True, "method": "daam"}}, "no use for 'method'"),
        ({"settings": {"features": {"color": {"gain": 2}}}}, "features.color"),
        ({"settings": {"features": {"average": "mean"}}}, "features.average"),
        ({"settings": {"features": 3}}, "features is 3"),
        ({"settings": {"heatmaps": True}, "prompt": "a (~: M00: red :~) circle"}, "no layer prompts"),
        (
            {"settings": {"heatmaps": True}, "negative_prompt": "a (~: M00: red :~) circle"},
            "no layer prompts",
        ),
    ],
    ids=str,
)
def test_the_route_of_traces_refuses_what_it_cannot_do(
    webui: Webui, body: dict[str, Any], words: str
) -> None:
    refused(webui, "/unet-viz/v1/trace", words, **{"prompt": "a circle", "steps": 1, **body})


def test_a_trace_of_plain_text_that_looks_like_layer_prompts(webui: Webui) -> None:
    settings = {"features": {"blocks": "M00"}, "layer_prompts": False}
    fields = {"prompt": "a (~: M00: red :~) circle", "steps": 1, "width": 64, "height": 64}
    status, answer = webui.post("/unet-viz/v1/trace", **fields, settings=settings)
    assert status == 200, answer


def test_the_other_routes_take_only_what_they_use(webui: Webui) -> None:
    edit: dict[str, Any] = {"edits": "circle -> star"}
    body: dict[str, Any] = {"image": encoded_image(drawing(64)), "prompt": "a circle"}
    in_vain: list[tuple[str, dict[str, Any]]] = [
        ("vxa", {"explore": True}),
        ("vxa", {"edit": edit}),
        ("vxa", {"settings": {}}),
        ("edit", {"edit": edit, "explore": True}),
        ("edit", {"edit": edit, "settings": {}}),
        ("edit", {"edit": {**edit, "sweep": "steps"}}),
    ]
    for route, more in in_vain:
        refused(webui, f"/unet-viz/v1/{route}", list(more)[-1], **body, **more)
