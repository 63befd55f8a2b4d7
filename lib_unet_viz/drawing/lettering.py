"""Text as masks: the same words on every machine, whatever fonts and whichever Pillow it has.

Pillow's own font comes first (Pillow 10.1 and newer), then matplotlib's DejaVu Sans where installed, then
fonts of the system for writing that these lack, then Pillow's old bitmap font, enlarged. A character that no
font has is written as its code, such as \\u5973: never an empty box, never an exception.
"""

from __future__ import annotations

import functools
import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

# They cover much of the world's writing; the file names are those of Linux, Windows and macOS.
_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "DroidSansFallbackFull.ttf",
    "wqy-microhei.ttc",
    "YuGothM.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "seguisym.ttf",
    "Hiragino Sans GB.ttc",
    "Arial Unicode.ttf",
)
_ELLIPSIS = "…"
_BITMAP_HEIGHT = 11


@dataclass(frozen=True)
class Lettering:
    """Text of one size, in pixels. Lengths are in pixels too."""

    size: int

    @property
    def height(self) -> int:
        """Of a line: from the highest letter to the lowest."""
        return round(self.size * 1.3)

    def width(self, text: str) -> int:
        shown = _printable(text)
        if not isinstance(_first_face(self.size), ImageFont.FreeTypeFont):
            return _bitmap_mask(shown, self.height).width
        return max(1, math.ceil(sum(face.getlength(part) for face, part in _runs(shown, self.size))))

    def mask(self, text: str) -> Image.Image:
        """One line of text as an image in mode L, `height` tall: 255 where there is ink."""
        shown = _printable(text)
        if not isinstance(_first_face(self.size), ImageFont.FreeTypeFont):
            return _bitmap_mask(shown, self.height)
        mask = Image.new("L", (self.width(text), self.height))
        draw, x = ImageDraw.Draw(mask), 0.0
        for face, part in _runs(shown, self.size):
            draw.text((x, self.size), part, font=face, fill=255, anchor="ls")
            x += face.getlength(part)
        return mask

    def fit(self, text: str, width: int) -> str:
        """The text, or as much of its beginning as fits into `width` with an ellipsis."""
        if self._fitting(text, 0, width) == len(text):
            return text

        def shortened(length: int) -> str:
            return text[:length].rstrip() + _ELLIPSIS

        return shortened(_longest(lambda length: self.width(shortened(length)) <= width, len(text) - 1))

    def wrap(self, text: str, width: int) -> list[str]:
        """Lines of at most `width`, broken at spaces, inside a word only where it is longer than a line."""
        return list(self.lines(text, width))

    def lines(self, text: str, width: int) -> Iterator[str]:
        """The lines of `wrap`, one by one; each letter is measured a few times, however long the text is."""
        for paragraph in text.splitlines():
            yield from self._lines(paragraph.strip(" "), width)

    def _lines(self, text: str, width: int) -> Iterator[str]:
        at = 0
        while True:
            length = max(1, self._fitting(text, at, width))
            if at + length >= len(text):
                yield text[at:]
                return
            space = text.rfind(" ", at + 1, at + length + 1)
            cut = space if space > 0 else at + length
            yield text[at:cut].rstrip(" ")
            at = next(place for place in range(cut, len(text)) if text[place] != " ")

    def _fitting(self, text: str, at: int, width: int) -> int:
        """How many letters from `at` on fit into `width`."""
        return _longest(lambda length: self.width(text[at : at + length]) <= width, len(text) - at)


def _longest(fits: Callable[[int], bool], most: int) -> int:
    """The greatest length of at most `most` that fits, 0 if none does; none above twice it is asked about."""
    high = 1
    while high <= most and fits(high):
        high *= 2
    between = range(high // 2 + 1, min(high, most + 1))
    return high // 2 + bisect_left(between, True, key=lambda length: not fits(length))


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def _runs(text: str, size: int) -> Iterator[tuple[ImageFont.FreeTypeFont, str]]:
    """The text in pieces that one font can write."""
    faces = [(_face(c, size), c) for c in text]
    for face, group in itertools.groupby(faces, key=lambda pair: pair[0]):
        letters = "".join(c for _, c in group)
        if face is None:
            face, letters = _first_face(size), letters.encode("ascii", "backslashreplace").decode()
        if isinstance(face, ImageFont.FreeTypeFont):
            yield face, letters


@functools.lru_cache(maxsize=4096)
def _face(char: str, size: int) -> ImageFont.FreeTypeFont | None:
    return next((face for face in _faces(size) if _draws(face, char)), None)


def _draws(face: ImageFont.FreeTypeFont, char: str) -> bool:
    """Whether the font has a glyph of its own: what it lacks looks like U+FFFF, which no font has."""
    glyph, missing = face.getmask(char), face.getmask("\uffff")
    return char == " " or glyph.size != missing.size or bytes(glyph) != bytes(missing)


def _faces(size: int) -> Iterator[ImageFont.FreeTypeFont]:
    first = _first_face(size)
    if isinstance(first, ImageFont.FreeTypeFont):
        yield first
    others = itertools.chain([_dejavu(size)], (_truetype(name, size) for name in _SYSTEM_FONTS))
    yield from (face for face in others if face is not None)


@functools.cache
def _first_face(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    try:
        face = ImageFont.load_default(size=size)
    except (TypeError, ImportError, OSError):  # Pillow before 10.1; Pillow without FreeType
        return _dejavu(size) or ImageFont.load_default()
    return face if isinstance(face, ImageFont.FreeTypeFont) else _dejavu(size) or face


@functools.cache
def _dejavu(size: int) -> ImageFont.FreeTypeFont | None:
    try:
        import matplotlib
    except ImportError:
        return _truetype("DejaVuSans.ttf", size)
    return _truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


@functools.cache
def _truetype(name: str, size: int) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, size)
    except (ImportError, OSError):
        return None


def _bitmap_mask(text: str, height: int) -> Image.Image:
    """Pillow's bitmap font knows Latin-1 only and has one size."""
    face = ImageFont.load_default()
    shown = text.replace(_ELLIPSIS, "...").encode("latin-1", "backslashreplace").decode("latin-1")
    width = max(1, int(face.getbbox(shown)[2]))
    mask = Image.new("L", (width, _BITMAP_HEIGHT))
    ImageDraw.Draw(mask).text((0, 0), shown, font=face, fill=255)
    scale = max(1, round(height / (_BITMAP_HEIGHT + 3)))
    enlarged = mask.resize((width * scale, _BITMAP_HEIGHT * scale), Image.Resampling.NEAREST)
    line = Image.new("L", (enlarged.width, height))
    line.paste(enlarged, (0, (height - enlarged.height) // 2))
    return line
