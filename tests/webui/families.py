"""Checkpoints of the families that people load into a webui, small and random, beside the bundled one.

They are made by a webui's own code (`family_checkpoints.py`), and loaded by it from a `.yaml` of their own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from webui.data import CHECKPOINT
from webui.recording import Recorded, asking, merged, record
from webui.serving import Generated, Webui, encoded_image

SD1_BLOCKS = (*(f"IN{i:02}" for i in range(12)), "M00", *(f"OUT{i:02}" for i in range(12)))
XL_BLOCKS = (*(f"IN{i:02}" for i in range(9)), "M00", *(f"OUT{i:02}" for i in range(9)))
STEPS = 3


@dataclass(frozen=True)
class Family:
    """A checkpoint. blocks: that its U-Net has; other: a checkpoint of another family, for the hires pass;
    refiner: one to switch to.

    from_picture: the webui makes pictures with it from pictures only. half: it does in half precision.
    latent_hires: it takes a hires pass of latents. more: fields of its requests.
    """

    name: str
    checkpoint: str
    blocks: tuple[str, ...] = SD1_BLOCKS
    other: str = "unet-viz-sdxl"
    refiner: str = "unet-viz-other"
    from_picture: bool = False
    half: bool = True
    latent_hires: bool = True
    more: Mapping[str, Any] = field(default_factory=dict)


FAMILIES = (
    Family("SD1", "unet-viz-demo"),
    # A hires pass of latents gets an empty picture of the first pass's size (processing.py:1415).
    Family("SD1-inpainting", "unet-viz-inpainting", latent_hires=False),
    Family("SD2", "unet-viz-sd2"),
    Family("SDXL", "unet-viz-sdxl", XL_BLOCKS, other="unet-viz-demo", refiner="unet-viz-refiner"),
    Family("refiner", "unet-viz-refiner", refiner="unet-viz-sdxl"),
    Family(
        "SDXL-inpainting",
        "unet-viz-sdxl-inpainting",
        XL_BLOCKS,
        refiner="unet-viz-refiner",
        latent_hires=False,
    ),
    # Its depth transform gets half-precision pixels, which OpenCV does not resize (processing.py:306).
    Family("depth", "unet-viz-depth", from_picture=True, half=False),
    Family("pix2pix", "unet-viz-pix2pix", from_picture=True),
    Family("pix2pix-guided", "unet-viz-pix2pix", from_picture=True, more={"image_cfg_scale": 1.5}),
)
PRECISIONS: Mapping[str, tuple[str, ...]] = {"full": (), "half": ("--precision", "half", "--medvram")}


def make(webui: Path, data: Path) -> None:
    """Write the families' checkpoints beside the exported one. Raises CalledProcessError."""
    checkpoint = data / "models" / "Stable-diffusion" / f"{CHECKPOINT}.safetensors"
    python = os.environ.get("SD_WEBUI_PYTHON", sys.executable)
    command = [python, str(Path(__file__).with_name("family_checkpoints.py")), str(webui), str(checkpoint)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    environment.pop("PYTHONPATH", None)
    subprocess.run(command, env=environment, check=True, capture_output=True)


@dataclass
class Place:
    """A webui that has a family's checkpoint loaded, in one precision."""

    webui: Webui
    family: Family
    precision: str
    made: dict[str, Generated] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return "img2img" if self.family.from_picture else "txt2img"

    @property
    def size(self) -> int:
        """Pixels of a side: the bundled autoencoder takes long in half precision on a CPU."""
        return 64 if self.precision == "half" and self.family.name.startswith("SD1") else 128

    def fields(self, **more: Any) -> dict[str, Any]:
        """A request's, without the extension."""
        usual: dict[str, Any] = {**self.family.more, "steps": STEPS, "width": self.size, "height": self.size}
        if self.family.from_picture:
            usual |= {"init_images": [encoded_image(drawing(self.size))], "denoising_strength": 1}
        return {**usual, **more}

    def make(self, **more: Any) -> Generated:
        """Ask for pictures. Image-to-image draws from the random numbers that the last request left."""
        if self.family.from_picture:
            self.webui.generate(self.kind, self.fields(steps=1))
        return self.webui.generate(self.kind, merged(self.fields(), more))

    def ask(self, settings: dict[str, Any], **more: Any) -> Generated:
        """The same with the script chosen."""
        return self.make(**merged(more, asking("dropdown", settings)))

    def plain(self, **more: Any) -> Generated:
        """The same without the extension, each made once."""
        key = repr(sorted(more.items()))
        if key not in self.made:
            self.made[key] = self.make(**more)
        return self.made[key]

    def record(self, settings: dict[str, Any], **more: Any) -> Recorded:
        if self.family.from_picture:
            self.webui.generate(self.kind, self.fields(steps=1))
        return record(self.webui, self.fields(**more), kind=self.kind, settings=settings)

    @cached_property
    def layers(self) -> dict[str, Any]:
        """What the extension says of the checkpoint, for pictures of this size."""
        found: dict[str, Any] = self.webui.get(f"/unet-viz/v1/layers?width={self.size}&height={self.size}")
        return found

    @property
    def heads(self) -> int:
        """Of the middle block."""
        return int(next(block["heads"] for block in self.layers["blocks"] if block["name"] == "M00"))


def drawing(size: int) -> Any:
    """A red circle on green."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (size, size), (90, 120, 90))
    ImageDraw.Draw(image).ellipse((size // 4, size // 6, 3 * size // 4, 2 * size // 3), fill=(200, 40, 40))
    return image
