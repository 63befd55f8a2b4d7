"""Pictures that come in: opened in one place, with what they may be and how large."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from lib_unet_viz.maps.vxa import upright

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MOST_BYTES, MOST_PIXELS, LONGEST_SIDE = 64_000_000, 40_000_000, 16_384


class PictureError(ValueError):
    """A picture that cannot be read, or is larger than allowed; the message says the bound."""


def opened(source: Path | bytes, *, on: str = "white") -> Image.Image:
    """The picture of a file or of its bytes, RGB, as a viewer shows it; of an animation the first frame.

    Of the formats above; turned as its EXIF says, on a colour where transparent, 16 bits as 8. Its size is
    looked at before its pixels are decoded. Raises PictureError, and OSError where there is no such file.
    """
    size = source.stat().st_size if isinstance(source, Path) else len(source)
    if size > MOST_BYTES:
        raise PictureError(f"the picture has {size:,} bytes; allowed: {MOST_BYTES:,}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes: the bounds below are closer
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            with Image.open(file, formats=FORMATS) as picture:
                _check(picture)
                picture.load()
                return upright(_eight_bits(picture), on=on)
    except Image.DecompressionBombError:
        raise PictureError(f"the picture is too large; allowed: {_BOUNDS}") from None
    except UnidentifiedImageError:
        raise PictureError(f"this is no picture of a known kind; allowed: {', '.join(FORMATS)}") from None
    except (PictureError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # Pillow's decoders let through whatever a broken file leads to
        raise PictureError(f"the picture is broken: {str(error)[:200]}") from None


_BOUNDS = f"{MOST_PIXELS:,} pixels, each side at most {LONGEST_SIDE:,}"


def _check(picture: Image.Image) -> None:
    width, height = picture.size
    if width * height > MOST_PIXELS or max(width, height) > LONGEST_SIDE:
        raise PictureError(f"the picture has {width:,} x {height:,} pixels; allowed: {_BOUNDS}")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of 16 bits as 8, which conversion to RGB would cut off."""
    if not picture.mode.startswith("I"):
        return picture
    values = np.asarray(picture.convert("I"))
    scaled = values // 257 if values.max(initial=0) > 255 else values
    return Image.fromarray(np.clip(scaled, 0, 255).astype(np.uint8))
