from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from lib_unet_viz.capture import dump
from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.capture.request import BudgetError
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace


def made(images: int = 1) -> Trace:
    """A trace with one of everything."""
    trace = Trace(
        meta=Meta(prompt="a cät, 赤い", seed=3, tokens={"cond": ["<s>", "a", "cät"]}, sigmas=[9.5, None]),
        notes=["a note"],
        picture=Image.new("RGB", (5, 3), "red"),
    )
    for image in range(images):
        trace.features.add(FeatureMap(Key("IN00", "features", step=0, image=image), torch.rand(2, 3, 5), 9.5))
        key = Key("IN07", "QK", 1, "cross", 19, "hires", image, "uncond", 2)
        trace.attention.add(AttentionMap(key, torch.rand(2, 2, 3, 5).half(), 0.1, tokens=(1, 2)))
        trace.attention.add(AttentionMap(Key("M00", "QK", 0, "self", image=image), torch.rand(1, 15, 3, 5)))
        trace.attention.add(
            AttentionMap(Key("M00", "K", 0, "cross", 0, image=image), torch.rand(2, 3, 4), 9.5)
        )
    return trace


def test_a_trace_comes_back_from_its_file(tmp_path: Path) -> None:
    trace = made()
    path = save_trace(trace, tmp_path / "new" / "folder" / "one.safetensors")
    back = load_trace(path)
    assert (back.meta, back.notes) == (trace.meta, trace.notes)
    assert back.picture is not None
    assert back.picture.tobytes() == trace.picture.tobytes()  # type: ignore[union-attr]
    for one, two in zip([*trace.features, *trace.attention], [*back.features, *back.attention], strict=True):
        assert (one.key, one.sigma, one.axes, one.shape, one.nbytes) == (
            two.key, two.sigma, two.axes, two.shape, two.nbytes
        )  # fmt: skip
        assert torch.equal(one.data, two.data)
    assert [item.tokens for item in back.attention] == [(1, 2), None, None]
    assert back.token_texts(back.attention.one(what="K")) == ["<s>", "a", "cät"]
    again = save_trace(back, tmp_path / "two")
    assert again.name == "two.safetensors"
    assert again.read_bytes() == path.read_bytes()


def test_the_file_describes_itself(tmp_path: Path) -> None:
    with safe_open(save_trace(made(), tmp_path / "one"), framework="pt") as file:
        head = json.loads(file.metadata()["unet_viz"])
        assert set(file.keys()) == {
            "step001/IN00/features/cond",
            "hires/step020/IN07.1/cross/QK/uncond/sub2",
            "mean/M00.0/self/QK/cond",
            "step001/M00.0/cross/K/cond",
            "picture",
        }
    assert head["format"] == 1
    entry = next(entry for entry in head["maps"] if entry["block"] == "IN07")
    assert entry["axes"] == ["head", "token", "y", "x"]
    assert (entry["step"], entry["sigma"], entry["half"], entry["tokens"]) == (20, 0.1, "uncond", [1, 2])


def test_numbers_are_read_when_first_used(tmp_path: Path) -> None:
    path = save_trace(made(), tmp_path / "one")
    trace = load_trace(path)
    item = trace.features.one()
    kept = item.numpy().copy()
    path.unlink()
    assert (item.numpy() == kept).all()
    assert trace.attention[0].shape == (2, 2, 3, 5)
    with pytest.raises(DumpError, match="no such file"):
        _ = trace.attention[0].data


def test_a_file_holds_one_image(tmp_path: Path) -> None:
    trace = made(images=2)
    trace.meta = replace(trace.meta, images=[{"prompt": "one"}, {"prompt": "two"}])
    with pytest.raises(DumpError, match=r"images \[0, 1\]: say which"):
        save_trace(trace, tmp_path / "both")
    with pytest.raises(DumpError, match="no image 5"):
        save_trace(trace, tmp_path / "both", image=5)
    back = load_trace(save_trace(trace, tmp_path / "second", image=1))
    assert back.meta["prompt"] == "two"
    assert back.images == [1]
    assert torch.equal(back.features.one().data, trace.features.one(image=1).data)


def test_a_file_may_be_read_by_whom_the_umask_lets(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    path = save_trace(made(), tmp_path / "dump.safetensors")
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_budget_refuses_with_the_number(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=f"{made().nbytes} bytes"):
        save_trace(made(), tmp_path / "one", budget=100)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_trace(made(), tmp_path / "one")
    before = path.read_bytes()

    def interrupted(tensors: Any, path: Path, metadata: Any) -> None:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(dump, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_trace(made(), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["one.safetensors"]


def test_meta_that_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    trace = made()
    trace.meta = replace(trace.meta, more={"anything": object()})
    with pytest.raises(DumpError, match="JSON"):
        save_trace(trace, tmp_path / "one")


def test_two_maps_with_one_key_are_refused(tmp_path: Path) -> None:
    trace = made()
    trace.features.add(trace.features[0])
    with pytest.raises(DumpError, match="1 maps of image 0"):
        save_trace(trace, tmp_path / "one")


def test_other_files_are_refused_with_what_they_are(tmp_path: Path) -> None:
    with pytest.raises(DumpError, match="no such file"):
        load_trace(tmp_path / "none")
    text = tmp_path / "text.safetensors"
    text.write_text("hello world, I am no dump")
    with pytest.raises(DumpError, match=r"no safetensors file.*b'hello wo'"):
        load_trace(text)
    model = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(1)}, model)
    with pytest.raises(DumpError, match=r"no 'unet_viz' entry; its tensors: weight"):
        load_trace(model)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('{"format": 2}', "dump format 2; this version reads format 1"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 1, "meta": {}}', "lacks maps, notes"),
        ('{"format": 1, "meta": {}, "notes": [], "maps": [{"tensor": "x"}]}', "cannot be read"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, head: str, message: str) -> None:
    path = tmp_path / "bad.safetensors"
    save_file({"x": torch.zeros(1)}, path, metadata={"unet_viz": head})
    with pytest.raises(DumpError, match=message):
        load_trace(path)
