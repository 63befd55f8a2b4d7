"""The page: it builds, its handlers answer as they should, and mistakes become messages. No browser."""

from __future__ import annotations

import gc
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

from PIL import Image  # noqa: E402
from standin import StandIn, loaded  # noqa: E402

from lib_unet_viz.app.facts import BUNDLED, Facts  # noqa: E402
from lib_unet_viz.app.page import _once, build, build_for  # noqa: E402
from lib_unet_viz.app.txt2img import Txt2Img  # noqa: E402
from lib_unet_viz.capture.dump import load_trace  # noqa: E402
from lib_unet_viz.drawing.look import ALL_LAYERS, layer_choices  # noqa: E402
from lib_unet_viz.extension import panel  # noqa: E402
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline  # noqa: E402
from lib_unet_viz.maps.words import word_maps  # noqa: E402
from lib_unet_viz.notation.specs import SpecError  # noqa: E402
from lib_unet_viz.settings import AttentionSettings, FeatureSettings, Settings  # noqa: E402
from lib_unet_viz.trace import Selection  # noqa: E402
from lib_unet_viz.ui import components as ui  # noqa: E402
from lib_unet_viz.ui import readout  # noqa: E402
from lib_unet_viz.ui.runs import GoneError, Runs  # noqa: E402
from lib_unet_viz.ui.vxa_tab import VXA  # noqa: E402
from lib_unet_viz.ui.working import reports  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
PROMPT = "a red circle, a blue square"


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return StandIn()


@pytest.fixture(scope="module")
def txt2img(pipeline: Any) -> Txt2Img:
    tab = Txt2Img(*loaded(pipeline), Runs())
    with gr.Blocks(analytics_enabled=False):
        tab.build()
    return tab


@pytest.fixture(scope="module")
def looker(pipeline: Any) -> VXA:
    tab = VXA(lambda: pipeline, Runs())
    with gr.Blocks(analytics_enabled=False):
        tab.build()
    return tab


def values(tab: Txt2Img, **changed: Any) -> list[Any]:
    """The panel's values as the page opens, some of them changed (`features__blocks`)."""
    new = {name.replace("__", "."): value for name, value in changed.items()}
    return [new.get(path, component.value) for path, component in tab.panel.fields.items()]


def run(tab: Txt2Img, prompt: str = PROMPT, seed: int = 1, **changed: Any) -> list[dict[Any, Any]]:
    """All updates of a run of three steps."""
    return list(tab.generate("me", prompt, "", 3, seed, 7.5, 64, 64, *values(tab, **changed)))


def of(update: Any, name: str) -> Any:
    return update.get(name) if isinstance(update, dict) else update


def test_the_page_builds(pipeline: Any) -> None:
    blocks = build(pipeline)
    labels = {component["props"].get("label") for component in blocks.get_config_file()["components"]}
    wanted = {"Prompt", "Steps", "CFG scale", "Seed", "Indices of token", "Cross-attention layer"}
    assert wanted <= labels


def test_the_page_is_built_without_waiting_for_its_model(pipeline: Any) -> None:
    def never() -> Any:
        raise AssertionError("the page asked for its model")

    waiting = build_for(never, Facts.of(pipeline)).get_config_file()
    there = build(pipeline).get_config_file()
    assert [part["type"] for part in waiting["components"]] == [part["type"] for part in there["components"]]


def test_what_is_known_of_the_bundled_model_is_true_of_it() -> None:
    assert Facts.of(Pipeline.load()) == BUNDLED


