"""Pictures about the bundled model: its loss curves and a sheet of samples, for the README."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

from lib_unet_viz.demo import model, score
from lib_unet_viz.demo.score_maps import held_out
from lib_unet_viz.hosts.pipeline import Pipeline

if TYPE_CHECKING:
    from pathlib import Path

STAGES = ("autoencoder", "scorer", "unet")


def write(folder: Path) -> None:
    """Write `training.png` and `samples.png` to a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    loss_curves(model.FOLDER, folder / "training.png")
    samples(Pipeline.load(), folder / "samples.png")


def loss_curves(logs: Path, path: Path) -> None:
    """Loss over the steps of each stage, from the logs that training wrote, one panel a stage."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 2.8), layout="constrained")
    for axes, stage in zip(figure.subplots(1, len(STAGES)), STAGES, strict=True):
        lines = [json.loads(line) for line in (logs / f"{stage}.jsonl").read_text().splitlines()]
        axes.semilogy(
            [line["step"] for line in lines], [line["loss"] for line in lines], color="#0f766e", lw=1
        )
        axes.set(title=f"{stage}, {lines[-1]['seconds'] / 60:.0f} minutes", xlabel="step", ylabel="loss")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def samples(pipeline: Pipeline, path: Path, *, columns: int = 7, seed: int = 0) -> None:
    """Pictures of held-out captions, a row each of one, two and three objects, captions above."""
    from matplotlib.figure import Figure

    held = [pair for objects in (1, 2, 3) for pair in held_out(objects=objects, count=columns, seed=seed)]
    captions = [text for _, text in held]
    figure = Figure(figsize=(1.75 * columns, 6.6), layout="constrained")
    for axes, picture, text in zip(
        figure.subplots(3, columns).flat, score.draw(pipeline, captions, seed), captions, strict=True
    ):
        axes.imshow(picture)
        axes.set_title(textwrap.fill(text, 27), fontsize=7.5)
        axes.axis("off")
    figure.savefig(path, dpi=100)
