"""A small classifier that says which objects a picture shows: the judge of the bundled model's pictures.

Trained on drawn scenes only (blurred and noised a little, so that it judges content and not crispness); it
never sees a generated picture.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lib_unet_viz.demo import model
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.demo.scenes import COLORS, RADII, SHAPES, SIZE, Scene, draw_scene

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Pictures = NDArray[np.uint8]

FILE = model.FOLDER / "scorer.safetensors"
ANSWERS = 1 + len(COLORS) + len(SHAPES)
PLACE = 16  # pixels
BATCH = 48


class Scorer(nn.Module):
    """Pictures float32 (image, channel, y, x) in [-1, 1] to logits (image, answer, y, x), a place per 16.

    The answers of a place: is an object's middle here (1); which colour (8); which shape (6).
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        stages: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            stages += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        stages += [nn.Conv2d(widths[-1], 128, 3, padding=1), nn.SiLU(), nn.Conv2d(128, ANSWERS, 1)]
        self.layers = nn.Sequential(*stages)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The logits."""
        logits: torch.Tensor = self.layers(pictures)
        return logits

    @torch.no_grad()
    def found(self, pictures: Pictures) -> list[set[tuple[str, str]]]:
        """The (color, shape) of every object in each of the pictures, uint8 (image, y, x, rgb)."""
        there, color, shape = self(_tensor(pictures)).split((1, len(COLORS), len(SHAPES)), dim=1)
        strongest = there == functional.max_pool2d(there, 3, stride=1, padding=1)
        sets: list[set[tuple[str, str]]] = [set() for _ in pictures]
        for image, _, y, x in ((there > 0) & strongest).nonzero().tolist():
            kind = (list(COLORS)[color[image, :, y, x].argmax()], SHAPES[shape[image, :, y, x].argmax()])
            sets[image].add(kind)
        return sets


def load(path: Path = FILE) -> Scorer:
    """The trained judge."""
    scorer = Scorer()
    scorer.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return scorer.eval()


def save(scorer: Scorer, path: Path) -> None:
    """Write the weights in half precision."""
    save_file({name: value.half().contiguous() for name, value in scorer.state_dict().items()}, path)


def truth(scene: Scene) -> set[tuple[str, str]]:
    """The (color, shape) of every object of a scene."""
    return {(thing.color, thing.shape) for thing in scene.things}


def accuracy(scorer: Scorer, *, count: int, seed: int) -> float:
    """Share of freshly drawn scenes of which it finds exactly the kinds that are there."""
    rng = np.random.default_rng((seed, 7))
    scenes = [draw_scene(rng) for _ in range(count)]
    found = [
        kinds
        for at in range(0, count, 50)
        for kinds in scorer.found(np.stack([scene.picture for scene in scenes[at : at + 50]]))
    ]
    return float(np.mean([truth(scene) == kinds for scene, kinds in zip(scenes, found, strict=True)]))


def train(folder: Path, *, minutes: float, device: str, seed: int = 4) -> Scorer:
    """Train for the given time, or go on from `folder`."""
    torch.manual_seed(seed)
    scorer = Scorer().to(device)
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=2e-3, weight_decay=1e-2)
    state = Checkpoint(folder / "scorer.pt", {"scorer": scorer, "optimizer": optimizer})
    spent = state.load()
    rng = np.random.default_rng((seed, state.step))
    start = time.monotonic() - spent
    while (done := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1, (state.step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        scenes = [draw_scene(rng) for _ in range(BATCH)]
        pictures = _soften(_tensor(np.stack([scene.picture for scene in scenes])), rng).to(device)
        loss = _loss(scorer(pictures), torch.from_numpy(_truth_at_places(scenes)).to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.advance(loss=loss.item(), seconds=time.monotonic() - start)
    state.save()
    return scorer.cpu().eval()


def _loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropies of the three answers; truth as `_truth_at_places` gives it."""
    there, color, shape = logits.split((1, len(COLORS), len(SHAPES)), dim=1)
    known = truth[:, 0] >= 0
    loss = functional.binary_cross_entropy_with_logits(there[:, 0][known], truth[:, 0][known].float())
    for answer, index in ((color, 1), (shape, 2)):
        loss = loss + functional.cross_entropy(answer, truth[:, index], ignore_index=-1)
    return loss


def _truth_at_places(scenes: list[Scene]) -> NDArray[np.int64]:
    """What is right at each place: (image, 3, y, x): object 1, none 0, unsure -1; colour; shape (or -1)."""
    sides = np.arange(SIZE // PLACE) * PLACE + PLACE / 2
    truth = np.full((len(scenes), 3, len(sides), len(sides)), -1)
    truth[:, 0] = 0
    for image, scene in enumerate(scenes):
        for thing in scene.things:
            away = np.hypot(sides[:, None] - thing.center[0], sides[None] - thing.center[1])
            truth[image, 0][away < RADII[thing.size]] = -1
            middle = away < max(RADII[thing.size] / 2, PLACE * 0.72)
            truth[image, 0][middle] = 1
            truth[image, 1][middle] = list(COLORS).index(thing.color)
            truth[image, 2][middle] = SHAPES.index(thing.shape)
    return truth


def _tensor(pictures: Pictures) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _soften(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < 0.5:
        pictures = functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    return pictures + torch.randn_like(pictures) * rng.uniform(0, 0.1)
