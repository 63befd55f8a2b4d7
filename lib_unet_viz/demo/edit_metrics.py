"""How much of a picture an edit left as it was: PSNR, SSIM and MSE, of what should have been kept.

`background` follows PIE-Bench (Ju et al. 2023, "Direct Inversion"; cure-lab/PnPInversion,
evaluation/matrics_calculator.py and evaluate.py, the metrics `*_unedit_part`): pictures in [0, 1], both times
the mask, then the metric over the *whole* picture, with torchmetrics' PeakSignalNoiseRatio and
StructuralSimilarityIndexMeasure (data range 1) and MeanSquaredError. What is masked is black in both and
counts as equal, so these numbers grow with the edited region; compare them on the same masks only. `psnr_in`
counts the mask's pixels alone.

PSNR of equal pictures is infinite, which no mean survives: every PSNR here ends at CAP. Beside a mean of
PSNRs, `pooled_psnr` is that of the mean error, in which a failure weighs as much as it is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]
    Mask = NDArray[np.bool_]

CAP = 60.0  # dB; below what 8 bits can tell: every value one level off is 48 dB
WINDOW, SIGMA = 11, 1.5  # pixels
C1, C2 = 0.01**2, 0.03**2


@dataclass(frozen=True)
class Background:
    """What an edit kept of the background: psnr in dB, at most CAP; ssim in [-1, 1]; mse in [0, 1]."""

    psnr: float
    ssim: float
    mse: float


def background(before: Picture, after: Picture, kept: Mask) -> Background:
    """PIE-Bench's marks of two pictures (y, x, rgb) for the mask (y, x) of what should have been kept.

    Raises ValueError for different sizes, sides under 11 pixels, and an empty mask.
    """
    a, b = (_unit(picture, before.shape, kept) * kept[..., None] for picture in (before, after))
    mse = float(((a - b) ** 2).mean())
    return Background(psnr(mse), _ssim(a, b), mse)


def psnr_in(before: Picture, after: Picture, mask: Mask) -> float:
    """PSNR in dB, at most CAP, over the mask's pixels only; errors as of `background`."""
    return psnr(mse_in(before, after, mask))


def mse_in(before: Picture, after: Picture, mask: Mask) -> float:
    """Mean squared error in [0, 1] over the mask's pixels only; errors as of `background`."""
    a, b = (_unit(picture, before.shape, mask)[mask] for picture in (before, after))
    return float(((a - b) ** 2).mean())


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB of a mean squared error of values in [0, 1], at most CAP."""
    return min(CAP, -10 * math.log10(mse)) if mse else CAP


def pooled_psnr(errors: Iterable[float]) -> float:
    """The PSNR in dB of the mean of the pictures' mean squared errors, at most CAP. Raises for none."""
    return psnr(math.fsum(found := list(errors)) / len(found))


def _unit(picture: Picture, shape: tuple[int, ...], mask: Mask) -> NDArray[np.float64]:
    if picture.shape != shape or mask.shape != shape[:2] or picture.dtype != np.uint8:
        raise ValueError(
            f"8-bit pictures and a mask of one size are needed, not {picture.dtype} {picture.shape}, "
            f"{shape} and a mask of {mask.shape}"
        )
    if not mask.any():
        raise ValueError("the mask is empty: there is nothing to compare")
    return picture / 255.0


def _ssim(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Structural similarity (Wang et al. 2004) of values in [0, 1], of gaussian windows that lie inside.

    torchmetrics of PIE-Bench's time pads and cuts away what the padding has touched, which is the same; from
    2024 on it counts the border too (Lightning-AI/torchmetrics, pull request 2721).
    """
    if min(a.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of at least {WINDOW} x {WINDOW} pixels, not {a.shape[:2]}")
    x, y = (torch.from_numpy(value).permute(2, 0, 1) for value in (a, b))
    mean_x, mean_y, xx, yy, xy = _windows(torch.stack([x, y, x * x, y * y, x * y]))
    spread = (xx - mean_x**2).clamp(min=0) + (yy - mean_y**2).clamp(min=0)
    likeness = (2 * mean_x * mean_y + C1) * (2 * (xy - mean_x * mean_y) + C2)
    return float((likeness / ((mean_x**2 + mean_y**2 + C1) * (spread + C2))).mean())


def _windows(values: torch.Tensor) -> torch.Tensor:
    """Gaussian means (image, channel, y, x) at every place of the window."""
    places = torch.arange(WINDOW, dtype=values.dtype) - WINDOW // 2
    weights = torch.exp(-(places**2) / (2 * SIGMA**2))
    window = torch.outer(weights, weights) / weights.sum() ** 2
    planes = values.flatten(0, 1)[:, None]
    found: torch.Tensor = functional.conv2d(planes, window[None, None])
    return found.reshape(*values.shape[:2], *found.shape[2:])
