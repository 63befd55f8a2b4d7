"""A result that no longer fits its controls is marked at once, by the events of the page."""

from __future__ import annotations

import gc
import json
from collections.abc import Iterator
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

import standin  # noqa: E402
from PIL import Image  # noqa: E402
from test_webui_glue import modules  # noqa: E402
from visit import Visit, targets  # noqa: E402

from lib_unet_viz.app.edit_tab import Edit  # noqa: E402
from lib_unet_viz.app.page import build  # noqa: E402
from lib_unet_viz.app.txt2img import Txt2Img  # noqa: E402
from lib_unet_viz.settings import Settings  # noqa: E402
from lib_unet_viz.ui.edit_tab import SWEEP  # noqa: E402
from lib_unet_viz.ui.runs import Runs  # noqa: E402

__all__ = ["modules"]
# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
PROMPT = "a red circle and a blue square"
LAYERED = "a (~:_:red; M00:blue:~) circle"
PICTURE = Image.new("RGB", (64, 64), "red")


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def model() -> Any:
    return standin.StandIn()


@pytest.fixture(scope="module")
def edit_tab(model: Any) -> tuple[Edit, Any]:
    tab = Edit(*standin.loaded(model), Runs(), draw=standin.edit)
    with gr.Blocks(analytics_enabled=False) as blocks:
        tab.build()
    return tab, blocks


@pytest.fixture(scope="module")
def txt2img_tab(model: Any) -> tuple[Txt2Img, Any]:
    tab = Txt2Img(*standin.loaded(model), Runs())
    with gr.Blocks(analytics_enabled=False) as blocks:
        tab.build()
    return tab, blocks


@pytest.fixture
def edit(edit_tab: tuple[Edit, Any]) -> tuple[Edit, Visit]:
    tab, visit = edit_tab[0], Visit(edit_tab[1])
    visit.change(tab.prompt, PROMPT)
    visit.change(tab.edits, "red -> green")
    for label, value in {"Steps": 2, "Width": 64, "Height": 64}.items():
        visit.change(tab.out_of_date._watched[label], value)
    return tab, visit


@pytest.fixture
def txt2img(txt2img_tab: tuple[Txt2Img, Any]) -> tuple[Txt2Img, Visit]:
    tab, visit = txt2img_tab[0], Visit(txt2img_tab[1])
    visit.change(tab.prompt, LAYERED)
    for component, value in ((tab.controls.steps, 2), (tab.controls.width, 64), (tab.controls.height, 64)):
        visit.change(component, value)
    return tab, visit


def other(component: Any, value: Any) -> Any:
    """Another value than this."""
    if isinstance(component, gr.Checkbox):
        return not value
    if isinstance(component, gr.CheckboxGroup):
        return []
    if isinstance(component, gr.Radio | gr.Dropdown):
        choices = [choice if isinstance(choice, str) else choice[1] for choice in component.choices]
        return next(choice for choice in choices if choice != value)
    return f"{value} x" if isinstance(component, gr.Textbox) else value + 1


def each_is_named(visit: Visit, section: Any, *, but: set[str]) -> set[str]:
    """Change each control of a result and change it back; pictures have no way back."""
    named = set()
    for name, component in section.out_of_date._watched.items():
        if component in section.out_of_date.counts or name in but:
            continue
        before = visit.value(component)
        visit.change(component, other(component, before))
        assert f"Changed since then: {name}. Press" in visit[section.out_of_date.note]
        visit.change(component, before)
        assert visit[section.out_of_date.note] is None
        named.add(name)
    return named


def test_each_control_of_an_edit_is_named(edit: tuple[Edit, Visit]) -> None:
    tab, visit = edit
    visit.change(tab.prompt, f"{PROMPT} x")
    assert visit[tab.out_of_date.note] is None  # there is no result yet
    visit.change(tab.prompt, PROMPT)
    visit.press(tab.go)
    assert "Done" in visit[tab.status]
    assert f"“{PROMPT}” · 2 steps · CFG scale 5" in visit[tab.status]
    named = each_is_named(visit, tab, but=set())
    assert len(named) == 1 + len(tab.run_settings) - 1 + len(tab.panel.components)
    visit.change(tab.edits, "red -> green  ")
    assert visit[tab.out_of_date.note] is None


def test_an_edit_is_marked_by_its_pictures(edit: tuple[Edit, Visit]) -> None:
    tab, visit = edit
    visit.press(tab.go)
    for component, name in ((tab.uploaded, "Picture"), (tab.mask.component, "Mask")):
        visit._values[component._id] = PICTURE
        visit.fire(component, "edit" if name == "Mask" and hasattr(component, "edit") else "change")
        assert name in visit[tab.out_of_date.note]
    assert "Press Edit to update" in visit[tab.out_of_date.note]


def test_a_sweep_names_its_own_button_and_a_failed_run_leaves_the_mark(edit: tuple[Edit, Visit]) -> None:
    tab, visit = edit
    visit.press(tab.sweep)
    visit.change(tab.edits, "circle -> star")
    assert f"Press {SWEEP} to update" in visit[tab.out_of_date.note]
    visit.change(tab.prompt, " ")
    visit.press(tab.go)
    assert "prompt is empty" in visit[tab.status]
    assert "Source prompt, Edits" in visit[tab.out_of_date.note]
    visit.change(tab.prompt, PROMPT)
    visit.press(tab.go)
    assert visit[tab.out_of_date.note] is None


