"""A look into a picture: what a click in the tab VXA asks for, and how the answer is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from lib_unet_viz.drawing import look
from lib_unet_viz.drawing.look import LABEL_MAP
from lib_unet_viz.notation import tokens
from lib_unet_viz.settings import Method
from lib_unet_viz.trace import Trace
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.parts import given

if TYPE_CHECKING:
    from lib_unet_viz.hosts.base import Model


@dataclass(frozen=True)
class Asked:
    """What is to be seen of a look: the map of tokens, by their indices, or of other words."""

    indices: str
    other: str
    method: Method
    original: bool
    mode: str


@dataclass(frozen=True)
class Look:
    """A look into a picture that a click asks for."""

    picture: Image.Image
    prompt: str
    layers: Sequence[str]
    timesteps: tuple[int, ...] | None
    seed: int
    asked: Asked

    @classmethod
    def of(
        cls,
        uploaded: Image.Image | str | None,
        prompt: str,
        layers: Sequence[str],
        timesteps: str,
        seed: float | None,
        *asked: Any,
    ) -> Look:
        """What the components' values say. Raises ValueError."""
        picture = given(uploaded)
        if picture is None:
            raise ValueError("There is no picture. Drop or paste one.")
        return cls(picture, prompt, layers, _timesteps(timesteps), int(seed or 0), Asked(*asked))


def drawn(trace: Trace, asked: Asked, model: Model | None = None) -> tuple[Image.Image, str]:
    """The picture of a look, and a line about it. model: where other words are asked about."""
    indices = asked.indices
    if asked.other.strip() and model is not None:
        trace, indices = _ask(trace, asked.other, model), ""
    positions = tokens.indices(indices, trace.meta["tokens"]["cond"]) if indices.strip() else None
    heat, text = look.heat_map(trace, positions, method=asked.method, original=asked.original)
    of_all = asked.mode == LABEL_MAP
    line = _line(trace, "all words" if of_all else text, None if of_all else heat.strength)
    return look.draw(trace, heat, asked.mode, method=asked.method), line


def _ask(trace: Trace, words: str, model: Model) -> Trace:
    """The same look with other words. Raises ValueError where another model is loaded by now."""
    from lib_unet_viz.maps import open_vocabulary

    if model.name != trace.meta.model:
        raise ValueError(f"This result is from {trace.meta.model}, but {model.name} is loaded; run it again")
    return open_vocabulary.ask(trace, model, words)


def _line(trace: Trace, text: str, strength: float | None) -> str:
    """What is seen, of how many layers, at which noise; and how strong it is."""
    count, timesteps = look.layers(trace), trace.meta["timestep"]
    levels = ", ".join(map(str, [timesteps] if isinstance(timesteps, int) else timesteps))
    strong = "" if strength is None else f" · strength {strength:.2f}"
    return readout.note(f"{text} · {count} layer{'s' * (count != 1)} · timestep {levels}{strong}")


def _timesteps(text: str) -> tuple[int, ...] | None:
    """Those that were typed; blank is the default. Raises ValueError."""
    pieces = text.replace(",", " ").split()
    wrong = [piece for piece in pieces if not (piece.isascii() and piece.isdigit())]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no timestep; write whole numbers, such as 150, 350")
    return tuple(map(int, pieces)) or None
