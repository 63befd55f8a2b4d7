"""The tab Explore: what it opens, what it says where it cannot, what it hands over; each visitor's own."""

from __future__ import annotations

import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

gr = pytest.importorskip("gradio")

import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402
from standin import StandIn, edit, loaded  # noqa: E402
from test_workspace import SHELL, recorded  # noqa: E402

from lib_unet_viz.app.edit_tab import Edit  # noqa: E402
from lib_unet_viz.app.facts import recorded as worth_recording  # noqa: E402
from lib_unet_viz.capture.dump import load_trace, save_trace  # noqa: E402
from lib_unet_viz.settings import EditSettings, Settings  # noqa: E402
from lib_unet_viz.ui import explore_tab  # noqa: E402
from lib_unet_viz.ui.explore_tab import FIRST, KINDS, Explore, Source  # noqa: E402
from lib_unet_viz.ui.runs import Runs  # noqa: E402
from lib_unet_viz.workspace import page  # noqa: E402

RECORD: Settings = worth_recording(StandIn())  # type: ignore[arg-type]
CHOICE = ("", FIRST, FIRST, "", "")


@pytest.fixture(autouse=True)
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_static", {"html": SHELL, "css": "", "js": ""}.__getitem__)


@pytest.fixture
def tab() -> Explore:
    made = Explore(Runs())
    with gr.Blocks():
        made.build()
    return made


@pytest.fixture
def dump(tmp_path: Path) -> Any:
    """As gradio up to 4 hands over an uploaded file."""
    return SimpleNamespace(name=str(save_trace(recorded(), tmp_path / "star")))


class _Frame(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def framed(html: str) -> str:
    """The page within the only element, a frame that may do little."""
    [(tag, attributes)] = _Frame(html).found
    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts allow-downloads")
    return attributes["srcdoc"] or ""


def kept(tab: Explore, *traces: Any) -> list[Source]:
    found = []
    for trace in traces:
        run = tab.runs.start("me")
        tab.runs.end(run, trace)
        found.append(Source(run.name))
    return found


def test_dumps_are_opened_in_a_frame(tab: Explore, dump: Any) -> None:
    sources, said, html, take, _, opening = tab.open_dumps(dump, None, *CHOICE)
    assert (said["visible"], take["visible"], opening["open"]) == (False, True, False)
    assert '"name": "star"' in framed(html)
    assert len(tab.open_dumps(dump, dump.name, *CHOICE)[0]) == 2
    assert tab.show(sources, *CHOICE)[2] == html


def test_a_run_and_what_is_chosen_of_it(tab: Explore) -> None:
    sources = kept(tab, recorded())
    text = framed(tab.show(sources, *CHOICE)[2])
    some = framed(tab.show(sources, "0", "prompt", "before hires fix", "OUT01", "5")[2])
    assert text.count('"kind"') == 7
    assert some.count('"kind"') == 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("3", FIRST, FIRST, "", ""), "no maps of image 3"),
        (("", "negative prompt", FIRST, "", ""), "no maps of half uncond"),
        (("", FIRST, "after hires fix", "", ""), "no maps of pass hires"),
        (("", FIRST, FIRST, "IN9x", ""), "^"),
        (("-1", FIRST, FIRST, "", ""), "is no image&#x27;s number"),
    ],
)
def test_what_is_not_there_is_said_and_what_is_open_stays(
    tab: Explore, choice: tuple[Any, ...], message: str
) -> None:
    sources, said, html, *_ = tab.show(kept(tab, recorded()), *choice)
    assert message in said["value"]
    assert sources == html == gr.update()


def test_of_a_batch_any_image_is_opened_with_its_picture(tab: Explore) -> None:
    trace = recorded()
    for at, item in enumerate([*trace.features, *trace.attention]):
        item.key = replace(item.key, image=at % 2)
    run = tab.runs.start("me")
    pictures = [(Image.new("RGB", (8, 8), color), f"image {at}") for at, color in enumerate(("red", "lime"))]
    tab.runs.end(run, trace, pictures)
    for image, chosen in ((0, ""), (0, "0"), (1, " 1")):
        names, [view] = tab._views([Source(run.name, batch=True)], (chosen, *CHOICE[1:]))
        assert (names, view.picture) == ([f"image {image}"], pictures[image][0])
    assert (
        "no maps of image 2; there are: 0, 1"
        in tab.show([Source(run.name, batch=True)], "2", *CHOICE[1:])[1]["value"]
    )


