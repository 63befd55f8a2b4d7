from __future__ import annotations

import colorsys
import sys

import numpy as np
import pytest
from numpy.typing import NDArray

from lib_unet_viz.drawing.color import (
    FUNCTIONS,
    METHODS,
    TRANSFORMS,
    AutoSigned,
    AutoUnit,
    ColorError,
    Colorizer,
    Colormap,
    Formula,
    Linear,
    Norm,
    Sigmoid,
    average,
)
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.settings import ColorMethod, ColorSettings, Transform

V = np.array([-2.0, -1.0, 0.0, 0.5, 1.0, 4.0])


def sigma(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1 / (1 + np.exp(-x)))


@pytest.mark.parametrize(
    ("norm", "signed", "expected"),
    [
        (AutoUnit(), False, (V + 2) / 6),
        (AutoUnit(), True, (V + 2) / 6),
        (AutoSigned(), False, np.abs(2 * (V + 2) / 6 - 1)),
        (AutoSigned(), True, 2 * (V + 2) / 6 - 1),
        (Linear(-1, 3), True, (np.clip(V, -1, 3) + 1) / 4 * 2 - 1),
        (Linear(-1, 3), False, np.abs(np.clip(V, -1, 3)) / 3),
        (Linear(0.5, 3), False, (np.abs(np.clip(V, 0.5, 3)) - 0.5) / 2.5),
        (Linear(-3, -0.5), False, (np.abs(np.clip(V, -3, -0.5)) - 0.5) / 2.5),
        (Linear(0, 2), False, np.abs(np.clip(V, 0, 2)) / 2),
        (Sigmoid(2, -0.5), True, 2 * sigma(2 * (V - 0.5)) - 1),
        (Sigmoid(2, -0.5), False, 2 * np.abs(sigma(2 * (V - 0.5)) - 0.5)),
    ],
)
def test_value_transforms(norm: Norm, signed: bool, expected: NDArray[np.float64]) -> None:
    got = norm(V, signed=signed)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, atol=1e-6)
    low, high = norm.domain(signed=signed)
    assert low <= got.min()
    assert got.max() <= high


@pytest.mark.parametrize("norm", [AutoUnit(), AutoSigned(), Linear(), Sigmoid(1e30, 0)])
@pytest.mark.parametrize("signed", [True, False])
def test_what_is_not_finite_or_does_not_differ_stays_in_range(norm: Norm, signed: bool) -> None:
    wild = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0, 1e-45])
    for values in (wild, np.full(4, np.nan), np.full(4, 7.0), np.array([1, np.inf], np.float16)):
        got = norm(values, signed=signed)
        assert np.isfinite(got).all()
        assert (np.abs(got) <= 1).all()
    if not isinstance(norm, Linear | Sigmoid):
        assert (norm(np.full(3, 7.0), signed=signed) == 0).all()


@pytest.mark.parametrize(
    "make", [lambda: Linear(1, 1), lambda: Linear(2, 1), lambda: Linear(0, float("inf"))]
)
def test_linear_refuses_an_empty_range(make: object) -> None:
    with pytest.raises(ColorError, match="below the maximum"):
        make()  # type: ignore[operator]


def test_fit_freezes_the_limits_in_a_new_norm() -> None:
    norm = AutoUnit()
    fitted = norm.fit(V)
    assert norm.limits() is None
    assert fitted.limits() == (-2.0, 4.0)
    np.testing.assert_allclose(fitted(np.array([1.0, 99.0, -99.0])), [0.5, 1, 0])
    planes = np.stack([V, 10 * V])[:, None]
    assert AutoSigned().fit(planes, per_plane=True).limits() == ((-2.0, -20.0), (4.0, 40.0))


def test_cells_are_normalised_alone_or_together() -> None:
    planes = np.stack([np.linspace(0, 1, 4).reshape(2, 2), np.linspace(0, 2, 4).reshape(2, 2)])
    alone = Colorizer(AutoUnit(), Colormap.white_black(), per_cell=True)(planes)
    together = Colorizer(AutoUnit(), Colormap.white_black(), per_cell=False)(planes)
    assert alone.shape == (2, 2, 2, 3)
    assert alone.dtype == np.uint8
    assert alone[0].max() == alone[1].max() == 255
    assert together[0].max() == 128
    assert together[1].max() == 255


