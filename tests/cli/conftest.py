"""A small pipeline with random weights in a folder, and what commands made of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cli.typed import PROMPT, twice_as_large
from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.trace import AttentionMap, Trace


@pytest.fixture(scope="session")
def model(tiny_pipe: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model")
    tiny_pipe.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="session")
def traced(model: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that `trace` filled, with its defaults but for the steps."""
    folder = tmp_path_factory.mktemp("traces") / "new" / "red"
    options = ["--steps", "4", "--seed", "3", "--model", model, "--out", str(folder), "--animate"]
    assert main(["trace", PROMPT, *options]) == 0
    return folder


@pytest.fixture(scope="session")
def second(traced: Path) -> Path:
    """The same as a webui dumps the second picture of a batch, with a hires pass of another size."""
    dump = load_trace(traced / "trace.safetensors")
    hires = load_trace(traced / "trace.safetensors")
    for item in (*dump.features, *dump.attention):
        item.key = replace(item.key, image=1)
    for item in (*hires.features, *hires.attention):
        maps: Any = dump.attention if isinstance(item, AttentionMap) else dump.features
        key = replace(item.key, image=1, pass_="hires")
        maps.add(type(item)(key, twice_as_large(item), item.sigma))
    return save_trace(dump, traced / "second", image=1)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    noise = np.random.default_rng(0).integers(0, 255, (90, 131, 3), dtype=np.uint8)
    path = tmp_path / "photo.jpg"
    Image.fromarray(noise).save(path)
    return path


@pytest.fixture(scope="session")
def any_dump(traced: Path) -> Callable[..., Path]:
    """A dump as the webui writes it of one of its pictures: of a batch, with a negative half, AND, hires."""
    source = load_trace(traced / "trace.safetensors")

    def write(
        name: str, *, image: int, halves: Sequence[str], subs: int, hires: bool, refiner: bool = False
    ) -> Path:
        trace = Trace(meta=source.meta, picture=source.picture)
        tokens = source.meta["tokens"]["cond"]
        texts = {half: [tokens] * subs if subs > 1 else tokens for half in halves}
        trace.meta = replace(trace.meta, tokens=texts)
        rows: Any = itertools.product(halves, range(subs), ("first", "hires") if hires else ("first",))
        for half, sub, pass_ in rows:
            for item in (*source.features.all(half="cond"), *source.attention.all(half="cond")):
                key = replace(item.key, image=image, half=half, sub=sub, pass_=pass_)
                maps: Any = trace.attention if isinstance(item, AttentionMap) else trace.features
                refined = refiner and (item.key.step or 0) >= 2  # of four
                data = twice_as_large(item) if refined or pass_ == "hires" else item.data.clone()
                maps.add(type(item)(key, data, item.sigma))
        return save_trace(trace, traced / name, image=image)

    return write