def test_nothing_or_no_dump_is_refused(tab: Explore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "nothing to open" in tab.open_dumps(None, None, *CHOICE)[1]["value"]
    foreign = tmp_path / "photo.safetensors"
    foreign.write_bytes(b"\x89PNG\r\n\x1a\n" * 9)
    said = tab.open_dumps(str(foreign), None, *CHOICE)[1]["value"]
    assert "photo.safetensors is no dump" in said
    assert str(tmp_path) not in said
    monkeypatch.setattr(explore_tab, "MOST_DUMP", 9)
    assert "has 72 bytes; allowed: 9" in tab.open_dumps(str(foreign), None, *CHOICE)[1]["value"]
    assert "no longer in memory" in tab.show([Source("gone")], *CHOICE)[1]["value"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_open_is_saved_as(tab: Explore, kind: str) -> None:
    sources = kept(tab, recorded(), recorded(5))
    folder, offered, said = tab.write(sources, "", kind, *CHOICE)
    assert (said["visible"], offered["visible"]) == (False, True)
    files = [Path(path) for path in offered["value"]]
    assert sorted(path.name for path in Path(folder).iterdir()) == sorted(path.name for path in files)
    assert len(files) == (1 if kind == "Page (HTML)" else 2)
    _check(kind, files)
    again, *_ = tab.write(sources, folder, kind, *CHOICE)
    assert not Path(folder).exists()
    assert Path(again).is_dir()


def _check(kind: str, files: list[Path]) -> None:
    first = files[0]
    if kind == "Page (HTML)":
        assert first.read_text(encoding="utf-8").count('"name": "B"') == 1
    elif kind == "Arrays (.npz)":
        with np.load(first, allow_pickle=False) as found:
            assert found["OUT01-features-step001"].shape == (3, 4, 4)
    elif kind == "Arrays (.safetensors)":
        assert len(load_trace(first).features) == 3
    else:
        with zipfile.ZipFile(first) as packed:
            names = packed.namelist()
            with packed.open(names[0]) as file, Image.open(file) as picture:
                assert getattr(picture, "n_frames", 1) == (1 if kind == "Sheets (PNG)" else 3)
        assert len(names) == (6 if kind == "Sheets (PNG)" else 2)


def test_nothing_half_made_is_left(tab: Explore) -> None:
    *_, said = tab.write(kept(tab, recorded()), "", "Animations (GIF)", "", FIRST, FIRST, "", "1")
    assert "several steps" in said["value"]
    assert list(tab.runs.folder.iterdir()) == []


def request(user: str) -> Any:
    return SimpleNamespace(username=user)


def test_the_last_run_is_the_visitors(dump: Any) -> None:
    def last(asked: Any) -> Source | None:
        if asked.username == "eve":
            raise ValueError("nothing is kept for eve")
        return runs[asked.username]

    tab = Explore(Runs(), last=last)
    with gr.Blocks():
        tab.build()
    runs = {"ann": kept(tab, recorded(prompt="of ann"))[0], "bob": None}
    assert "of ann" in tab.open_last(request("ann"), *CHOICE)[2]
    assert "nothing to open" in tab.open_last(request("bob"), *CHOICE)[1]["value"]
    assert "kept for eve" in tab.open_last(request("eve"), *CHOICE)[1]["value"]


def test_an_edit_is_recorded_before_and_after() -> None:
    runs = Runs()
    made = Edit(*loaded(StandIn()), runs, draw=edit)
    explore = Explore(runs)
    with gr.Blocks():
        made.build()
        explore.build()
    values = list(
        {
            **{path: part.value for path, part in made.panel.fields.items()},
            "edit.edits": "red -> green",
        }.values()
    )
    asked = [None, "direct", "", 6, 1, 7.5, 64, 64, *values, None]
    *_, last = made.run_edit("me", *[0] * len(made.out_of_date.counts), "a red circle", *asked)
    assert last[made.explore]["visible"]
    name = last[made.worker.run]
    names, (before, after) = explore._views([Source(name, 0), Source(name, 1)], CHOICE)
    assert names == ["source", "target 1: red -> green"]
    assert [item.key.step for item in before.features.all(block="M00")] == [0, 1, 3, 5]
    assert (before.meta.prompt, after.meta.prompt) == ("a red circle", "a green circle")
    assert before.picture == last[made.pictures][0][0]
    assert after.picture == last[made.pictures][1][0]
    assert explore.show([Source(name, 0), Source(name, 1)], *CHOICE)[1]["visible"] is False


def test_recording_an_edit_changes_no_byte_of_it() -> None:
    asked = ("a red circle", EditSettings(enabled=True, edits="red -> green"))
    plain = edit(StandIn(), *asked, steps=4, size=(64, 64))
    seen = edit(StandIn(), *asked, steps=4, size=(64, 64), record=RECORD)
    assert plain.trace is None
    assert [picture.tobytes() for picture in seen.pictures] == [
        picture.tobytes() for picture in plain.pictures
    ]
    with pytest.raises(ValueError, match="was not recorded"):
        plain.run(0)
    assert seen.run(1).picture is seen.pictures[1]


def test_a_pipelines_edit_is_recorded_within_its_budget(tiny_pipe: Any) -> None:
    from lib_unet_viz.hosts.diffusers.edit import edit as edit_pipe
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    model, asked = Pipeline(tiny_pipe, "tiny"), EditSettings(enabled=True, edits="red -> green")
    run: dict[str, Any] = {"steps": 2, "size": (64, 64)}
    settings = replace(worth_recording(model), budget_mb=500)
    plain = edit_pipe(model, "a red circle", asked, **run)
    seen = edit_pipe(model, "a red circle", asked, record=settings, **run)
    assert [each.tobytes() for each in seen.pictures] == [each.tobytes() for each in plain.pictures]
    before, after = seen.run(0), seen.run(1)
    assert (before.meta.prompt, after.meta.prompt) == ("a red circle", "a green circle")
    assert len(before.features) == len(after.features) > 0
    assert (before.features[-1].numpy() != after.features[-1].numpy()).any()
    small = edit_pipe(model, "a red circle", asked, record=replace(settings, budget_mb=0), **run)
    assert small.trace is not None
    assert "more than the budget" in small.trace.notes[0]
    assert small.pictures[1].tobytes() == plain.pictures[1].tobytes()
