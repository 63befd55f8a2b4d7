"""A page on a model that needs no diffusers: a tiny U-Net with real attention and a sampler of its own.

For the page's tests, and to serve the page where little more than gradio and torch is installed:

    python tests/standin.py --port 7860        (without --port: only build the page)
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Call, Row, estimate
from lib_unet_viz.editing.contexts import Contexts
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.hooks import Editing
from lib_unet_viz.editing.own_mask import Mask, fitting
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts.base import Conditions, Present, Schedule
from lib_unet_viz.hosts.diffusers.pipeline import NOTHING, Cancelled
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.tokens import BOS, END_OF_WORD, EOS
from lib_unet_viz.sampling.model import SamplingStep
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet

WIDTH, CONTEXT, CHUNK = 32, 16, 77


def loaded(model: Any) -> tuple[Callable[[], Any], Any]:
    """What the page's tabs want of a model that is there."""
    from lib_unet_viz.app.facts import Facts

    return lambda: model, Facts.of(model)


class Attention(nn.Module):
    """Attention with the four linear layers and the names that Stable Diffusion's has."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self.heads, self.scale = 2, (WIDTH // 2) ** -0.5
        self.to_q = nn.Linear(WIDTH, WIDTH, bias=False)
        self.to_k, self.to_v = (nn.Linear(context, WIDTH, bias=False) for _ in range(2))
        self.to_out = nn.Sequential(nn.Linear(WIDTH, WIDTH))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        def split(t: Tensor) -> Tensor:
            heads: Tensor = t.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            return heads

        q, k, v = split(self.to_q(x)), split(self.to_k(context)), split(self.to_v(context))
        mixed = functional.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.to_out(mixed.transpose(1, 2).flatten(2))
        return out


class Transformer(nn.Module):
    """Self-attention, then cross-attention; images (row, channel, y, x) in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.attn1, self.attn2 = Attention(WIDTH), Attention(CONTEXT)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        flat = x.flatten(2).transpose(1, 2)
        flat = flat + self.attn1(flat, flat)
        flat = flat + self.attn2(flat, context)
        out: Tensor = flat.transpose(1, 2).unflatten(2, x.shape[2:])
        return out


class Part(nn.Module):
    """One block: a convolution and, perhaps, a transformer."""

    def __init__(self, channels: int, *, stride: int = 1, prompt: bool = False, out: int = WIDTH) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, out, 3, stride=stride, padding=1)
        self.transformer = Transformer() if prompt else None

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = torch.tanh(self.conv(x))
        out: Tensor = x if self.transformer is None else self.transformer(x, context)
        return out


class TinyUNet(nn.Module):
    """Three input blocks, a middle block and three output blocks in Stable Diffusion's own layout."""

    def __init__(self) -> None:
        super().__init__()
        self.input_blocks = nn.ModuleList([Part(4), Part(WIDTH, prompt=True), Part(WIDTH, stride=2)])
        self.middle_block = Part(WIDTH, prompt=True)
        self.output_blocks = nn.ModuleList([Part(2 * WIDTH, prompt=True) for _ in range(3)])
        self.out = nn.Conv2d(WIDTH, 4, 1)

    def forward(self, x: Tensor, timestep: float, context: Tensor) -> Tensor:
        skips = []
        for block in self.input_blocks:
            x = block(x, context)
            skips.append(x)
        x = self.middle_block(x, context)
        for block in self.output_blocks:
            skip = skips.pop()
            x = functional.interpolate(x, size=skip.shape[2:])
            x = block(torch.cat([x, skip], 1), context)
        noise: Tensor = self.out(x)
        return noise


