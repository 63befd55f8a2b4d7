"""The VXA tab where models come and go, as in a webui; and what requests to our routes may hold."""

from __future__ import annotations

import base64
import gc
import io
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

gr = pytest.importorskip("gradio")

import torch  # noqa: E402
from PIL import Image  # noqa: E402
from standin import StandIn, TinyUNet  # noqa: E402
from visit import Visit  # noqa: E402

from lib_unet_viz.drawing import pictures  # noqa: E402
from lib_unet_viz.drawing.look import ALL_LAYERS, MODES, NEAR_LAYERS, block_spec  # noqa: E402
from lib_unet_viz.extension import schemas  # noqa: E402
from lib_unet_viz.maps import vxa  # noqa: E402
from lib_unet_viz.sampling.schedule import Schedule  # noqa: E402
from lib_unet_viz.ui.runs import Runs  # noqa: E402
from lib_unet_viz.ui.style import PARTS_CSS  # noqa: E402
from lib_unet_viz.ui.vxa_tab import VXA  # noqa: E402
from lib_unet_viz.unet import UNet  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


class Webui:
    """A host whose model is loaded late and may be replaced; `held` while it works."""

    def __init__(self) -> None:
        self.model: StandIn | None = None
        self.held, self.uses, self.runs = False, 0, 0

    def loaded(self) -> Any:
        if self.model is None:
            raise ValueError("No checkpoint is loaded yet")
        return self.model

    @contextmanager
    def alone(self, runs: int) -> Iterator[None]:
        self.held, self.uses, self.runs = True, self.uses + 1, runs
        yield
        self.held = False


class Shallow(StandIn):
    """Another checkpoint: its first input blocks have no attention, and its schedule is shorter."""

    schedule = Schedule(torch.linspace(0.999, 0.005, 100))

    def __init__(self) -> None:
        super().__init__()
        module: Any = TinyUNet().requires_grad_(False)
        for part in module.input_blocks:
            part.transformer = None
        self.module, self.unet = module, UNet.of(module)


@pytest.fixture
def webui() -> Webui:
    return Webui()


@pytest.fixture
def tab(webui: Webui) -> VXA:
    made = VXA(webui.loaded, Runs(), alone=webui.alone)
    with gr.Blocks(analytics_enabled=False):
        made.build()
    return made


def look(tab: VXA, layers: list[str]) -> tuple[Any, str, str]:
    picture = Image.effect_noise((96, 128), 90)
    asked = ("1", "", "informed", False, MODES[0])
    *_, last = tab.visualize("me", picture, "hat, neck", layers, "50", 0, *asked, 0)
    return last.get(tab.result), last[tab.status], last.get(tab.worker.run, "")


def test_the_tab_is_there_before_a_model_is(tab: VXA) -> None:
    choices = [choice if isinstance(choice, str) else choice[0] for choice in tab.layer.choices]
    assert choices == [ALL_LAYERS, NEAR_LAYERS]  # gradio 3 holds texts, later ones pairs
    assert "No checkpoint is loaded yet" in look(tab, [ALL_LAYERS])[1]
    update, indices = tab.tokenise("hat, neck", [])
    assert (update["choices"], indices) == ([], "")
    assert "No checkpoint is loaded yet" in tab.type_indices("1", "hat, neck", [])[1]["value"]


def test_layers_and_timesteps_follow_the_model(webui: Webui, tab: VXA) -> None:
    webui.model = StandIn()
    tokens, layers, timesteps = tab.refresh("hat, neck", ["1 hat"], ["IN01"])
    assert tokens["choices"] == ["1 hat", "2 ,", "3 neck"]
    assert "IN01" in layers["choices"]
    assert layers["value"] == ["IN01"]
    assert timesteps["placeholder"] == "150, 250, 350"
    webui.model = Shallow()
    _, layers, timesteps = tab.refresh("hat, neck", ["1 hat"], ["IN01"])
    assert "IN01" not in layers["choices"]
    assert layers["value"] == [ALL_LAYERS]
    assert timesteps["placeholder"] == "15, 25, 35"


def test_a_layer_that_the_new_model_lacks_is_named(webui: Webui, tab: VXA) -> None:
    webui.model = StandIn()
    first = look(tab, ["IN01"])
    assert "1 layer" in first[1]
    webui.model = Shallow()
    said = look(tab, ["IN01"])[1]
    assert "no layer" in said
    assert "OUT00" in said
    assert look(tab, [ALL_LAYERS])[0].tobytes() != first[0].tobytes()


