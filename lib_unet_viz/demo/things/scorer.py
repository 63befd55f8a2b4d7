"""A small network that says which things a picture shows, where, and of which colour: the judge of pictures.

Trained on drawn scenes only (blurred and noised, so that it judges content and not crispness); it never sees
a generated picture. Shapes have a judge of their own, `demo.scorer`.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional

from lib_unet_viz.demo import model
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.demo.scenes import SIZE
from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.scenes import ACTIONS, PAINTS, ThingScene, draw_scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    Pictures = NDArray[np.uint8]

FILE = model.FOLDER / "things_scorer.safetensors"
NOUNS = tuple(THINGS)
COLORS = ("", *PAINTS)  # the first: a thing's own
PLACE = 8  # pixels
BATCH, FRESH, POOL = 48, 16, 3000  # scenes a step, newly drawn ones among them, and how many are kept
RATE, FURTHER_RATE = 2e-3, 1e-3  # of learning; the second where it starts from a trained judge
# What is hardest to tell is shown more often. Shares: of things that may have any colour, those given one; of
# scenes, those in which one thing wears, eats or holds another; of these, pairs held out from the U-Net.
COLORED, ATTACHED, UNSEEN = 0.6, 0.3, 0.3


@dataclass(frozen=True)
class Seen:
    """One thing that was found: its colour, "" for its own, and (x, y) in pixels."""

    color: str
    at: tuple[float, float]


class ThingScorer(nn.Module):
    """Pictures float32 (image, channel, y, x) in [-1, 1] to logits (image, answer, y, x), a place per 8.

    The answers of a place: for each noun, is the middle of one here; which colour.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 24, 48, 96, 128, 160)
        self.stages = nn.ModuleList(_stage(a, b) for a, b in zip(widths, widths[1:], strict=False))
        self.across = nn.ModuleList(nn.Conv2d(width, 128, 1) for width in widths[3:])
        last = nn.Conv2d(128, len(NOUNS) + len(COLORS), 1)
        nn.init.constant_(last.state_dict()["bias"], -4.0)  # hardly any place is the middle of something
        self.answers = nn.Sequential(nn.Conv2d(128, 128, 3, padding=1), nn.SiLU(), last)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """The logits; what is seen from afar joins what is seen from near."""
        levels = []
        for stage in self.stages:
            pictures = stage(pictures)
            levels.append(pictures)
        near, middle, far = (across(level) for across, level in zip(self.across, levels[2:], strict=True))
        middle = middle + functional.interpolate(far, scale_factor=2.0)
        logits: torch.Tensor = self.answers(near + functional.interpolate(middle, scale_factor=2.0))
        return logits

    @torch.no_grad()
    def found(self, pictures: Pictures) -> list[dict[str, Seen]]:
        """The nouns seen in each of the pictures, uint8 (image, y, x, rgb), each once."""
        nouns, colors = self(_tensor(pictures)).split((len(NOUNS), len(COLORS)), dim=1)
        best, place = nouns.flatten(2).max(2)
        found: list[dict[str, Seen]] = [{} for _ in pictures]
        for image, noun in (best > 0).nonzero().tolist():
            y, x = divmod(int(place[image, noun]), nouns.shape[-1])
            color = COLORS[int(colors[image, :, y, x].argmax())]
            found[image][NOUNS[noun]] = Seen(color, ((x + 0.5) * PLACE, (y + 0.5) * PLACE))
        return found

    @torch.no_grad()
    def middle(self, picture: NDArray[np.uint8], noun: str) -> NDArray[np.bool_]:
        """The pixels (y, x) of the places in which it sees the middle of such a thing, of (y, x, rgb)."""
        places = self(_tensor(picture[None]))[0, NOUNS.index(noun)] > 0
        return np.kron(places.numpy(), np.ones((PLACE, PLACE), dtype=bool))


def _stage(before: int, after: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(before, after, 3, stride=2, padding=1),
        nn.GroupNorm(8, after),
        nn.SiLU(),
        nn.Conv2d(after, after, 3, padding=1),
        nn.GroupNorm(8, after),
        nn.SiLU(),
    )


def load(path: Path = FILE) -> ThingScorer:
    """The trained judge."""
    scorer = ThingScorer()
    scorer.load_state_dict({name: value.float() for name, value in load_file(path).items()})
    return scorer.eval()


def save(scorer: ThingScorer, path: Path) -> None:
    """Write the weights in half precision."""
    save_file({name: value.half().contiguous() for name, value in scorer.state_dict().items()}, path)


def accuracy(scorer: ThingScorer, *, count: int, seed: int) -> dict[str, float]:
    """On freshly drawn scenes: `things`, the share of things that are found; `scenes`, of scenes of which
    exactly the nouns are found that are there; `colors`, of the things found whose colour is right."""
    rng = np.random.default_rng((seed, 8))
    things, scenes, colors = [], [], []
    for start in range(0, count, 50):
        drawn = [draw_scene(rng) for _ in range(min(50, count - start))]
        for scene, found in zip(drawn, scorer.found(np.stack([s.picture for s in drawn])), strict=True):
            things += [thing.name in found for thing in scene.things]
            scenes.append({thing.name for thing in scene.things} == set(found))
            colors += [found[t.name].color == t.color for t in scene.things if t.name in found]
    judged = {"things": things, "scenes": scenes, "colors": colors}
    return {name: float(np.mean(values)) if values else 0.0 for name, values in judged.items()}


