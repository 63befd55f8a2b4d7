"""Colours for numbers: `Colorizer(AutoSigned(), Colormap.red_blue())(planes)`.

A `Norm` brings values to [0, 1] or [-1, 1]; a `Colormap` is a table of colours over that range; a `Colorizer`
pairs them, as matplotlib does. A custom formula is evaluated at the table's points only, never per pixel.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib_unet_viz.drawing.norm import (
    Auto,
    AutoSigned,
    AutoUnit,
    ColorError,
    Floats,
    Linear,
    Norm,
    Sigmoid,
    finite,
    number,
)
from lib_unet_viz.notation.formula import FUNCTIONS, Formula
from lib_unet_viz.settings import ColorMethod, ColorSettings, Transform

__all__ = [
    "AVERAGES",
    "FUNCTIONS",
    "METHODS",
    "SPACES",
    "TRANSFORMS",
    "Auto",
    "AutoSigned",
    "AutoUnit",
    "ColorError",
    "Colorizer",
    "Colormap",
    "Formula",
    "Linear",
    "Norm",
    "Sigmoid",
    "average",
]

Bytes = NDArray[np.uint8]

SPACES = ("RGB", "HSL")
AVERAGES = ("mean", "1-norm", "2-norm")

_PLASMA = bytes.fromhex(
    "0d0887 310597 4c02a1 6600a7 7e03a8 9511a1 aa2395 bc3587 cc4778"
    "da5a6a e66c5c f0804e f89540 fdac33 fdc527 f8df25 f0f921"
)
# Odd, so that 0 has a point of its own; fine enough for formulas with edges and many turns.
_POINTS = 4097


@dataclass(frozen=True)
class Colormap:
    """A table (N, 3) of uint8 RGB, evenly over `domain`; None: over whatever range the norm gives.

    signed: whether it shows a value's sign; if not, the norm gives the size alone.
    """

    name: str
    table: Bytes = field(repr=False, compare=False)
    domain: tuple[float, float] | None
    signed: bool = True

    @classmethod
    def white_black(cls) -> Colormap:
        """White for 1, black for 0."""
        grey = np.linspace(0, 1, _POINTS)[:, None].repeat(3, axis=1)
        return cls("White/Black", _table(grey), (0.0, 1.0), signed=False)

    @classmethod
    def red_blue(cls) -> Colormap:
        """Red for positive, blue for negative, |v| strong; black for 0."""
        v = np.linspace(-1, 1, _POINTS)
        return cls("Red/Blue", _table(np.stack([v, np.zeros_like(v), -v], 1)), (-1.0, 1.0))

    @classmethod
    def custom(cls, space: str, exprs: Sequence[str]) -> Colormap:
        """Three formulas of v, for red, green, blue or hue, saturation, lightness ("RGB", "HSL").

        Results are clipped to [0, 1], except that hue wraps; nan counts as 0. SpecError on a wrong formula.
        """
        if space.upper() not in SPACES:
            raise ColorError(f"no colour space {space!r}; there are {', '.join(SPACES)}")
        if len(exprs) != len(space):
            raise ColorError(f"formulas are {list(exprs)}; {space} takes three, for {', '.join(space)}")
        v = np.linspace(-1, 1, _POINTS)
        channels = np.stack([Formula.parse(text)(v) for text in exprs], 1)
        rgb = _hsl_to_rgb(channels) if space.upper() == "HSL" else channels
        name = " ".join(f"{letter}={text}" for letter, text in zip(space.upper(), exprs, strict=True))
        return cls(name, _table(rgb), (-1.0, 1.0))

    @classmethod
    def turbo(cls) -> Colormap:
        """Blue over green to red, for heat maps; needs no matplotlib.

        The polynomials are those of Turbo (Anton Mikhailov, Google, 2019, Apache-2.0).
        """
        v = np.linspace(0, 1, _POINTS)
        red = (0.13572138, 4.61539260, -42.66032258, 132.13108234, -152.94239396, 59.28637943)
        green = (0.09140261, 2.19418839, 4.84296658, -14.18503333, 4.27729857, 2.82956604)
        blue = (0.10667330, 12.64194608, -60.58204836, 110.36276771, -89.90310912, 27.34824973)
        rgb = [np.polynomial.polynomial.polyval(v, terms) for terms in (red, green, blue)]
        return cls("turbo", _table(np.stack(rgb, 1)), None)

    @classmethod
    def plasma(cls) -> Colormap:
        """Dark blue over magenta to yellow, perceptually even, for heat on pictures; needs no matplotlib.

        Seventeen colours of matplotlib's (N. Smith and S. van der Walt, 2015, CC0), within 5 of 255.
        """
        known = np.frombuffer(_PLASMA, dtype=np.uint8).reshape(-1, 3) / 255
        v, places = np.linspace(0, 1, _POINTS), np.linspace(0, 1, len(known))
        rgb = np.stack([np.interp(v, places, known[:, channel]) for channel in range(3)], 1)
        return cls("plasma", _table(rgb), None)

    @classmethod
    def named(cls, name: str) -> Colormap:
        """A colour map of matplotlib's or "turbo"; ColorError if there is none such or no matplotlib."""
        if name == "turbo":
            return cls.turbo()
        try:
            from matplotlib import colormaps
        except ImportError:
            raise ColorError(f"the colour map {name!r} is matplotlib's, which is not installed") from None
        if name not in colormaps:
            known = ", ".join(sorted(c for c in colormaps if not c.endswith("_r")))
            raise ColorError(f"no colour map {name!r}; matplotlib has {known}, and each backwards with _r")
        return cls(name, _table(colormaps[name](np.linspace(0, 1, _POINTS))[:, :3]), None)

    def __call__(self, values: NDArray[Any], domain: tuple[float, float] = (0.0, 1.0)) -> Bytes:
        """Normalised values of any shape, within `domain` -> that shape + (3,), uint8 RGB."""
        low, high = self.domain or domain
        last = len(self.table) - 1
        places: Floats = np.multiply(values, np.float32(last / (high - low)), dtype=np.float32)
        places += np.float32(0.5 - low * last / (high - low))
        # Four bytes a colour are moved twice as fast as three; Pillow holds four as well.
        words = np.pad(self.table, ((0, 0), (0, 1)), constant_values=255).view(np.uint32)[:, 0]
        found = words.take(places.astype(np.intp), mode="clip")
        return found.view(np.uint8).reshape(*found.shape, 4)[..., :3]


