"""Small pipelines of diffusers with random weights, a row each of the table in docs/pipelines.md."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import diffusers
import torch
from conftest import CONTEXT, diffusers_unet, randomise, text_encoder, tokenizer
from PIL import Image

from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.trace import Trace

PROMPT = "red circle"
SIDE = 64
PICTURE = Image.linear_gradient("L").resize((SIDE, SIDE)).convert("RGB")
MASK = Image.new("L", (SIDE, SIDE), 0)
MASK.paste(255, (16, 16, 48, 48))


@dataclass
class Built:
    """A pipeline, what it wants beside prompts, and what its rows are.

    arguments: for so many prompts. shown: whether all that goes out of cross-attention is of text.
    """

    pipe: Any
    arguments: Callable[[int], dict[str, Any]] = lambda count: {}
    halves: tuple[str, ...] = ("uncond", "cond")
    steps: int = 2
    shown: bool = True
    encoding: Mapping[str, Any] = field(default_factory=dict)
    close: Callable[[], None] = lambda: None


# What a row needs beside diffusers, by a part of its name.
NEEDS = {"LoRA": "peft", "offload": "accelerate"}
BUILDERS: dict[str, Callable[[], Built]] = {}


def row(name: str) -> Callable[[Callable[[], Built]], Callable[[], Built]]:
    def named(build: Callable[[], Built]) -> Callable[[], Built]:
        BUILDERS[name] = build
        return build

    return named


@contextmanager
def built(name: str) -> Iterator[Built]:
    """A fresh pipeline of a row of the table."""
    made = BUILDERS[name]()
    made.pipe.set_progress_bar_config(disable=True)
    try:
        yield made
    finally:
        made.close()


# Runs.


def called(made: Built, count: int = 1, **more: Any) -> Any:
    """The pictures, float (image, y, x, channel), of a run with as many prompts."""
    arguments = {"num_inference_steps": made.steps, "height": SIDE, "width": SIDE, **made.arguments(count)}
    if "prompt_embeds" not in arguments:
        arguments["prompt"] = [PROMPT] * count
    arguments |= {"output_type": "np", **more}
    known = inspect.signature(made.pipe.__call__).parameters
    generators = [torch.Generator().manual_seed(1) for _ in range(count)]
    given = {name: value for name, value in arguments.items() if name in known}
    return made.pipe(**given, generator=generators if count > 1 else generators[0]).images


def recorded(made: Built, **captures: Any) -> Trace:
    """The picture is the same to the byte, and no hook is left."""
    attached = host.attach(made.pipe)
    before = called(made)
    meta = host.describe(made.pipe, prompt=PROMPT, seed=1)
    with Recorder(attached.unet, **captures, calls=attached.calls, meta=meta) as trace:
        during = called(made)
    assert during.tobytes() == before.tobytes() == called(made).tobytes()
    assert hooks(made) == 0
    return trace


def hooks(made: Built) -> int:
    """How many there are on the U-Net, but for those of PEFT and accelerate, which are none of torch's."""
    parts = made.pipe.unet.modules()
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in parts)


# Parts.


def unet(**changes: Any) -> Any:
    """Two levels: five blocks with a resnet, of which three have attention."""
    return diffusers_unet(
        **{
            "sample_size": SIDE // 8,
            "block_out_channels": (32, 64),
            "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
            "layers_per_block": 1,
            **changes,
        }
    )


def xl_unet(**changes: Any) -> Any:
    options: dict[str, Any] = {
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "transformer_layers_per_block": (1, 2),
        "attention_head_dim": (1, 2),
        "use_linear_projection": True,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 8 * 6 + 64,
    }
    return unet(**{**options, **changes})


@cache
def autoencoder() -> Any:
    return randomise(
        diffusers.AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            latent_channels=4,
            sample_size=SIDE,
        )
    )


@cache
def tokens() -> Any:
    return tokenizer(Path(mkdtemp()))


