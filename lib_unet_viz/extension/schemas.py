"""What our routes take and answer. Written for pydantic 1 (the webui) and 2 (Forge)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydantic import VERSION, BaseModel, Field
from safetensors.numpy import save

from lib_unet_viz.drawing.pictures import opened
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import DEFAULT, Method
from lib_unet_viz.sampling.inversion import CFG, STEPS, Inversion
from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.entry import EDIT_ROUTE, TRACE_ROUTE
from lib_unet_viz.settings.schema import schema

SMALLEST, LARGEST, MULTIPLE = 64, 2048, 8  # pixels of a side
MOST_BYTES = 100_000_000  # of it in base64

Mode = Literal["masked", "greyscale", "heat overlay", "mask", "label map"]


def _schema(described: dict[str, Any]) -> dict[str, Any]:
    """What of a field's schema pydantic cannot know, as either pydantic's `Field` takes it."""
    more = {name: value for name, value in described.items() if name != "type"}
    return {"json_schema_extra": more} if VERSION.startswith("2") else more


class BlockShape(BaseModel):
    """A block of the U-Net; shapes are [channel, y, x]."""

    name: str = Field(..., description="Such as IN04, M00, OUT07.")
    input: list[int]
    output: list[int]
    heads: int = Field(..., description="Attention heads; 0 in a block without attention.")
    cross: int = Field(..., description="Cross-attentions; 0: no prompt reaches the block.")


class AttentionLayer(BaseModel):
    """An attention of the U-Net."""

    name: str = Field(..., description="Block and layer, such as OUT04.0.")
    kind: Literal["cross", "self"]
    heads: int
    height: int = Field(..., description="Positions of the queries.")
    width: int


class Layers(BaseModel):
    """What the loaded checkpoint has."""

    model: str
    native_size: int = Field(..., description="Pixels of a side of the pictures it was trained on.")
    timesteps: int
    near: str = Field(..., description="Block spec that VXA takes as `16 x 16`.")
    blocks: list[BlockShape]
    attention: list[AttentionLayer]


class VXARequest(BaseModel, extra="forbid"):
    """A picture and what to look for in it."""

    image: str = Field(
        ..., description="A picture of any size in base64, with or without data:image/...;base64,"
    )
    prompt: str
    words: list[str] = Field(
        default=[], description="Words of the prompt (word#2: its second occurrence); none: all."
    )
    tokens: list[int] = Field(
        default=[], description="Or indices of tokens; 1 is the first, a comma is one too."
    )
    layers: str = Field(
        default="all",
        description="all, 16 x 16 (maps nearest to that), or a block spec such as M00, OUT05-OUT08.",
    )
    timestep: int | list[int] | None = Field(
        default=None, description="How much noise is added, 0: none; several are averaged; null: the default."
    )
    method: Method = Field(default=DEFAULT, description="How layers and heads become one map.")
    noise_seed: int = Field(default=0, ge=0, lt=2**32)
    draws: int = Field(default=vxa.DRAWS, ge=1, le=64, description="Of noise at each timestep, averaged.")
    mode: Mode = "heat overlay"
    original: bool = Field(default=False, description="As the extension VXA did: end and padding count too.")
    numbers: bool = Field(default=False, description="Whether the map's numbers are in the answer.")


class Token(BaseModel):
    """A token of the prompt."""

    index: int
    text: str


class VXAResult(BaseModel):
    """The picture with the map, and what it shows."""

    image: str = Field(..., description="PNG in base64.")
    model: str
    tokens: list[Token]
    layers: list[str]
    heatmap: str | None = Field(
        default=None,
        description="Safetensors in base64 with `heatmap`, float32 [y, x]; where asked for.",
    )


class TraceRequest(BaseModel, extra="forbid"):
    """The main fields of a txt2img request, and what to record."""

    GENERATION: ClassVar[tuple[str, ...]] = (
        "prompt",
        "negative_prompt",
        "seed",
        "steps",
        "cfg_scale",
        "width",
        "height",
        "sampler_name",
        "scheduler",
    )

    prompt: str
    negative_prompt: str = ""
    seed: int = Field(default=-1, ge=-1, lt=2**32, description="-1: a new one.")
    steps: int = Field(default=20, ge=1, le=150)
    cfg_scale: float = Field(default=7.0, ge=1, le=100)
    width: int = Field(default=512, ge=SMALLEST, le=LARGEST, description="A multiple of 8.")
    height: int = Field(default=512, ge=SMALLEST, le=LARGEST, description="A multiple of 8.")
    sampler_name: str = "Euler a"
    scheduler: str = "Automatic"
    settings: dict[str, Any] = Field(  # type: ignore[misc]
        default={"features": {}, "heatmaps": True},
        description="What to record; only what is named is on.",
        **_schema(schema(Settings, TRACE_ROUTE)),
    )


class TraceResult(BaseModel):
    """The picture and the recording."""

    image: str = Field(..., description="PNG in base64.")
    infotext: str
    seed: int
    notes: list[str] = Field(..., description="What the person who asked should read.")
    trace: str = Field(..., description="A dump (.safetensors) in base64, as `load_trace` reads it.")


class EditRequest(BaseModel, extra="forbid"):
    """A picture, what it shows, and what is to become of that."""

    image: str = Field(
        ..., description="A picture of any size in base64, with or without data:image/...;base64,"
    )
    prompt: str = Field(..., description="What the picture shows.")
    negative_prompt: str = ""
    inversion: Inversion = Field(default="direct", description="The way from the picture to noise.")
    steps: int = Field(default=STEPS, ge=1, le=150, description="Of the inversion, and of sampling.")
    cfg_scale: float = Field(default=CFG, ge=1, le=100)
    edit: dict[str, Any] = Field(  # type: ignore[misc]
        ...,
        description='What is to change: edits ("cat -> dog"), and how.',
        **_schema(schema(Settings, EDIT_ROUTE)["properties"]["edit"]),
    )
    mask: str | None = Field(
        default=None,
        description="A picture in black and white in base64, of the picture's proportions: white may change, "
        "where the words' maps allow it; without local blend, all of it.",
    )


class EditResult(BaseModel):
    """The source as it was reconstructed and its targets; pictures are PNG in base64."""

    pictures: list[str] = Field(..., description="The source, then the targets.")
    comparison: str = Field(..., description="All of them, with masks and differences.")
    masks: list[str | None] = Field(
        ..., description="Where each target may change, step by step; null for one without a blend."
    )
    prompts: list[str] = Field(..., description="Of the pictures.")
    errors: dict[str, float | None] = Field(
        ..., description="How far the source is from the picture, by what is measured; null: infinite."
    )
    model: str


def picture(encoded: str, *, name: str = "image", on: str = "white") -> Image.Image:
    """A picture in base64. name: of the field; on: what is below transparent places. Raises ValueError for
    anything else, and for one that is too large.
    """
    if len(encoded) > MOST_BYTES:
        raise ValueError(f"{name} has {len(encoded)} characters; allowed: up to {MOST_BYTES}")
    data = encoded.partition(",")[2] if encoded.startswith("data:image/") else encoded
    try:
        return opened(base64.b64decode(data, validate=True), on=on)
    except binascii.Error as error:
        raise ValueError(f"{name} is no picture in base64; allowed: PNG, JPEG, WebP and the like") from error


def png(image: Image.Image) -> str:
    """A picture as PNG in base64."""
    file = BytesIO()
    image.save(file, "PNG")
    return text(file.getvalue())


def numbers(tensors: Mapping[str, npt.NDArray[np.float32]]) -> str:
    """Arrays as safetensors in base64."""
    return text(save({name: np.ascontiguousarray(array) for name, array in tensors.items()}))


def text(data: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(data).decode("ascii")
