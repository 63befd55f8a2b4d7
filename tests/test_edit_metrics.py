from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lib_unet_viz.demo.edit_metrics import CAP, background, mse_in, pooled_psnr, psnr_in

SIDE = 20
RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
ALL = np.ones((SIDE, SIDE), dtype=bool)
LEFT = np.arange(SIDE)[None].repeat(SIDE, 0) < SIDE // 2


def flat(value: int) -> Any:
    return np.full((SIDE, SIDE, 3), value, dtype=np.uint8)


def test_psnr_of_a_known_difference() -> None:
    assert psnr_in(flat(0), flat(255), ALL) == 0
    assert psnr_in(flat(100), flat(101), ALL) == pytest.approx(20 * math.log10(255))  # 48.13 dB
    assert psnr_in(PICTURE, PICTURE, ALL) == CAP
    almost = PICTURE.copy()
    almost[0, 0, 0] ^= 1
    assert psnr_in(PICTURE, almost, ALL) == CAP


def test_only_the_masks_pixels_count() -> None:
    changed = PICTURE.copy()
    changed[~LEFT] = 255 - changed[~LEFT]
    assert psnr_in(PICTURE, changed, LEFT) == CAP
    assert psnr_in(PICTURE, changed, ~LEFT) < 10
    one = np.zeros_like(ALL)
    one[3, 4] = True
    changed[3, 4] = PICTURE[3, 4] ^ np.array([1, 2, 4], dtype=np.uint8)
    assert mse_in(PICTURE, changed, one) == pytest.approx((1 + 4 + 16) / 3 / 255**2)


def test_the_pooled_psnr_is_that_of_the_mean_error() -> None:
    assert pooled_psnr([0.01, 0.01]) == pytest.approx(20)
    assert pooled_psnr([0.0, 0.02]) == pytest.approx(20)
    assert pooled_psnr([0.0]) == CAP


def test_the_background_counts_what_is_masked_as_equal() -> None:
    kept = background(flat(100), flat(110), LEFT)
    assert kept.mse == pytest.approx((10 / 255) ** 2 / 2)
    assert kept.psnr == pytest.approx(20 * math.log10(25.5) + 10 * math.log10(2))
    assert background(PICTURE, PICTURE, LEFT).ssim == pytest.approx(1)
    changed = PICTURE.copy()
    changed[~LEFT] = 0
    untouched = background(PICTURE, changed, LEFT)
    assert (untouched.psnr, untouched.mse) == (CAP, 0)


def test_ssim_of_flat_pictures_is_the_likeness_of_their_means() -> None:
    x, y = 0.2, 0.6
    expected = (2 * x * y + 1e-4) / (x * x + y * y + 1e-4)
    assert background(flat(51), flat(153), ALL).ssim == pytest.approx(expected)


def test_ssim_by_plain_sums_over_every_window() -> None:
    other = np.clip(PICTURE + RNG.normal(0, 40, PICTURE.shape), 0, 255).astype(np.uint8)
    places = np.arange(-5, 6)
    window = np.exp(-(places[:, None] ** 2 + places[None] ** 2) / 4.5)
    window /= window.sum()
    found = []
    for y in range(SIDE - 10):
        for x in range(SIDE - 10):
            for channel in range(3):
                p, q = (each[y : y + 11, x : x + 11, channel] / 255 for each in (PICTURE, other))
                mp, mq = (window * p).sum(), (window * q).sum()
                vp, vq = (window * (p - mp) ** 2).sum(), (window * (q - mq) ** 2).sum()
                both = (window * (p - mp) * (q - mq)).sum()
                found.append(
                    (2 * mp * mq + 1e-4) * (2 * both + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4))
                )
    assert background(PICTURE, other, ALL).ssim == pytest.approx(np.mean(found))


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="of one size"):
        psnr_in(PICTURE, PICTURE[1:], ALL)
    with pytest.raises(ValueError, match="of one size"):
        background(PICTURE, PICTURE, ALL[1:])
    with pytest.raises(ValueError, match="mask is empty"):
        psnr_in(PICTURE, PICTURE, ~ALL)
    with pytest.raises(ValueError, match="at least 11"):
        background(PICTURE[:9], PICTURE[:9], ALL[:9])
