"""What an edit made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from PIL import Image
from torch import Tensor

from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.plan import Request


@dataclass(frozen=True)
class Edited:
    """The pictures of an edit, the source first; masks as `Editing.masks`, by number of the picture.

    latents: (picture, channel, y, x) after the last step, where the host knows them. notes: what the person
    who asked should read. errors: of an uploaded picture's inversion, by name.
    """

    request: Request
    plan: Plan
    pictures: Sequence[Image.Image]
    masks: Mapping[int, Sequence[tuple[int, Tensor]]]
    latents: Tensor | None = None
    notes: Sequence[str] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
