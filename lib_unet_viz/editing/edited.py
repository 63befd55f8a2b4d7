"""What an edit made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from PIL import Image
from torch import Tensor

from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.trace import Selection, Trace


@dataclass(frozen=True)
class Edited:
    """The pictures of an edit, the source first; masks as `Editing.masks`, by number of the picture.

    latents: (picture, channel, y, x) after the last step, where the host knows them. notes: what the person
    who asked should read. errors: of an uploaded picture's inversion, by name. trace: of all pictures' runs,
    by image, where they were recorded.
    """

    request: Request
    plan: Plan
    pictures: Sequence[Image.Image]
    masks: Mapping[int, Sequence[tuple[int, Tensor]]]
    latents: Tensor | None = None
    notes: Sequence[str] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    trace: Trace | None = None

    def run(self, number: int) -> Trace:
        """What was recorded of one picture's run, with its picture; the source's number is 0.

        Attention is what the run's own prompt asked for, before the edit put the source's in its place.
        Raises ValueError where nothing was recorded.
        """
        if self.trace is None:
            raise ValueError("this edit was not recorded")
        return replace(self.trace.view(Selection(number)), picture=self.pictures[number])
