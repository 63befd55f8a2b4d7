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
from lib_unet_viz.demo.scenes import COLORS, SHAPES, Scene, draw_scene

if TYPE_CHECKING:
    from pathlib import Path

FILE = model.FOLDER / "scorer.safetensors"
KINDS = tuple((color, shape) for color in COLORS for shape in SHAPES)
BATCH = 48


class Scorer(nn.Module):
    """Pictures float32 (image, channel, y, x) in [-1, 1] to logits (image, kind): is there a red circle, ...?"""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128)
        stages: list[nn.Module] = []
        for before, after in zip(widths, widths[1:], strict=False):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
            stages += [nn.Conv2d(after, after, 3, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
        self.features = nn.Sequential(*stages)
        self.kinds = nn.Sequential(nn.Conv2d(widths[-1], 192, 3, padding=1), nn.SiLU(), nn.Conv2d(192, len(KINDS), 1))

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The strongest answer over all places: an object counts wherever it is."""
        logits: torch.Tensor = self.kinds(self.features(pictures)).amax(dim=(2, 3))
        return logits

    @torch.no_grad()
    def found(self, pictures: np.ndarray) -> list[set[tuple[str, str]]]:
        """Which (color, shape) each of the pictures, uint8 (image, y, x, rgb), shows."""
        seen = self(_tensor(pictures)) > 0
        return [{kind for kind, there in zip(KINDS, row.tolist(), strict=True) if there} for row in seen]


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
    found = [kinds for at in range(0, count, 50)
             for kinds in scorer.found(np.stack([scene.picture for scene in scenes[at : at + 50]]))]
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
            group["lr"] = 2e-3 * 0.5 * (1 + math.cos(math.pi * done))
        scenes = [draw_scene(rng) for _ in range(BATCH)]
        pictures = _soften(_tensor(np.stack([scene.picture for scene in scenes])), rng).to(device)
        target = torch.tensor([[float(kind in truth(scene)) for kind in KINDS] for scene in scenes], device=device)
        loss = functional.binary_cross_entropy_with_logits(scorer(pictures), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        state.advance(loss=loss.item(), seconds=time.monotonic() - start)
    state.save()
    return scorer.cpu().eval()


def _tensor(pictures: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def _soften(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    if rng.random() < 0.5:
        pictures = functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    return pictures + torch.randn_like(pictures) * rng.uniform(0, 0.1)
