"""HTML by which objects show themselves in a notebook. Every text is escaped; pictures are data addresses."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

_HEIGHT = 192  # of a shown picture, in the notebook's pixels


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with one line for each row."""
    lines = [_line("th", heads), *(_line("td", row) for row in rows)]
    return f"<table>{''.join(lines)}</table>"


def paragraph(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def picture(image: Image.Image, *, alt: str) -> str:
    """The picture as a PNG within the text."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="{html.escape(alt)}" height="{_HEIGHT}" src="data:image/png;base64,{data}">'


def figures(pictures: Iterable[tuple[Image.Image, str]]) -> str:
    """Pictures beside each other, each with its caption below."""
    each = (_figure(image, text) for image, text in pictures)
    return f'<div style="display:flex;flex-wrap:wrap;gap:8px">{"".join(each)}</div>'


def grey(plane: npt.NDArray[np.float32]) -> Image.Image:
    """Values (y, x) from black, the least finite one, to white, the greatest; what is not finite is black."""
    finite = np.isfinite(plane)
    if not finite.any():
        return Image.new("L", (plane.shape[1], plane.shape[0]))
    values = plane.astype(np.float64)
    low, high = values[finite].min(), values[finite].max()
    shares = np.where(finite, (values - low) / ((high - low) or 1.0), 0.0)
    return Image.fromarray(np.round(shares * 255).astype(np.uint8))


def _figure(image: Image.Image, text: str) -> str:
    shown = picture(image, alt=text)
    return f'<figure style="margin:0">{shown}<figcaption>{html.escape(text)}</figcaption></figure>'


def _line(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(str(cell))}</{tag}>' for cell in cells)}</tr>"
