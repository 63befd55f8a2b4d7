"""A trace as xarray's labelled arrays: every number at its named place."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from test_workspace import TOKENS, attention, features, recorded

from lib_unet_viz.labelled import NotInstalledError
from lib_unet_viz.trace import AttentionMap, Key, MapLookupError, Selection


def test_numbers_are_found_by_names() -> None:
    pytest.importorskip("xarray", reason="xarray is part of the extra 'notebook'")
    trace = recorded()
    tree = trace.to_xarray()
    values = tree["OUT01/features"]["values"]
    assert values.dims == ("step", "channel", "y", "x")
    assert values.step.values.tolist() == [1, 5, 9]
    assert values.sigma.values.tolist() == [2.0, 2.0, 2.0]
    assert values.y.values.tolist() == [0.125, 0.375, 0.625, 0.875]
    wanted = trace.features.one(step=5).numpy()
    assert (values.sel(step=5).values == wanted).all()
    words = tree["M00/0/cross/QK"]["values"]
    assert words.dims == ("step", "head", "token", "y", "x")
    assert words.text.values.tolist() == TOKENS
    assert (words.sel(step=9, token=1, head=1).values == trace.attention.one(step=9).numpy()[1, 1]).all()
    mean = tree["M00/0/cross/QK_mean"]["values"]
    assert mean.dims == ("head", "token", "y", "x")
    assert (mean.values == trace.attention[-1].numpy()).all()
    assert tree.attrs == {"prompt": "red circle", "seed": 7, "steps": 9}


def test_what_differs_in_shape_or_tokens_stands_apart() -> None:
    pytest.importorskip("xarray", reason="xarray is part of the extra 'notebook'")
    trace = recorded()
    trace.features.add(features("OUT01", 3, side=8))
    few = AttentionMap(Key("IN01", "QK", 0, "cross", 0), torch.rand(2, 2, 2, 3), tokens=[2, 3])
    trace.attention.add(few)
    trace.attention.add(attention(0, block="IN00"))
    tree = trace.to_xarray()
    assert tree["OUT01/features_2"]["values"].shape == (1, 3, 8, 8)
    assert tree["IN01/0/cross/QK"]["values"].token.values.tolist() == [2, 3]
    assert np.isnan(tree["IN01/0/cross/QK"]["values"].sigma.values).all()
    with pytest.raises(MapLookupError):
        trace.to_xarray(Selection(4))


def test_without_xarray_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(NotInstalledError, match=r"pip install 'lib-unet-viz\[notebook\]'"):
        recorded().to_xarray()
