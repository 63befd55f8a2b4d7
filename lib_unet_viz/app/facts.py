"""What a page is made of before its model is there: the page of the bundled model does not wait for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lib_unet_viz.settings import Settings
from lib_unet_viz.ui.run_controls import STEPS
from lib_unet_viz.ui.vxa_tab import offer

if TYPE_CHECKING:
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

FEW_BYTES = 200_000_000  # up to this much, all blocks are recorded unless others are chosen


@dataclass(frozen=True)
class Facts:
    """What a page shows of a model before anything is asked of it.

    native_size: the side in pixels of pictures that it was trained on; factor: pixels of a latent position's
    side; tokens: of a prompt, padding counted; blocks: their names; recorded: what is recorded at first;
    layers, timesteps: what the VXA tab offers.
    """

    name: str
    native_size: int
    factor: int
    tokens: int
    blocks: tuple[str, ...]
    recorded: Settings
    layers: tuple[str, ...]
    timesteps: str

    @classmethod
    def of(cls, pipeline: Pipeline) -> Facts:
        """Those of a model that is loaded."""
        layers, timesteps = offer(pipeline)
        return cls(
            pipeline.name,
            pipeline.native_size,
            int(pipeline.pipe.vae_scale_factor),
            len(pipeline.tokens("")),
            tuple(pipeline.unet.blocks),
            recorded(pipeline),
            tuple(layers),
            timesteps,
        )


def recorded(pipeline: Pipeline) -> Settings:
    """What is recorded at first: for a small model all blocks, and a fine attention layer (its middle block
    has few positions); else the usual choice, less what this model does not have.
    """
    from lib_unet_viz.maps import vxa

    usual, native = Settings(), pipeline.native_size
    whole = _all_blocks(vxa.default_layers(pipeline).split(",")[-1])
    if pipeline.estimate(whole, steps=STEPS, size=(native, native)) <= FEW_BYTES:
        return whole
    present = [name for name in usual.features.blocks.split(",") if name in pipeline.unet.blocks]
    return replace(usual, features=replace(usual.features, blocks=",".join(present)))


def _all_blocks(fine: str) -> Settings:
    usual = Settings()
    return replace(
        usual, features=replace(usual.features, blocks=""), attention=replace(usual.attention, blocks=fine)
    )


_BLOCKS = (*(f"IN{n:02}" for n in range(12)), "M00", *(f"OUT{n:02}" for n in range(12)))
_READING = ("IN01", "IN02", "IN04", "IN05", "IN07", "IN08", "M00 (the original's default)", *_BLOCKS[16:])
# Facts.of(Pipeline.load()), without waiting for diffusers and the weights.
BUNDLED = Facts(
    name="bundled model",
    native_size=128,
    factor=8,
    tokens=77,
    blocks=_BLOCKS,
    recorded=_all_blocks("OUT11"),
    layers=("all", "16 x 16", *_READING),
    timesteps="150, 250, 350",
)
