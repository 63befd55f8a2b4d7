"""Objects that show themselves in a notebook."""

import base64
import io
import re

import numpy as np
import torch
from PIL import Image

from lib_unet_viz import notebook
from lib_unet_viz.maps.words import HeatMap, HeatMaps
from lib_unet_viz.trace import FeatureMap, FeatureMaps, Key, Stored, Trace


def _shown(html: str) -> Image.Image:
    found = re.search(r'src="data:image/png;base64,([^"]+)"', html)
    assert found
    return Image.open(io.BytesIO(base64.b64decode(found[1])))


def test_a_map_shows_the_mean_of_its_pictures() -> None:
    data = torch.stack([torch.tensor([[0.0, 1.0], [2.0, 5.0]]), torch.tensor([[0.0, 1.0], [2.0, 3.0]])])
    html = FeatureMap(Key("OUT11", "features", step=4), data)._repr_html_()
    assert "OUT11 step 5" in html
    assert np.asarray(_shown(html)).tolist() == [[0, 64], [128, 255]]


def test_texts_are_escaped() -> None:
    trace = Trace(notes=["<script>alert(1)</script>"], picture=Image.new("RGB", (8, 8)))
    html = trace._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert 'alt="&quot;&gt;"' in notebook.picture(Image.new("L", (1, 1)), alt='">')
    assert notebook.table(["<b>"], [["<i>"]]) == (
        "<table><tr><th>&lt;b&gt;</th></tr><tr><td>&lt;i&gt;</td></tr></table>"
    )


def test_a_trace_is_shown_without_reading_its_maps() -> None:
    def read() -> torch.Tensor:
        raise AssertionError("the data was read")

    maps = [FeatureMap(Key("M00", "features", step=step), Stored((3, 4, 5), 240, read)) for step in range(23)]
    html = Trace(features=FeatureMaps(maps))._repr_html_()
    assert html.count("3 × 4 × 5") == 20
    assert "and 3 more" in html


def test_what_is_not_finite_is_black() -> None:
    plane = np.array([[np.nan, 1.0], [np.inf, 3.0]], np.float32)
    assert np.asarray(notebook.grey(plane)).tolist() == [[0, 0], [0, 255]]
    assert np.asarray(notebook.grey(np.full((1, 2), np.nan, np.float32))).tolist() == [[0, 0]]
    assert np.asarray(notebook.grey(np.full((1, 2), 7, np.float32))).tolist() == [[0, 0]]


def test_word_maps_show_themselves() -> None:
    heats = HeatMaps(
        [
            HeatMap("<b>", (1,), np.array([[0.0, 1.0]], np.float32), 0.25),
            HeatMap("cat", (2,), np.eye(2, dtype=np.float32)),
        ]
    )
    html = heats._repr_html_()
    assert html.count("<img") == 2
    assert "&lt;b&gt; (0.25)" in html
    assert np.asarray(_shown(html)).tolist() == [[0, 255]]
    assert np.asarray(_shown(heats[1]._repr_html_())).tolist() == [[255, 0], [0, 255]]
    assert HeatMaps()._repr_html_() == "<p>no words</p>"
