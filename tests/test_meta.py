"""What is known of a run: typed, as a mapping, in dumps of this version and of others."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import FeatureMap, FeatureMaps, Key, Trace


def test_it_is_a_mapping_of_what_is_known() -> None:
    meta = Meta.of({"prompt": "a cat", "seed": None, "size": [4, 6], "from_elsewhere": 3, "more": "of it"})
    assert (meta.prompt, meta.size, meta.seed, meta.steps) == ("a cat", [4, 6], None, None)
    assert meta == {"prompt": "a cat", "size": [4, 6], "from_elsewhere": 3, "more": "of it"}
    assert meta["from_elsewhere"] == 3
    assert "seed" not in meta
    assert meta.get("steps", 20) == 20
    assert Meta.of(meta) == meta
    with pytest.raises(KeyError):
        meta["steps"]
    with pytest.raises(FrozenInstanceError):
        meta.seed = 3  # type: ignore[misc]


def test_an_images_own_entries_take_precedence() -> None:
    meta = Meta(prompt="both", seed=1, cfg=5.0, images=[{"seed": 1}, {"seed": 2, "prompt": "", "own": True}])
    assert meta.of_image(1) == {"prompt": "", "seed": 2, "cfg": 5.0, "own": True}
    assert meta.of_image(0) == {"prompt": "both", "seed": 1, "cfg": 5.0}
    assert meta.of_image(7) == {"prompt": "both", "seed": 1, "cfg": 5.0}


def test_what_another_version_wrote_survives(tmp_path: Path) -> None:
    maps = FeatureMaps([FeatureMap(Key("M00", "features", step=0), torch.zeros(1, 2, 2))])
    path = save_trace(Trace(maps, meta=Meta(prompt="a cat", steps=2)), tmp_path / "one")
    with safe_open(path, framework="pt") as file:
        [(name, text)] = file.metadata().items()
    head = json.loads(text)
    assert head["meta"] == {"prompt": "a cat", "steps": 2}
    head["meta"] |= {"seed": None, "clip_skip": 2, "guidance": {"scale": [1, 2]}}
    save_file(load_file(path), path, metadata={name: json.dumps(head)})
    again = load_trace(save_trace(load_trace(path), tmp_path / "again"))
    expected = {"prompt": "a cat", "steps": 2, "clip_skip": 2, "guidance": {"scale": [1, 2]}}
    assert again.meta == expected
    assert again.meta.more == {"clip_skip": 2, "guidance": {"scale": [1, 2]}}
    head["meta"]["steps"] = "two"
    save_file(load_file(path), path, metadata={name: json.dumps(head)})
    with pytest.raises(DumpError, match="steps is 'two', but has to be a whole number"):
        load_trace(path)


def test_every_entry_says_what_it_may_be() -> None:
    for known in fields(Meta):
        assert known.metadata or known.name == "more"
        if known.metadata:
            assert not known.metadata["fits"](object())
            assert known.name in Meta.of({known.name: object()})