def _hsl_to_rgb(hsl: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, 3) hue (1 = once round, wraps), saturation, lightness (clipped to [0, 1]) -> (n, 3) RGB in [0, 1].

    One function of a shifted hue serves all three channels: CSS Color 4, section 7.1.
    """
    with np.errstate(invalid="ignore"):
        hue = np.nan_to_num(np.mod(hsl[:, 0], 1.0), nan=0.0)
    saturation, lightness = _clipped(hsl[:, 1]), _clipped(hsl[:, 2])
    k = (np.array([0.0, 8.0, 4.0]) + hue[:, None] * 12) % 12
    reach = saturation * np.minimum(lightness, 1 - lightness)
    turned: NDArray[np.float64] = np.clip(np.minimum(k - 3, 9 - k), -1, 1)
    return lightness[:, None] - reach[:, None] * turned


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.clip(np.nan_to_num(values, nan=0.0, posinf=1.0, neginf=0.0), 0.0, 1.0)


def _table(rgb: NDArray[np.float64]) -> Bytes:
    table: Bytes = np.rint(_clipped(rgb) * 255).astype(np.uint8)
    table.setflags(write=False)
    return table


@dataclass(frozen=True)
class Colorizer:
    """Values to colours. `per_cell`: every picture of a grid by its own extremes, else all by common ones.

    >>> Colorizer(Linear(-1, 1), Colormap.red_blue())(np.array([[[-1.0, 0.0, 1.0]]])).tolist()
    [[[[0, 0, 255], [0, 0, 0], [255, 0, 0]]]]
    """

    norm: Norm = field(default_factory=AutoUnit)
    colormap: Colormap = field(default_factory=Colormap.white_black)
    per_cell: bool = True

    @classmethod
    def from_settings(cls, settings: ColorSettings) -> Colorizer:
        """The colours that the settings describe, by `METHODS` and `TRANSFORMS`.

        Raises ColorError for a limit or colour map that cannot be, SpecError for a wrong formula.
        """
        norm, colormap = TRANSFORMS[settings.transform], METHODS[settings.method]
        return cls(norm(settings), colormap(settings), settings.per_cell)

    def __call__(self, planes: NDArray[Any]) -> Bytes:
        """(n, y, x) numbers -> (n, y, x, 3) uint8 RGB."""
        planes = finite(planes)
        norm = self.norm if self.norm.limits() else self.norm.fit(planes, per_plane=self.per_cell)
        signed = self.colormap.signed
        return self.colormap(norm.fitted(planes, signed=signed), norm.domain(signed=signed))

    def fit(self, planes: NDArray[Any]) -> Colorizer:
        """This colorizer with the limits of (n, y, x) frozen: same colours, and a colour bar with numbers."""
        return dataclasses.replace(self, norm=self.norm.fit(planes, per_plane=self.per_cell))

    def describe(self) -> str:
        """In words: colours, value transform and, where it matters, what the extremes are taken of."""
        words = [self.colormap.name, self.norm.describe()]
        if isinstance(self.norm, Auto):
            words.append("each tile by its own range" if self.per_cell else "one range for all tiles")
        return ", ".join(words)

    def bar(self, width: int) -> Bytes:
        """The colours of evenly rising values, from the norm's lower limit to its upper: (width, 3) uint8."""
        low, high = self._ends() or (0.0, 1.0)
        norm = self.norm if self._ends() else dataclasses.replace(self.norm, lo=low, hi=high)  # type: ignore[type-var]
        ramp = np.linspace(low, high, width, dtype=np.float32)
        colors: Bytes = Colorizer(norm, self.colormap)(ramp[None, None])[0, 0]
        return colors

    def ticks(self) -> tuple[str, str, str]:
        """What to write at the bar's left end, middle and right end; the middle is empty if cells differ."""
        ends = self._ends()
        if ends is not None:
            low, high = ends
            return number(low), number((low + high) / 2), number(high)
        limits = self.norm.limits()
        if limits is None:
            return "min", "", "max"
        low_span, high_span = (f"{number(np.min(limit))} … {number(np.max(limit))}" for limit in limits)
        return f"min {low_span}", "", f"max {high_span}"

    def _ends(self) -> tuple[float, float] | None:
        """The limits where they are one pair of numbers, not one pair for each cell."""
        low, high = self.norm.limits() or (None, None)
        return (low, high) if isinstance(low, float | int) and isinstance(high, float | int) else None


