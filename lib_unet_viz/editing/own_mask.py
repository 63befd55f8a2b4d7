"""A mask of one's own for an edit: white may change, black stays the source's, as in inpainting."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.nn import functional

from lib_unet_viz.settings import SettingsError
from lib_unet_viz.unet import Size

_GREYISH = 32  # levels of 255 by which red, green and blue of a grey pixel may differ
_DARK = 0.1  # what black of a JPEG may be, in [0, 1]
_UNLIKE = 1.02  # by which factor proportions may differ


@dataclass(frozen=True)
class OwnMask:
    """values: (y, x) in [0, 1], 1 where the picture may change. digest: of them, ten hexadecimal digits."""

    values: npt.NDArray[np.float32] = field(repr=False, compare=False)
    digest: str

    @classmethod
    def of(cls, mask: Mask) -> OwnMask:
        """Of a picture in black and white, transparent as black; or of an array (y, x) in [0, 1].

        Raises SettingsError where it is neither, and where nothing of it is white, or all of a picture.
        """
        if isinstance(mask, OwnMask):
            return mask
        values = _grey(mask) if isinstance(mask, Image.Image) else _checked(np.asarray(mask))
        if values.max() <= (_DARK if isinstance(mask, Image.Image) else 0):
            raise SettingsError("the mask has no white pixel: nothing may change; white may, black stays")
        if isinstance(mask, Image.Image) and values.min() == 1:
            raise SettingsError(
                "the mask is white everywhere: it keeps nothing; white may change, black stays"
            )
        size = "x".join(map(str, values.shape))
        digest = sha256(size.encode() + np.round(values * 255).astype(np.uint8).tobytes()).hexdigest()
        return cls(values, digest[:10])

    def allows(self, size: Size, threshold: float) -> Tensor:
        """Where its mean over the area of a position is above a share of the largest one: bool (y, x)."""
        means = functional.adaptive_avg_pool2d(torch.from_numpy(self.values)[None], size)[0]
        return means > threshold * means.max()

    @property
    def share(self) -> float:
        """How much of the picture is white, in [0, 1]."""
        return float(self.values.mean())


Mask = Image.Image | npt.ArrayLike | OwnMask


def fitting(mask: Mask | None, size: Size) -> OwnMask | None:
    """A picture's mask, where there is one; size: the picture's (height, width), in pixels.

    Raises SettingsError as `OwnMask.of` does, and where the proportions are others.
    """
    if mask is None:
        return None
    own = OwnMask.of(mask)
    (rows, columns), (height, width) = own.values.shape, size
    if not 1 / _UNLIKE <= rows * width / (columns * height) <= _UNLIKE:
        raise SettingsError(
            f"the mask has {columns} x {rows} pixels (width x height), the picture {width} x {height}: their "
            "proportions must be alike"
        )
    return own


def _grey(picture: Image.Image) -> npt.NDArray[np.float32]:
    """(y, x) in [0, 1]; transparent places are black, and a picture is turned as its EXIF says."""
    turned = ImageOps.exif_transpose(picture) or picture
    rgba = np.asarray(turned.convert("RGBA"))
    colors, alpha = rgba[..., :3], rgba[..., 3]
    if ((colors.max(-1) - colors.min(-1) > _GREYISH) & (alpha > 0)).any():
        raise SettingsError(
            "the mask has colours; one in black, white and greys is expected: white may change"
        )
    grey: npt.NDArray[np.float32] = colors.mean(-1, dtype=np.float32) * (alpha / np.float32(255**2))
    return grey


def _checked(values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        raise SettingsError(
            f"the mask is an array of shape {values.shape} and type {values.dtype}; "
            "expected numbers of shape (height, width)"
        )
    if not (np.isfinite(values).all() and values.min() >= 0 and values.max() <= 1):
        raise SettingsError(f"the mask has values from {values.min()} to {values.max()}; allowed: 0 to 1")
    return values.astype(np.float32)
