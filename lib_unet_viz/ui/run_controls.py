"""What a run needs besides its prompt, as components: negative prompt, steps, guidance, size, seed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_unet_viz.ui.parts import chosen_seed

STEPS, CFG, SEED = 30, 5.0, 0  # with which the bundled model draws all examples of the page right


@dataclass(frozen=True)
class RunOptions:
    """What a run is asked for besides its prompt; size: (height, width)."""

    negative: str
    steps: int
    seed: int
    cfg: float
    size: tuple[int, int]

    @classmethod
    def of(
        cls, negative: str, steps: float, seed: float | None, cfg: float, width: float, height: float
    ) -> RunOptions:
        """What the components' values say. Raises ValueError for a seed that is none."""
        return cls(negative, int(steps), chosen_seed(seed), float(cfg), (int(height), int(width)))

    @property
    def arguments(self) -> dict[str, Any]:
        """By name, as a pipeline wants them."""
        return dict(vars(self))


class RunControls:
    """The components, made where this is called.

    native: the side in pixels that the model was trained on; name: before ids, where a page has them twice.
    """

    def __init__(self, native: int, *, name: str = "") -> None:
        sides: dict[str, Any] = {
            "step": 64 if native >= 512 else 8,
            "minimum": max(64, native // 4),
            "maximum": 2 * native,
        }
        self.negative = gr.Textbox("", label="Negative prompt", lines=1, max_lines=4)
        self.steps = gr.Slider(1, 100, value=STEPS, step=1, label="Steps")
        self.cfg = gr.Slider(1, 20, value=CFG, step=0.5, label="CFG scale")
        self.width = gr.Slider(value=native, label="Width", **sides)
        self.height = gr.Slider(value=native, label="Height", **sides)
        self.seed = gr.Number(
            SEED, label="Seed", info="-1: a new one each time", precision=0, elem_id=f"{name}seed"
        )

    @property
    def components(self) -> list[Any]:
        """In the order in which `RunOptions.of` wants their values."""
        return [self.negative, self.steps, self.seed, self.cfg, self.width, self.height]
