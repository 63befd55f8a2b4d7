"""Made-up pages of the workspace, of the shapes of SD 1.5 and SDXL, whose values follow from their place."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from lib_unet_viz.workspace import page
from lib_unet_viz.workspace.bundle import Bundle
from lib_unet_viz.workspace.numbers import Numbers, deflated

WORDS = ("a", "red", "circle", "on", "the", "left")
STEPS = (1, 5, 10, 20)
# Of each block's output at 512 x 512, and at 1024 x 1024: side and channels.
SD15 = [(64, 320)] * 3 + [(32, 320)] + [(32, 640)] * 2 + [(16, 640)] + [(16, 1280)] * 2 + [(8, 1280)] * 3
SD15 += [(8, 1280)]
SD15 += [(8, 1280)] * 2 + [(16, 1280)] * 3 + [(32, 1280)] + [(32, 640)] * 2 + [(64, 640)] + [(64, 320)] * 3
SDXL = [(128, 320)] * 3 + [(64, 320)] + [(64, 640)] * 2 + [(32, 640)] + [(32, 1280)] * 2 + [(32, 1280)]
SDXL += [(32, 1280)] * 2 + [(64, 1280)] + [(64, 640)] * 2 + [(128, 640)] + [(128, 320)] * 3


def bundle(runs: int = 1, shapes: Sequence[tuple[int, int]] = SD15, **changes: Any) -> Bundle:
    """One run or two of made-up values; changes: of the manifest of each run."""
    numbers = Numbers()
    made = [{**_run("AB"[at], at, shapes, numbers), **changes} for at in range(runs)]
    return Bundle({"format": 1, "title": "a red circle on the left", "runs": made}, numbers.joined())


def html(runs: int = 1, shapes: Sequence[tuple[int, int]] = SD15, **changes: Any) -> str:
    return page.text(bundle(runs, shapes, **changes))


def channels(block: str, step: int, run: int, count: int, side: int) -> npt.NDArray[np.float32]:
    """(channel, y, x): a wave for each channel, shifted by step and run."""
    y, x = np.mgrid[0:side, 0:side] / side
    turns = np.arange(count)[:, None, None] % 7 + 1
    wave = np.sin(6.3 * (turns * x / 2 + y + step / 20)) * np.exp(-((x - 0.5) ** 2 + (y - 0.5) ** 2) * turns)
    found: npt.NDArray[np.float32] = (
        wave * (1 + np.arange(count)[:, None, None] / count) + 0.3 * run * x
    ).astype("f4")
    return found


def heat(word: int, side: int, run: int = 0) -> npt.NDArray[np.float32]:
    """(y, x): a spot at a place of the word's own."""
    y, x = np.mgrid[0:side, 0:side] / side
    spot = np.exp(-20 * ((x - 0.15 * (word + 1)) ** 2 + (y - 0.4 - 0.2 * run) ** 2))
    found: npt.NDArray[np.float32] = spot.astype("f4")
    return found


def _run(name: str, run: int, shapes: Sequence[tuple[int, int]], numbers: Numbers) -> dict[str, Any]:
    half = len(shapes) // 2
    names = [*(f"IN{at:02}" for at in range(half)), "M00", *(f"OUT{at:02}" for at in range(half))]
    paths = ["in"] * half + ["mid"] + ["out"] * half
    blocks = [
        {
            "name": block,
            "path": path,
            "size": [side, side],
            "channels": count,
            "skip": f"OUT{half - 1 - at:02}" if path == "in" else None,
        }
        for at, (block, path, (side, count)) in enumerate(zip(names, paths, shapes, strict=True))
    ]
    sizes = dict(zip(names, shapes, strict=True))
    maps = [
        _features(block, step, run, sizes[block], numbers)
        for block in (names[1], names[-1])
        for step in STEPS
    ]
    maps += [_attention(names[4], step, run, numbers) for step in (*STEPS, None)]
    curves = [[0.1 + 0.08 * at + 0.05 * np.sin(at + step / 4) for step in STEPS] for at in range(len(WORDS))]
    norms = {block: [1 + at / 5 + step / 20 + run / 10 for step in STEPS] for at, block in enumerate(names)}
    shares = {block: [0.1 + at / 60 for _ in STEPS] for at, block in enumerate(names) if at % 3 != 0}
    by_word = [
        {block: [each / (2 + at) for each in shares[block]] for block in shares} for at in range(len(WORDS))
    ]
    return {
        "name": name,
        "prompt": " ".join(WORDS),
        "negative": "blurry" if run else "",
        "seed": 7,
        "model": "sample",
        "which": "image 0, prompt, first pass",
        "notes": ["These values are made up."],
        "picture": _picture(run, numbers),
        "steps": [{"step": step, "sigma": 15 - step / 2} for step in STEPS],
        "blocks": blocks,
        "tokens": ["BOS", *WORDS, "EOS"],
        "words": [
            {
                "text": word,
                "tokens": [at + 1],
                "strength": round(sum(curves[at]) / len(STEPS), 4),
                "by_step": curves[at],
                "map": numbers.planes(deflated(heat(at, 32, run)[None]), (1, 32, 32)),
            }
            for at, word in enumerate(WORDS)
        ],
        "measures": {"norm": norms, "words": shares, "word": by_word, "change": None},
        "means": {"norm": {block: float(np.mean(values)) for block, values in norms.items()}, "change": None},
        "maps": maps,
    }


def _features(block: str, step: int, run: int, size: tuple[int, int], numbers: Numbers) -> dict[str, Any]:
    side, count = size
    values = channels(block, step, run, count, side)
    axes = ["channel", "y", "x"]
    return _map("features", None, block, None, step, axes, values, numbers)


def _attention(block: str, step: int | None, run: int, numbers: Numbers) -> dict[str, Any]:
    heads = 1 if step is None else 8
    heats = np.stack([heat(at, 32, run) for at in range(len(WORDS))])  # token, y, x
    values = (heats / np.arange(1, heads + 1)[:, None, None, None]).astype("f4")
    found = _map("QK", "cross", block, 0, step, ["head", "token", "y", "x"], values, numbers)
    return {**found, "tokens": list(range(1, len(WORDS) + 1)), "labels": list(WORDS)}


def _map(
    kind: str,
    attention: str | None,
    block: str,
    layer: int | None,
    step: int | None,
    axes: list[str],
    values: npt.NDArray[np.float32],
    numbers: Numbers,
) -> dict[str, Any]:
    planes = values.reshape(-1, *values.shape[-2:])
    return {
        "kind": kind,
        "attention": attention,
        "block": block,
        "layer": layer,
        "step": step,
        "axes": axes,
        "shape": list(values.shape),
        "tokens": None,
        "labels": None,
        "values": numbers.planes(deflated(planes), planes.shape),
    }


def _picture(run: int, numbers: Numbers) -> dict[str, Any]:
    side = 512
    y, x = np.mgrid[0:side, 0:side] / side
    disc = ((x - 0.35) ** 2 + (y - 0.5) ** 2 < 0.05)[..., None]
    ground = np.stack([180 + 50 * x, 190 + 40 * y, 200 - 20 * run + 0 * x], -1)
    pixels = np.where(disc, [200, 40 + 120 * run, 40], ground).astype("u1")
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return {"mime": "image/png", **numbers.add(file.getvalue())}