def test_red_is_positive_and_blue_is_negative() -> None:
    colors = Colorizer(Linear(-1, 1), Colormap.red_blue())(np.array([[[-1, -0.5, 0, 0.5, 1]]]))[0, 0]
    assert colors.tolist() == [[0, 0, 255], [0, 0, 128], [0, 0, 0], [128, 0, 0], [255, 0, 0]]


def test_white_is_far_from_zero() -> None:
    colors = Colorizer(Linear(-1, 1), Colormap.white_black())(np.array([[[-1, 0, 0.6]]]))[0, 0]
    assert colors.tolist() == [[255] * 3, [0] * 3, [153] * 3]


def test_hsl_is_that_of_colorsys_and_hue_wraps() -> None:
    v = np.linspace(-1, 1, 41)
    colormap = Colormap.custom("hsl", ("(2+v)/3 + 5", "abs(v)", "0.3 + v/2"))
    got = colormap(v, (-1, 1))
    lightness, saturation = np.clip(0.3 + v / 2, 0, 1), np.abs(v)
    hls = zip((2 + v) / 3 % 1, lightness, saturation, strict=True)
    expected = [colorsys.hls_to_rgb(*color) for color in hls]
    np.testing.assert_allclose(got, np.array(expected) * 255, atol=1.5)


def test_custom_results_are_clipped() -> None:
    colors = Colormap.custom("RGB", ("3*v", "-v", "log(v)"))(np.array([-1.0, 0.0, 1.0]), (-1, 1))
    assert colors.tolist() == [[0, 255, 0], [0, 0, 0], [255, 0, 0]]


def test_a_value_in_0_to_1_reaches_a_custom_formula_as_it_is() -> None:
    colors = Colorizer(AutoUnit(), Colormap.custom("RGB", ("v", "v", "v")))(np.array([[[0.0, 1.0, 2.0]]]))
    assert colors[0, 0, :, 0].tolist() == [0, 128, 255]


def test_a_named_colour_map_spans_what_the_norm_gives() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    ends = (matplotlib.colormaps["viridis"]([0.0, 1.0])[:, :3] * 255).round()
    for norm in (AutoUnit(), AutoSigned(), Linear(0, 1)):
        colors = Colorizer(norm, Colormap.named("viridis"))(np.array([[[0.0, 1.0]]]))[0, 0]
        np.testing.assert_array_equal(colors, ends)
    with pytest.raises(ColorError, match=r"no colour map 'nope'.*viridis"):
        Colormap.named("nope")


def test_plasma_is_matplotlibs() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    v = np.linspace(0, 1, 50)
    wanted = matplotlib.colormaps["plasma"](v)[:, :3] * 255
    assert np.abs(Colormap.plasma()(v).astype(float) - wanted).max() < 6


def test_turbo_is_close_to_matplotlibs() -> None:
    matplotlib = pytest.importorskip("matplotlib")
    v = np.linspace(0, 1, 101)
    wanted = matplotlib.colormaps["turbo"](v)[:, :3] * 255
    assert np.abs(Colormap.turbo()(v).astype(float) - wanted).max() < 35


def test_without_matplotlib_a_named_map_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ColorError, match="not installed"):
        Colormap.named("viridis")


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("per_cell", [True, False])
def test_every_setting_colours_and_has_a_bar(
    method: ColorMethod, transform: Transform, per_cell: bool
) -> None:
    planes = np.random.default_rng(0).standard_normal((3, 4, 5)).astype(np.float16)
    colorizer = Colorizer.from_settings(ColorSettings(method, transform, per_cell=per_cell))
    fitted = colorizer.fit(planes)
    np.testing.assert_array_equal(colorizer(planes), fitted(planes))
    assert fitted.bar(50).shape == (50, 3)
    assert len(fitted.bar(50).tolist()) == len(colorizer.bar(50).tolist())
    assert all(fitted.ticks()[::2])
    assert transform in fitted.describe() or transform in ("Linear", "Sigmoid")


def test_the_bar_shows_the_limits() -> None:
    fitted = Colorizer(AutoUnit(), per_cell=False).fit(np.array([[[-1.0, 3.0]]]))
    assert fitted.ticks() == ("-1", "1", "3")
    assert fitted.bar(3).tolist() == [[0] * 3, [128] * 3, [255] * 3]
    assert Colorizer(Linear(-2, 0.5)).ticks() == ("-2", "-0.75", "0.5")


