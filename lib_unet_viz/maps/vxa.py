"""Visualize Cross-Attention: which parts of an uploaded picture a word of a prompt attends to.

The picture is encoded, noise of chosen levels is added, the U-Net runs once on each with the prompt, and its
attention is recorded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from PIL import Image, ImageOps

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row, estimate
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.specs import BlockSpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import torch

    from lib_unet_viz.trace import Trace
    from lib_unet_viz.unet import UNet

MULTIPLE = 8  # pixels a latent position stands for
LEVELS = (0.15, 0.25, 0.35)  # of the noise schedule; what does best on the bundled model, of 0.15 to 0.65
DRAWS = 2  # of noise, at each level
MAP_SIDE = 16  # positions; see `default_layers`
KEPT = 200_000_000  # bytes of Q that are kept, so that other words can be asked
SMALLEST = 64  # pixels of a side: the U-Net halves the latent three times


def default_timesteps(model: Model) -> tuple[int, ...]:
    """The noise levels that a look is averaged over unless others are chosen."""
    return tuple(round(level * model.timesteps) for level in LEVELS)


def runs(timesteps: Sequence[int] | None = None, *, draws: int = DRAWS) -> int:
    """How many runs of the U-Net a look takes: `draws` at each level, one at timestep 0."""
    return sum(draws if level else 1 for level in set(LEVELS if timesteps is None else timesteps))


def default_layers(model: Model) -> str:
    """Block spec of the layers whose maps are 16 x 16 for a picture of the model's own size, or nearest to
    that: those that prompt-to-prompt (Hertz et al. 2022) shows.
    """
    sites = [site for site in model.unet.sites if site.kind == "cross"]
    wanted = math.log2(model.native_size / MULTIPLE / MAP_SIDE)
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

    def context(self, prompt: str) -> torch.Tensor:
        """What cross-attention gets of a prompt: (row, token, channel), one row."""

    def encode(self, picture: Image.Image) -> torch.Tensor:
        """A picture, its sides multiples of 8, to a latent (image, channel, y, x)."""

    def add_noise(self, latent: torch.Tensor, *, timestep: int, seed: int) -> torch.Tensor:
        """Mix a latent with seeded noise, as the schedule does at a timestep."""

    def sigma(self, timestep: int) -> float:
        """Noise level of a timestep: deviation of the noise relative to the signal's scale."""

    def denoise(self, latents: Iterable[torch.Tensor], *, timestep: int, prompt: str) -> None:
        """Run the U-Net once on each latent, as soon as it comes; conditional half only."""


def trace_picture(
    model: Model,
    picture: Image.Image,
    prompt: str,
    *,
    blocks: BlockSpec | str = "",
    timestep: int | Sequence[int] | None = None,
    noise_seed: int = 0,
    draws: int = DRAWS,
) -> Trace:
    """Record the cross-attention of a picture with a prompt, averaged over heads, noise levels and draws.

    The trace also holds what refines maps (self-attention of up to 32 x 32 positions) and what other words
    can be asked of (Q; see `asking`) and, of the self-attention of `default_layers`, Q and K. Its steps are
    the runs of the U-Net.

    Args:
        picture: any size and mode; see `prepare`.
        blocks: which blocks' cross-attention, blank for all.
        timestep: 0 (the picture as it is, no noise) to `model.timesteps - 1`, or several; None is
            `default_timesteps`.
        noise_seed: another one gives other noise. draws: of noise at each level, one run of the U-Net each;
            at timestep 0, where all are the same, there is one.

    Raises ValueError for an empty prompt or a timestep that the model lacks; SpecError for a wrong spec.
    """
    spec = blocks if isinstance(blocks, BlockSpec) else BlockSpec.parse(blocks)
    levels = _levels(model, timestep)
    _check(model, prompt, spec)
    ready = prepare(picture, model.native_size)
    latent = model.encode(ready)
    size = (int(latent.shape[-2]), int(latent.shape[-1]))
    runs = [(level, draw) for level in levels for draw in range(draws if level else 1)]
    step = -1

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        row = Row(image=0, half="cond")
        return Call(step=step, total=len(runs), sigma=model.sigma(runs[step][0]), rows=(row,), size=size)

    def noised(level: int) -> Iterator[torch.Tensor]:
        nonlocal step
        for _ in range(sum(level == each for each, _ in runs)):
            step += 1
            seed = noise_seed * len(runs) + step
            yield model.add_noise(latent, timestep=level, seed=seed) if level else latent

    meta: dict[str, Any] = {
        "prompt": prompt,
        "model": model.name,
        "timestep": levels[0] if len(levels) == 1 else list(levels),
        "noise_seed": noise_seed,
        "picture_size": [ready.height, ready.width],
        "tokens": {"cond": model.tokens(prompt)},
    }
    with Recorder(model.unet, attention=_captures(model, spec, size, runs), calls=calls, meta=meta) as trace:
        for level in levels:
            model.denoise(noised(level), timestep=level, prompt=prompt)
    trace.picture = ready
    return trace


def _levels(model: Model, timestep: int | Sequence[int] | None) -> tuple[int, ...]:
    chosen = default_timesteps(model) if timestep is None else timestep
    levels = tuple(dict.fromkeys([chosen] if isinstance(chosen, int) else chosen))
    for level in levels:
        if not 0 <= level < model.timesteps:
            raise ValueError(
                f"timestep {level} does not exist; allowed: 0 (no noise) to {model.timesteps - 1}"
            )
    if not levels:
        raise ValueError("no timestep is given; one at least is needed")
    return levels


def _check(model: Model, prompt: str, spec: BlockSpec) -> None:
    if not prompt.strip():
        raise ValueError("the prompt is empty: write what to look for in the picture")
    if not any(model.unet.attention(name) for name in spec.names(model.unet)):
        raise ValueError(
            f"the prompt reaches none of the blocks {spec.text!r}: choose one with cross-attention"
        )


def _captures(
    model: Model, spec: BlockSpec, size: tuple[int, int], runs: Sequence[object]
) -> Sequence[Capture]:
    """Means over the runs; and, where it does not take too much, what words and places can be asked of."""
    means = heatmap.word_captures(spec.text, halves=("cond",))
    queries = heatmap.explore_captures(default_layers(model), blocks=spec.text)
    if estimate(model.unet, attention=queries, size=size, total=len(runs)) > KEPT:
        return means
    return *means, *queries


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
