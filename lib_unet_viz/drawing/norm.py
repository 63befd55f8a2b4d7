"""Value transforms: a `Norm` brings values to [0, 1] or [-1, 1], as in the webui extension "Dump U-Net".

What it gives depends on whether the sign is shown: with it, values reach from -1 to 1; without it, as where
white means far from 0, they are sizes from 0 to 1. nan counts as 0, infinities as the largest and smallest
finite value.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Limit = float | tuple[float, ...]
"""One limit for all planes, or one for each plane."""


class ColorError(ValueError):
    """A colour setting that cannot be; the message says what was given and what is allowed."""


class Norm(ABC):
    """Brings values to `domain()`. Call it with values, or `fit` it first to freeze the limits.

    signed: whether the sign is to be seen, everywhere here.
    """

    def fit(self, values: NDArray[Any], *, per_plane: bool = False) -> Norm:
        """This norm with the limits of `values` (n, y, x), of all together or of each plane."""
        return self

    def domain(self, *, signed: bool = True) -> tuple[float, float]:
        """The ends of the output's range."""
        return (-1.0, 1.0) if signed else (0.0, 1.0)

    def __call__(self, values: NDArray[Any], *, signed: bool = True) -> Floats:
        """Values of any shape -> same shape, float32, within `domain(signed=signed)`. nan counts as 0."""
        return self.fitted(finite(values), signed=signed)

    @abstractmethod
    def limits(self) -> tuple[Limit, Limit] | None:
        """The smallest and largest value told apart; None if that depends on values not seen yet."""

    @abstractmethod
    def describe(self) -> str:
        """In words, as the page says it."""

    @abstractmethod
    def fitted(self, values: Floats, *, signed: bool) -> Floats:
        """As calling it, for values that are finite float32 already; always a new array."""


@dataclass(frozen=True)
class Auto(Norm):
    """Linear between the extremes of the values; `lo`, `hi` are known after `fit`."""

    lo: Limit | None = None
    hi: Limit | None = None

    def fit(self, values: NDArray[Any], *, per_plane: bool = False) -> Auto:
        planes = finite(values)
        axes = tuple(range(1, planes.ndim)) if per_plane else None
        return dataclasses.replace(self, lo=_limit(planes.min(axis=axes)), hi=_limit(planes.max(axis=axes)))

    def limits(self) -> tuple[Limit, Limit] | None:
        return None if self.lo is None or self.hi is None else (self.lo, self.hi)

    def _unit(self, values: Floats, *, flat: float) -> Floats:
        """(v - lo) / (hi - lo), in a new array; `flat` where hi = lo, which the formula leaves open."""
        limits = self.limits() or (values.min(), values.max())
        lo, hi = (_column(limit, values.ndim) for limit in limits)
        with np.errstate(over="ignore"):
            span = hi - lo
        if not np.isfinite(span).all():  # only near float32's end: halve all, the quotient is the same
            half = np.float32(0.5)
            values, lo, hi = values * half, lo * half, hi * half
            span = hi - lo
        # Limits fitted to other values may be far away.
        with np.errstate(over="ignore"):
            out: Floats = np.subtract(values, lo)
        out /= np.where(span > 0, span, np.float32(1))
        np.clip(out, 0, 1, out=out)
        if not np.all(span > 0):
            np.copyto(out, np.float32(flat), where=span <= 0)
        return out


@dataclass(frozen=True)
class AutoUnit(Auto):
    """Auto [0,1]: (v - lo) / (hi - lo), signed or not; 0 where hi = lo."""

    def domain(self, *, signed: bool = True) -> tuple[float, float]:
        return (0.0, 1.0)

    def describe(self) -> str:
        return "Auto [0,1]"

    def fitted(self, values: Floats, *, signed: bool) -> Floats:
        return self._unit(values, flat=0.0)


