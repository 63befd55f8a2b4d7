"""Train the bundled model's U-Net and text encoder together, on encoded scenes."""

from __future__ import annotations

import math
import os
import time
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import distributed
from torch.multiprocessing.spawn import spawn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel
from transformers import CLIPTokenizer

from lib_unet_viz.demo import dataset, model, worlds
from lib_unet_viz.demo.checkpoint import Checkpoint
from lib_unet_viz.hosts.diffusers import load_demo

if TYPE_CHECKING:
    from pathlib import Path

Tensors = tuple[torch.Tensor, ...] | list[torch.Tensor]

BATCH = 32
LEARNING_RATE = 1e-3
WARM_UP = 100  # steps
MIN_SNR = 5.0  # Hang et al. 2023, "Efficient Diffusion Training via Min-SNR Weighting Strategy"
# Guttenberg 2023, "Diffusion with Offset Noise": else the mean of the first noise picks the background.
OFFSET_NOISE = 0.2
FOREGROUND = 2.0  # how much more a latent position wholly inside an object counts
# What is worn, eaten or held covers few positions and is learned last. A thing of fewer positions than LARGE
# counts as if it had so many, up to MOST times; a share of ATTACHED of the samples shows such pairs for sure.
LARGE, MOST = 64, 4.0
ATTACHED = 0.2
SLOWEST_DECAY = 0.999
EMBEDDING = "token_embedding.weight"
# After Yu et al. 2024, "Representation Alignment for Generation": what is asked what it sees learns sooner to
# draw it. Here half-way layers are asked for the noun at each place, of which drawn scenes hold the truth.
NAMING = 0.05
NO_CAPTION = 0.1  # share of samples that train the unconditional half