@pytest.mark.heavy
def test_gradio_is_imported_without_writing_stubs() -> None:
    """In a process of its own: here it is imported already."""
    code = """
import ast
import inspect
found, parsed = inspect.getfile, []
segment = ast.get_source_segment
ast.get_source_segment = lambda *given, **named: parsed.append(1) or segment(*given, **named)
from lib_unet_viz.app.starting import import_gradio
import_gradio()
assert inspect.getfile is found and not parsed, len(parsed)
from lib_unet_viz.app import page
from lib_unet_viz.app.facts import BUNDLED
assert page.build_for(lambda: None, BUNDLED).get_config_file()["components"]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_model_is_loaded_once_however_many_wait_for_it() -> None:
    made: list[object] = []

    def load() -> Any:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    once = _once(load)
    with ThreadPoolExecutor(4) as pool:
        found = [future.result() for future in [pool.submit(once) for _ in range(4)]]
    assert found == made * 4


def test_a_panel_says_the_defaults_as_they_are() -> None:
    with gr.Blocks(analytics_enabled=False):
        made = panel.build(Settings(), name="panel")
    assert made.settings([component.value for component in made.components]) == Settings()


def test_a_broken_infotext_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib_unet_viz.extension import panel

    said: list[str] = []
    monkeypatch.setattr(gr, "Warning", said.append)
    with gr.Blocks():
        made = panel.build(Settings.off(), name="viz")
    fields = made.infotext_fields("U-Net Viz", chosen=True)
    assert len(fields) > 50
    for text in ('{"featurs": {}}', "no JSON", '{"features": 3}'):
        found = {"Script": "U-Net Viz", panel.INFOTEXT: text}
        assert [read(found) for _, read in fields] == [None] * len(fields)
    assert len(said) == 3
    right = {"Script": "U-Net Viz", panel.INFOTEXT: '{"heatmaps": true}'}
    assert next(read(right) for _, read in fields) is True
    assert len(said) == 3


def test_values_become_settings() -> None:
    settings = ui.from_values(
        {
            "features.color.formulas.0": "v",
            "features.color.formulas.1": "1",
            "features.color.formulas.2": "abs(v)",
            "attention.parts": ["K", "V·Q·K"],
        }
    )
    assert settings.features.color.formulas == ("v", "1", "abs(v)")
    assert settings.attention.parts == ("K", "VQK")


def test_known_leaves_out_what_a_function_lacks() -> None:
    def function(here: int) -> None: ...

    assert ui.known(function, here=1, elsewhere=2) == {"here": 1}


def test_readout_of_features(pipeline: Any) -> None:
    text = readout.features(
        pipeline.unet, FeatureSettings(blocks="IN01-M00", steps="2,9"), size=(8, 8), steps=4
    )
    assert "3 of 7 blocks" in text
    assert "1 of 4 steps" in text
    assert "not in this run: step 9" in text
    assert "<td>IN02</td><td>32 × 8 × 8</td><td>32 × 4 × 4</td><td>no</td>" in text
    assert "<td>yes, 2 heads</td>" in text


def test_readout_of_attention(pipeline: Any) -> None:
    text = readout.attention(pipeline.unet, AttentionSettings(), size=(16, 16), steps=4)
    assert "1 attention layer" in text
    assert "<td>M00.0</td><td>cross (the prompt)</td><td>2</td><td>8 × 8</td>" in text


def test_readouts_say_what_a_selection_costs(pipeline: Any) -> None:
    size = (16, 16)
    few = readout.attention(pipeline.unet, AttentionSettings(blocks="M00", steps="1"), size=size, steps=20)
    many = readout.attention(pipeline.unet, AttentionSettings(blocks=""), size=size, steps=20)
    told = [re.search(r"([\d.]+) MB to keep · (?:under )?([\d.]+) % more time", text) for text in (few, many)]
    (few_mb, few_time), (many_mb, many_time) = [
        [float(part) for part in found.groups()] for found in told if found
    ]
    assert (few_mb, few_time) < (many_mb, many_time)
    words = readout.words(pipeline.unet, size=size, steps=20)
    assert re.search("Word heat maps · [0-9]+ attention layers · .* MB to keep · .* % more time", words)


def test_readout_shows_a_mistake_with_its_place() -> None:
    with pytest.raises(SpecError) as error:
        FeatureSettings(blocks="M00,<b>")
    text = readout.problem(error.value)
    assert "<pre" in text
    assert "&lt;b&gt;" in text
    assert "^" in text


def test_readout_of_layer_prompts(txt2img: Txt2Img) -> None:
    assert txt2img.show_layers(PROMPT, "") == ""
    text = txt2img.show_layers("a (~: M00: <red>; OUT00-OUT02: x ; IN00: y:~)", "dog (~:M00:cat:~)")
    off = "IN00 has no cross-attention: a prompt there changes nothing"
    assert f'<tr class="uv-off"><td>IN00</td><td>{off}</td><td></td></tr>' in text
    assert "<tr><td>M00</td><td>a  &lt;red&gt;</td><td>dog cat</td></tr>" in text
    assert text.count("<tr") == 1 + 7
    assert "known after expansion: {{layer}}" in txt2img.show_layers("a (~:{{layer}}: x:~)", "")
    problem = txt2img.show_layers("a", "b (~: IN44: x:~)")
    assert "no block IN44" in problem
    assert "^^^^" in problem


def test_generate_shows_previews_then_results(txt2img: Txt2Img) -> None:
    updates = run(txt2img)
    bars = [update[txt2img.status] for update in updates if "progressbar" in str(update.get(txt2img.status))]
    assert [f"Step {step} of 3" in bars[step] for step in (1, 2, 3)] == [True] * 3
    last = updates[-1]
    words = [text for _, text in of(last[txt2img.words.words], "value")]
    assert sorted(word.rpartition("  ")[0] for word in words) == sorted(
        ["a", "red", "circle", ",", "a#2", "blue", "square"]
    )
    assert "circle" in of(last[txt2img.words.word], "label")
    name = last[txt2img.worker.run]
    assert txt2img.runs.trace(name).meta["seed"] == 1


def test_sheets_of_any_recorded_step(txt2img: Txt2Img) -> None:
    name = run(txt2img, features__steps="1,3", attention__blocks="M00")[-1][txt2img.worker.run]
    sheets, _ = txt2img.features.show(name, 1, *values(txt2img))
    assert [caption for _, caption in sheets] == ["IN00", "IN01", "IN02", "M00", "OUT00", "OUT01", "OUT02"]
    attention, _ = txt2img.attention.show(name, 2, *values(txt2img))
    assert [caption for _, caption in attention] == ["M00.0 cross Q·K"]


def test_a_wrong_formula_is_said_at_the_sheets(txt2img: Txt2Img) -> None:
    name = run(txt2img)[-1][txt2img.worker.run]
    wrong = values(txt2img, features__color__method="Custom", features__color__formulas__0="import os")
    _, problem = txt2img.features.show(name, 1, *wrong)
    assert "^" in of(problem, "value")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"seed": -2}, "Seed -2"),
        ({"features__blocks": "OUT99"}, "no block OUT99"),
        ({"attention__parts": []}, "at least one of"),
        ({"budget_mb": 0}, "budget"),
    ],
)
def test_mistakes_become_messages(txt2img: Txt2Img, changed: dict[str, Any], said: str) -> None:
    last = run(txt2img, **changed)[-1]
    assert said in last[txt2img.status]
    assert txt2img.worker.run not in last
    assert "Traceback" not in last[txt2img.status]


def test_cancel_stops_the_run(txt2img: Txt2Img) -> None:
    updates = txt2img.generate("me", PROMPT, "", 50, 1, 7.5, 64, 64, *values(txt2img))
    name = next(updates)[txt2img.worker.running]
    txt2img.worker.cancel(name)
    rest = list(updates)
    assert "Cancelled" in rest[-1][txt2img.status]
    assert len(rest) < 10
    with pytest.raises(GoneError):
        txt2img.runs.trace(name)


def test_the_dump_can_be_read_again(txt2img: Txt2Img) -> None:
    name = run(txt2img)[-1][txt2img.worker.run]
    file, _ = txt2img.dump.write(name)
    trace = load_trace(of(file, "value"))
    assert trace.meta["prompt"] == PROMPT
    assert len(trace.features) == 7 * 3


def test_a_forgotten_run_is_said(pipeline: Any) -> None:
    tab = Txt2Img(*loaded(pipeline), Runs(kept=1))
    with gr.Blocks(analytics_enabled=False):
        tab.build()
    first = run(tab)[-1][tab.worker.run]
    path = Path(of(tab.dump.write(first)[0], "value"))
    assert path.exists()
    second = run(tab)[-1][tab.worker.run]  # has room as the latest
    assert not path.exists()
    said = (of(tab.dump.write(first)[1], "value"), of(tab.features.show(first, 1, *values(tab))[1], "value"))
    assert all("no longer in memory" in text for text in said)
    with pytest.raises(gr.Error, match="no longer in memory"):
        tab.words.enlarge(first, False, gr.SelectData(None, {"index": 0, "value": None}))
    assert load_trace(of(tab.dump.write(second)[0], "value")).meta["prompt"] == PROMPT


def test_reports_pass_an_error_on() -> None:
    def work(report: Any) -> None:
        report(1)
        raise ValueError("no")

    running = reports(work)
    assert next(running) == 1
    with pytest.raises(ValueError, match="no"):
        next(running)


def test_vxa_tokens_and_indices_agree(looker: VXA) -> None:
    update, text = looker.tokenise("hat, neck", [])
    assert of(update, "choices") == ["1 hat", "2 ,", "3 neck"]
    assert text == ""
    assert looker.pick(["3 neck", "1 hat"]) == "1, 3"
    assert looker.type_indices("3,1", "hat, neck", [])[0] == ["1 hat", "3 neck"]
    assert "^" in of(looker.type_indices("1, x", "hat, neck", [])[1], "value")
    kept, text = looker.tokenise("hat and neck", ["1 hat", "3 neck"])
    assert of(kept, "value") == ["1 hat", "3 neck"]
    assert text == "1, 3"


# Layer prompts.

LAYERED = "a (~:_:red; M00:blue:~) circle"


def compared(tab: Txt2Img, prompt: str = LAYERED, seed: int = 1, **changed: Any) -> list[dict[Any, Any]]:
    new = {name.replace("__", "."): value for name, value in changed.items()}
    fields = tab.compare.panel.fields.items()
    panel = [new.get(path, component.value) for path, component in fields]
    return list(tab.compare.run_both("me", prompt, "", 3, seed, 7.5, 64, 64, *panel))


def swept(tab: Txt2Img, word: str = "red", prompt: str = PROMPT) -> Any:
    return tab.compare.run_sweep("me", word, prompt, "", 2, 1, 7.5, 64, 64)


def test_with_and_without_layers(txt2img: Txt2Img) -> None:
    section = txt2img.compare
    updates = compared(txt2img, seed=-1, difference__blocks="M00,OUT00", difference__dump=True)
    assert any("without layers: step 1 of 3" in str(update.get(section.status)) for update in updates)
    assert any("with layers: step 3 of 3" in str(update.get(section.status)) for update in updates)
    last, name = updates[-1], updates[-1][section.worker.run]
    assert of(last[section.pictures], "value").width > 3 * 64
    changed = load_trace(of(last[section.dump], "value"))
    assert [changed.meta["compared"][run]["prompt"] for run in "ab"] == ["a red circle", LAYERED]
    assert len({changed.meta["compared"][run]["seed"] for run in "ab"}) == 1
    assert {item.key.block for item in changed.features} == {"M00", "OUT00"}
    assert changed.features.one(block="M00", step=1).numpy().any()
    values = [component.value for component in section.panel.components]
    sheets, _ = section.changes.show(name, 2, *values)
    assert [caption for _, caption in sheets] == ["M00", "OUT00"]
    both, labels = txt2img.runs.trace(last[section.both]), txt2img.runs.words(last[section.both])
    assert [text for _, text in labels] == ["without layers", "with layers"]
    views = [both.view(Selection(image)) for image in (0, 1)]
    assert [view.meta.prompt for view in views] == ["a red circle", LAYERED]
    change = (
        views[1].features.one(block="M00", step=1).numpy()
        - views[0].features.one(block="M00", step=1).numpy()
    )
    assert (change == changed.features.one(block="M00", step=1).numpy()).all()
    assert all(word_maps(view) for view in views)


def test_without_may_be_the_erased_prompt(txt2img: Txt2Img) -> None:
    last = compared(txt2img, difference__baseline="erased")[-1]
    assert not of(last[txt2img.compare.dump], "visible")
    [run] = [run for run in txt2img.runs._runs.values() if run.trace and run.trace.meta.get("compared")][-1:]
    assert run.trace is not None
    assert run.trace.meta["compared"]["a"]["prompt"] == "a  circle"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": PROMPT}, "no layer prompts to compare"),
        ({"prompt": "a (~: M99: x:~)"}, "no block M99"),
        ({"difference__blocks": "XX"}, "a block is expected"),
    ],
)
def test_mistakes_in_a_comparison_become_messages(txt2img: Txt2Img, changed: Any, said: str) -> None:
    assert said in compared(txt2img, **changed)[-1][txt2img.compare.status]


def test_a_sweep_is_shown_and_goes_on_after_a_cancel(txt2img: Txt2Img) -> None:
    section = txt2img.compare
    first = swept(txt2img)
    name = next(first)[section.worker.running]
    seen = [next(first) for _ in range(3)]
    assert "picture 3 of 12" in seen[-1][section.status]
    section.worker.cancel(name)
    assert "goes on there" in list(first)[-1][section.status]
    [folder] = txt2img.runs.folder.glob("sweep-*")
    kept = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    assert len(kept) >= 2
    last = list(swept(txt2img))[-1]
    assert of(last[section.pictures], "value").width > 300
    assert of(last[section.chart], "visible")
    assert kept.items() <= {path.name: path.stat().st_mtime_ns for path in folder.glob("*.png")}.items()
    assert "word is empty" in list(swept(txt2img, word=" "))[-1][section.status]


def look(tab: VXA, picture: Image.Image | None, **changed: Any) -> tuple[Any, str, str]:
    arguments: dict[str, Any] = {
        "prompt": "hat, neck",
        "layers": [ALL_LAYERS],
        "timesteps": "150, 350",
        "seed": 0,
        "indices": "1, 3",
        "other": "",
        "method": "informed",
        "original": False,
        "mode": "heat overlay",
    }
    *_, last = tab.visualize("me", picture, *{**arguments, **changed}.values(), 0)
    return last.get(tab.result), last[tab.status], last.get(tab.worker.run, "")


@pytest.mark.parametrize("mode", ["masked", "greyscale", "heat overlay", "mask"])
@pytest.mark.parametrize("size", [(100, 301), (64, 64)])
def test_vxa_shows_a_picture_of_any_size(looker: VXA, mode: str, size: tuple[int, int]) -> None:
    image, line, name = look(looker, Image.new("RGBA", size, (200, 30, 30, 128)), mode=mode)
    assert abs(image.width / image.height - size[0] / size[1]) < 0.03
    assert "1 hat + 3 neck" in line
    again, _ = looker.redraw(name, "hat, neck", "3", "", "daam", False, mode)
    assert again.size == image.size


def test_vxa_as_the_original_did_counts_the_padding(looker: VXA) -> None:
    middle = [choice for choice, spec in layer_choices(looker.model()).items() if spec == "M00"]
    assert middle == ["M00 (the original's default)"]
    picture = Image.effect_noise((128, 128), 90).convert("RGB")
    plain, _, _ = look(looker, picture, indices="", layers=middle)
    original, line, _ = look(looker, picture, indices="", layers=middle, original=True)
    assert "with end and padding" in line
    assert plain.tobytes() != original.tobytes()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"indices": "99"}, "no index of a token"),
        ({"timesteps": "some"}, "no timestep"),
    ],
)
def test_vxa_mistakes_become_messages(looker: VXA, changed: dict[str, Any], said: str) -> None:
    assert said in look(looker, Image.new("RGB", (64, 64)), **changed)[1]


def test_vxa_without_a_picture_says_so(looker: VXA) -> None:
    assert "no picture" in look(looker, None)[1]


def test_vxa_asks_for_other_words_of_the_same_look(looker: VXA) -> None:
    picture = Image.effect_noise((128, 128), 90).convert("RGB")
    own, _, name = look(looker, picture, indices="")
    other, line = looker.redraw(name, "hat, neck", "", "a sky", "informed", False, "heat overlay")
    assert "a sky" in line
    assert other.tobytes() != own.tobytes()
    labels, line = looker.redraw(name, "hat, neck", "", "", "informed", False, "label map")
    assert "all words" in line
    assert labels.height > own.height  # the legend


def test_a_click_shows_where_a_place_looks_to(looker: VXA) -> None:
    section = looker.attention_from
    picture = Image.effect_noise((128, 128), 90).convert("RGB")
    _, _, name = look(looker, picture)
    layers, heads, _ = section.fill(name, "IN01.0")
    assert of(layers, "value") == "IN01.0"
    assert of(heads, "choices") == ["mean", "0", "1"]
    event = gr.SelectData(None, {"index": [96, 32], "value": None})
    at, shown, line = section.click(name, "a place's looks", "IN01.0", "1", "2", event)
    trace = looker.runs.trace(name)
    assert trace.picture is not None
    assert at == (32 / trace.picture.height, 96 / trace.picture.width)
    assert shown.size == trace.picture.size
    assert "head 1" in line
    for view in ("components", "segments"):
        other, _ = section.show(at, name, view, "all together", "mean", "mean")
        assert other.tobytes() != shown.tobytes()
    assert "no head 9" in section.show(at, name, "a place's looks", "IN01.0", "9", "2")[1]
    assert "no longer in memory" in section.show(at, "gone", "components", "", "", "")[1]