@dataclass(frozen=True)
class AutoSigned(Auto):
    """Auto [-1,1]: 2 (v - lo) / (hi - lo) - 1, unsigned its absolute value; 0 where hi = lo."""

    def describe(self) -> str:
        return "Auto [-1,1]"

    def fitted(self, values: Floats, *, signed: bool) -> Floats:
        out = self._unit(values, flat=0.5)
        out *= 2
        out -= 1
        return out if signed else np.abs(out, out=out)


@dataclass(frozen=True)
class Linear(Norm):
    """Linear: clamp to [min, max], then onto [-1, 1].

    Unsigned (|v| - X) / (Y - X) with Y = max(|min|, |max|), and X = 0 where the range spans 0, else
    min(|min|, |max|).
    """

    min: float = -1.0
    max: float = 1.0

    def __post_init__(self) -> None:
        known = math.isfinite(self.min) and math.isfinite(self.max)
        # As float32, which is what pictures are computed in, the two must still differ.
        if not known or not np.float32(self.min) < np.float32(self.max):
            raise ColorError(f"Linear from {self.min} to {self.max}: the minimum must be below the maximum")

    def limits(self) -> tuple[Limit, Limit]:
        return self.min, self.max

    def describe(self) -> str:
        return f"Linear {number(self.min)} to {number(self.max)}"

    def fitted(self, values: Floats, *, signed: bool) -> Floats:
        out: Floats = np.clip(values, np.float32(self.min), np.float32(self.max))
        low, high = self.min, self.max
        if not signed:
            np.abs(out, out=out)
            low, high = sorted((abs(self.min), abs(self.max)))
            low = 0.0 if self.min <= 0 <= self.max else low
        out -= np.float32(low)
        out /= np.float32(high) - np.float32(low)
        if signed:
            out *= 2
            out -= 1
        return out


@dataclass(frozen=True)
class Sigmoid(Norm):
    """Sigmoid, s(x) = 1 / (1 + exp(-x)): 2 s(gain (v + offset)) - 1; unsigned 2 |s - 1/2|."""

    gain: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and math.isfinite(self.offset)):
            raise ColorError(f"Sigmoid with gain {self.gain} and offset {self.offset}: both must be finite")

    def limits(self) -> tuple[Limit, Limit]:
        """Where the curve has risen to 1 % and 99 %."""
        reach = 4.6 / abs(self.gain) if self.gain else 1.0
        return -self.offset - reach, -self.offset + reach

    def describe(self) -> str:
        return f"Sigmoid gain {number(self.gain)}, offset {number(self.offset)}"

    def fitted(self, values: Floats, *, signed: bool) -> Floats:
        # 2 s(x) - 1 = tanh(x / 2), which neither overflows nor loses the small values.
        with np.errstate(over="ignore"):
            out: Floats = np.add(values, np.float32(self.offset))
            out *= np.float32(self.gain / 2)
        np.tanh(out, out=out)
        return out if signed else np.abs(out, out=out)


def finite(values: NDArray[Any]) -> Floats:
    """float32 without nan (-> 0) and infinities (-> the finite extremes); a copy only where needed."""
    with np.errstate(over="ignore"):
        out: Floats = np.asarray(values, dtype=np.float32)
    good = np.isfinite(out)
    if good.all():
        return out
    known = out[good]
    lo, hi = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    return np.nan_to_num(out, nan=0.0, posinf=hi, neginf=lo)


def number(value: float) -> str:
    """A number as a caption shows it, in at most four digits: "0.4127", "-12.34", "1.2e-05"."""
    return f"{value:.4g}"


def _limit(extreme: Any) -> Limit:
    listed: float | list[float] = extreme.tolist()
    return tuple(listed) if isinstance(listed, list) else listed


def _column(limit: Limit, ndim: int) -> Floats:
    """A limit that broadcasts against (n, ...): one number, or (n, 1, ..., 1)."""
    array = np.asarray(limit, dtype=np.float32)
    return array.reshape(array.shape + (1,) * (ndim - 1)) if array.ndim else array