class TextToNoise(torch.nn.Module):
    """Text encoder and U-Net as one module, so that they are averaged together.

    names: reads which noun is where from what leaves the U-Net's second output stage; in training only.
    """

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.text_encoder = model.new_text_encoder(vocabulary)
        self.unet = model.new_unet()
        self.names = torch.nn.Conv2d(self.unet.config.block_out_channels[-1], len(worlds.NOUNS), 1)

    def load_bundled(self, tokenizer: CLIPTokenizer) -> None:
        """Take the weights that the package carries; tokens that it has not start by chance, as far apart."""
        pipe = load_demo()
        self.unet.load_state_dict(pipe.unet.state_dict())
        weights = pipe.text_encoder.state_dict()
        known, name = pipe.tokenizer.get_vocab(), next(n for n in weights if n.endswith(EMBEDDING))
        old = weights[name].float()
        new = torch.randn(len(tokenizer), old.shape[1]) * old.std() + old.mean(0)
        for token, index in tokenizer.get_vocab().items():
            if token in known:
                new[index] = old[known[token]]
        self.text_encoder.load_state_dict({**weights, name: new})

    def forward(
        self, latents: torch.Tensor, timesteps: torch.Tensor, ids: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicted noise (sample, channel, y, x), and logits of NOUNS (sample, noun, y, x) by place."""
        seen: list[torch.Tensor] = []
        hook = self.unet.up_blocks[1].register_forward_hook(lambda _module, _given, found: seen.append(found))
        with hook:
            noise = self.unet(latents, timesteps, self.text_encoder(ids)[0]).sample
        return noise, self.names(seen[0])


def train(
    folder: Path, *, minutes: float, device: str, processes: int = 1, seed: int = 3, bundled: bool = False
) -> None:
    """Train for the given time in all, or go on from `folder`; the learning rate ends at 0 with the time.

    bundled: where `folder` has no state yet, start from the weights that the package carries.

    On a CPU, several single-threaded processes that share gradients are faster than one with as many threads,
    whenever something else runs too.
    """
    if processes == 1:
        return _train(0, 1, folder, minutes, device, seed, bundled)
    spawn(_train, (processes, folder, minutes, device, seed, bundled), nprocs=processes)
    return None


def _train(
    rank: int, processes: int, folder: Path, minutes: float, device: str, seed: int, bundled: bool
) -> None:
    torch.manual_seed(seed)
    if processes > 1:
        torch.set_num_threads(1)
        meeting = f"file://{(folder / f'meeting-{os.getppid()}').resolve()}"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    data = dataset.load(folder)
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    network = TextToNoise(len(tokenizer)).to(device)
    if bundled:
        network.load_bundled(tokenizer)
    average = AveragedModel(network, multi_avg_fn=_follow)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=LEARNING_RATE, weight_decay=1e-2, betas=(0.9, 0.99), fused=True
    )
    state = Checkpoint(folder / "unet.pt", {"network": network, "average": average, "optimizer": optimizer})
    spent = state.load()
    gradient = _gradient(network)
    rng = np.random.default_rng((seed, state.step, rank))
    torch.manual_seed(int(rng.integers(2**31)))
    start = time.monotonic() - spent
    while True:
        done = _agreed((time.monotonic() - start) / 60 / minutes, processes)
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = (
                LEARNING_RATE * min(1, (state.step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))
            )
        loss, naming = _losses(network, data, tokenizer, rng, BATCH // processes)
        gradient.zero_()
        (loss + NAMING * naming).backward()
        if processes > 1:
            distributed.all_reduce(gradient)
            gradient /= processes
        gradient /= gradient.norm().clamp(min=1)
        optimizer.step()
        if rank == 0:
            average.update_parameters(network)
            state.advance(loss=loss.item(), naming=naming.item(), seconds=time.monotonic() - start)
        else:
            state.step += 1
    if rank == 0:
        state.save()


@torch.no_grad()
def _follow(average: Tensors, current: Tensors, count: torch.Tensor | int) -> None:
    """Exponential moving average that forgets its untrained start: at most the last thousand steps count."""
    decay = min(SLOWEST_DECAY, (1 + float(count)) / (10 + float(count)))
    torch._foreach_lerp_(average, current, 1 - decay)


def _losses(
    network: TextToNoise,
    data: dataset.Dataset,
    tokenizer: CLIPTokenizer,
    rng: np.random.Generator,
    count: int,
) -> tuple[torch.Tensor, torch.Tensor]:
    """On `count` scenes at random timesteps: weighted mean squared error of the predicted noise, and the
    cross-entropy of the nouns that each place is said to show."""
    device = next(network.parameters()).device
    picked = rng.integers(0, len(data.latents), count)
    attached = rng.random(count) < (ATTACHED if len(data.attached) else 0)
    picked[attached] = rng.choice(data.attached, attached.sum())
    texts = ["" if rng.random() < NO_CAPTION else str(rng.choice(data.captions[i])) for i in picked]
    ids = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids.to(device)
    clean = data.latents[picked].to(device) * data.scaling_factor
    signal = model.new_scheduler().alphas_cumprod.to(device)
    noise = torch.randn_like(clean) + OFFSET_NOISE * torch.randn_like(clean[:, :, :1, :1])
    steps = torch.randint(0, len(signal), (count,), device=device)
    kept = signal[steps][:, None, None, None]
    guess, named = network(kept.sqrt() * clean + (1 - kept).sqrt() * noise, steps, ids)
    snr = kept / (1 - kept)
    there = functional.one_hot(data.nouns[picked].long(), len(worlds.NOUNS)).movedim(-1, 1).float().to(device)
    inside = data.foreground[picked].to(device) * _emphasis(there)
    weight = (1 + FOREGROUND * inside) * snr.clamp(max=MIN_SNR) / snr
    naming = functional.cross_entropy(named, functional.avg_pool2d(there, 2))
    return (weight * (guess - noise) ** 2).mean(), naming


def _emphasis(there: torch.Tensor) -> torch.Tensor:
    """How much more each position (sample, 1, y, x) counts as its noun covers few, of one-hot nouns (sample,
    noun, y, x): from 1, also for the background, to MOST."""
    areas = there.sum((2, 3), keepdim=True).clamp(min=1)
    factors = (LARGE / areas).clamp(1, MOST)
    factors[:, 0] = 1
    return (there * factors).sum(1, keepdim=True)


def _gradient(network: TextToNoise) -> torch.Tensor:
    """All gradients as one vector, into which each one's own is a view: shared and clipped in one go."""
    parameters = list(network.parameters())
    whole = torch.zeros(sum(each.numel() for each in parameters), device=parameters[0].device)
    for each, part in zip(parameters, whole.split([p.numel() for p in parameters]), strict=True):
        each.grad = part.view_as(each)
    return whole


def _agreed(done: float, processes: int) -> float:
    """The first process's clock, so that all stop at the same step."""
    if processes == 1:
        return done
    clock = torch.tensor(done, dtype=torch.float64)
    distributed.broadcast(clock, 0)
    return float(clock)
