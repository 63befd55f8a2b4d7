"""A real Forge to ask: started here or running already. References are to its main branch (f2.0.1).

Nothing is written to Forge's folder: checkpoints are linked into a data folder, in which this repository is
an extension. Its loader knows a model by its shapes, so a checkpoint has to have Stable Diffusion 1.5's or
XL's true ones; random numbers will do (`true_shapes.py` writes them).
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from lib_unet_viz.capture.dump import load_trace
from webui.data import ROOT
from webui.recording import BOTH, Recorded, asking, merged
from webui.serving import Generated, Probed, Webui, free_port, launched

ARGUMENTS = (
    "--skip-prepare-environment",
    "--skip-torch-cuda-test",
    "--skip-version-check",
    "--no-download-sd-model",
    "--always-cpu",
    "--api",
)
SINGLE = ("--all-in-fp32",)
SMALL_XL = ("--unet-in-bf16", "--clip-in-fp16", "--vae-in-fp32")  # in 8 GB; bfloat16 is what a CPU is fast in
# Stable Diffusion 1.5 takes seconds a step on a CPU: small pictures, few steps.
SMALL: Mapping[str, Any] = {
    "prompt": "a red cat",
    "negative_prompt": "green",
    "seed": 1,
    "steps": 2,
    "width": 64,
    "height": 64,
}
LOOK: Mapping[str, Any] = {
    "features": {"blocks": "IN05,M00", "halves": BOTH, "dump": True},
    "attention": {"blocks": "IN01,OUT08", "halves": BOTH, "parts": ["Q", "K"], "dump": True},
    "output": {"show": False, "save": False},
}
OTHER, LORA = "unet-viz-other", "unet-viz-random"
MODELS = "models/Stable-diffusion"
RANK = 4


@contextmanager
def forge(made: Path, *, xl: bool = False) -> Iterator[Webui]:
    """$FORGE_URL, or one that is started from $FORGE_DIR with its data in `made`; xl: with a checkpoint whose
    name begins so (sdxl).
    """
    url = os.environ.get("FORGE_URL")
    if url:
        yield Webui(url.rstrip("/"), made)
        return
    folder = Path(os.environ["FORGE_DIR"])
    _fill(made, folder, xl=xl)
    python = os.environ.get("FORGE_PYTHON", sys.executable)
    port = str(free_port())
    running = launched(
        [
            python,
            "launch.py",
            *ARGUMENTS,
            *(SMALL_XL if xl else SINGLE),
            "--data-dir",
            str(made),
            "--port",
            port,
        ],
        folder=folder,
        data=made,
    )
    try:
        yield running
    finally:
        running.stop()


def checkpoints(folder: Path, *, xl: bool) -> list[Path]:
    """Forge's own of one family, by their names."""
    found = sorted((folder / MODELS).glob("*.safetensors"))
    return [path for path in found if path.name.startswith("sdxl") == xl]


def _fill(made: Path, folder: Path, *, xl: bool) -> None:
    """A data folder: the first checkpoint of Forge's own under two names, a LoRA, the extension."""
    checkpoint = next(iter(checkpoints(folder, xl=xl)), None)
    assert checkpoint is not None, f"no checkpoint (*.safetensors) in {folder / MODELS}"
    (made / MODELS).mkdir(parents=True)
    for name in (checkpoint.stem, *(() if xl else (OTHER,))):
        (made / MODELS / f"{name}.safetensors").symlink_to(checkpoint)
    _lora(made / "models/Lora" / f"{LORA}.safetensors")
    (made / "extensions").mkdir()
    (made / "extensions/unet-viz").symlink_to(ROOT)
    # Emphasis divides by the mean of the text's encoding, which is 0 for some texts where weights are random
    # (emphasis.py). override_settings are restored after a request only where config.json has the option
    config = {"sd_model_checkpoint": checkpoint.stem, "live_previews_enable": False, "emphasis": "No norm"}
    (made / "config.json").write_text(json.dumps(config), encoding="utf-8")


def _lora(path: Path) -> None:
    """Kohya's names and Stable Diffusion 1.5's widths, on attentions of the middle and last up block."""
    weights: dict[str, torch.Tensor] = {}
    noise = torch.Generator().manual_seed(5)
    for site, width in (("mid_block_attentions_0", 1280), ("up_blocks_3_attentions_2", 320)):
        for part, source in (("attn1_to_q", width), ("attn2_to_k", 768), ("attn2_to_out_0", width)):
            name = f"lora_unet_{site}_transformer_blocks_0_{part}"
            down = torch.randn(RANK, source, generator=noise) / source**0.5
            weights[f"{name}.lora_down.weight"] = down
            weights[f"{name}.lora_up.weight"] = torch.randn(width, RANK, generator=noise)
            weights[f"{name}.alpha"] = torch.tensor(float(RANK))
    path.parent.mkdir(parents=True)
    save_file(weights, path)


def generate(forge: Webui, **fields: Any) -> Generated:
    """A picture without the extension."""
    return forge.generate("txt2img", {**SMALL, **fields})


def look(forge: Webui, settings: Mapping[str, Any] = LOOK, **fields: Any) -> Recorded:
    """A picture with the extension, and what was dumped; a dump's path is in what the answer says."""
    answer = generate(forge, **merged(fields, asking("dropdown", dict(settings))))
    notes = answer.info["extra_generation_params"].get("U-Net Viz notes", "")
    written = re.findall(r"wrote (.+\.safetensors)", notes)
    return Recorded(answer, [load_trace(path) for path in written], Probed([], [], {}))
