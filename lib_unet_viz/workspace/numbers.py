"""Maps as bytes: 8 bits a value, each picture over its own range, deflated map by map."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
import numpy.typing as npt

LEVELS, NOT_FINITE = 254, 255
_LEVEL = 6  # zlib's usual one
_CHUNK = 2**20  # values that are quantised at once, in float64


def quantised(planes: npt.NDArray[np.float32]) -> bytes:
    """Pictures (n, y, x) as low float32[n], high float32[n] (little endian), then uint8[n * y * x].

    A value is low + (high - low) * u / 254, and 255 stands for what is not finite. The error is at most half
    of a 254th of the picture's range.
    """
    count = len(planes)
    low, high = np.zeros(count, "<f4"), np.zeros(count, "<f4")
    levels = np.empty(planes.shape, np.uint8)
    step = max(1, _CHUNK // max(1, planes[0].size if count else 1))
    for start in range(0, count, step):
        part = slice(start, start + step)
        low[part], high[part], levels[part] = _levels(planes[part])
    return low.tobytes() + high.tobytes() + levels.tobytes()


def _levels(planes: npt.NDArray[np.float32]) -> tuple[Any, Any, npt.NDArray[np.uint8]]:
    values = planes.astype(np.float64)
    known = np.isfinite(values)
    low = values.min((1, 2), where=known, initial=np.inf)
    high = values.max((1, 2), where=known, initial=-np.inf)
    low, high = (np.where(np.isfinite(end), end, 0.0) for end in (low, high))
    span = np.where(high > low, high - low, 1.0)
    shares = (np.where(known, values, low[:, None, None]) - low[:, None, None]) / span[:, None, None]
    return low, high, np.where(known, np.rint(shares * LEVELS), NOT_FINITE).astype(np.uint8)


class Numbers:
    """What a manifest refers to: bytes one after the other."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.nbytes = 0

    def add(self, part: bytes) -> dict[str, int]:
        """Where the bytes are now, for the manifest."""
        at = self.nbytes
        self._parts.append(part)
        self.nbytes += len(part)
        return {"at": at, "bytes": len(part)}

    def planes(self, deflated: bytes, shape: tuple[int, int, int]) -> dict[str, Any]:
        """Pictures (n, y, x) that `deflated` made bytes of, and where they are now."""
        return {**self.add(deflated), "planes": shape[0], "shape": list(shape[1:])}

    def joined(self) -> bytes:
        return b"".join(self._parts)


def deflated(planes: npt.NDArray[np.float32]) -> bytes:
    """One zlib stream of the pictures (n, y, x)."""
    return zlib.compress(quantised(planes), _LEVEL)
