"""Put the trained parts together: the package's folder, in diffusers' layout and half precision."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import numpy as np
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch.optim.swa_utils import AveragedModel
from transformers import CLIPTokenizer

from lib_unet_viz.demo import dataset, model, scorer, train_unet
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.demo.things import scorer as things_scorer
from lib_unet_viz.demo.train_autoencoder import pictures

if TYPE_CHECKING:
    from pathlib import Path


def write(work: Path, folder: Path) -> None:
    """Write the pipeline, the scorers and the logs of training from `work` to `folder`.

    A part that was not trained in `work` stays as the folder has it.
    """
    tokenizer = CLIPTokenizer.from_pretrained(work / "tokenizer")
    vae = model.new_autoencoder()
    if (work / "autoencoder.pt").exists():
        Checkpoint(work / "autoencoder.pt", {"vae": vae}).load()
    else:
        vae = AutoencoderKL.from_pretrained(folder, subfolder="vae")
    average = AveragedModel(train_unet.TextToNoise(len(tokenizer)))
    Checkpoint(work / "unet.pt", {"average": average}).load()
    vae.register_to_config(scaling_factor=dataset.load(work).scaling_factor)
    vae.register_to_config(preview_matrix=_preview_matrix(vae))
    pipe = StableDiffusionPipeline(
        vae=vae,
        unet=average.module.unet,
        text_encoder=average.module.text_encoder,
        tokenizer=tokenizer,
        scheduler=model.new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.to(torch.float16).save_pretrained(folder)
    _for_older_readers(work, folder)
    if (work / "scorer.pt").exists():
        judge = scorer.Scorer()
        Checkpoint(work / "scorer.pt", {"scorer": judge}).load()
        scorer.save(judge, folder / scorer.FILE.name)
    if (work / "things_scorer.pt").exists():
        of_things = things_scorer.ThingScorer()
        Checkpoint(work / "things_scorer.pt", {"scorer": of_things}).load()
        things_scorer.save(of_things, folder / things_scorer.FILE.name)
    for log in work.glob("*.jsonl"):
        shutil.copy(log, folder / log.name)


def _for_older_readers(work: Path, folder: Path) -> None:
    """Undo what transformers 5 changed in files, so that transformers 4 (the webui's) reads them too.

    It leaves out the vocabulary's own files, and `text_model.` in the names of the text encoder's weights;
    without that, version 4 starts with random weights and says so in a warning only.
    """
    shutil.rmtree(folder / "tokenizer")
    shutil.copytree(work / "tokenizer", folder / "tokenizer")
    path = folder / "text_encoder" / "model.safetensors"
    weights = {
        f"text_model.{name.removeprefix('text_model.')}": value for name, value in load_file(path).items()
    }
    save_file(weights, path, {"format": "pt"})


@torch.no_grad()
def _preview_matrix(vae: AutoencoderKL) -> list[list[float]]:
    """Least-squares map from a scaled latent's channels and 1 to RGB in [-1, 1], for previews."""
    real = pictures(np.random.default_rng(0), 64)[:, :3]
    latent = vae.encode(real).latent_dist.mean * vae.config.scaling_factor
    known = torch.cat([latent, torch.ones_like(latent[:, :1])], 1).permute(0, 2, 3, 1).flatten(0, 2)
    wanted = torch.nn.functional.avg_pool2d(real, 8).permute(0, 2, 3, 1).flatten(0, 2)
    solution = torch.linalg.lstsq(known, wanted).solution
    return [[round(value, 4) for value in row] for row in solution.tolist()]
