"""The page's tab on editing: the source is made of its prompt, or is a picture of one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.ui.edit_tab import EXAMPLES, EditTab, inversions
from lib_unet_viz.ui.parts import given, upload
from lib_unet_viz.ui.run_controls import RunControls, RunOptions
from lib_unet_viz.ui.runs import Runs

if TYPE_CHECKING:
    from lib_unet_viz.app.facts import Facts
    from lib_unet_viz.editing.edited import Edited
    from lib_unet_viz.editing.hooks import Plan
    from lib_unet_viz.editing.plan import Request
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline


class Edit(EditTab):
    """Components and handlers of the tab.

    model: gives the model, and waits for it where it is being loaded; facts: of it. draw:
    `diffusers_edit.edit` for it.
    """

    examples = EXAMPLES

    def __init__(
        self,
        model: Callable[[], Pipeline],
        facts: Facts,
        runs: Runs,
        *,
        draw: Callable[..., Edited],
    ) -> None:
        super().__init__(model, runs, draw=draw)
        self.facts = facts

    def _build_first(self) -> None:
        pass  # the prompt is first

    def _build_run_settings(self) -> list[Any]:
        with gr.Accordion("A picture of yours", open=False):
            self.uploaded, inversion = upload("Picture, of any size", "edit-upload"), inversions()
        with gr.Accordion("Picture", open=True):
            controls = RunControls(self.facts.native_size, name="edit-")
        return [self.uploaded, inversion, *controls.components]

    def _run_of(self, *values: Any) -> dict[str, Any]:
        uploaded, inversion, *others = values
        picture = given(uploaded)
        own = {} if picture is None else {"picture": picture, "inversion": inversion}
        return RunOptions.of(*others).arguments | own

    def _record(self, run: Mapping[str, Any]) -> Settings | None:
        """Four steps: two runs at once take twice the memory, and a workspace has room for few."""
        if "picture" in run:
            return None
        last = int(run["steps"])
        steps = ",".join(
            str(step) for step in dict.fromkeys([1, max(1, last // 3), max(1, 2 * last // 3), last])
        )
        usual = self.facts.recorded
        return replace(
            usual,
            features=replace(usual.features, steps=steps),
            attention=replace(usual.attention, steps=steps),
        )

    def _planned(self, prompt: str, settings: EditSettings) -> tuple[Request, Plan]:
        from lib_unet_viz.editing.plan import Request

        request = Request.of(prompt, settings)
        return request, request.plan(self.model().tokens)
