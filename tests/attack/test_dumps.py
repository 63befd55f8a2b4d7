"""Dumps that somebody prepared: refused in few words; nothing is written outside of the folder asked for."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.drawing import naming
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 1e400, 10**400, float("nan"), [], {}, ["IN04"], {"IN04": 1}),
    *("", "../../x", "/tmp/x", "IN04/../../x", "IN04\0", "a" * 300, "\x1b[31m"),
)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trace = Trace(meta={"prompt": "a cat", "tokens": {"cond": ["a</w>", "cat</w>"]}, "steps": 2})
    trace.features.add(FeatureMap(Key("IN04", "features", step=0), torch.rand(2, 4, 4), 1.0))
    key = Key("M00", "QK", layer=0, kind="cross", step=1)
    trace.attention.add(AttentionMap(key, torch.rand(1, 2, 2, 2), 0.5))
    return save_trace(trace, tmp_path_factory.mktemp("dump") / "good")


def parts(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors and the header's text of a dump, to be written again."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        [(entry, text)] = file.metadata().items()
    return tensors, {"entry": entry, "head": json.loads(text)}


def read_all(path: Path) -> None:
    """All that a dump holds, or a DumpError of few words."""
    try:
        trace = load_trace(path)
        items = [*trace.features, *trace.attention]
        values = [item.data.numel() for item in items]
    except DumpError as error:
        message = str(error)
    else:
        message = ""
        assert all(values)
        assert all(Path(naming.name(item.key)).name == naming.name(item.key) for item in items)
    assert len(message) < 1500 + len(str(path))


def places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    """Every place in nested data."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, inner in items:
        yield from places(inner, (*path, name))


def test_headers_in_which_anything_stands_for_anything(dump: Path, tmp_path: Path) -> None:
    tensors, good = parts(dump)
    where = [place for place in places(good["head"]) if place and place[0] != "meta"]
    count = 0
    for place, value in itertools.product(where, HOSTILE):
        head = copy.deepcopy(good["head"])
        inner = head
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        path = tmp_path / "hostile.safetensors"
        save_file(tensors, path, metadata={good["entry"]: json.dumps(head)})
        read_all(path)
        count += 1
    assert count > 500


def test_truncations_and_flips(dump: Path, tmp_path: Path) -> None:
    content, path = dump.read_bytes(), tmp_path / "broken.safetensors"
    rng = np.random.default_rng(0)
    for end in range(0, len(content), 64):
        path.write_bytes(content[:end])
        read_all(path)
    for at in rng.integers(len(content), size=2000):
        changed = bytearray(content)
        changed[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(changed))
        read_all(path)


@pytest.mark.parametrize("block", ["../../outside", "/tmp/outside", "IN04/../../outside", "..\\outside"])
def test_nothing_is_drawn_outside_of_the_folder(dump: Path, tmp_path: Path, block: str) -> None:
    tensors, good = parts(dump)
    for entry in good["head"]["maps"]:
        entry["block"] = block
    path = tmp_path / "hostile.safetensors"
    save_file(tensors, path, metadata={good["entry"]: json.dumps(good["head"])})
    folder = tmp_path / "deep" / "out"
    for command in (["render", str(path)], ["diff", str(path), str(path)], ["maps", str(path)]):
        assert main([*command, "--out", str(folder)]) == 2
    assert {file.name for file in tmp_path.rglob("*")} <= {"hostile.safetensors", "deep", "out"}
    assert "/" not in naming.name(Key(block, "features"))
