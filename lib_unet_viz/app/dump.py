"""The page's dump of a run: all recorded numbers in one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import heading, shown

if TYPE_CHECKING:
    from lib_unet_viz.ui.runs import Runs
    from lib_unet_viz.ui.working import Updates


class DumpSection:
    """Components and handler."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs

    def build(self) -> None:
        """Make the components, hidden."""
        with gr.Column(visible=False) as self.body:
            heading("Dump", "All recorded numbers in one file, to look at again without the model.")
            self.problem = gr.HTML(visible=False, elem_id="dump-problem")
            self.save = gr.Button("Write the dump", elem_id="write-dump")
            self.file = gr.File(label="Dump (.safetensors)", interactive=False, visible=False, elem_id="dump")

    @property
    def outputs(self) -> list[Any]:
        """What `emptied` and `filled` update."""
        return [self.body, self.file, self.problem]

    def connect(self, run: Any) -> None:
        """run: holds the run's id."""
        self.save.click(self.write, [run], [self.file, self.problem])

    def emptied(self) -> Updates:
        """Updates for the time of a run."""
        return {part: shown(False) for part in self.outputs}

    def filled(self) -> Updates:
        """Updates after a run."""
        return {self.body: shown(True)}

    def write(self, name: str) -> tuple[Any, Any]:
        """Write the run's dump into the server's temporary folder and offer it, or say why not."""
        try:
            trace = self.runs.trace(name)
            path = save_trace(trace, self.runs.folder / name / f"unet-viz-seed-{trace.meta.seed or 0}")
        except (ValueError, OSError) as error:
            return shown(False), gr.update(value=readout.problem(error), visible=True)
        return gr.update(value=str(path), visible=True), shown(False)
