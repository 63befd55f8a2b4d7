"""Pictures about the bundled model: its loss curves and a sheet of samples, for the README."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageDraw

from lib_unet_viz.demo import model, score_pictures, score_things
from lib_unet_viz.demo.score_maps import held_out
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.drawing import Canvas, pose
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

if TYPE_CHECKING:
    from pathlib import Path

STAGES = ("autoencoder", "scorer", "things_scorer", "unet")


def write(folder: Path) -> None:
    """Write the loss curves, the sheets of samples and that of all things to a folder, made if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = Pipeline.load()
    things(folder / "things.png")
    loss_curves(model.FOLDER, folder / "training.png")
    samples(pipeline, folder / "samples.png")
    thing_samples(pipeline, folder / "samples-things.png")


def loss_curves(logs: Path, path: Path) -> None:
    """Loss over the steps of each stage, from the logs that training wrote, one panel a stage."""
    from matplotlib.figure import Figure

    stages = [stage for stage in STAGES if (logs / f"{stage}.jsonl").exists()]
    figure = Figure(figsize=(10, 2.8), layout="constrained")
    for axes, stage in zip(figure.subplots(1, len(stages)), stages, strict=True):
        lines = [json.loads(line) for line in (logs / f"{stage}.jsonl").read_text().splitlines()]
        axes.semilogy(
            [line["step"] for line in lines], [line["loss"] for line in lines], color="#0f766e", lw=1
        )
        axes.set(title=f"{stage}, {lines[-1]['seconds'] / 60:.0f} minutes", xlabel="step", ylabel="loss")
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=100)


def samples(pipeline: Pipeline, path: Path, *, columns: int = 7, seed: int = 0) -> None:
    """Pictures of held-out captions of shapes, a row each of one, two and three objects, captions above."""
    held = [pair for objects in (1, 2, 3) for pair in held_out(objects=objects, count=columns, seed=seed)]
    _sheet(pipeline, [text for _, text in held], path, columns=columns, seed=seed)


def thing_samples(pipeline: Pipeline, path: Path, *, columns: int = 8, seed: int = 0) -> None:
    """Pictures of 40 held-out captions: two rows of one thing, two of two, one of pairs never trained on."""
    rows = {"one_thing": 2, "two_things": 2, "unseen_pair": 1}
    held = [
        pair
        for case, count in rows.items()
        for pair in score_things.held_out(case, count=count * columns, seed=seed)
    ]
    _sheet(pipeline, [text for _, text in held], path, columns=columns, seed=seed)


def _sheet(pipeline: Pipeline, captions: list[str], path: Path, *, columns: int, seed: int) -> None:
    from matplotlib.figure import Figure

    rows = len(captions) // columns
    figure = Figure(figsize=(1.75 * columns, 2.2 * rows), layout="constrained")
    for axes, picture, text in zip(
        figure.subplots(rows, columns).flat,
        score_pictures.draw(pipeline, captions, seed),
        captions,
        strict=True,
    ):
        axes.imshow(picture)
        axes.set_title(textwrap.fill(text, 27), fontsize=7.5)
        axes.axis("off")
    figure.savefig(path, dpi=100)


def things(path: Path, *, columns: int = 12, side: int = 80, seed: int = 0) -> None:
    """Every thing as it is drawn, with its name."""
    rng = np.random.default_rng(seed)
    height = side + 14
    sheet = Image.new("RGB", (columns * side, -(-len(THINGS) // columns) * height), "white")
    names = ImageDraw.Draw(sheet)
    for index, thing in enumerate(THINGS.values()):
        canvas = Canvas(np.full((side, side, 3), 236, dtype=np.uint8), scale=4)
        canvas.paint(thing, pose(rng, thing, (side / 2, side / 2), 0.45 * side), thing.colors, label=1)
        x, y = index % columns * side, index // columns * height
        sheet.paste(Image.fromarray(canvas.finish()[0]), (x, y))
        names.text((x + 3, y + side + 1), thing.name, fill="black")
    sheet.save(path, optimize=True)