def test_what_changes_while_a_result_is_made_is_named_after_it(
    edit: tuple[Edit, Visit], monkeypatch: pytest.MonkeyPatch
) -> None:
    tab, visit = edit
    draw = tab._draw

    def changing(*asked: Any, **more: Any) -> Any:
        visit.change(tab.edits, "circle -> star")
        return draw(*asked, **more)

    monkeypatch.setattr(tab, "_draw", changing)
    visit.press(tab.go)
    assert "Edits. Press" in visit[tab.out_of_date.note]


def test_each_control_of_a_comparison_is_named(txt2img: tuple[Txt2Img, Visit]) -> None:
    tab, visit = txt2img
    section = tab.compare
    visit.press(section.compare)
    assert f"“{LAYERED}” · 2 steps" in visit[section.status]
    named = each_is_named(visit, section, but={"Word"})
    assert {"Prompt", "Negative prompt", "Seed", "Changes: Layers", "Changes: Steps"} <= named
    assert "Changes: Average over channels" not in named  # which is drawn again at once
    visit.change(section.word, "red")
    assert visit[section.out_of_date.note] is None  # of a comparison, the word decides nothing


def test_a_sweep_of_a_word_is_marked_by_the_word(txt2img: tuple[Txt2Img, Visit]) -> None:
    tab, visit = txt2img
    section = tab.compare
    visit.change(tab.prompt, "a circle")
    visit.change(section.word, "red")
    visit.press(section.sweep)
    assert "“red” in each block" in visit[section.status]
    visit.change(section.word, "blue")
    assert "Word. Press Sweep it over the blocks to update" in visit[section.out_of_date.note]
    visit.change(section.word, "red")
    visit.change(section.panel.fields["difference.blocks"], "M00")
    assert visit[section.out_of_date.note] is None


def test_while_a_picture_is_made_nothing_is_out_of_date(txt2img: tuple[Txt2Img, Visit]) -> None:
    tab, visit = txt2img
    visit.press(tab.go)
    visit.change(tab.prompt, "a circle")
    assert "Prompt" in visit[tab.out_of_date.note]
    running = tab.generate("me", *(visit.value(component) for component in tab.asked))
    seen = [update[tab.out_of_date.note] for update in running if tab.out_of_date.note in update]
    assert [update["visible"] for update in seen] == [False]


@pytest.mark.usefixtures("modules")
def test_the_gallerys_difference_is_marked_in_the_webuis_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    from modules import infotext_utils

    from lib_unet_viz.extension import panel

    monkeypatch.setattr(
        infotext_utils, "parse_generation_parameters", lambda text: {panel.INFOTEXT: text.partition("\n")[2]}
    )
    with gr.Blocks(analytics_enabled=False) as blocks:
        around = {"prompt": gr.Textbox(LAYERED, label="Prompt"), "generate": gr.Button()}
        made = panel.build(Settings.off(), name="panel")
        infotexts = gr.Textbox(visible=False)
        panel.connect_result(made, around, infotexts)
    visit, fields, note = Visit(blocks), made.panel.fields, made.compared.note

    def run(prompt: str = LAYERED) -> None:
        """As the webui does: its own handler of the click fills the gallery later."""
        visit.press(around["generate"])
        settings = made.settings([visit.value(component) for component in made.components])
        text = json.dumps({"infotexts": [f"{prompt}\n{panel.written(settings)}"]})
        visit.change(around["prompt"], visit.value(around["prompt"]))
        visit.change(infotexts, text)

    run()
    visit.change(around["prompt"], "a (~:_:red; M00:green:~) circle")
    assert visit[note] is None  # the gallery holds no difference
    visit.change(around["prompt"], LAYERED)
    visit.change(fields["difference.enabled"], True)
    run()
    assert visit[note] is None
    visit.change(fields["difference.blocks"], "IN01")
    visit.change(around["prompt"], "a (~:_:red; M00:green:~) circle")
    changed = "Changed since then: Prompt, Difference: Layers. Press Generate to update"
    assert f"The gallery&#x27;s difference is out of date. {changed}" in visit[note]
    run("a (~:_:red; M00:green:~) circle")
    assert visit[note] is None
    visit.change(around["prompt"], "a circle")
    run("a circle")
    visit.change(fields["difference.blocks"], "IN02")
    assert visit[note] is None  # without layer prompts no difference was made
    visit.change(infotexts, "")
    assert visit[note] is None


def test_marks_wait_for_no_queue_and_run_by_no_load_of_the_page(model: Any) -> None:
    blocks = build(model, edit=standin.edit)
    names = ("OutOfDate.mark", "_one_more")
    marks = [one for one in Visit(blocks).events if blocks.fns[one["id"]].fn.__qualname__ in names]
    assert len(marks) > 50
    assert not any(event["queue"] for event in marks)
    causes = {name for event in marks for _, name in targets(event)}
    assert causes <= {"change", "input", "blur", "then", "edit", "upload", "clear"}