def test_the_model_works_alone(webui: Webui, tab: VXA) -> None:
    class Watched(StandIn):
        def __call__(self, *args: Any) -> Any:
            assert webui.held
            return super().__call__(*args)

    webui.model = Watched()
    look(tab, [ALL_LAYERS])
    assert (webui.uses, webui.runs) == (1, vxa.DRAWS)
    assert not webui.held


def test_other_words_are_asked_of_the_model_that_looked_and_alone(webui: Webui, tab: VXA) -> None:
    webui.model = StandIn()
    own, _, name = look(tab, [ALL_LAYERS])
    asked: list[Any] = [name, "hat, neck", "", "a sky", "informed", False, MODES[0]]
    other, line = tab.redraw(*asked)
    assert "a sky" in line
    assert webui.uses == 2
    assert other.tobytes() != own.tobytes()
    webui.model = Shallow()
    webui.model.name = "another"
    assert "but another is loaded" in tab.redraw(*asked)[1]


def test_the_heats_colours_stand_under_heat_only(webui: Webui) -> None:
    tab = VXA(webui.loaded, Runs(), alone=webui.alone)
    with gr.Blocks(analytics_enabled=False) as blocks:
        tab.build()
    visit = Visit(blocks)
    assert visit[tab.heat_bar] is not None
    for mode in MODES:
        visit.change(tab.mode, mode)
        assert (visit[tab.heat_bar] is not None) == (mode == "heat overlay")


def test_a_block_spec_of_several_layers() -> None:
    choices = {"all": "", "16 x 16": "M00", "IN01": "IN01", "OUT00.1": "OUT00.1"}
    assert block_spec(choices, ["IN01", "OUT00.1"]) == "IN01,OUT00.1"
    assert block_spec(choices, ["IN01", "all"]) == ""


def test_the_webuis_pieces_need_no_demo_and_no_diffusers() -> None:
    code = (
        "import sys, lib_unet_viz.ui.vxa_tab, lib_unet_viz.ui.style\n"
        "heavy = ('lib_unet_viz.demo', 'diffusers', 'transformers')\n"
        "print([name for name in sys.modules if name.startswith(heavy)])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_style_reaches_nothing_of_the_page_around() -> None:
    """A webui's page has many elements; ours have classes of their own, and ids that begin with our names."""
    selectors = re.findall(r"([^{}]+)\{", PARTS_CSS)
    assert len(selectors) > 10
    for selector in (part.strip() for text in selectors for part in text.split(",")):
        assert re.match(r"(\.dark )?(\.uv-|#vxa-|#edit-)", selector), selector


def encoded(picture: Image.Image) -> str:
    return schemas.png(picture)


@pytest.mark.parametrize("prefix", ["", "data:image/png;base64,"])
def test_a_picture_in_base64(prefix: str) -> None:
    picture = Image.effect_noise((20, 10), 80).convert("RGB")
    assert np.array_equal(np.asarray(schemas.picture(prefix + encoded(picture))), np.asarray(picture))


@pytest.mark.parametrize("text", ["", "%%%", base64.b64encode(b"no picture").decode()])
def test_what_is_no_picture(text: str) -> None:
    with pytest.raises(ValueError, match="no picture"):
        schemas.picture(text)


def test_a_picture_cut_short() -> None:
    file = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(file, "PNG")
    with pytest.raises(ValueError, match="broken"):
        schemas.picture(base64.b64encode(file.getvalue()[:2000]).decode())


def test_a_picture_that_is_too_large_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "MOST_PIXELS", 99)
    with pytest.raises(ValueError, match="20 x 10 pixels; allowed: "):
        schemas.picture(encoded(Image.new("RGB", (20, 10))))


def test_requests_name_what_they_do_not_know() -> None:
    pydantic = pytest.importorskip("pydantic")
    with pytest.raises(pydantic.ValidationError, match="word"):
        schemas.VXARequest(image="", prompt="hat", word="hat")  # type: ignore[call-arg]
    request = schemas.VXARequest(image="", prompt="hat")
    assert (request.timestep, request.draws, request.method) == (None, vxa.DRAWS, "guided")
    several: Any = [150, 350]
    assert schemas.VXARequest(image="", prompt="hat", timestep=several).timestep == several
    assert schemas.VXARequest(image="", prompt="hat", timestep=0).timestep == 0