class StandIn:
    """What the page asks of `Pipeline` (hosts/diffusers). `pause`: seconds that each step takes longer."""

    name, native_size, differentiable = "stand-in", 128, True
    schedule = Schedule(torch.linspace(0.999, 0.005, 1000))

    def __init__(self, pause: float = 0.0) -> None:
        torch.manual_seed(0)
        self.module = TinyUNet().requires_grad_(False)
        self.unet = UNet.of(self.module)
        self.pipe = SimpleNamespace(vae_scale_factor=8)
        self.pause = pause
        self.calls = Present()

    def tokens(self, prompt: str) -> list[str]:
        found = re.findall(r"\w+|[^\w\s]", prompt.lower())[: CHUNK - 2]
        return [BOS, *(word + END_OF_WORD for word in found), *[EOS] * (CHUNK - 1 - len(found))]

    def context(self, prompt: str) -> Tensor:
        """A random vector for each token's text: (row, token, channel)."""
        rows = [torch.Generator().manual_seed(sum(map(ord, text))) for text in self.tokens(prompt)]
        return torch.stack([3 * torch.randn(CONTEXT, generator=row) for row in rows])[None]

    def estimate(self, settings: Settings, *, steps: int, size: tuple[int, int]) -> int:
        latent = (size[0] // 8, size[1] // 8)
        return estimate(self.unet, **settings.captures(self.unet), size=latent, total=steps)

    def generate(
        self,
        prompt: str,
        *,
        settings: Settings,
        negative: str = "",
        steps: int = 30,
        seed: int = 0,
        cfg: float = 7.5,
        size: tuple[int, int] | None = None,
        progress: Callable[[int, int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Trace:
        height, width = size or (128, 128)
        x = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
        read = [LayerPrompt.parse(text) for text in (negative, prompt)]
        common = torch.cat([self.context(layers.common(self.unet)) for layers in read])
        each = [layers.per_block(self.unet) for layers in read]
        own = {name: torch.cat([self.context(texts[name]) for texts in each]) for name in self.unet.blocks}
        now = 0

        def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
            rows = (Row(0, "uncond"), Row(0, "cond"))
            return Call(
                step=now, total=steps, sigma=1 - now / steps, rows=rows, size=tuple(args[0].shape[-2:])
            )

        recorder = Recorder(
            self.unet,
            **settings.captures(self.unet),
            calls=calls,
            meta={"prompt": prompt, "seed": seed, "tokens": {"cond": self.tokens(prompt)}},
            budget=settings.budget_mb * 1_000_000,
        )
        with recorder as trace, Contexts(self.unet, lambda args, kwargs: own), torch.no_grad():
            for now in range(steps):
                without, given = self.module(torch.cat([x, x]), now, common).chunk(2)
                x = 0.9 * x + 0.2 * (without + cfg / 8 * (given - without))
                time.sleep(self.pause)
                if cancelled():
                    raise Cancelled(trace)
                if progress is not None:
                    progress(now + 1, steps, _picture(x))
        trace.picture = _picture(x)
        return trace

    def picture(self, prompt: str, **options: Any) -> Image.Image:
        picture = self.generate(prompt, settings=NOTHING, **options).picture
        assert picture is not None
        return picture

    def encode(self, picture: Image.Image) -> Tensor:
        pixels = torch.from_numpy(np.array(picture.convert("RGBA"), dtype=np.float32)) / 127.5 - 1
        return functional.avg_pool2d(pixels.permute(2, 0, 1)[None], 8)

    def decode(self, latents: Tensor) -> list[Image.Image]:
        return [_picture(latent[None]) for latent in latents]

    def conditions(
        self, prompts: Sequence[str], negative: str = "", *, size: tuple[int, int] | None = None
    ) -> tuple[Conditions, Conditions]:
        texts = torch.cat([self.context(text) for text in prompts])
        return Conditions(texts), Conditions(self.context(negative))

    def running(self, prompt: str) -> AbstractContextManager[object]:
        return nullcontext()

    def __call__(
        self,
        latents: Tensor,
        timestep: int,
        conditions: Conditions,
        rows: tuple[Row, ...],
        place: SamplingStep | None,
    ) -> Tensor:
        with self.calls.during(place, rows, latents=latents, sigma=self.schedule.sigma(timestep)):
            noise: Tensor = self.module(latents, timestep, conditions.context)
        return noise


@torch.no_grad()
def edit(
    model: StandIn,
    prompt: str,
    settings: EditSettings,
    *,
    negative: str = "",
    steps: int = 30,
    seed: int = 0,
    cfg: float = 7.5,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int, Image.Image], None] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
    mask: Mask | None = None,
    record: Settings | None = None,
) -> Edited:
    """As `diffusers_edit.edit`, by this model's sampler."""
    height, width = size or (128, 128)
    request = Request.of(prompt, settings, mask=fitting(mask, (height, width)))
    plan = request.plan(model.tokens)
    noise = torch.randn(1, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(seed))
    x = noise.repeat(plan.pictures, 1, 1, 1)
    texts = [*[negative] * plan.pictures, *request.prompts]
    contexts = torch.cat([model.context(text) for text in texts])
    images = range(plan.pictures)
    rows = (*(Row(image, "uncond") for image in images), *(Row(image, "cond") for image in images))
    now = 0

    def calls(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        return Call(step=now, total=steps, sigma=1 - now / steps, rows=rows, size=tuple(args[0].shape[-2:]))

    editing = Editing(model.unet, plan, calls=calls)
    meta = {"images": [{"prompt": text, "tokens": {"cond": model.tokens(text)}} for text in request.prompts]}
    captures = {} if record is None else record.captures(model.unet)
    recorder = Recorder(model.unet, **captures, calls=calls, meta=meta)
    with editing, nullcontext() if record is None else recorder:
        for now in range(steps):
            without, given = model.module(torch.cat([x, x]), now, contexts).chunk(2)
            x = editing.blend(0.9 * x + 0.2 * (without + cfg / 8 * (given - without)))
            time.sleep(model.pause)
            if cancelled():
                raise Cancelled(Trace())
            if progress is not None:
                progress(now + 1, steps, _picture(x[1:]))
    pictures = [_picture(latent[None]) for latent in x]
    return Edited(request, plan, pictures, editing.masks, trace=recorder.trace if record else None)


def _picture(latent: Tensor) -> Image.Image:
    rgb = (latent[0, :3].permute(1, 2, 0).numpy() + 1) * 127.5
    small = Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8))
    return small.resize((small.width * 8, small.height * 8), Image.Resampling.BICUBIC)


def main() -> None:
    from lib_unet_viz.app import page

    parser = argparse.ArgumentParser(description="Build the page on a stand-in model; with --port, serve it.")
    parser.add_argument("--port", type=int)
    parser.add_argument("--host", help="other than this machine alone")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that each step takes longer")
    arguments = parser.parse_args()
    blocks = page.build(StandIn(arguments.pause), edit=edit)  # type: ignore[arg-type]
    if arguments.port is not None:
        page.serve(blocks, host=arguments.host, port=arguments.port)


if __name__ == "__main__":
    main()
