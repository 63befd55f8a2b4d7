"""A diffusers Stable Diffusion pipeline as this package uses it: a model that generates, with capture."""

from __future__ import annotations

import inspect
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image

from lib_unet_viz.capture.recorder import Cancelled as Cancelled
from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.recording import reason
from lib_unet_viz.capture.request import estimate
from lib_unet_viz.hosts.diffusers import attached as host
from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.hosts.diffusers.pipeline_model import PipelineModel
from lib_unet_viz.maps.vxa import default_layers
from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

# Latent channels to RGB, then an offset, for quick previews of Stable Diffusion 1 (Birch-san, 2022).
PREVIEW = np.array(
    [
        [0.298, 0.207, 0.208],
        [0.187, 0.286, 0.173],
        [-0.158, 0.189, 0.264],
        [-0.184, -0.271, -0.473],
        [0.0, 0.0, 0.0],
    ],
    dtype=np.float32,
)


_INSTEAD = "run the pipeline itself inside a Recorder instead"
_PARAMETER = "it is a parameter of its own"
# What cannot be among the pipeline's own arguments, and why.
_NOT_BESIDE = {
    "prompt_embeds": f"layer prompts and edits are of texts; {_INSTEAD}",
    "callback_on_step_end": f"it tells of progress and blends edits; {_INSTEAD}",
    "num_images_per_prompt": f"one picture is made of each prompt; {_INSTEAD}",
    "prompt": _PARAMETER,
    "negative_prompt": f"{_PARAMETER}, negative",
    "num_inference_steps": f"{_PARAMETER}, steps",
    "guidance_scale": f"{_PARAMETER}, cfg",
    "generator": f"{_PARAMETER}, seed",
}

NOTHING = Settings.from_dict(
    {"features": {"enabled": False}, "attention": {"enabled": False}, "heatmaps": False}
)


class Pipeline(PipelineModel):
    """A loaded model. `Pipeline.load()` is the bundled one; any folder, file or hub id names another."""

    @classmethod
    def load(cls, model: str | None = None) -> Pipeline:
        """Load the bundled model, or a diffusers folder, a checkpoint file, a hub id."""
        if model is None:
            return cls(host.load_demo(), "bundled model")
        return cls(host.load(model), model)

    @property
    def device(self) -> torch.device:
        """Where the U-Net runs."""
        device: torch.device = self.pipe._execution_device
        return device

    def estimate(self, settings: Settings, *, steps: int, size: tuple[int, int]) -> int:
        """Bytes that a run with these settings will capture; size (height, width) in pixels."""
        latent = (size[0] // self.pipe.vae_scale_factor, size[1] // self.pipe.vae_scale_factor)
        return estimate(self.unet, **self._captures(settings), size=latent, total=steps)

    def generate(
        self,
        prompt: str,
        *,
        settings: Settings,
        negative: str = "",
        steps: int = 30,
        seed: int = 0,
        cfg: float = 5.0,
        size: tuple[int, int] | None = None,
        arguments: Mapping[str, Any] = MappingProxyType({}),
        progress: Callable[[int, int, Image.Image], None] | None = None,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Trace:
        """Make one picture of size (height, width) and record what the settings ask for.

        Both prompts may hold layer prompts. arguments: what this pipeline wants beside, such as `image` and
        `strength`. `progress(step, steps, preview)` is called after each step. What goes wrong in recording
        is in the trace's notes, and the picture is made. Raises SpecError for wrong specs and prompts and
        BudgetError for too much to keep, both before sampling; Cancelled when `cancelled()` turned true.
        """
        height, width = size or (self.native_size, self.native_size)
        attached = host.attach(self.pipe)
        prompts = LayerPrompts(
            self.pipe,
            prompt,
            negative,
            clip_skip=arguments.get("clip_skip"),
            lora_scale=(arguments.get("cross_attention_kwargs") or {}).get("scale"),
        )
        meta = prompts.describe(seed=seed, cfg=cfg, model=self.name, picture_size=[height, width])
        recorder = Recorder(
            self.unet,
            **self._captures(settings),
            calls=attached.calls,
            meta=meta,
            budget=settings.budget_mb * 1_000_000,
        )

        def after_step(pipe: Any, step: int, timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
            if cancelled():
                raise Cancelled(recorder.trace)
            if prompts.differ:
                self.check_same(prompts.unet)
            if progress is not None:
                progress(step + 1, steps, self._shown(values["latents"], recorder.trace))
            return {}

        own = {
            "num_inference_steps": steps,
            "guidance_scale": cfg,
            "height": height,
            "width": width,
            "generator": torch.Generator("cpu").manual_seed(seed),
            "callback_on_step_end": after_step,
        }
        try:
            with recorder as trace, prompts.contexts(), torch.no_grad():
                output = self.call(prompts.arguments | own, arguments)
        except NothingCaptured as error:
            trace.notes.append(str(error))
        picture = trace.picture = output.images[0]
        trace.meta = replace(trace.meta, picture_size=[picture.height, picture.width])
        return trace

    def call(self, own: Mapping[str, Any], arguments: Mapping[str, Any]) -> Any:
        """Run the pipeline with our own arguments and those that somebody wants beside.

        Where it takes no size (image to image) or callback (adapters), it gets none. Raises ValueError for
        what cannot be given beside.
        """
        for name, why in _NOT_BESIDE.items():
            if name in arguments:
                raise ValueError(f"{name} cannot be among the pipeline's arguments here: {why}")
        known = inspect.signature(self.pipe.__call__).parameters
        left = {"height", "width", "callback_on_step_end"} - set(known)
        given = {name: value for name, value in own.items() if name not in left}
        return self.pipe(**{**given, **arguments})

    def _shown(self, latents: torch.Tensor, trace: Trace) -> Image.Image:
        """A preview, or a grey picture and a note."""
        try:
            return self.preview(latents)
        except Exception as error:
            note = f"there are no previews: {reason(error)}"
            trace.notes += [] if note in trace.notes else [note]
            return Image.new("RGB", (self.native_size, self.native_size), "grey")

    def picture(self, prompt: str, **options: Any) -> Image.Image:
        """A picture and nothing else; options and errors as of `generate`."""
        trace = self.generate(prompt, settings=NOTHING, **options)
        if trace.picture is None:
            raise RuntimeError("the pipeline made no picture")
        return trace.picture

    def _captures(self, settings: Settings) -> dict[str, Any]:
        """What a Recorder is to record."""
        return settings.captures(self.unet, fine=default_layers(self))

    def preview(self, latents: torch.Tensor) -> Image.Image:
        """A rough picture of the first latent, without the autoencoder."""
        latent = latents[0].float().cpu().permute(1, 2, 0).numpy()
        matrix = np.asarray(self.pipe.vae.config.get("preview_matrix") or PREVIEW, dtype=np.float32)
        rgb = np.clip((latent @ matrix[:-1] + matrix[-1] + 1) * 127.5, 0, 255).astype(np.uint8)
        size = tuple(side * self.pipe.vae_scale_factor for side in reversed(rgb.shape[:2]))
        return Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR)
