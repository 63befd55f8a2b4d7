"""Visualize Cross-Attention: which parts of an uploaded picture a word of a prompt attends to.

The picture is encoded, noise of a chosen level is added, the U-Net runs once on it with the prompt, and its
cross-attention is recorded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image, ImageOps

from lib_unet_viz import tokens
from lib_unet_viz.grammar import BlockSpec
from lib_unet_viz.record import Call, Capture, Recorder, Row

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

    from lib_unet_viz.trace import Trace
    from lib_unet_viz.unet import UNet

MULTIPLE = 8  # pixels a latent position stands for
DEFAULT_TIMESTEP = 350  # what points best on the bundled model, of 200, 350, 500, 650 and 800
MAP_SIDE = 16  # positions; see `default_layers`
DRAWS = 4  # of noise: one draw points right in 0.72, four in 0.80 (bundled model)
SMALLEST = 64  # pixels of a side: the U-Net halves the latent three times


def default_layers(model: Model) -> str:
    """Block spec of the layers looked at unless others are chosen; see `layers_near`."""
    return layers_near(model.unet, model.native_size)


def layers_near(unet: UNet, native_size: int) -> str:
    """Block spec of the layers whose maps are 16 x 16, or nearest to that, for pictures of `native_size`.

    These are the layers that prompt-to-prompt (Hertz et al. 2022) shows, and those that point best on the
    bundled model.
    """
    sites = [site for site in unet.sites if site.kind == "cross"]
    wanted = math.log2(native_size / MULTIPLE / MAP_SIDE)
    level = min({site.level for site in sites}, key=lambda there: (abs(there - wanted), there))
    return ",".join(dict.fromkeys(site.block for site in sites if site.level == level))


def positions(trace: Trace, words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Token positions of words of the trace's prompt. Raises SpecError for a word that it does not hold."""
    return tokens.select(trace.meta["tokens"]["cond"], words)


class Model(Protocol):
    """What a host gives of a loaded latent diffusion model. Latents are scaled as the U-Net wants them."""

    unet: UNet
    name: str
    native_size: int  # pixels of a side of the pictures it was trained on
    timesteps: int  # of its noise schedule; 0 is the least noise

    def tokens(self, prompt: str) -> list[str]:
        """The vocabulary's strings for a prompt, with BOS, EOS and padding."""

    def encode(self, picture: Image.Image) -> torch.Tensor:
        """A picture, its sides multiples of 8, to a latent (image, channel, y, x)."""

    def add_noise(self, latent: torch.Tensor, *, timestep: int, seed: int) -> torch.Tensor:
        """Mix a latent with seeded noise, as the schedule does at a timestep."""

    def sigma(self, timestep: int) -> float:
        """Noise level of a timestep: deviation of the noise relative to the signal's scale."""

    def denoise(self, latents: Iterable[torch.Tensor], *, timestep: int, prompt: str) -> None:
        """Run the U-Net once on each latent, conditional half only."""


def trace_picture(
    model: Model,
    picture: Image.Image,
    prompt: str,
    *,
    blocks: BlockSpec | str = "",
    timestep: int,
    noise_seed: int = 0,
    draws: int = DRAWS,
) -> Trace:
    """Record the cross-attention of a picture with a prompt, averaged over heads and draws of noise.

    Args:
        picture: any size and mode; see `prepare`.
        blocks: which blocks' cross-attention, blank for all.
        timestep: 0 (the picture as it is, no noise) to `model.timesteps - 1`.
        noise_seed: another one gives other noise. draws: of noise, one run of the U-Net each; at timestep 0,
            where all are the same, there is one.

    Raises ValueError for an empty prompt or a timestep that the model lacks; SpecError for a wrong spec.
    """
    if not prompt.strip():
        raise ValueError("the prompt is empty: write what to look for in the picture")
    if not 0 <= timestep < model.timesteps:
        raise ValueError(
            f"timestep {timestep} does not exist; allowed: 0 (no noise) to {model.timesteps - 1}"
        )
    spec = blocks if isinstance(blocks, BlockSpec) else BlockSpec.parse(blocks)
    if not any(model.unet.attention(name) for name in spec.names(model.unet)):
        raise ValueError(
            f"the prompt reaches none of the blocks {spec.text!r}: choose one with cross-attention"
        )
    ready = prepare(picture, model.native_size)
    latent = model.encode(ready)
    size = (int(latent.shape[-2]), int(latent.shape[-1]))
    call = Call(step=0, total=1, sigma=model.sigma(timestep), rows=(Row(image=0, half="cond"),), size=size)
    meta: dict[str, Any] = {
        "prompt": prompt,
        "model": model.name,
        "timestep": timestep,
        "noise_seed": noise_seed,
    }
    meta["picture_size"] = [ready.height, ready.width]
    meta["tokens"] = {"cond": model.tokens(prompt)}
    capture = Capture(blocks=spec, mean=True)
    with Recorder(model.unet, attention=capture, calls=lambda args, kwargs: call, meta=meta) as trace:
        seeds = range(draws * noise_seed, draws * (noise_seed + 1))
        noised = (model.add_noise(latent, timestep=timestep, seed=seed) for seed in seeds)
        model.denoise(noised if timestep else [latent], timestep=timestep, prompt=prompt)
    trace.picture = ready
    return trace


def prepare(picture: Image.Image, native_size: int) -> Image.Image:
    """Upright RGB on white; at most the area the model was trained on; sides rounded to multiples of 8."""
    rgb = upright(picture)
    shrink = min(1.0, (native_size**2 / (rgb.width * rgb.height)) ** 0.5)
    width, height = (max(SMALLEST, round(side * shrink / MULTIPLE) * MULTIPLE) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS)


def upright(picture: Image.Image) -> Image.Image:
    """The picture as a viewer shows it: turned as its EXIF says, on white where transparent, RGB."""
    turned = ImageOps.exif_transpose(picture) or picture
    if "A" in turned.getbands() or "transparency" in turned.info:
        rgba = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return turned.convert("RGB")
