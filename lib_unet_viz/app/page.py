"""The page as a whole: a title, the tabs, and how it is started."""

from __future__ import annotations

import ctypes
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from html import escape
from threading import Lock
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
import torch
from gradio.blocks import Block
from PIL import Image
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from lib_unet_viz.app.edit_tab import Edit
from lib_unet_viz.app.facts import BUNDLED, Facts
from lib_unet_viz.app.txt2img import Txt2Img
from lib_unet_viz.demo.things import scenes
from lib_unet_viz.demo.things.captions import caption
from lib_unet_viz.drawing.pictures import MOST_BYTES
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui.explore_tab import EXPLORE, MOST_DUMP, Explore
from lib_unet_viz.ui.runs import KEPT, Runs
from lib_unet_viz.ui.style import CSS, theme
from lib_unet_viz.ui.vxa_tab import VXA

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

TITLE = "U-Net Viz"
LINE = (
    "See what happens inside a diffusion U-Net: which part of the picture each word drove, "
    "and what every block held at every step."
)
HOST = "127.0.0.1"
LOOPBACK = (HOST, "localhost")
MOST_UPLOAD = max(MOST_BYTES, MOST_DUMP)  # bytes
EXAMPLES = (
    ("wearing", "rabbit", "hat"),
    ("and", "hat", "glasses"),
    ("eating", "bear", "apple"),
    ("right of", "cat", "tree"),
)
M_ARENA_MAX = -8  # glibc's malloc.h


def build(pipeline: Pipeline, *, edit: Callable[..., Edited] = edit, kept: int = KEPT) -> Any:
    """The page, a gr.Blocks, for a loaded model; start it with `launch`, or with its own `launch` method.

    edit: how the model edits a picture. kept: bytes of finished runs that it remembers.
    """
    return build_for(lambda: pipeline, Facts.of(pipeline), edit=edit, kept=kept)


def build_for(
    model: Callable[[], Pipeline], facts: Facts, *, edit: Callable[..., Edited] = edit, kept: int = KEPT
) -> Any:
    """As `build`, for a model that need not be there yet: `model` waits for it. facts: of that model."""
    _remember_once()
    runs = Runs(kept)
    style = ui.known(gr.Blocks, **_looks())
    cache = ui.known(gr.Blocks, delete_cache=(3600, 3600))
    with gr.Blocks(title=TITLE, analytics_enabled=False, **style, **cache) as blocks:
        gr.HTML(_title(facts), elem_classes=["uv-title"])
        with gr.Tabs() as tabs:
            with gr.Tab("txt2img", id="txt2img"):
                txt2img = Txt2Img(model, facts, runs)
                txt2img.build()
            with gr.Tab("Edit", id="edit"):
                edited = Edit(model, facts, runs, draw=edit)
                edited.build()
            with gr.Tab("VXA", id="vxa"):
                VXA(model, runs, examples=_examples(), offered=(facts.layers, facts.timesteps)).build()
            with gr.Tab("Explore", id=EXPLORE):
                explore = Explore(runs)
                explore.build()
        explore.open_by(explore.last, txt2img.worker.run, tabs)
        explore.open_by(txt2img.explore, txt2img.worker.run, tabs)
        compare = txt2img.compare
        explore.open_by(compare.explore, compare.both, tabs, images=(0, 1))
        explore.open_by(edited.explore, edited.worker.run, tabs, images=(0, 1))
        txt2img.load(blocks)
    blocks.queue()
    return blocks


def launch(
    model: str | None = None, host: str | None = None, port: int | None = None, *, browser: bool = False
) -> None:
    """Load a model (None: the bundled one) and serve the page until interrupted.

    The page of the bundled model is there before the model, which takes as long to load. host, port: as of
    `serve`. browser: open the page. Raises LoadError where the model cannot be loaded, UnsupportedModelError
    where it has no U-Net.
    """
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    if model is None:
        # So small a model is slower with more: each run has a thread of its own, and OpenMP (libgomp) lets
        # the helpers of all but the first such thread sleep after every operation.
        torch.set_num_threads(1)
        load = _once(Pipeline.load)
        blocks = build_for(load, BUNDLED)
        ThreadPoolExecutor(1).submit(load)  # while the server starts; what goes wrong is said to who asks
        serve(blocks, host=host, port=port, browser=browser)
    else:
        serve(build(Pipeline.load(model)), host=host, port=port, browser=browser)


def _once(load: Callable[[], Pipeline]) -> Callable[[], Pipeline]:
    """What it loads, the same for all who ask; they wait for the first of them."""
    alone = Lock()
    found: list[Pipeline] = []

    def loaded() -> Pipeline:
        with alone:
            if not found:
                found.append(load())
        return found[0]

    return loaded


def serve(blocks: Any, *, host: str | None = None, port: int | None = None, browser: bool = False) -> None:
    """Serve a page that `build` made, until interrupted.

    host: None serves this machine alone, and refuses requests whose Host header names another one: so does a
    web site whose name is made to point here (DNS rebinding). port: None takes the first free one from 7860.
    """
    _few_arenas()
    start = blocks.launch
    guards = [] if host else [Middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK, www_redirect=False)]
    options: dict[str, Any] = {"share": False, "show_error": True, "app_kwargs": {"middleware": guards}}
    options |= ui.known(start, **_looks(), max_file_size=MOST_UPLOAD, ssr_mode=False, footer_links=[])
    options |= ui.known(start, show_api=False, show_tips=False)
    start(server_name=host or HOST, server_port=port, inbrowser=browser, **options)


def _few_arenas() -> None:
    """Let glibc hand out memory from two arenas (mallopt(3), M_ARENA_MAX), not from up to eight a core.

    Each holds on to what was freed in it, and every run has a thread of its own: the server grew for as long
    as it ran. Runs wait for each other, so their threads hardly ever wait for an arena.
    """
    if sys.platform.startswith("linux") and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(M_ARENA_MAX, 2)


@cache
def _remember_once() -> None:
    """Let gradio remember each component of a visit once.

    What an update changes gets a new number in gradio 6, under which the visit remembers it beside the first
    one as soon as its value is used (gradio/blocks.py, `postprocess_data`): the server grew with each click.
    """
    try:
        from gradio import state_holder
    except ImportError:  # gradio 3 remembers no components
        return

    class Visit(state_holder.SessionState):
        def __setitem__(self, key: int, value: Any) -> None:
            if isinstance(value, Block):
                value._id = key
            super().__setitem__(key, value)

    state_holder.SessionState = Visit  # type: ignore[misc]


def _examples() -> list[tuple[Image.Image, str]]:
    """Drawn scenes with their captions."""
    found = []
    for seed, (relation, *names) in enumerate(EXAMPLES):
        rng = np.random.default_rng(seed)
        scene = scenes.draw_scene(rng, relation=relation, names=names)
        found.append((Image.fromarray(scene.picture), caption(scene, rng, plainly=True)))
    return found


def _looks() -> dict[str, Any]:
    """Asked for by gr.Blocks up to gradio 5, by its launch since 6."""
    return {"css": CSS, "theme": theme()}


def _title(facts: Facts) -> str:
    side = facts.native_size
    model = f"Model: {facts.name} · {len(facts.blocks)} blocks · trained on {side} × {side} pixels"
    return f'<h1>{TITLE}</h1><p>{LINE}</p><p class="uv-model">{escape(model)}</p>'
