"""Run by a webui's Python: SDXL's own U-Net (Stability-AI/generative-models), recorded. `sgm_unet.py FOLDER`

Reads `inputs.safetensors` there (latent, context, y); writes the random weights, what is recorded of one
call, its output, and the blocks of the U-Net at its true size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sgm.modules.diffusionmodules.openaimodel import UNetModel

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Capture, Row
from lib_unet_viz.unet import UNet

# configs/inference/sd_xl_base.yaml; `checkpoint` trades time for memory in training only.
SDXL: dict[str, Any] = {
    "adm_in_channels": 2816,
    "num_classes": "sequential",
    "use_checkpoint": False,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": [4, 2],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 4],
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "transformer_depth": [1, 2, 10],
    "context_dim": 2048,
    "spatial_transformer_attn_type": "softmax",
    "legacy": False,
}
SMALL = {
    "adm_in_channels": 112,
    "model_channels": 32,
    "channel_mult": [1, 2, 2],
    "num_head_channels": 32,
    "transformer_depth": [1, 2, 3],
    "context_dim": 128,
}


def main(folder: Path) -> None:
    with torch.device("meta"):
        whole = UNet.of(UNetModel(**SDXL))
    sites = {
        name: [(site.layer, site.kind, site.heads) for site in whole.attention(name)] for name in whole.blocks
    }
    (folder / "blocks.json").write_text(json.dumps(sites), encoding="utf-8")

    module = UNetModel(**{**SDXL, **SMALL}).eval().requires_grad_(False)
    torch.manual_seed(0)
    for weight in module.parameters():
        weight += 0.05 * torch.randn_like(weight)  # zeros in the last layers would hide mistakes
    given = load_file(folder / "inputs.safetensors")
    size = (given["latent"].shape[2], given["latent"].shape[3])
    call = Call(0, 1, 1.0, (Row(0, "uncond"), Row(0, "cond")), size)
    attention = Capture(kinds="cross,self", what="Q,QK,VQK")
    with Recorder(module, features=Capture(), attention=attention, calls=lambda *_: call) as trace:
        output = module(given["latent"], torch.full((2,), 500), given["context"], given["y"])
    save_trace(trace, folder / "trace")
    save_file({**module.state_dict(), "output": output}, folder / "made.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
