"""The webui's VXA tab, and the buttons that send a picture of a gallery to it.

What a look needs is imported for the first one, so that the webui starts sooner.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import gradio as gr
from modules import call_queue, images, infotext_utils, script_callbacks, sd_models, shared
from modules.ui_components import ToolButton
from PIL import Image

from lib_unet_viz.hosts.webui.loaded import NoModelError
from lib_unet_viz.ui.runs import Runs
from lib_unet_viz.ui.style import PARTS_CSS
from lib_unet_viz.ui.vxa_tab import VXA

TITLE, NAME = "VXA", "unet_viz_vxa"
JOB = "unet-viz-vxa"
GALLERIES = ("txt2img", "img2img")
SYMBOL = "\N{RIGHT-POINTING MAGNIFYING GLASS}"
# As the webui's own save buttons learn which picture is selected (ui_common.py, create_output_panel).
SELECTED = "(items, info, index) => [items, info, selected_gallery_index()]"


def register() -> None:
    """Let the webui show the tab and the buttons; to be called while it loads its scripts."""
    tab = Tab()
    script_callbacks.on_ui_tabs(lambda: [(tab.build(), TITLE, NAME)])
    script_callbacks.on_after_component(tab.after_component)


class Tab:
    """The tab's components, and what the webui's page must have to send pictures to it."""

    def __init__(self) -> None:
        self.vxa: VXA | None = None
        self._there: dict[str, Any] = {}

    def build(self) -> Any:
        """The tab, a gr.Blocks. No model is waited for: its layers are offered once it is loaded."""
        self.vxa = VXA(present, Runs(), alone=alone)
        with gr.Blocks(analytics_enabled=False) as blocks:
            gr.HTML(f"<style>{PARTS_CSS}</style>")
            self.vxa.build()
            self.index = gr.Number(0, visible=False)  # a place for the selected picture's index
            self.vxa.layer.focus(**self._refresh())  # the checkpoint can be changed while the tab is open
        return blocks

    def after_component(self, component: Any, **_: Any) -> None:
        """Remember what is needed of the page while it is made, and add to it."""
        name = getattr(component, "elem_id", None)
        for gallery in GALLERIES:
            if name in (f"{gallery}_gallery", f"generation_info_{gallery}"):
                self._there[name] = component
            elif name == f"{gallery}_send_to_extras" and TITLE not in shared.opts.hidden_tabs:
                tip = "Send image and prompt to the VXA tab."
                self._there[gallery] = ToolButton(SYMBOL, elem_id=f"{gallery}_send_to_vxa", tooltip=tip)
        if name == f"tab_{NAME}":
            self._there["tab"] = component
        elif name == "footer":  # the last part of the page, when all tabs are complete
            self._connect()

    def _connect(self) -> None:
        """Connect the tab with the galleries; there is none where the Settings hide it."""
        item = self._there.get("tab")
        if self.vxa is None or item is None:
            return
        item.select(**self._refresh())
        for gallery in [gallery for gallery in GALLERIES if gallery in self._there]:
            shown = [self._there[f"{gallery}_gallery"], self._there[f"generation_info_{gallery}"]]
            filled = [self.vxa.image, self.vxa.prompt, item.parent]
            self._there[gallery].click(
                send, [*shown, self.index], filled, _js=SELECTED, show_progress="hidden"
            )

    def _refresh(self) -> dict[str, Any]:
        """An event that says anew what the model that is loaded now offers."""
        if self.vxa is None:
            return {}
        vxa = self.vxa
        return {
            "fn": vxa.refresh,
            "inputs": [vxa.prompt, vxa.tokens, vxa.layer],
            "outputs": [vxa.tokens, vxa.layer, vxa.timesteps],
            "queue": False,
            "show_progress": "hidden",
        }


def send(items: Sequence[Any] | None, info: str, index: float) -> tuple[Any, Any, Any]:
    """The selected picture of a gallery (else its first), its prompt, and the tab opened.

    info: what the webui knows of the gallery's pictures, as JSON.
    """
    if not items:
        return gr.update(), gr.update(), gr.update()
    chosen = int(index) if 0 <= index < len(items) else 0
    picture = infotext_utils.image_from_url_text(items[chosen])
    return picture, prompt_of(info, chosen, picture), gr.update(selected=NAME)


def prompt_of(info: str, index: int, picture: Image.Image) -> str:
    """The prompt of a gallery's picture, from its infotext or else from the picture's own; may be empty."""
    try:
        text = json.loads(info)["infotexts"][index]
    except (ValueError, LookupError, TypeError):
        text = images.read_info_from_image(picture)[0] or ""
    return str(infotext_utils.parse_generation_parameters(text).get("Prompt", "")) if text else ""


def present() -> Any:
    """The checkpoint that is loaded now. Raises NoModelError where there is none."""
    if sd_models.model_data.sd_model is None:
        raise NoModelError
    from lib_unet_viz.hosts.webui.model import loaded

    return loaded()


@contextmanager
def alone(runs: int, *, job: str = JOB) -> Iterator[None]:
    """In the webui's queue, as a job of so many steps, which its progress and its Interrupt know."""
    from lib_unet_viz.hosts.webui.model import ready

    with call_queue.queue_lock:
        shared.state.begin(job=job)
        shared.state.job_count, shared.state.sampling_steps = 1, runs
        try:
            ready()
            yield
        finally:
            shared.state.end()
