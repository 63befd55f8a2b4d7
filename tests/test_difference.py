"""What changed between two runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.drawing import difference as module
from lib_unet_viz.drawing.color import Colorizer
from lib_unet_viz.drawing.difference import DifferenceError, baseline, brightened, difference, rms
from lib_unet_viz.meta import Meta
from lib_unet_viz.settings import AttentionSettings, ColorSettings, DifferenceSettings, Settings
from lib_unet_viz.trace import AttentionMap, AttentionMaps, FeatureMap, FeatureMaps, Key, Trace


def trace(seed: int, *, blocks: tuple[str, ...] = ("IN00", "M00"), image: int = 0, **meta: Any) -> Trace:
    generator = torch.Generator().manual_seed(seed)

    def values(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).half()

    features = [FeatureMap(Key(block, "features", step=2, image=image), values(3, 4, 5)) for block in blocks]
    key = Key("M00", "QK", 0, "cross", step=2, image=image)
    pixels = torch.randint(0, 255, (8, 6, 3), generator=generator).byte().numpy()
    return Trace(
        features=FeatureMaps(features),
        attention=AttentionMaps([AttentionMap(key, values(2, 3, 4, 5), 1.0, tokens=(1, 2, 3))]),
        meta=Meta.of({"blocks": ["IN00", "IN01", "M00"], "steps": 4, "seed": seed, "prompt": "x", **meta}),
        picture=Image.fromarray(pixels),
    )


@pytest.mark.parametrize("absolute", [False, True])
def test_every_value_is_the_difference(absolute: bool) -> None:
    a, b = trace(1), trace(2, tokens={"cond": ["x"]})
    found = difference(a, b, absolute=absolute)
    for one, other, item in zip(
        [*a.features, *a.attention],
        [*b.features, *b.attention],
        [*found.features, *found.attention],
        strict=True,
    ):
        expected = other.data.double() - one.data.double()
        assert item.data.dtype == torch.float32
        torch.testing.assert_close(item.data.double(), expected.abs() if absolute else expected)
        assert item.key == other.key
    assert found.attention[0].tokens == (1, 2, 3)
    assert found.meta["difference"] == ("|b − a|" if absolute else "b − a")
    assert [found.meta["compared"][name]["seed"] for name in "ab"] == [1, 2]
    assert "tokens are compared by their positions" in found.notes[0]


def test_a_difference_can_be_saved_and_drawn(tmp_path: Path) -> None:
    changed = difference(trace(1), trace(2, image=3))
    again = load_trace(save_trace(changed, tmp_path / "changed"))
    assert again.features.one(block="M00").numpy().tobytes() == changed.features[1].numpy().tobytes()
    assert again.meta["difference"] == "b − a"
    [sheet] = module.feature_sheets(again, DifferenceSettings(enabled=True, blocks="M00"))
    assert "|b − a|" in sheet.caption  # in White/Black, the default
    signed = DifferenceSettings(enabled=True, blocks="M00", color=ColorSettings(method="Red/Blue"))
    [sheet] = module.feature_sheets(again, signed)
    assert "  ·  b − a  ·  " in sheet.caption
    assert module.attention_sheet(again, again.attention[0], AttentionSettings()).image.width > 100
    assert module.feature_sheets(again, DifferenceSettings()) == []


@pytest.mark.parametrize(("method", "color"), [("White/Black", (0, 0, 0)), ("Red/Blue", None)])
def test_no_change_has_one_color_whatever_else_there_is(method: Any, color: Any) -> None:
    settings = ColorSettings(method=method, transform="Auto [-1,1]")
    seen = set()
    for others in ((-1.0, 0.5), (2.0, 3.0), (-4.0, -3.0)):
        data = torch.zeros(3, 4, 4)
        data[1:] = torch.tensor(others)[:, None, None]
        item = FeatureMap(Key("M00", "features", step=0), data)
        fitted = module.centered(settings, item)
        planes = module.shown(item, fitted).planes()
        drawn = Colorizer.from_settings(fitted).fit(planes)(planes)
        seen.add(tuple(int(value) for value in drawn[0, 0, 0]))
        assert not np.array_equal(drawn[0], drawn[1])
    assert len(seen) == 1
    assert color is None or seen == {color}


def test_nothing_changed_is_drawn_too() -> None:
    changed = difference(trace(1), trace(1))
    assert changed.picture is not None
    assert changed.picture.getextrema() == ((0, 0),) * 3
    assert module.feature_sheets(changed, DifferenceSettings(enabled=True, blocks="M00"))
    assert module.comparison(trace(1), trace(1)).width > 100


@pytest.mark.parametrize("method", ["White/Black", "Red/Blue"])
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_counted_and_the_rest_is_drawn(method: Any, wrong: float) -> None:
    before, after = trace(1), trace(2)
    for each in (before, after):
        each.features[0].data[0, 0, 0] = wrong  # in both: infinity less infinity is NaN
    changed = difference(before, after)
    settings = DifferenceSettings(enabled=True, blocks="IN00", color=ColorSettings(method=method))
    [sheet] = module.feature_sheets(changed, settings)
    assert "(1 not finite)" in sheet.caption
    rest = changed.features[0].numpy().copy()
    rest[0, 0, 0] = 0
    assert module.centered(settings.color, changed.features[0]).maximum == float(np.abs(rest).max())


def test_what_only_one_of_them_holds_is_noted() -> None:
    found = difference(trace(1, blocks=("IN00", "IN01")), trace(2))
    assert [item.key.block for item in found.features] == ["IN00"]
    assert "IN01" in found.notes[0]
    assert "M00" in found.notes[0]
    empty = Trace(meta=Meta(seed=1))
    with pytest.raises(DifferenceError, match="nothing to compare"):
        difference(trace(1), empty)


def test_pictures() -> None:
    a, b = Image.new("RGB", (4, 2), (10, 20, 30)), Image.new("RGB", (4, 2), (13, 20, 26))
    assert rms(a, b) == pytest.approx(((9 + 0 + 16) / 3) ** 0.5)
    changed = module.picture_difference(a, b)
    assert changed.getpixel((0, 0)) == (3, 0, 4)
    [bright], factor = brightened([changed])
    assert factor == 255 / 4
    assert bright.getpixel((0, 0)) == (191, 0, 255)
    with pytest.raises(DifferenceError, match="2 x 4 and of 4 x 4"):
        rms(a, Image.new("RGB", (4, 4)))


def test_without_the_layers() -> None:
    prompt = "a (~:IN00:big; _:small:~) dog"
    assert baseline(prompt, ["IN00", "IN01", "M00"], "common") == "a small dog"
    assert baseline(prompt, ["IN00", "IN01", "M00"], "erased") == "a  dog"


def test_settings_of_differences() -> None:
    settings = Settings.from_dict({"difference": {"enabled": True, "baseline": "erased", "blocks": "M00"}})
    assert settings.difference.capture() is not None
    assert settings.difference.color.method == "White/Black"
    assert Settings().difference.capture() is None
