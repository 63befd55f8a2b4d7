"""Dumps that somebody prepared: refused in few words; nothing is written outside of the folder asked for."""

from __future__ import annotations

import copy
import itertools
import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.drawing import naming
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace

HOSTILE: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 1e400, 10**400, float("nan"), [], {}, ["IN04"], {"IN04": 1}),
    *("", "../../x", "/tmp/x", "IN04/../../x", "IN04\0", "a" * 300, "\x1b[31m"),
)


@pytest.fixture(scope="module")
def dump(tmp_path_factory: pytest.TempPathFactory) -> Path:
    meta: dict[str, Any] = {"prompt": "a cat", "negative": "", "seed": 3, "cfg": 7.5, "model": "some"}
    meta |= {"blocks": ["IN04", "M00"], "steps": 2, "sigmas": [1.0, None], "size": [4, 4]}
    meta |= {"tokens": {"cond": ["a</w>", "cat</w>"]}, "picture_size": [32, 32], "timestep": [250]}
    meta["tokens_by_block"] = {"M00": {"cond": ["a</w>", "dog</w>"]}}
    trace = Trace(meta=Meta.of(meta), notes=["a note"], picture=Image.new("RGB", (32, 32)))
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


def hostile(
    tensors: dict[str, torch.Tensor], good: dict[str, Any], path: Path, section: str
) -> Iterator[Any]:
    """`path` as dumps in which anything stands for each part of a section; yields what stands where."""
    where = [place for place in places(good["head"]) if place and (place[0] == "meta") == (section == "meta")]
    for place, value in itertools.product(where, HOSTILE):
        head = copy.deepcopy(good["head"])
        inner = head
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = value
        save_file(tensors, path, metadata={good["entry"]: json.dumps(head)})
        yield place, value


def test_headers_in_which_anything_stands_for_anything(dump: Path, tmp_path: Path) -> None:
    tensors, good = parts(dump)
    path = tmp_path / "hostile.safetensors"
    count = 0
    for _ in hostile(tensors, good, path, "maps"):
        read_all(path)
        count += 1
    assert count > 500


@pytest.mark.heavy
def test_meta_in_which_anything_stands_for_anything(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, good = parts(dump)
    path, folder, count = tmp_path / "hostile.safetensors", str(tmp_path / "out"), 0
    for _ in hostile(tensors, good, path, "meta"):
        read_all(path)
        for command in (["show", "--json"], ["show"], ["maps", "--out", folder], ["render", "--out", folder]):
            code = main([command[0], str(path), *command[1:]])
            said = capsys.readouterr()
            assert code in (0, 2)
            assert "--debug" not in said.err  # which is what an error that nobody foresaw says
            assert len(said.err) < 1500
            assert "\x1b" not in said.out + said.err
            count += 1
    assert count > 900


def test_what_steers_a_terminal_is_shown_as_its_code(
    dump: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tensors, good = parts(dump)
    steering = "red\x1b[31m \x9b2J \u202egnihton \U000e0041\r\nnote  all is well 猫"
    good["head"]["meta"] |= {"prompt": steering, "unknown": steering}
    good["head"]["notes"] = [steering]
    path = tmp_path / "hostile.safetensors"
    save_file(tensors, path, metadata={good["entry"]: json.dumps(good["head"])})
    for command in (["show"], ["show", "--json"], ["render", "--out", str(tmp_path / "out")]):
        assert main([command[0], str(path), *command[1:]]) == 0
        said = capsys.readouterr().out
        assert not {*"\x1b\x9b\u202e\U000e0041\r"} & {*said}
        assert "猫" in said
        assert "\\u001b[31m" in said
        if command == ["show", "--json"]:
            assert json.loads(said)["meta"]["prompt"] == steering
        elif command == ["show"]:
            assert not [line for line in said.splitlines() if line.startswith("note  all")]


@pytest.mark.parametrize(
    "shape",
    [
        (1, 1, 200_000),
        (1, 200_000, 1),
        pytest.param((200_000, 1, 1), marks=pytest.mark.heavy),
        pytest.param((40_000, 60, 60), marks=pytest.mark.heavy),
    ],
)
def test_what_would_take_gigabytes_to_draw_is_refused_or_small(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], shape: tuple[int, int, int]
) -> None:
    trace = Trace()
    trace.features.add(
        FeatureMap(Key("IN04", "features", step=0), torch.zeros(shape, dtype=torch.float16), 1.0)
    )
    path = save_trace(trace, tmp_path / "large")
    tracemalloc.start()
    code = main(["render", str(path), "--out", str(tmp_path / "out")])
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert code == 0 or "is too large to draw" in capsys.readouterr().err
    assert most < 1.2e9
    assert code == 2 or (tmp_path / "out" / "IN04-features-step001.png").exists()


@pytest.mark.heavy
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