def train(folder: Path, *, minutes: float, device: str, seed: int = 5, bundled: bool = False) -> ThingScorer:
    """Train for the given time, or go on from `folder`.

    bundled: where `folder` has no state yet, start from the judge that the package carries.
    """
    torch.manual_seed(seed)
    scorer = (load().train() if bundled else ThingScorer()).to(device)
    rate = FURTHER_RATE if bundled else RATE
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=rate, weight_decay=1e-2)
    state = Checkpoint(folder / "things_scorer.pt", {"scorer": scorer, "optimizer": optimizer})
    spent = state.load()
    rng = np.random.default_rng((seed, state.step))
    start = time.monotonic() - spent
    pool: list[tuple[NDArray[np.uint8], NDArray[np.int16]]] = []
    while (done := (time.monotonic() - start) / 60 / minutes) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (state.step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * done))
        fresh = [_scene(rng) for _ in range(FRESH if pool else BATCH)]
        pool = [*pool, *((scene.picture, truth(scene)) for scene in fresh)][-POOL:]
        chosen = [pool[-1 - k] for k in range(FRESH)] + [
            pool[k] for k in rng.integers(0, len(pool), BATCH - FRESH)
        ]
        pictures = _soften(_tensor(np.stack([picture for picture, _ in chosen])), rng).to(device)
        loss = _loss(scorer(pictures), torch.from_numpy(np.stack([truth for _, truth in chosen])).to(device))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(scorer.parameters(), 5.0)
        optimizer.step()
        state.advance(loss=loss.item(), seconds=time.monotonic() - start)
    state.save()
    return scorer.cpu().eval()


def _scene(rng: np.random.Generator) -> ThingScene:
    """One to learn from; also of pairs that the U-Net's training never shows."""
    relation = str(rng.choice(ACTIONS)) if rng.random() < ATTACHED else None
    unseen = relation in ("wearing", "eating") and rng.random() < UNSEEN
    return draw_scene(rng, relation=relation, unseen=unseen, colored=COLORED)


def _loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Focal loss of the nouns (Lin et al. 2017), a positive place's share each, and cross-entropy of colours;
    truth as `truth` gives it (image, answer, y, x)."""
    nouns, colors = logits.split((len(NOUNS), len(COLORS)), dim=1)
    wanted, color = truth[:, :-1], truth[:, -1].long()
    known, right = wanted >= 0, (wanted > 0).float()
    missed = functional.binary_cross_entropy_with_logits(nouns, right, reduction="none")
    doubt = (nouns.sigmoid() - right).abs() ** 2
    loss: torch.Tensor = (missed * doubt * known).sum() / right.sum().clamp(min=1)
    return loss + 0.5 * functional.cross_entropy(colors, color, ignore_index=-1)


def truth(scene: ThingScene) -> NDArray[np.int16]:
    """What is right at each place (answer, y, x): for each noun 1 in the middle of one, -1 on the rest of it,
    0 elsewhere; last the number of the colour, -1 away from middles."""
    side = SIZE // PLACE
    truth = np.zeros((len(NOUNS) + 1, side, side), dtype=np.int16)
    truth[-1] = -1
    at = np.arange(side) * PLACE + PLACE / 2
    for thing, mask in zip(scene.things, scene.masks, strict=True):
        cover = mask.reshape(side, PLACE, side, PLACE).mean((1, 3))
        y, x = np.argwhere(mask).mean(0)
        away = np.hypot(at[:, None] - y, at[None] - x)
        noun = truth[NOUNS.index(thing.name)]
        noun[cover > 0.05] = -1
        inside = np.where(cover >= min(0.5, cover.max()), away, np.inf)
        middle = inside <= max(np.sort(inside, axis=None)[1], 0.3 * math.sqrt(mask.sum()))
        noun[middle] = 1
        truth[-1][middle] = COLORS.index(thing.color)
    return truth


def _tensor(pictures: Pictures | Sequence[Pictures]) -> torch.Tensor:
    return torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def _soften(pictures: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Blurred, up to what an autoencoder leaves of small parts; noised, by pixels and by patches; a little
    lighter or darker, each channel by itself."""
    for _ in range(rng.integers(0, 6)):
        pictures = functional.avg_pool2d(pictures, 3, stride=1, padding=1, count_include_pad=False)
    patches = functional.interpolate(
        torch.randn_like(pictures[..., ::PLACE, ::PLACE]), scale_factor=PLACE, mode="bilinear"
    )
    light = torch.from_numpy(rng.uniform(0.85, 1.1, (len(pictures), 3, 1, 1))).to(pictures)
    noise = torch.randn_like(pictures) * rng.uniform(0, 0.1) + patches * rng.uniform(0, 0.15)
    return pictures * light + noise
