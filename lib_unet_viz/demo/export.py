"""Export the bundled model as a webui checkpoint: `python -m lib_unet_viz.demo.export FOLDER`.

Writes `unet-viz-demo.safetensors` with Stable Diffusion's own key names, the `.yaml` that the webui reads
beside it, and the folder with the text encoder and tokenizer that the `.yaml` names.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lib_unet_viz.demo import model

NAME = "unet-viz-demo"
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def export(folder: Path, *, source: Path = model.FOLDER) -> Path:
    """Write the three to `folder`, made if missing; the path of the checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    encoder = folder / f"{NAME}-clip"
    weights: dict[str, torch.Tensor] = {}
    for part, prefix, rename in (
        ("unet", "model.diffusion_model.", unet_key),
        ("vae", "first_stage_model.", vae_key),
        ("text_encoder", "cond_stage_model.transformer.", text_key),
    ):
        for path in (source / part).glob("*.safetensors"):
            for name, value in load_file(path).items():
                new = prefix + rename(name)
                is_conv = part == "vae" and re.search(r"attn_1\.(q|k|v|proj_out)\.weight", new)
                weights[new] = value[:, :, None, None] if is_conv else value
    weights["alphas_cumprod"] = model.new_scheduler().alphas_cumprod
    shutil.copytree(source / "text_encoder", encoder, dirs_exist_ok=True)
    shutil.copytree(source / "tokenizer", encoder, dirs_exist_ok=True)
    checkpoint = folder / f"{NAME}.safetensors"
    save_file({name: value.contiguous() for name, value in weights.items()}, checkpoint)
    (folder / f"{NAME}.yaml").write_text(_yaml(source, encoder.resolve()), encoding="utf-8")
    return checkpoint


def unet_key(name: str) -> str:
    """diffusers' name of a U-Net weight to Stable Diffusion's; raises KeyError for a name that SD 1 lacks."""
    if match := re.match(
        r"(down|up)_blocks\.(\d)\.(resnets|attentions|downsamplers|upsamplers)\.(\d)\.(.+)", name
    ):
        side, level, kind, index, rest = match.groups()
        if side == "down":
            block = 3 if kind == "downsamplers" else 1 + int(index)
            place = f"input_blocks.{3 * int(level) + block}.{int(kind == 'attentions')}"
        else:
            has_attention = int(level) > 0
            part = {"resnets": 0, "attentions": 1, "upsamplers": 1 + has_attention}[kind]
            block = 2 if kind == "upsamplers" else int(index)
            place = f"output_blocks.{3 * int(level) + block}.{part}"
        return f"{place}.{_inner(kind, rest)}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", name):
        kind, index, rest = match.groups()
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(index)}.{_inner(kind, rest)}"
    ends = {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
    }
    layer, _, parameter = name.rpartition(".")
    return f"{ends[layer]}.{parameter}"


def vae_key(name: str) -> str:
    """diffusers' name of an autoencoder weight to Stable Diffusion's."""
    name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if match := re.match(r"(.*)mid_block\.attentions\.0\.(.+)\.(weight|bias)", name):
        return f"{match[1]}mid.attn_1.{VAE_ATTENTION[match[2]]}.{match[3]}"
    name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
    name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
    name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{3 - int(m[1])}.block", name)
    return re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{3 - int(m[1])}.upsample", name)


def text_key(name: str) -> str:
    """transformers' name of a text encoder weight, as Stable Diffusion's checkpoints have it."""
    return name if name.startswith("text_model.") else f"text_model.{name}"


def _inner(kind: str, rest: str) -> str:
    if kind == "resnets":
        layer, _, parameter = rest.rpartition(".")
        return f"{RESNET[layer]}.{parameter}"
    return rest.replace("conv.", "op.") if kind == "downsamplers" else rest


def _yaml(source: Path, encoder: Path) -> str:
    """The configuration, as the webui's configs/v1-inference.yaml with this model's numbers."""
    unet = json.loads((source / "unet" / "config.json").read_text())
    vae = json.loads((source / "vae" / "config.json").read_text())
    width, vae_width = unet["block_out_channels"][0], vae["block_out_channels"][0]
    return f"""model:
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: {model.SCHEDULE["beta_start"]}
    linear_end: {model.SCHEDULE["beta_end"]}
    num_timesteps_cond: 1
    log_every_t: 200
    timesteps: {model.SCHEDULE["num_train_timesteps"]}
    first_stage_key: "jpg"
    cond_stage_key: "txt"
    image_size: {model.LATENT}
    channels: 4
    cond_stage_trainable: false
    conditioning_key: crossattn
    scale_factor: {vae["scaling_factor"]}
    use_ema: false
    unet_config:
      target: ldm.modules.diffusionmodules.openaimodel.UNetModel
      params:
        image_size: 32
        in_channels: 4
        out_channels: 4
        model_channels: {width}
        attention_resolutions: [4, 2, 1]
        num_res_blocks: {unet["layers_per_block"]}
        channel_mult: {[channels // width for channels in unet["block_out_channels"]]}
        num_heads: {unet["attention_head_dim"]}
        use_spatial_transformer: true
        transformer_depth: 1
        context_dim: {unet["cross_attention_dim"]}
        use_checkpoint: false
        legacy: false
    first_stage_config:
      target: ldm.models.autoencoder.AutoencoderKL
      params:
        embed_dim: 4
        monitor: val/rec_loss
        ddconfig:
          double_z: true
          z_channels: 4
          resolution: {model.LATENT * 8}
          in_channels: 3
          out_ch: 3
          ch: {vae_width}
          ch_mult: {[channels // vae_width for channels in vae["block_out_channels"]]}
          num_res_blocks: {vae["layers_per_block"]}
          attn_resolutions: []
          dropout: 0.0
        lossconfig:
          target: torch.nn.Identity
    cond_stage_config:
      target: ldm.modules.encoders.modules.FrozenCLIPEmbedder
      params:
        version: {json.dumps(str(encoder))}
"""


def main() -> None:
    """Read the command line and export."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="such as stable-diffusion-webui/models/Stable-diffusion")
    export(parser.parse_args().folder)


if __name__ == "__main__":
    main()