def test_unknown_words_are_refused_with_what_there_is() -> None:
    with pytest.raises(ColorError, match="RGB, HSL"):
        Colormap.custom("LAB", ("v", "v", "v"))
    with pytest.raises(ColorError, match="RGB takes three, for R, G, B"):
        Colormap.custom("RGB", ("v", "v"))
    with pytest.raises(ColorError, match="mean, 1-norm, 2-norm"):
        average(np.ones((1, 1, 1)), "median")


def test_averages_over_channels() -> None:
    planes = np.array([[[3.0, -1.0]], [[-4.0, 1.0]]])
    assert average(planes).tolist() == [[[-0.5, 0.0]]]
    assert average(planes, "1-norm").tolist() == [[[7.0, 2.0]]]
    np.testing.assert_allclose(average(planes, "2-norm"), [[[5.0, np.sqrt(2)]]], rtol=1e-6)


# Formulas


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("abs(v)", np.abs(V)),
        ("(2+v)/3", (2 + V) / 3),
        ("where(v>0,v,0)", np.where(V > 0, V, 0)),
        ("v if v > 0 else 0", np.where(V > 0, V, 0)),
        ("0 < v <= 1 and not v == 0.5", (V > 0) & (V <= 1) & (V != 0.5)),
        ("(v>0) & (v<1) | (v==-2)", (V > 0) & (V < 1) | (V == -2)),
        ("~(v>0)", V <= 0),
        ("(v>0) - (v<0)", np.sign(V)),
        ("-v**2 % 3 // 1", -(V**2) % 3 // 1),
        (" sin(2*pi*v)\n + e", np.sin(2 * np.pi * V) + np.e),
        ("0.5", np.full(6, 0.5)),
        ("maximum(v, clip(v, 0, 1))", np.maximum(V, np.clip(V, 0, 1))),
        ("9**9**9", np.full(6, np.inf)),
    ],
)
def test_formulas(text: str, expected: NDArray[np.float64]) -> None:
    np.testing.assert_allclose(Formula.parse(text)(V), expected, rtol=1e-12)


def test_every_function_of_the_list_can_be_called() -> None:
    for name, count in FUNCTIONS.items():
        result = Formula.parse(f"{name}({', '.join(['v', '0.5', '2'][:count])})")(V)
        assert result.shape == V.shape, name
        assert result.dtype == np.float64, name


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("", 0),
        ("v +", 3),
        ("  w", 2),
        ("é + v", 0),
        ("v.real", 0),
        ("1 + v.__class__", 4),
        ("__import__('os').system('true')", 0),
        ("abs(__import__('os'))", 4),
        ("open('x','w')", 0),
        ("exec('1')", 0),
        ("np.abs(v)", 0),
        ("(lambda: 0)()", 1),
        ("[v for v in v]", 0),
        ("v[0]", 0),
        ("'a'", 0),
        ("1j", 0),
        ("v^2", 0),
        ("v @ v", 0),
        ("v << 60", 0),
        ("abs", 0),
        ("1 + abs(v, v)", 4),
        ("abs(x=v)", 6),
        ("abs(*v)", 4),
        ("where(v>0, v)", 0),
        ("v is v", 0),
        ("(v := 2)", 1),
        ("f'{v}'", 0),
        ("None", 0),
        ("-" * 300 + "v", 101),
        ("(" * 300 + "v" + ")" * 300, None),
        ("v" * 5000, 1000),
        ("9" * 999, 0),
        ("v\0", None),
    ],
)
def test_everything_else_is_refused_with_its_place(text: str, position: int | None) -> None:
    with pytest.raises(SpecError) as caught:
        Formula.parse(text)
    assert position is None or caught.value.position == position


def test_a_refused_formula_shows_a_caret() -> None:
    with pytest.raises(SpecError) as caught:
        Colorizer.from_settings(ColorSettings("Custom", formulas=("v", "1 + spam(v)", "v")))
    assert str(caught.value).startswith("there is no function spam\n  1 + spam(v)\n      ^^^^\nallowed: abs,")


def test_a_nested_comparison_is_evaluated_once_per_part() -> None:
    assert Formula.parse("v" + "<(v" * 90 + ")<v" * 90)(V).shape == V.shape