def parts(**changes: Any) -> dict[str, Any]:
    """Of Stable Diffusion 1."""
    return {
        "vae": autoencoder(),
        "text_encoder": text_encoder(CONTEXT),
        "tokenizer": tokens(),
        "unet": unet(),
        "scheduler": scheduler("DDIMScheduler", clip_sample=False, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
        **changes,
    }


def xl_parts(**changes: Any) -> dict[str, Any]:
    return {
        "vae": autoencoder(),
        "text_encoder": text_encoder(64),
        "text_encoder_2": text_encoder(64, projected=True),
        "tokenizer": tokens(),
        "tokenizer_2": tokens(),
        "unet": xl_unet(),
        "scheduler": scheduler("EulerDiscreteScheduler"),
        "add_watermarker": False,
        **changes,
    }


def scheduler(name: str, **options: Any) -> Any:
    return getattr(diffusers, name)(beta_schedule="scaled_linear", **options)


def sd() -> Any:
    return diffusers.StableDiffusionPipeline(**parts())


def controlnet(of: Any) -> Any:
    return randomise(diffusers.ControlNetModel.from_unet(of), seed=1)


def adapter() -> Any:
    return randomise(diffusers.T2IAdapter(channels=[32, 64], num_res_blocks=1, downscale_factor=8), seed=1)


def image(count: int) -> dict[str, Any]:
    return {"image": [PICTURE] * count, "strength": 0.75}


def control(count: int) -> dict[str, Any]:
    return {"image": [PICTURE] * count}


def masked(count: int) -> dict[str, Any]:
    return {"image": [PICTURE] * count, "mask_image": [MASK] * count, "height": SIDE, "width": SIDE}


# Rows of the table.


@row("Stable Diffusion")
def _() -> Built:
    return Built(sd())


@row("Stable Diffusion, image to image")
def _() -> Built:
    return Built(diffusers.StableDiffusionImg2ImgPipeline(**parts()), image)


@row("Stable Diffusion, inpainting model")
def _() -> Built:
    return Built(diffusers.StableDiffusionInpaintPipeline(**parts(unet=unet(in_channels=9))), masked)


@row("Stable Diffusion, inpainting with any model")
def _() -> Built:
    return Built(diffusers.StableDiffusionInpaintPipeline(**parts()), masked)


@row("SDXL base")
def _() -> Built:
    return Built(diffusers.StableDiffusionXLPipeline(**xl_parts()))


@row("SDXL base, ending early for a refiner")
def _() -> Built:
    return Built(
        diffusers.StableDiffusionXLPipeline(**xl_parts()),
        lambda count: {"denoising_end": 0.6, "num_inference_steps": 4},
    )


@row("SDXL refiner")
def _() -> Built:
    refiner = xl_unet(cross_attention_dim=64, projection_class_embeddings_input_dim=8 * 5 + 64)
    made = xl_parts(unet=refiner, text_encoder=None, tokenizer=None, requires_aesthetics_score=True)
    return Built(diffusers.StableDiffusionXLImg2ImgPipeline(**made), image)


@row("SDXL image to image")
def _() -> Built:
    return Built(diffusers.StableDiffusionXLImg2ImgPipeline(**xl_parts()), image)


@row("SDXL inpainting model")
def _() -> Built:
    made = xl_parts(unet=xl_unet(in_channels=9))
    return Built(diffusers.StableDiffusionXLInpaintPipeline(**made), masked)


@row("ControlNet")
def _() -> Built:
    made = parts()
    return Built(
        diffusers.StableDiffusionControlNetPipeline(**made, controlnet=controlnet(made["unet"])), control
    )


@row("ControlNet, SDXL")
def _() -> Built:
    made = xl_parts()
    return Built(
        diffusers.StableDiffusionXLControlNetPipeline(**made, controlnet=controlnet(made["unet"])), control
    )


@row("ControlNet, image to image")
def _() -> Built:
    made = parts()
    pipe = diffusers.StableDiffusionControlNetImg2ImgPipeline(**made, controlnet=controlnet(made["unet"]))
    return Built(pipe, lambda count: {**image(count), "control_image": [PICTURE] * count})


@row("ControlNet, inpainting")
def _() -> Built:
    made = parts()
    pipe = diffusers.StableDiffusionControlNetInpaintPipeline(**made, controlnet=controlnet(made["unet"]))
    return Built(pipe, lambda count: {**masked(count), "control_image": [PICTURE] * count})


@row("PAG")
def _() -> Built:
    pipe = diffusers.StableDiffusionPAGPipeline(**parts(), pag_applied_layers=["mid"])
    return Built(pipe, halves=("uncond", "cond", "perturbed"))


@row("PAG, SDXL, without other guidance")
def _() -> Built:
    pipe = diffusers.StableDiffusionXLPAGPipeline(**xl_parts(), pag_applied_layers=["mid"])
    return Built(pipe, lambda count: {"guidance_scale": 1.0}, halves=("cond", "perturbed"))


@row("PAG with ControlNet")
def _() -> Built:
    made = parts()
    pipe = diffusers.StableDiffusionControlNetPAGPipeline(
        **made, controlnet=controlnet(made["unet"]), pag_applied_layers=["mid"]
    )
    return Built(pipe, control, halves=("uncond", "cond", "perturbed"))


@row("LCM, 1 step")
def _() -> Built:
    pipe = diffusers.StableDiffusionPipeline(**parts(scheduler=scheduler("LCMScheduler", steps_offset=1)))
    return Built(pipe, lambda count: {"guidance_scale": 0.0}, halves=("cond",), steps=1)


@row("LCM, 4 steps")
def _() -> Built:
    made = parts(unet=unet(time_cond_proj_dim=32), scheduler=scheduler("LCMScheduler"))
    made = {**made, "requires_safety_checker": False}
    return Built(diffusers.LatentConsistencyModelPipeline(**made), halves=("cond",), steps=4)


@row("Turbo, 1 step without guidance")
def _() -> Built:
    made = xl_parts(scheduler=scheduler("EulerAncestralDiscreteScheduler", timestep_spacing="trailing"))
    pipe = diffusers.StableDiffusionXLPipeline(**made)
    return Built(pipe, lambda count: {"guidance_scale": 0.0}, halves=("cond",), steps=1)


@row("Turbo, 4 steps without guidance")
def _() -> Built:
    made = xl_parts(scheduler=scheduler("EulerAncestralDiscreteScheduler", timestep_spacing="trailing"))
    pipe = diffusers.StableDiffusionXLPipeline(**made)
    return Built(pipe, lambda count: {"guidance_scale": 0.0}, halves=("cond",), steps=4)


@row("Lightning, 1 step without guidance")
def _() -> Built:
    made = xl_parts(
        scheduler=scheduler("EulerDiscreteScheduler", timestep_spacing="trailing", prediction_type="sample")
    )
    pipe = diffusers.StableDiffusionXLPipeline(**made)
    return Built(pipe, lambda count: {"guidance_scale": 0.0}, halves=("cond",), steps=1)


@row("Lightning, 4 steps without guidance")
def _() -> Built:
    made = xl_parts(scheduler=scheduler("EulerDiscreteScheduler", timestep_spacing="trailing"))
    pipe = diffusers.StableDiffusionXLPipeline(**made)
    return Built(pipe, lambda count: {"guidance_scale": 0.0}, halves=("cond",), steps=4)


@row("IP-Adapter")
def _() -> Built:
    from diffusers.models.attention_processor import IPAdapterAttnProcessor
    from diffusers.models.embeddings import ImageProjection

    pipe = sd()
    layers: dict[str, Any] = {}
    cross = [name for name in pipe.unet.attn_processors if name.endswith("attn2.processor")]
    for number, name in enumerate(cross):
        width = pipe.unet.get_submodule(name.removesuffix(".processor")).to_q.out_features
        weights = randomise(IPAdapterAttnProcessor(width, CONTEXT), seed=number).state_dict()
        layers |= {
            f"{2 * number + 1}.to_{part}_ip.weight": weights[f"to_{part}_ip.0.weight"] for part in "kv"
        }
    projection = randomise(ImageProjection(16, CONTEXT, num_image_text_embeds=4)).state_dict()
    names = {"proj": "image_embeds", "norm": "norm"}
    projected = {
        f"{name}.{kind}": projection[f"{source}.{kind}"]
        for name, source in names.items()
        for kind in ("weight", "bias")
    }
    pipe.unet._load_ip_adapter_weights([{"image_proj": projected, "ip_adapter": layers}])
    embeds = torch.randn(2, 1, 16, generator=torch.Generator().manual_seed(0))
    return Built(
        pipe,
        lambda count: {"ip_adapter_image_embeds": [embeds.repeat_interleave(count, 0)]},
        shown=False,
    )


@row("T2I-Adapter")
def _() -> Built:
    return Built(diffusers.StableDiffusionAdapterPipeline(**parts(), adapter=adapter()), control)


def _with_lora() -> Any:
    from peft import LoraConfig

    pipe = sd()
    for module, layers in (
        (pipe.unet, ["to_q", "to_k", "to_v", "to_out.0"]),
        (pipe.text_encoder, ["q_proj"]),
    ):
        torch.manual_seed(0)
        module.add_adapter(LoraConfig(r=4, target_modules=layers, init_lora_weights=False))
    return pipe


@row("LoRA, loaded")
def _() -> Built:
    scaled = {"cross_attention_kwargs": {"scale": 0.5}}
    return Built(_with_lora(), lambda count: scaled, encoding={"lora_scale": 0.5})


@row("LoRA, fused")
def _() -> Built:
    pipe = _with_lora()
    pipe.fuse_lora()
    return Built(pipe)


@row("FreeU")
def _() -> Built:
    pipe = sd()
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    return Built(pipe)


@row("Layers skipped at some steps, as by DeepCache")
def _() -> Built:
    pipe = sd()
    middle, kept = pipe.unet.mid_block, list[Any]()
    forward = middle.forward

    def cached(*args: Any, **kwargs: Any) -> Any:
        if len(kept) == 1:
            return kept.pop()
        kept.append(forward(*args, **kwargs))
        return kept[0]

    middle.forward = cached
    return Built(pipe)


@row("fuse_qkv_projections")
def _() -> Built:
    pipe = sd()
    pipe.fuse_qkv_projections()
    return Built(pipe)


@row("Attention slicing")
def _() -> Built:
    pipe = sd()
    pipe.enable_attention_slicing(1)
    return Built(pipe)


@row("torch.compile")
def _() -> Built:
    pipe = sd()
    torch._dynamo.reset()
    pipe.unet = torch.compile(pipe.unet, backend="eager")
    return Built(pipe)


@row("Model CPU offload")
def _() -> Built:
    import accelerate

    pipe = sd()
    # What enable_model_cpu_offload does, which wants an accelerator.
    for module in (pipe.unet, pipe.text_encoder):
        accelerate.cpu_offload_with_hook(module, torch.device("cpu"))
    return Built(pipe)


@row("Sequential CPU offload")
def _() -> Built:
    import accelerate

    pipe = diffusers.StableDiffusionPipeline(**parts(vae=autoencoder.__wrapped__()))
    # What enable_sequential_cpu_offload does, which wants an accelerator.
    for module in (pipe.unet, pipe.text_encoder, pipe.vae):
        accelerate.cpu_offload(module, torch.device("cpu"), offload_buffers=True)
    return Built(pipe)


@row("`prompt_embeds` instead of a prompt")
def _() -> Built:
    pipe = sd()

    def arguments(count: int) -> dict[str, Any]:
        return {"prompt_embeds": torch.cat([pipe.encode_prompt(PROMPT, "cpu", 1, False)[0]] * count)}

    return Built(pipe, arguments)


@row("`clip_skip`")
def _() -> Built:
    # With Stable Diffusion 1, diffusers 0.42 and transformers 5 disagree on it.
    pipe = diffusers.StableDiffusionXLPipeline(**xl_parts())
    return Built(pipe, lambda count: {"clip_skip": 1}, encoding={"clip_skip": 1})


@row("Callbacks that end guidance")
def _() -> Built:
    end = diffusers.callbacks.SDCFGCutoffCallback(cutoff_step_ratio=0.5)
    return Built(sd(), lambda count: {"callback_on_step_end": end})


@row("LEDITS++")
def _() -> Built:
    options = {"algorithm_type": "sde-dpmsolver++", "steps_offset": 1}
    made = parts(scheduler=scheduler("DPMSolverMultistepScheduler", **options))
    return Built(diffusers.LEditsPPPipelineStableDiffusion(**made))


@row("Panorama")
def _() -> Built:
    return Built(diffusers.StableDiffusionPanoramaPipeline(**parts()))


@row("InstructPix2Pix")
def _() -> Built:
    made = parts(unet=unet(in_channels=8))
    return Built(diffusers.StableDiffusionInstructPix2PixPipeline(**made), control)
