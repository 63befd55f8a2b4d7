"""Runs belong to whoever asked for them: several visitors of one page, which really runs, by HTTP."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio")
client = pytest.importorskip("gradio_client")

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from standin import StandIn, edit  # noqa: E402

from lib_unet_viz.app.page import build  # noqa: E402
from lib_unet_viz.capture.dump import load_trace  # noqa: E402
from lib_unet_viz.trace import FeatureMap, FeatureMaps, Key, Trace  # noqa: E402
from lib_unet_viz.ui.runs import MAP, GoneError, Run, Runs  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore")
VISITORS, STEPS = 8, 4


class Paused(StandIn):
    """Its runs wait, at the first step, while `going` is not set."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.going = threading.Event(), threading.Event()
        self.going.set()

    def generate(self, prompt: str, **options: Any) -> Trace:
        told = options.pop("progress", None)

        def progress(*seen: Any) -> None:
            self.begun.set()
            assert self.going.wait(60)
            if told is not None:
                told(*seen)

        return super().generate(prompt, progress=progress, **options)


@pytest.fixture(scope="module")
def model() -> Paused:
    return Paused()


@pytest.fixture(scope="module")
def page(model: Paused) -> Iterator[Any]:
    pytest.importorskip("gradio_client", minversion="1.0", reason="gradio 3 names no functions for clients")
    page = build(model, edit=edit)  # type: ignore[arg-type]
    page.launch(server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    yield page
    page.close()


@pytest.fixture
def address(page: Any) -> str:
    url: str = page.local_url
    return url


def visitor(address: str) -> Any:
    return client.Client(address, verbose=False, httpx_kwargs={"timeout": 120})


def generate(who: Any, prompt: str, seed: int, *, start: str = "generate") -> str:
    """What the page says of a run."""
    found: str = who.predict(prompt, "", STEPS, seed, api_name=f"/{start}")[0]
    return found


def cancel(who: Any) -> None:
    """Press every button of that name."""
    for name in ("/cancel", "/cancel_1", "/cancel_2", "/cancel_3"):
        who.predict(api_name=name)


def dump(who: Any) -> Any:
    """The file that the page offers for the run it shows; else what is said instead."""
    file, problem = who.predict(api_name="/write")
    return load_trace(file["value"]) if file["visible"] else problem["value"]


@pytest.mark.heavy
def test_sixteen_dumps_of_eight_visitors_are_all_there(address: str) -> None:
    visitors = [visitor(address) for _ in range(VISITORS)]

    def visit(number: int) -> list[tuple[int, Any]]:
        who, found = visitors[number], []
        for seed in (number, 100 + number):
            assert f"Done. Seed {seed} " in generate(who, f"a red circle {number}", seed)
            found.append((seed, dump(who)))
        return found

    with ThreadPoolExecutor(VISITORS) as pool:
        dumps = list(pool.map(visit, range(VISITORS)))
    assert sum(map(len, dumps)) == 2 * VISITORS
    for number, made in enumerate(dumps):
        for seed, trace in made:
            assert (trace.meta["prompt"], trace.meta["seed"]) == (f"a red circle {number}", seed)


@pytest.mark.heavy
def test_what_another_visitor_gets_wrong_or_cancels_changes_nothing(address: str, model: Paused) -> None:
    first, second = visitor(address), visitor(address)
    model.begun.clear()
    model.going.clear()
    try:
        job = first.submit("a blue square", "", STEPS, 7, api_name="/generate")
        assert model.begun.wait(60)
        for _ in range(3):
            assert "prompt is empty" in generate(second, " ", 1, start="generate_1")
            cancel(second)
    finally:
        model.going.set()
    assert "Done. Seed 7 " in job.result(60)[0]
    for _ in range(2):
        assert "Seed -2" in generate(second, "a hat", -2)
    assert dump(first).meta["seed"] == 7
    assert "no longer in memory" in dump(second)  # it has none, and none of the other's


def test_a_visitor_cancels_an_own_run(address: str, model: Paused) -> None:
    who, other = visitor(address), visitor(address)
    model.begun.clear()
    model.going.clear()
    try:
        job = who.submit("a blue square", "", STEPS, 7, api_name="/generate")
        assert model.begun.wait(60)
        cancel(who)
    finally:
        model.going.set()
    assert "Cancelled" in job.result(60)[0]
    assert "Done. Seed 5 " in generate(other, "a hat", 5)


@pytest.mark.heavy
def test_the_same_clicks_again_make_the_server_remember_no_more(
    page: Any, address: str, tmp_path: Path
) -> None:
    Image.effect_noise((64, 64), 80).save(tmp_path / "photo.png")
    given = {
        "prompt": "a (~: M00: red :~) hat",
        "edit-prompt": "a red circle",
        "edits": "red -> blue",
        "vxa-prompt": "a red circle",
        "vxa-upload": client.handle_file(str(tmp_path / "photo.png")),
    }
    who = visitor(address)
    parts = {part["id"]: part for part in who.config["components"]}

    events: dict[
        str, Any
    ] = {}  # one of each handler, but for those to which a client cannot say where it clicked
    for event in who.config["dependencies"]:
        handler = re.sub(r"_\d+$", "", str(event["api_name"] or ""))
        if handler not in ("", "load_example") and all(what != "select" for _, what in event["targets"]):
            events.setdefault(handler, event)

    def press(name: str) -> str:
        """What an event says with what the components hold at first, or are given here."""
        asked = [parts[number] for number in events[name]["inputs"] if not parts[number].get("skip_api")]
        values = [given.get(part["props"].get("elem_id"), part["props"].get("value")) for part in asked]
        return str(who.predict(*values, fn_index=events[name]["id"]))

    for _ in range(2):
        for name in ("generate", "run_both", "run_edit", "visualize"):
            assert "uv-problem" not in press(name), name
        for name in events:
            press(name)
    session = page.state_holder.session_data[who.session_hash]
    assert session.blocks_config.blocks.keys() == page.blocks.keys()


# What is dropped.


def trace(nbytes: int) -> Trace:
    """One map, which takes so much with all that belongs to it."""
    item = FeatureMap(Key("M00", "features"), torch.zeros(nbytes - MAP, 1, 1, dtype=torch.uint8))
    return Trace(features=FeatureMaps([item]), picture=None)


def finished(runs: Runs, owner: str, nbytes: int = 10_000) -> Run:
    run = runs.start(owner)
    runs.end(run, trace(nbytes))
    return run


def there(runs: Runs, *asked: Run) -> list[bool]:
    found = []
    for run in asked:
        try:
            found.append(runs.trace(run.name) is run.trace)
        except GoneError:
            found.append(False)
    return found


def test_the_oldest_of_who_has_most_is_dropped() -> None:
    runs = Runs(kept=40_000)
    mine = finished(runs, "me")
    others = [finished(runs, "another") for _ in range(6)]
    assert there(runs, mine, *others) == [True, False, False, False, True, True, True]
    (large,) = [finished(runs, "third", 100_000)]  # the latest stays, however large
    assert there(runs, mine, large) == [False, True]


def test_what_runs_is_never_dropped_and_what_failed_never_counts() -> None:
    runs = Runs(kept=25_000)
    running = runs.start("me")
    kept = [finished(runs, "another") for _ in range(2)]
    for _ in range(50):
        runs.end(runs.start("another"))
    assert there(runs, *kept) == [True, True]
    finished(runs, "another")
    runs.cancel("none")
    assert not running.cancelled
    runs.cancel(running.name)
    assert running.cancelled
    runs.end(running, trace(10_000))
    assert there(runs, running) == [True]


def test_pictures_count_and_files_go_with_their_run() -> None:
    runs = Runs(kept=3 * 64 * 64)
    run = runs.start("me")
    runs.end(run, trace(3_000), [(Image.new("RGB", (64, 64)), "hat")])
    file = runs.folder / run.name / "dump"
    file.parent.mkdir()
    file.write_bytes(b"1")
    assert run.nbytes == 3_000 + 3 * 64 * 64
    finished(runs, "me", 3_000)
    assert not file.parent.exists()
    with pytest.raises(GoneError, match="keeps 0 MB"):
        runs.words(run.name)
