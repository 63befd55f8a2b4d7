"""The data folder of a webui to test in: checkpoints, an embedding, a LoRA, a hypernetwork, extensions.

`python tests/webui/data.py FOLDER` makes one for a webui that you start yourself (see CONTRIBUTING.md).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[2]
CHECKPOINT = "unet-viz-demo"
OTHER = "unet-viz-other"
INPAINTING = "unet-viz-inpainting"
CONTEXT = 128
LORA, EMBEDDING, HYPERNETWORK = "stand-in-lora", "standinword", "stand-in-hypernetwork"
RANK = 4
CONFIG: Mapping[str, Any] = {
    "unet_viz_always_on": True,
    "samples_save": True,
    "live_previews_enable": False,
    "sd_model_checkpoint": CHECKPOINT,
    "sd_checkpoints_limit": 2,
    # override_settings are restored after a request only where config.json has the option (processing.py:823)
    "batch_cond_uncond": True,
    "pad_cond_uncond": False,
    "pad_cond_uncond_v0": False,
    "s_min_uncond_all": False,
    "skip_early_cond": 0.0,
    "CLIP_stop_at_last_layers": 1,
    "token_merging_ratio": 0.0,
    "sd_unet": "Automatic",
    "cross_attention_optimization": "Automatic",
}


def make(folder: Path, **config: Any) -> Path:
    """Fill `folder`, made if missing, with all that the suite needs; `config` goes over `CONFIG`."""
    sys.path.insert(0, str(ROOT))
    from lib_unet_viz.demo.export import export

    models = folder / "models"
    checkpoint = export(models / "Stable-diffusion")
    _other_checkpoint(checkpoint)
    _inpainting_checkpoint(checkpoint)
    _lora(models / "Lora" / f"{LORA}.safetensors")
    _hypernetwork(models / "hypernetworks" / f"{HYPERNETWORK}.pt")
    _embedding(folder / "embeddings" / f"{EMBEDDING}.safetensors")
    extensions = folder / "extensions"
    extensions.mkdir(exist_ok=True)
    (extensions / "unet-viz").symlink_to(ROOT)
    (extensions / "stand-ins").symlink_to(Path(__file__).parent / "extensions" / "stand-ins")
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}, indent=4), encoding="utf-8")
    return folder


def _noise(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _beside(checkpoint: Path, name: str, weights: dict[str, torch.Tensor], yaml: str) -> None:
    save_file(weights, checkpoint.with_name(f"{name}.safetensors"))
    checkpoint.with_name(f"{name}.yaml").write_text(yaml, encoding="utf-8")


def _other_checkpoint(checkpoint: Path) -> None:
    """The same model with other numbers in its U-Net: as visibly another one as needed."""
    weights = load_file(checkpoint)
    for index, (name, value) in enumerate(sorted(weights.items())):
        if name.startswith("model.diffusion_model.") and value.dim() > 1:
            weights[name] = value + 0.1 * value.std() * _noise(*value.shape, seed=index)
    _beside(checkpoint, OTHER, weights, checkpoint.with_suffix(".yaml").read_text(encoding="utf-8"))


def _inpainting_checkpoint(checkpoint: Path) -> None:
    """The same model with the five more channels in that an inpainting model has: mask and masked picture."""
    weights = load_file(checkpoint)
    first = "model.diffusion_model.input_blocks.0.0.weight"
    more = 0.02 * _noise(weights[first].shape[0], 5, 3, 3, seed=1)
    weights[first] = torch.cat([weights[first], more], dim=1)
    yaml = checkpoint.with_suffix(".yaml").read_text(encoding="utf-8")
    for old, new in (
        ("ddpm.LatentDiffusion", "ddpm.LatentInpaintDiffusion"),
        ("conditioning_key: crossattn", "conditioning_key: hybrid\n    finetune_keys: null"),
        ("in_channels: 4\n        out_channels", "in_channels: 9\n        out_channels"),
    ):
        assert old in yaml, f"the exported configuration has no {old!r}"
        yaml = yaml.replace(old, new, 1)
    _beside(checkpoint, INPAINTING, weights, yaml)


def _lora(path: Path) -> None:
    """Kohya's names, on the middle block's attentions and the last up block's."""
    weights: dict[str, torch.Tensor] = {}
    sites = {"mid_block_attentions_0": 128, "up_blocks_3_attentions_2": 32}
    for seed, (site, width) in enumerate(sites.items()):
        for part, source in (("attn1_to_q", width), ("attn2_to_k", CONTEXT), ("attn2_to_out_0", width)):
            name = f"lora_unet_{site}_transformer_blocks_0_{part}"
            weights[f"{name}.lora_down.weight"] = _noise(RANK, source, seed=seed) / source**0.5
            weights[f"{name}.lora_up.weight"] = _noise(width, RANK, seed=seed + 9)
            weights[f"{name}.alpha"] = torch.tensor(float(RANK))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(weights, path)


def _embedding(path: Path) -> None:
    """A textual inversion of two vectors."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"emb_params": 0.5 * _noise(2, CONTEXT, seed=3)}, path)


def _hypernetwork(path: Path) -> None:
    """Two linear layers each for keys and values, in the pickle that the webui's own loader reads."""
    width = CONTEXT * 2

    def layers(seed: int) -> dict[str, torch.Tensor]:
        return {
            "linear.0.weight": 0.1 * _noise(width, CONTEXT, seed=seed),
            "linear.0.bias": torch.zeros(width),
            "linear.1.weight": 0.1 * _noise(CONTEXT, width, seed=seed + 1),
            "linear.1.bias": torch.zeros(CONTEXT),
        }

    path.parent.mkdir(parents=True, exist_ok=True)
    held = {
        CONTEXT: (layers(5), layers(7)),
        "name": HYPERNETWORK,
        "step": 1,
        "layer_structure": [1, 2, 1],
        "activation_func": "linear",
        "is_layer_norm": False,
        "weight_initialization": "Normal",
        "activate_output": False,
        "use_dropout": False,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
    }
    # torch's newer container has entries that webui 1.10.1's check of pickles does not know.
    torch.save(held, path, _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