# The page's words: which colours, and how values become the range that these are over.
METHODS: Mapping[ColorMethod, Callable[[ColorSettings], Colormap]] = {
    "White/Black": lambda _: Colormap.white_black(),
    "Red/Blue": lambda _: Colormap.red_blue(),
    "Custom": lambda settings: Colormap.custom(settings.space, settings.formulas),
    "Perceptual": lambda settings: Colormap.named(settings.colormap),
}
TRANSFORMS: Mapping[Transform, Callable[[ColorSettings], Norm]] = {
    "Auto [0,1]": lambda _: AutoUnit(),
    "Auto [-1,1]": lambda _: AutoSigned(),
    "Linear": lambda settings: Linear(settings.minimum, settings.maximum),
    "Sigmoid": lambda settings: Sigmoid(settings.gain, settings.offset),
}


def average(planes: NDArray[Any], how: str = "mean", *, axis: int = 0) -> Floats:
    """(n, y, x) -> (1, y, x): the mean, the 1-norm (sum of |v|) or the 2-norm (root of the sum of v²).

    Values that are not finite are left out.
    """
    values: Floats = np.asarray(planes, dtype=np.float32)
    good = np.isfinite(values)
    values = values if good.all() else np.where(good, values, np.float32(0))
    found: Floats
    if how == "mean" and good.all():
        found = values.mean(axis=axis, keepdims=True, dtype=np.float32)
    elif how == "mean":
        count = np.maximum(good.sum(axis=axis, keepdims=True), 1)
        found = (values.sum(axis=axis, keepdims=True, dtype=np.float32) / count).astype(np.float32)
    elif how == "1-norm":
        found = np.abs(values).sum(axis=axis, keepdims=True, dtype=np.float32)
    elif how == "2-norm":
        found = np.sqrt(np.square(values).sum(axis=axis, keepdims=True, dtype=np.float32))
    else:
        raise ColorError(f"no average {how!r}; there are {', '.join(AVERAGES)}")
    return found
