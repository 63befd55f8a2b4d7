"""Visualize Cross-Attention: which parts of an uploaded picture a word of a prompt attends to.

The picture is encoded, noise of chosen levels is added, the U-Net runs once on each with the prompt, and its
attention is recorded.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image, ImageOps

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Calls, Capture, Row, estimate
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.sampling.model import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lib_unet_viz.sampling.model import Model
    from lib_unet_viz.trace import Trace

MULTIPLE = 8  # pixels a latent position stands for
LEVELS = (0.15, 0.25, 0.35)  # of the noise schedule; what does best on the bundled model, of 0.15 to 0.65
DRAWS = 2  # of noise, at each level
MAP_SIDE = 16  # positions; see `default_layers`
KEPT = 200_000_000  # bytes of Q that are kept, so that other words can be asked
SMALLEST = 64  # pixels of a side: the U-Net halves the latent three times


def default_timesteps(model: Model) -> tuple[int, ...]:
    """The noise levels that a look is averaged over unless others are chosen."""
    return tuple(round(level * len(model.schedule)) for level in LEVELS)


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


def trace_picture(
    model: Model,
    picture: Image.Image,
    prompt: str,
    *,
    blocks: BlockSpec | str = "",
    timestep: int | Sequence[int] | None = None,
    noise_seed: int = 0,
    draws: int = DRAWS,
    cancelled: Callable[[], bool] = lambda: False,
) -> Trace:
    """Record the cross-attention of a picture with a prompt, averaged over heads, noise levels and draws.

    The trace also holds what refines maps (self-attention of up to 32 x 32 positions) and what other words
    can be asked of (Q; see `asking`) and, of the self-attention of `default_layers`, Q and K. Its steps are
    the runs of the U-Net.

    Args:
        picture: any size and mode; see `prepare`.
        blocks: which blocks' cross-attention, blank for all.
        timestep: 0 (the picture as it is, no noise) to the last of the model's schedule, or several; None is
            `default_timesteps`.
        noise_seed: another one gives other noise. draws: of noise at each level, one run of the U-Net each;
            at timestep 0, where all are the same, there is one.
        cancelled: asked before each run; once it is true, what was seen before counts.

    Raises Interrupted where that is nothing; ValueError for an empty prompt or a timestep that the model
    lacks; SpecError for a wrong spec.
    """
    spec = blocks if isinstance(blocks, BlockSpec) else BlockSpec.parse(blocks)
    levels = _levels(model, timestep)
    _check(model, prompt, spec)
    ready = prepare(picture, model.native_size)
    latent = model.encode(ready)
    size = (int(latent.shape[-2]), int(latent.shape[-1]))
    runs = [level for level in levels for _ in range(draws if level else 1)]
    meta: dict[str, Any] = {
        "prompt": prompt,
        "model": model.name,
        "timestep": levels[0] if len(levels) == 1 else list(levels),
        "noise_seed": noise_seed,
        "picture_size": [ready.height, ready.width],
        "tokens": {"cond": model.tokens(prompt)},
    }
    captures = _captures(model, spec, size, total=len(runs))
    with Recorder(model.unet, attention=captures, calls=_calls(model, runs), meta=meta) as trace:
        _run(model, latent, prompt, runs, first_seed=noise_seed * len(runs), cancelled=cancelled)
    trace.picture = ready
    return trace


def _calls(model: Model, runs: Sequence[int]) -> Calls:
    """The model's own word on its calls; at timestep 0, where no noise is added, there is none."""

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any], /) -> Call | None:
        call = model.calls(args, kwargs)
        return call if call is None or runs[call.step] else replace(call, sigma=0.0)

    return calls


@torch.no_grad()
def _run(
    model: Model,
    latent: torch.Tensor,
    prompt: str,
    runs: Sequence[int],
    *,
    first_seed: int,
    cancelled: Callable[[], bool],
) -> None:
    """The U-Net on the latent (image, channel, y, x) at each timestep, with noise of a seed of its own.

    What was seen before the person asked to stop counts. Raises Interrupted if that is nothing.
    """
    with model.running(prompt):
        size = (MULTIPLE * latent.shape[-2], MULTIPLE * latent.shape[-1])
        conditions, _ = model.conditions([prompt], size=size)
        for step, timestep in enumerate(runs):
            noised = latent
            if timestep:
                noised = model.schedule.add_noise(latent, timestep=timestep, seed=first_seed + step)
            try:
                if cancelled():
                    raise Interrupted
                model(noised, timestep, conditions, (Row(0, "cond"),), (step, len(runs)))
            except Interrupted:
                if not step:
                    raise
                return


def _levels(model: Model, timestep: int | Sequence[int] | None) -> tuple[int, ...]:
    chosen = default_timesteps(model) if timestep is None else timestep
    levels = tuple(dict.fromkeys([chosen] if isinstance(chosen, int) else chosen))
    for level in levels:
        if not 0 <= level < len(model.schedule):
            raise ValueError(
                f"timestep {level} does not exist; allowed: 0 (no noise) to {len(model.schedule) - 1}"
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


def _captures(model: Model, spec: BlockSpec, size: tuple[int, int], *, total: int) -> Sequence[Capture]:
    """Means over all runs; and, where it does not take too much, what words and places can be asked of."""
    means = heatmap.word_captures(spec.text, halves=("cond",), refining="")
    queries = heatmap.explore_captures(default_layers(model), blocks=spec.text)
    if estimate(model.unet, attention=queries, size=size, total=total) > KEPT:
        return means
    return *means, *queries


def prepare(picture: Image.Image, native_size: int) -> Image.Image:
    """Upright RGB on white; at most the area the model was trained on; sides rounded to multiples of 8."""
    rgb = upright(picture)
    shrink = min(1.0, (native_size**2 / (rgb.width * rgb.height)) ** 0.5)
    width, height = (max(SMALLEST, round(side * shrink / MULTIPLE) * MULTIPLE) for side in rgb.size)
    return rgb.resize((width, height), Image.Resampling.LANCZOS)


def upright(picture: Image.Image, *, on: str = "white") -> Image.Image:
    """The picture as a viewer shows it: turned as its EXIF says, on a colour where transparent, RGB."""
    turned = ImageOps.exif_transpose(picture) or picture
    if "A" in turned.getbands() or "transparency" in turned.info:
        rgba = turned.convert("RGBA")
        turned = Image.alpha_composite(Image.new("RGBA", rgba.size, on), rgba)
    return turned.convert("RGB")
