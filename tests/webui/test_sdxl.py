"""SDXL in its own code, as the webui brings it along, against diffusers'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import CONTEXT, sdxl_unet
from safetensors.torch import load_file, save_file
from test_families import SDXL_DEPTH, SDXL_NAMES
from test_unet import assert_close, diffusers_key

from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row

ROOT = Path(__file__).parents[2]
SIZE, TOKENS = (8, 16), 154


def given(module: Any) -> dict[str, torch.Tensor]:
    """Inputs, with what diffusers makes of the pooled text and the sizes in one vector, as sgm wants it."""
    generator = torch.Generator().manual_seed(4)
    pooled = torch.randn(2, 64, generator=generator)
    sizes = torch.tensor([[64.0, 128.0, 0.0, 0.0, 64.0, 128.0]] * 2)
    return {
        "latent": torch.randn(2, 4, *SIZE, generator=generator),
        "context": torch.randn(2, TOKENS, CONTEXT, generator=generator),
        "y": torch.cat([pooled, module.add_time_proj(sizes.flatten()).reshape(2, -1)], 1),
        "pooled": pooled,
        "sizes": sizes,
    }


def key(name: str) -> str:
    for index, layer in (("0", "linear_1"), ("2", "linear_2")):
        name = name.replace(f"label_emb.0.{index}.", f"add_embedding.{layer}.")
    return name if name.startswith("add_embedding") else diffusers_key(name)


def test_sgms_unet_is_recorded_as_diffusers_is(tmp_path: Path) -> None:
    folder = os.environ.get("SD_WEBUI_DIR")
    if not folder:
        pytest.skip("SD_WEBUI_DIR is not set: sgm's code is in its repositories/")
    module: Any = sdxl_unet()
    inputs = given(module)
    save_file(inputs, tmp_path / "inputs.safetensors")
    path = os.pathsep.join([str(ROOT), str(Path(folder) / "repositories" / "generative-models")])
    python = os.environ.get("SD_WEBUI_PYTHON", sys.executable)
    command = [python, str(Path(__file__).with_name("sgm_unet.py")), str(tmp_path)]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr

    blocks = json.loads((tmp_path / "blocks.json").read_text(encoding="utf-8"))
    assert list(blocks) == SDXL_NAMES
    assert [sum(kind == "cross" for _, kind, _ in sites) for sites in blocks.values()] == SDXL_DEPTH
    assert [layer for layer, kind, heads in blocks["IN07"] if kind == "cross" and heads == 20] == [*range(10)]

    made = load_file(tmp_path / "made.safetensors")
    expected = made.pop("output")
    module.load_state_dict({key(name): weight for name, weight in made.items()}, strict=True)
    call = Call(0, 1, 1.0, (Row(0, "uncond"), Row(0, "cond")), SIZE)
    attention = Capture(kinds="cross,self", what="Q,QK,VQK")
    added = {"text_embeds": inputs["pooled"], "time_ids": inputs["sizes"]}
    recorder = Recorder(module, features=Capture(), attention=attention, calls=lambda *_: call)
    with recorder as ours, torch.no_grad():
        output = module(
            inputs["latent"], torch.tensor(500), inputs["context"], added_cond_kwargs=added
        ).sample
    assert_close(output, expected, "output")
    theirs = load_trace(tmp_path / "trace.safetensors")
    assert len(ours.features) == 19
    for one, two in zip(
        [*ours.features, *ours.attention], [*theirs.features, *theirs.attention], strict=True
    ):
        assert one.key == two.key
        assert_close(one.data, two.data, str(one.key))
