"""The tab where a picture of one's own is edited, in a webui: models come and go there."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.sampling.inversion import CFG, STEPS
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.ui.edit_tab import EditTab, inversions
from lib_unet_viz.ui.parts import given, upload
from lib_unet_viz.ui.runs import Runs

if TYPE_CHECKING:
    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.editing.hooks import Plan
    from lib_unet_viz.editing.plan import Request

EMPTY = """
<div class="uv-empty"><p>Give a picture, write what it shows and what to change in that, and press Edit. Here
will be</p><ul>
<li>the picture as the model reconstructs it and each target, with what differs between them,</li>
<li>the mask of each step: where the picture may change, elsewhere it stays the source's,</li>
<li>after a sweep, the target with the source's attention in none to all of the steps and blocks.</li>
</ul></div>
"""


class EditUploaded(EditTab):
    """Components and handlers of the tab.

    model, alone: as of `EditTab`. draw(model, prompt, settings, picture=, ...), planned(model, prompt,
    settings): as in `hosts.webui.uploaded`.
    """

    label, wanted, empty = "Source prompt: what the picture shows", "what the picture shows", EMPTY

    def __init__(
        self,
        model: Callable[[], Any],
        runs: Runs,
        *,
        draw: Callable[..., Edited],
        planned: Callable[[Any, str, EditSettings], tuple[Request, Plan]],
        alone: Callable[[], AbstractContextManager[Any]],
    ) -> None:
        super().__init__(model, runs, draw=draw, alone=alone)
        self._plan = planned

    def _build_first(self) -> None:
        with gr.Column(scale=4, min_width=280):
            self.uploaded = upload("Picture, of any size", "edit-upload")

    def _build_run_settings(self) -> list[Any]:
        with gr.Accordion("Picture", open=True):
            negative = gr.Textbox("", label="Negative prompt", lines=1, max_lines=4)
            steps = gr.Slider(1, 150, value=STEPS, step=1, label="Steps", elem_id="edit-steps")
            cfg = gr.Slider(1, 20, value=CFG, step=0.5, label="CFG scale")
            return [self.uploaded, inversions(), negative, steps, cfg]

    def _run_of(self, *values: Any) -> dict[str, Any]:
        uploaded, inversion, negative, steps, cfg = values
        picture = given(uploaded)
        if picture is None:
            raise ValueError("There is no picture. Drop or paste one.")
        run = {"picture": picture, "inversion": inversion, "negative": negative}
        return {**run, "steps": int(steps), "cfg": float(cfg)}

    def _planned(self, prompt: str, settings: EditSettings) -> tuple[Request, Plan]:
        return self._plan(self.model(), prompt, settings)
