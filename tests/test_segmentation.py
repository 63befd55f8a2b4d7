from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from lib_unet_viz.drawing import labels, sheets
from lib_unet_viz.maps import segmentation
from lib_unet_viz.maps.words import HeatMap
from lib_unet_viz.trace import Trace

SIZE = (8, 8)


def heat(word: str, *, left: float, right: float) -> HeatMap:
    values = np.full(SIZE, right, dtype=np.float32)
    values[:, :4] = left
    values[0] = 0
    return HeatMap(word, (1,), values)


def test_otsu_parts_two_heaps_in_the_middle() -> None:
    values = np.concatenate([np.full(90, 0.1), np.full(10, 0.7)]).astype(np.float32)
    assert segmentation.otsu(values) == pytest.approx(0.4, abs=0.01)


def test_a_mask_by_otsu_and_by_threshold() -> None:
    found = heat("cat", left=1.0, right=0.4)
    assert segmentation.mask(found, SIZE).sum() == 7 * 4
    assert segmentation.mask(found, SIZE, threshold=0.3).sum() == 7 * 8
    assert labels.mask_picture(segmentation.mask(found, SIZE)).getextrema() == (0, 255)
    for wrong in (1.5, "half"):
        with pytest.raises(ValueError, match="no threshold; allowed: 0 to 1"):
            segmentation.mask(found, SIZE, threshold=wrong)


def test_labels_go_to_the_hottest_word() -> None:
    heats = [heat("cat", left=1.0, right=0.2), heat("dog", left=0.7, right=1.0)]
    found = segmentation.labels(heats, SIZE, threshold=0.5)
    assert (found[0] == -1).all()
    assert (found[1:, :4] == 0).all()
    assert (found[1:, 4:] == 1).all()
    picture = labels.label_picture(found, ["cat", "dog"])
    assert picture.getpixel((0, 7)) == labels.PALETTE[0]
    assert picture.getpixel((7, 7)) == labels.PALETTE[1]
    assert picture.height > 8 + 3 * 14  # two words, and what is none of them
    over = labels.label_picture(found, ["cat", "dog"], picture=Image.new("RGB", SIZE, "white"))
    assert over.getpixel((0, 7)) != labels.PALETTE[0]


def test_punctuation_is_no_label_unless_there_is_nothing_else() -> None:
    trace = Trace(picture=Image.new("RGB", SIZE, "white"))
    cat, commas = heat("cat", left=1.0, right=0.2), [heat(",#2", left=0.2, right=1.0)]

    def drawn(*heats: HeatMap) -> bytes:
        return sheets.label_picture(trace, heats, threshold=0.5).tobytes()

    assert drawn(*commas, cat) == drawn(cat)
    assert drawn(*commas) != drawn(cat)
