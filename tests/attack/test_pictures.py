"""Pictures that come in: usual kinds are read; all else is refused in words, before it costs much."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib_unet_viz.drawing.pictures import PictureError, opened


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it has so many pixels, in few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_usual_kinds(kind: str) -> None:
    red = Image.new("RGB", (12, 8), (250, 10, 10))
    found = opened(encoded(red, kind))
    assert (found.mode, found.size) == ("RGB", (12, 8))
    assert np.abs(np.asarray(found).astype(int) - (250, 10, 10)).max() < 10


def test_other_modes() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert opened(encoded(clear, "PNG")).getpixel((0, 0)) == (255, 255, 255)
    deep = Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))
    assert opened(encoded(deep, "PNG")).getpixel((0, 0)) == (128, 128, 128)
    assert opened(encoded(Image.new("CMYK", (4, 4), (0, 0, 0, 0)), "JPEG")).getpixel((0, 0)) == (
        255,
        255,
        255,
    )
    turned = Image.new("RGB", (4, 8))
    exif = turned.getexif()
    exif[0x0112] = 6
    assert opened(encoded(turned, "JPEG", exif=exif)).size == (8, 4)
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    moving = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert opened(moving).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (bomb(13_300, 13_300), "13,300 x 13,300 pixels; allowed: 40,000,000 pixels"),
        (bomb(1, 60_000), "each side at most 16,384"),
        (bomb(500_000, 500_000), "allowed: 40,000,000 pixels"),
        (encoded(Image.new("RGB", (40, 40)), "PNG")[:60], "broken|no picture"),
        (encoded(Image.new("RGB", (40, 40)), "EPS"), "no picture of a known kind; allowed: PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (b"", "no picture"),
        (b"\0" * 65_000_000, "65,000,000 bytes; allowed: 64,000,000"),
    ],
)
def test_what_is_refused(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(PictureError, match=says):
        opened(data)
    path = tmp_path / "picture"
    path.write_bytes(data)
    with pytest.raises(PictureError, match=says):
        opened(path)


def changed(data: bytes, rng: np.random.Generator) -> bytes:
    """The file with up to three bytes of it, most of them of its head, made others."""
    content = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        content[rng.integers(min(len(content), 200))] = rng.integers(256)
    return bytes(content)


@pytest.mark.parametrize(
    ("kind", "mode"),
    [
        *((kind, "RGB") for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")),
        *(("TIFF", m) for m in ("L", "P", "I;16")),
    ],
)
def test_broken_files_are_read_or_refused_in_few_words(kind: str, mode: str) -> None:
    data, rng = encoded(Image.new(mode, (24, 24)), kind), np.random.default_rng(0)
    broken = [*(data[:end] for end in range(0, len(data), 16)), *(changed(data, rng) for _ in range(700))]
    for content in broken:
        try:
            said, mode = "", opened(content).mode
        except PictureError as error:
            said, mode = str(error), "RGB"
        assert mode == "RGB"
        assert len(said) < 300


@pytest.mark.parametrize("kind", [2, 5, 7, 12])
def test_a_tiff_whose_pixels_begin_at_no_whole_number(kind: int) -> None:
    """Pillow raises a TypeError where the entry StripOffsets is a text, a fraction, bytes or a float."""
    data = bytearray(encoded(Image.new("L", (9, 9)), "TIFF"))
    data[data.index(b"\x11\x01\x04\0\x01\0\0\0") + 2] = kind
    with pytest.raises(PictureError, match="the picture is broken"):
        opened(bytes(data))
