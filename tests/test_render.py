from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFont

from lib_unet_viz.drawing import lettering
from lib_unet_viz.drawing.color import ColorError, Colorizer, Colormap, Linear, average
from lib_unet_viz.drawing.lettering import Lettering
from lib_unet_viz.drawing.montage import BACKGROUND, LABEL, LINES, MARGIN, page_columns
from lib_unet_viz.drawing.render import (
    COVER,
    animation,
    by_step,
    grey,
    mask,
    montage,
    overlay,
    render,
    save_png,
)
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace

TOKENS = ["<|startoftext|>", "red</w>", "circle</w>", "<|endoftext|>", "<|endoftext|>"]


def cells(n: int, height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(n).integers(60, 256, (n, height, width, 3), dtype=np.uint8)


def pixels(image: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(image)


def trace() -> Trace:
    generator = torch.Generator().manual_seed(0)
    made = Trace(meta=Meta(steps=20, tokens={"cond": TOKENS, "uncond": [TOKENS]}))
    for step in (19, 0):
        data = torch.randn(12, 8, 6, generator=generator)
        made.features.add(FeatureMap(Key("OUT11", "features", step=step), data, 0.03))
    shapes = {"QK": (2, 5, 4, 4), "Q": (2, 6, 4, 4), "VQK": (2, 6, 4, 4), "K": (2, 5, 6)}
    for what, shape in shapes.items():
        key = Key("M00", what, 0, "cross", 4, half="uncond")  # type: ignore[arg-type]
        made.attention.add(AttentionMap(key, torch.rand(shape, generator=generator), 3.1))
    mean = Key("OUT04", "QK", 0, "cross", None)
    made.attention.add(AttentionMap(mean, torch.rand(1, 2, 4, 4, generator=generator), tokens=(1, 2)))
    own = Key("OUT04", "QK", 0, "self", 4, image=1, pass_="hires")
    made.attention.add(AttentionMap(own, torch.rand(2, 256, 16, 16, generator=generator), 3.1))
    return made


# Montage


def test_cells_stand_row_by_row_with_gaps() -> None:
    data = cells(5, 40, 50)
    page = pixels(montage(data, columns=3, gap=2))[MARGIN:-MARGIN, MARGIN:-MARGIN]
    scale = (page.shape[1] + 2) // (3 * 50)
    height, width = 40 * scale + 2, 50 * scale + 2
    assert page.shape == (2 * height - 2, 3 * width - 2, 3)
    for index, cell in enumerate(data):
        y, x = index // 3 * height, index % 3 * width
        shown = page[y : y + height - 2, x : x + width - 2]
        np.testing.assert_array_equal(shown, cell.repeat(scale, 0).repeat(scale, 1))
    assert (page[height - 2 : height, : 2 * width] == LINES).all()
    assert (page[height:, 2 * width :] == BACKGROUND).all()


def test_large_grids_keep_their_pixels_and_small_cells_grow() -> None:
    big = montage(cells(320, 64, 64))
    assert big.size == (20 * 65 - 1 + 2 * MARGIN, 16 * 65 - 1 + 2 * MARGIN)
    assert montage(cells(1, 4, 4)).width > 300


@pytest.mark.parametrize(
    ("n", "cell", "columns"), [(320, (64, 64), 20), (1, (8, 8), 1), (12, (8, 8), 4), (37, (8, 8), 8)]
)
def test_pages_are_about_as_wide_as_high(n: int, cell: tuple[int, int], columns: int) -> None:
    assert page_columns(n, cell) == columns


def test_labels_are_shown_whole() -> None:
    """Ink over every column, within it, and none at the picture's edge."""
    long = "an-extraordinarily-long-word-that-nobody-would-ever-write-into-a-prompt"
    for labels in (["a", "b", "c"], ["circle", "square", "triangle"], ["x", long, "女の子"]):
        for n_columns in (3, 60):
            names = (labels * 20)[:n_columns]
            page = pixels(montage(cells(n_columns, 4, 4), columns=n_columns, column_labels=names, gap=0))
            body = page[MARGIN:-MARGIN, MARGIN:-MARGIN]
            cell = body.shape[1] // n_columns
            above = body[: body.shape[0] - cell]
            for column in range(n_columns):
                label = above[:, column * cell : (column + 1) * cell]
                assert (label != BACKGROUND).any()
                assert (label[:, [0, -1]] == BACKGROUND).all()
            assert (page[:MARGIN] == BACKGROUND).all()


def test_row_labels_have_room() -> None:
    page = montage(cells(8, 2, 2), columns=1, row_labels=[f"head {i}" for i in range(8)])
    assert page.height >= 8 * LABEL.height
    assert (pixels(page)[:, :MARGIN] == BACKGROUND).all()


def test_a_long_caption_is_wrapped_inside_the_picture() -> None:
    caption = "OUT11 · step 20\n" + "a caption that goes on " * 20 + "x" * 300
    page = pixels(
        montage(cells(1, 8, 8), caption=caption, colorbar=Colorizer(Linear(-1, 1), Colormap.red_blue()))
    )
    for edge in (page[:MARGIN], page[-MARGIN + 8 :], page[:, :MARGIN], page[:, -MARGIN + 2 :]):
        assert (edge == BACKGROUND).all()
    assert page.shape[0] > montage(cells(1, 8, 8), caption="short").height


def test_wrong_cells_and_label_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        montage(np.zeros((0, 4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="expected"):
        montage(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(ValueError, match="2 column labels for 3 columns"):
        montage(cells(3, 4, 4), columns=3, column_labels=["a", "b"])
    with pytest.raises(ValueError, match="1 row labels for 2 rows"):
        montage(cells(4, 4, 4), columns=2, row_labels=["a"])


# Lettering


@pytest.mark.parametrize("text", ["", "abc", "σ → 女の子 🙂", "\ud800\0\t", "e\u0301", "�", "مرحبا"])
def test_any_text_can_be_drawn(text: str) -> None:
    letters = Lettering(14)
    drawn = letters.mask(text)
    assert drawn.height == letters.height
    assert drawn.width == letters.width(text)
    assert (np.asarray(drawn).max() > 0) == bool("".join(c for c in text if c.isprintable()).strip())


def test_text_that_is_too_long_ends_in_an_ellipsis_or_is_wrapped() -> None:
    letters = Lettering(14)
    assert letters.fit("short", 100) == "short"
    short = letters.fit("antidisestablishmentarianism", 80)
    assert short.endswith("…")
    assert letters.width(short) <= 80
    lines = letters.wrap("one two\nthree " + "w" * 100, 60)
    assert lines[:2] == ["one two", "three"]
    assert "".join(lines[2:]) == "w" * 100
    assert all(letters.width(line) <= 60 for line in lines)


@pytest.mark.parametrize("has_matplotlib", [True, False])
def test_older_pillow_draws_too(monkeypatch: pytest.MonkeyPatch, has_matplotlib: bool) -> None:
    """Pillow before 10.1: load_default() takes no size and gives the bitmap font."""
    bitmap = getattr(ImageFont, "load_default_imagefont", ImageFont.load_default)()
    monkeypatch.setattr(ImageFont, "load_default", lambda: bitmap)
    if not has_matplotlib:
        monkeypatch.setattr(lettering, "_dejavu", lambda size: None)
    cached = (lettering._first_face, lettering._face)
    for function in cached:
        function.cache_clear()
    try:
        for text in ("head 0 é", "女 σ"):
            drawn = Lettering(14).mask(text)
            assert drawn.height == Lettering(14).height
            assert np.asarray(drawn).max() == 255
        assert montage(cells(2, 4, 4), column_labels=["a", "女"], columns=2, caption="x … y").width > 100
    finally:
        for function in cached:
            function.cache_clear()


# Traces


def test_every_map_becomes_a_picture_with_a_caption() -> None:
    shown = render(trace(), Colorizer())
    assert len(shown) == 8
    captions = [item.caption for item in shown]
    assert captions[0].startswith(
        "OUT11  ·  features  ·  step 20 of 20  ·  sigma 0.03\n12 channels, 8 x 6, values -"
    )
    assert "unconditional" in captions[2]
    assert "2 heads, 5 tokens, 4 x 4" in captions[2]
    assert "mean over steps" in captions[6]
    assert "mean over heads, 2 tokens" in captions[6]
    assert "self-attention" in captions[7]
    assert "36 of 256 positions" in captions[7]
    assert "hires pass  ·  image 2" in captions[7]
    assert [item.key for item in shown] == [item.key for item in (*trace().features, *trace().attention)]
    assert all(item.image.mode == "RGB" for item in shown)


def test_one_row_a_head_one_column_a_token() -> None:
    """Head 1's map of token 3 alone is bright: it stands in the second row, fourth column."""
    data = torch.zeros(2, 5, 4, 4)
    data[1, 3] = 1
    alone = Trace(meta=Meta(tokens={"cond": TOKENS}))
    alone.attention.add(AttentionMap(Key("M00", "QK", 0, "cross", 0), data))
    (shown,) = render(alone, Colorizer(Linear(0, 1)))
    white = (pixels(shown.image) == 255).all(-1)
    # Labels have no white square; the colour bar, below, is thin.
    *_, side = takewhile(lambda side: squares(white, side).any(), range(16, 400, 4))
    (top, left), count = np.argwhere(squares(white, side))[0], squares(white, side).sum()
    assert count == 1
    black = (pixels(shown.image) == 0).all(-1)
    before = [squares(black, side)[top, left - k * (side + 1)] for k in (1, 2, 3)]
    above = squares(black, side)[top - side - 1, left]
    after = [squares(black, side)[top, left + side + 1]]
    assert all([*before, above, *after])
    assert not squares(black, side)[:, : left - 3 * (side + 1)].any()
    assert not squares(black, side)[top + side :].any()


def squares(truth: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Where a square of `side` begins that is true all over."""
    sums = np.pad(truth.astype(np.int64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(total == side * side)


@pytest.mark.parametrize("how", ["mean", "1-norm", "2-norm"])
def test_averages(how: str) -> None:
    captions = [item.caption for item in render(trace(), Colorizer(), average=how)]
    assert f"{how} over 12 channels" in captions[0]
    assert f"{how} over 2 heads, 5 tokens" in captions[2]
    assert f"{how} over the channels of 2 heads" in captions[3]
    assert "5 tokens down" in captions[5]


def test_no_average_has_a_word_too_and_a_wrong_one_is_refused() -> None:
    assert render(trace(), Colorizer(), average="none")[0].caption == render(trace(), Colorizer())[0].caption
    with pytest.raises(ColorError, match="median"):
        render(trace(), Colorizer(), average="median")


def test_not_finite_values_are_told() -> None:
    data = torch.ones(2, 2, 2, dtype=torch.float16)
    data[0, 0, 0] = float("inf")
    broken = Trace()
    broken.features.add(FeatureMap(Key("IN00", "features", step=0), data))
    assert "(1 not finite)" in render(broken, Colorizer())[0].caption


@pytest.mark.parametrize(("how", "expected"), [("mean", 1.0), ("1-norm", 1.0), ("2-norm", 1.0)])
@pytest.mark.parametrize("wrong", [float("inf"), float("nan")])
def test_averages_leave_out_what_is_not_finite(how: str, expected: float, wrong: float) -> None:
    data = torch.ones(2, 2, 2)
    data[0, 0, 0] = wrong
    assert average(data.numpy(), how)[0, 0, 0] == expected
    broken = Trace()
    broken.features.add(FeatureMap(Key("IN00", "features", step=0), data))
    [sheet] = render(broken, Colorizer(), average=how)
    assert f"{how} over 2 channels (not finite and left out: 1)" in sheet.caption


def test_steps_of_one_map_come_together_in_order() -> None:
    groups = by_step(render(trace(), Colorizer()))
    assert [item.key.step for item in groups[0]] == [0, 19]
    assert sum(len(group) for group in groups) == 8


# Heat and files


def test_heat_lies_where_it_is_hot() -> None:
    picture = Image.new("RGB", (60, 40), (200, 200, 200))
    heat = np.zeros((4, 6))
    heat[1, 4] = 1.0
    hot = (slice(13, 17), slice(43, 47))
    masked = pixels(mask(picture, heat)).astype(int)
    assert masked.shape == (40, 60, 3)
    assert masked[hot].min() > 150
    assert masked[30:, :20].max() == 0
    covered = pixels(overlay(picture, heat)).astype(int)
    assert (covered[hot][..., 0] - covered[hot][..., 2] > 100).all()
    assert (covered[30:, :20] == 120).all()
    shown = pixels(grey(heat, (80, 120)))
    assert shown.shape == (80, 120, 3)
    assert np.unravel_index(shown[..., 0].argmax(), (80, 120))[0] // 20 == 1


@pytest.mark.parametrize("color", [(220, 30, 35), (35, 65, 215), (128, 128, 128), (0, 0, 0), (255, 255, 255)])
def test_a_map_reads_the_same_whatever_it_lies_on(color: tuple[int, int, int]) -> None:
    """The picture is grey below the heat, so all colour is the heat's, and its value is read by it."""
    heat = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, 0)
    shown = pixels(overlay(Image.new("RGB", (64, 64), color), heat)).astype(float)
    values = np.linspace(0, 1, 1001)
    scale = COVER * values[:, None] * Colormap.plasma()(values).astype(float)
    scale -= scale.mean(1, keepdims=True)
    chroma = shown - shown.mean(-1, keepdims=True)
    read = values[((chroma[..., None, :] - scale) ** 2).sum(-1).argmin(-1)]
    assert np.abs(read - heat).max() < 0.05


def test_heat_of_one_value_and_of_none_is_drawn() -> None:
    picture = Image.new("RGBA", (8, 8), (10, 20, 30, 255))
    assert pixels(mask(picture, np.ones((1, 1)))).tolist() == [[[10, 20, 30]] * 8] * 8
    assert overlay(picture, np.full((2, 2), np.nan)).mode == "RGB"
    assert pixels(overlay(picture, np.zeros((2, 2)))).tolist() == [[[11, 11, 11]] * 8] * 8
    with pytest.raises(ValueError, match=r"expected \(y, x\)"):
        mask(picture, np.ones((1, 2, 2)))


def test_a_png_is_written_whole_into_a_new_folder(tmp_path: Path) -> None:
    image = montage(cells(2, 4, 4))
    path = save_png(image, tmp_path / "new" / "folder" / "sheet.png")
    with Image.open(path) as back:
        np.testing.assert_array_equal(pixels(back.convert("RGB")), pixels(image))
    assert [item.name for item in path.parent.iterdir()] == ["sheet.png"]


def test_an_animation_has_all_frames(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (20 + i, 10), (80 * i, 0, 0)) for i in range(3)]
    path = animation(iter(frames), tmp_path / "a" / "steps.webp", ms=250)
    with Image.open(path) as back:
        assert back.format == "WEBP"
        assert getattr(back, "n_frames", 1) == 3
        assert back.size == (22, 10)
        back.seek(2)
        back.load()
        assert back.info["duration"] == 250
        assert back.convert("RGB").getpixel((0, 0)) == (160, 0, 0)


def test_an_animation_that_cannot_be_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        animation([], tmp_path / "a.webp")
    with pytest.raises(ValueError, match="16383"):
        animation([Image.new("RGB", (16384, 1))], tmp_path / "a.webp")
    assert not list(tmp_path.iterdir())
