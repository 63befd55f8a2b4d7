from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from lib_unet_viz.maps import edges
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.maps.aggregation import resize
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, AttentionMaps, Key, Selection, Trace

TOKENS = ["<|startoftext|>", "ring</w>", "<|endoftext|>"]
Picture = np.ndarray


def disc(height: int, width: int, *, at: tuple[float, float], radius: float) -> Picture:
    y, x = np.ogrid[:height, :width]
    return (y - at[0]) ** 2 + (x - at[1]) ** 2 < radius**2


def painted(inside: Picture, color: tuple[int, int, int] = (200, 60, 40)) -> Image.Image:
    """On a pale ground."""
    whole = np.full((*inside.shape, 3), (190, 220, 240), np.uint8)
    whole[inside] = color
    return Image.fromarray(whole)


def iou(heat: torch.Tensor, inside: Picture) -> float:
    above = resize(heat[None], inside.shape)[0].numpy() > 0.5
    return float((above & inside).sum() / (above | inside).sum())


@pytest.mark.parametrize(("height", "width"), [(128, 128), (512, 512), (192, 384), (100, 60)])
def test_a_coarse_map_ends_at_the_edges_of_the_picture(height: int, width: int) -> None:
    inside = disc(height, width, at=(height * 0.45, width * 0.6), radius=min(height, width) * 0.22)
    places = [round(16 * side / max(height, width)) for side in (height, width)]
    coarse = resize(torch.from_numpy(inside).float()[None], (places[0], places[1]))
    coarse = functional.avg_pool2d(coarse, 3, 1, 1, count_include_pad=False)
    [found] = edges.along(coarse, painted(inside))
    assert max(found.shape) == min(edges.SIDE, max(height, width))
    assert found.shape[0] / found.shape[1] == pytest.approx(height / width, rel=0.03)
    assert iou(found, inside) > max(0.94, iou(coarse[0], inside) + 0.03)


def test_where_the_picture_is_plain_a_map_is_only_smoothed() -> None:
    plain = Image.new("RGB", (128, 128), "skyblue")
    maps = torch.rand(3, 16, 16)
    found = edges.along(maps, plain)
    assert (
        functional.adaptive_avg_pool2d(found, 4).sub(functional.adaptive_avg_pool2d(maps, 4)).abs().max()
        < 0.2
    )
    flat = torch.full((1, 16, 16), 0.3)
    torch.testing.assert_close(edges.along(flat, plain), torch.full((1, 128, 128), 0.3))


def test_each_map_keeps_its_range_and_its_unit() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8))
    maps = torch.rand(2, 16, 16) * torch.tensor([1.0, 40.0])[:, None, None] + 3
    found = edges.along(maps, noise)
    assert (found.amin((1, 2)) >= maps.amin((1, 2))).all()
    assert (found.amax((1, 2)) <= maps.amax((1, 2))).all()
    torch.testing.assert_close(edges.along(10 * maps, noise), 10 * found, rtol=1e-3, atol=1e-3)


def test_a_map_does_not_depend_on_its_neighbours() -> None:
    picture = painted(disc(128, 128, at=(60, 60), radius=30))
    maps = torch.rand(2, 16, 16)
    torch.testing.assert_close(edges.along(maps, picture)[1:], edges.along(maps[1:], picture))


def trace(*, images: int, picture: Image.Image | None) -> Trace:
    """Random attention of one layer, the same for each image."""
    data = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)).softmax(1)
    keys = [Key("IN01", "QK", layer=0, kind="cross", image=image) for image in range(images)]
    return Trace(
        attention=AttentionMaps(AttentionMap(key, data) for key in keys),
        meta=Meta(tokens={"cond": TOKENS}),
        picture=picture,
    )


def test_the_picture_guides_its_own_image_alone() -> None:
    picture = painted(disc(128, 128, at=(60, 60), radius=30))
    two = trace(images=2, picture=picture)
    sizes = [heatmap.word_maps(two, selection=Selection(image))[0].values.shape for image in range(2)]
    assert sizes == [(128, 128), (16, 16)]
    [given] = heatmap.word_maps(two, selection=Selection(1), picture=picture)
    [first] = heatmap.word_maps(two)
    np.testing.assert_array_equal(given.values, first.values)


def test_without_a_picture_guided_is_as_iterated() -> None:
    bare = trace(images=1, picture=None)
    [guided], [iterated] = (heatmap.word_maps(bare, method=method) for method in ("guided", "iterated"))
    np.testing.assert_array_equal(guided.values, iterated.values)


def test_a_picture_may_be_transparent_or_grey() -> None:
    inside = disc(128, 128, at=(60, 60), radius=30)
    for mode in ("L", "RGBA", "P"):
        [found] = edges.along(torch.rand(1, 16, 16), painted(inside).convert(mode))
        assert torch.isfinite(found).all()
