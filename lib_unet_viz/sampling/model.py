"""What a host gives of a loaded latent diffusion model: the one contract that everything asks for which
needs more of a model than its U-Net.

    with model.running(prompt):
        conditions, uncond = model.conditions([prompt], negative)
        noise = model(latents, timestep, conditions, (Row(0, "cond"),), (step, steps))

Looks into pictures (`maps.vxa`), other words (`maps.open_vocabulary`), inversion and edits of pictures of
one's own (`inversion`, `editing.uploaded`) are written once, against this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from lib_unet_viz.capture.request import Call, Calls, Row
from lib_unet_viz.sampling.schedule import Schedule
from lib_unet_viz.unet import UNet

SamplingStep = tuple[int, int]  # a sampling step from 0, and how many there are


class Interrupted(ValueError):  # noqa: N818 - a wish, not an error
    """The person asked to stop; a model raises it in place of its next run."""

    def __init__(self) -> None:
        super().__init__("Interrupted.")


@dataclass(frozen=True, eq=False)
class Conditions:
    """What a U-Net is told of texts, a row each.

    context: (row, token, channel), for cross-attention. vector: (row, channel), what SDXL adds to the time
    embedding; None in other models.
    """

    context: Tensor
    vector: Tensor | None = None

    def __len__(self) -> int:
        return len(self.context)

    def __getitem__(self, rows: slice) -> Conditions:
        return Conditions(self.context[rows], None if self.vector is None else self.vector[rows])


def joined(parts: Sequence[Conditions]) -> Conditions:
    """All rows, one after the other. Raises ValueError where contexts differ in their number of tokens."""
    lengths = sorted({part.context.shape[1] for part in parts})
    if len(lengths) > 1:
        raise ValueError(
            f"the prompts' contexts have {' and '.join(map(str, lengths))} tokens; to be sampled in one "
            "batch they must have equally many"
        )
    vectors = [part.vector for part in parts if part.vector is not None]
    return Conditions(torch.cat([part.context for part in parts]), torch.cat(vectors) if vectors else None)


class Denoiser(Protocol):
    """A U-Net that predicts noise."""

    @property
    def schedule(self) -> Schedule:
        """How much noise there is at each timestep that the model was trained with."""

    @property
    def differentiable(self) -> bool:
        """Whether gradients flow through it, which null-text inversion needs."""

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: SamplingStep | None,
    ) -> Tensor:
        """The predicted noise, float32 (row, channel, y, x); `ddim.noise_of` has it of what else U-Nets
        predict.

        place: None for a call that is no step of a sampling: hooks are to leave it alone. Raises Interrupted.
        """


class TextModel(Protocol):
    """A U-Net with the text encoders that it was trained with."""

    @property
    def unet(self) -> UNet: ...

    def tokens(self, prompt: str) -> list[str]:
        """The vocabulary's strings for a prompt, with BOS, EOS and padding: one for each of its context."""

    def conditions(
        self, prompts: Sequence[str], negative: str = "", *, size: tuple[int, int] | None = None
    ) -> tuple[Conditions, Conditions]:
        """Of the prompts, a row each; and of the negative prompt, one row with as many tokens.

        size: (height, width) in pixels of the picture that they are for, of which SDXL is told; None is the
        model's own.
        """


class Model(Denoiser, TextModel, Protocol):
    """All of a loaded model."""

    @property
    def name(self) -> str: ...

    @property
    def native_size(self) -> int:
        """Pixels of a side of the pictures that it was trained on."""

    @property
    def calls(self) -> Calls:
        """What its U-Net's present call is, for hooks; `Present` says it."""

    def running(self, prompt: str) -> AbstractContextManager[object]:
        """Around all that is done with a prompt's conditions: what it names beside words, as `<lora:...>`, is
        active meanwhile. Where prompts name nothing such, it is contextlib's nullcontext.
        """

    def encode(self, picture: Image.Image) -> Tensor:
        """The autoencoder's mean latent (image, channel, y, x), one image, scaled as the U-Net wants it.

        Raises ValueError for sides that it cannot halve, and where the U-Net wants more than that and a text.
        """

    def decode(self, latents: Tensor) -> list[Image.Image]:
        """Pictures of latents (image, channel, y, x)."""


class Present:
    """Says what the present call of a U-Net is (`capture.Calls`), for a host that calls the U-Net itself."""

    def __init__(self) -> None:
        self._call: Call | None = None

    def __call__(self, args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        return self._call

    @contextmanager
    def during(
        self, place: SamplingStep | None, rows: tuple[Row, ...], *, latents: Tensor, sigma: float
    ) -> Iterator[None]:
        """Around a call on latents (row, channel, y, x) of a noise level; place as in `Denoiser`."""
        if place is not None:
            size = (int(latents.shape[-2]), int(latents.shape[-1]))
            self._call = Call(*place, sigma=sigma, rows=rows, size=size)
        try:
            yield
        finally:
            self._call = None
