"""What other extensions do to a generation, each off unless a request asks for it by `alwayson_scripts`.

Loaded by a real webui; none of it knows the extension that is tested.
"""

from __future__ import annotations

import base64
import copy
import importlib
import traceback
import unittest.mock

import gradio as gr
import safetensors.torch
import torch
from fastapi import Body
from ldm.modules.diffusionmodules.util import timestep_embedding
from modules import processing, script_callbacks, scripts, sd_models, sd_unet, shared
from modules.processing import StableDiffusionProcessingImg2Img, process_images


class Switched:
    """An always-on script with one argument, off where it is empty or false.

    (Not a Script itself: the webui would list it.)
    """

    name_ = ""

    def title(self):
        return f"Stand-in: {self.name_}"

    def show(self, is_img2img):
        return scripts.AlwaysVisible

    def ui(self, is_img2img):
        return [gr.Textbox(value="", visible=False)]  # the API hands any JSON through


def middle_block():
    return shared.sd_model.model.diffusion_model.middle_block


class Watch:
    """Everything that the middle block and its cross-attention did in the generation that is probed.

    It sees modules through torch's global hook: it neither needs nor leaves anything on the model.
    """

    def __init__(self):
        self.reset(None)
        self.handle = None

    def reset(self, p):
        self.p, self.calls, self.forwards, self.maps = p, [], [], {}

    def start(self, p):
        self.stop()
        self.reset(p)
        self.handle = torch.nn.modules.module.register_module_forward_hook(self.seen)

    def stop(self):
        if self.handle is not None:
            self.handle.remove()
            self.handle = None

    def denoiser_call(self, params):
        if self.handle is not None:
            denoiser = params.denoiser
            self.calls.append(
                {
                    "step": denoiser.step,
                    "sigma": float(params.sigma[0]),
                    "hires": bool(getattr(denoiser.p, "is_hr_pass", False)),
                    "nested": denoiser.p is not self.p,
                    "rows": int(params.text_cond.shape[0] if not isinstance(params.text_cond, dict) else -1),
                    "images": int(params.x.shape[0]) - int(params.text_cond.shape[0]),
                    "checkpoint": shared.sd_model.sd_checkpoint_info.name_for_extra,
                }
            )

    def seen(self, module, args, output):
        block = middle_block()
        attention = block[1].transformer_blocks[0].attn2
        names = {block: "block", attention.to_q: "q", attention.to_k: "k", attention.to_v: "v"}
        name = names.get(module)
        if name == "q":
            self.forwards.append({"call": len(self.calls) - 1, "rows": int(output.shape[0])})
        if name is not None and self.forwards:
            self.maps[f"{len(self.forwards) - 1}/{name}"] = output.detach().float().contiguous().clone()


WATCH = Watch()


class Probe(Switched, scripts.Script):
    name_ = "probe"

    def before_process(self, p, on):
        if on and not getattr(p, "_stand_in_inner", False):
            WATCH.start(p)

    def postprocess(self, p, processed, on):
        if on and p is WATCH.p:
            WATCH.stop()


def unet_forward(self, x, timesteps=None, context=None, y=None, **kwargs):
    """As ControlNet's: the blocks one by one, with something added to the middle block's output."""
    skipped = []
    emb = self.time_embed(timestep_embedding(timesteps, self.model_channels, repeat_only=False))
    h = x.type(self.dtype)
    for module in self.input_blocks:
        h = module(h, emb, context)
        skipped.append(h)
    h = self.middle_block(h, emb, context)
    h = h + 0.05 * h.mean(dim=1, keepdim=True)
    for module in self.output_blocks:
        h = module(torch.cat([h, skipped.pop()], dim=1), emb, context)
    return self.out(h.type(x.dtype))


class ReplacedForward(Switched, scripts.Script):
    """ControlNet's way: an attribute of the instance, from `process` to `postprocess`."""

    name_ = "replaced forward"

    def process(self, p, on):
        if on:
            unet = p.sd_model.model.diffusion_model
            unet.forward = unet_forward.__get__(unet, type(unet))

    def postprocess(self, p, processed, on):
        if on:
            vars(p.sd_model.model.diffusion_model).pop("forward", None)


class Nested(Switched, scripts.Script):
    """ADetailer's way: an image-to-image generation for every picture; "scripts": ours runs in it, too."""

    name_ = "nested generation"

    def postprocess_image(self, p, pp, on):
        if not on or getattr(p, "_stand_in_inner", False):
            return
        inner = StableDiffusionProcessingImg2Img(
            sd_model=p.sd_model,
            init_images=[pp.image],
            denoising_strength=0.6,
            prompt="a blue square",
            negative_prompt="a circle",
            seed=p.seed,
            steps=3,
            sampler_name=p.sampler_name,
            width=64,
            height=64,
            do_not_save_samples=True,
            do_not_save_grid=True,
        )
        inner._stand_in_inner = True
        if on == "scripts":
            ours = [script for script in p.scripts.alwayson_scripts if script.title().startswith("U-Net Viz")]
            runner = copy.copy(p.scripts)
            runner.alwayson_scripts = ours  # before `scripts` is set: that sets seed and steps by the page's
            inner.scripts, inner.script_args = runner, copy.deepcopy(p.script_args)
        pp.image = process_images(inner).images[0].resize(pp.image.size)
        inner.close()


class Stop(Switched, scripts.Script):
    """{"what": "interrupt", "skip" or "raise", "step": of the sampler, from 0; "pass": "hires"}"""

    name_ = "stop"
    wanted = None

    def process(self, p, wanted):
        Stop.wanted = wanted or None

    @staticmethod
    def denoised(params):
        wanted = Stop.wanted
        if wanted and params.sampling_step >= wanted["step"]:
            Stop.wanted = None
            {"interrupt": shared.state.interrupt, "skip": shared.state.skip}[wanted["what"]]()


class Raise(Switched, scripts.Script):
    """The number of the U-Net call of a pass, from 1, in whose middle block an exception is raised."""

    name_ = "raise"
    handles = []

    def process_before_every_sampling(self, p, on, **kwargs):
        self.clear()
        if on:
            left = [int(on)]

            def fail(*_):
                left[0] -= 1
                if left[0] == 0:
                    self.clear()
                    raise RuntimeError("stand-in: raised in mid-run")

            self.handles.append(middle_block().register_forward_hook(fail))

    def clear(self):
        while self.handles:
            self.handles.pop().remove()

    def postprocess(self, p, processed, on):
        self.clear()


class Latents(Switched, scripts.Script):
    """Keeps the latents that a sampler ends with, of each batch, as they are once all scripts are done; of a
    hires pass, which tells decoded pictures, what its last call of the U-Net made of them.
    """

    name_ = "latents"
    kept, denoised = [], None

    def process(self, p, on):
        Latents.kept = []

    def post_sample(self, p, ps, on):
        if on:
            Latents.kept.append(ps.samples if hasattr(ps.samples, "shape") else Latents.denoised)

    @staticmethod
    def after_call(params):
        Latents.denoised = params.x

    @classmethod
    def told(cls):
        maps = {str(at): samples.contiguous() for at, samples in enumerate(cls.kept)}
        return {"latents": base64.b64encode(safetensors.torch.save(maps)).decode()}


class Wildcards(Switched, scripts.Script):
    """Dynamic Prompts' way: another text for each picture of a run."""

    name_ = "wildcards"

    def process(self, p, on):
        if on:
            p.all_prompts = [f"{prompt} {number}" for number, prompt in enumerate(p.all_prompts)]


class Blank(sd_unet.SdUnet):
    """Instead of the model's own U-Net: no module of that one is called."""

    def forward(self, x, timesteps, context, *args, **kwargs):
        return x * 0.9


class BlankOption(sd_unet.SdUnetOption):
    label = "Stand-in U-Net"
    model_name = ""

    def create_unet(self):
        return Blank()


FAULTS = []


def set_fault(name: str = Body(default="", embed=True)):
    """From now on, a function raises: "package.module:Class.method"; blank: none does."""
    while FAULTS:
        FAULTS.pop().stop()
    if name:
        module, _, path = name.partition(":")
        *within, own = path.split(".")
        owner = importlib.import_module(module)
        for part in within:
            owner = getattr(owner, part)
        error = RuntimeError("stand-in: injected")
        patch = unittest.mock.patch.object(owner, own, side_effect=error, autospec=True)
        patch.start()
        FAULTS.append(patch)


MODEL_ASKED_BY = []
get_sd_model = sd_models.SdModelData.get_sd_model


def noted_get_sd_model(self):
    """Notes which files asked for the model while the page was made."""
    if not shared.demo:
        MODEL_ASKED_BY.append([frame.filename for frame in traceback.extract_stack()])
    return get_sd_model(self)


sd_models.SdModelData.get_sd_model = noted_get_sd_model


def hooks():
    """How many hooks the model's modules have, and which modules' forward is the instance's own."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    modules = list(shared.sd_model.named_modules())
    return {
        "hooks": sum(len(getattr(module, kind)) for _, module in modules for kind in kinds),
        "forwards": sorted(name for name, module in modules if "forward" in vars(module)),
        "unet": sum(
            len(getattr(m, kind)) for m in shared.sd_model.model.diffusion_model.modules() for kind in kinds
        ),
        "callbacks": {name: len(listed) for name, listed in script_callbacks.callback_map.items()},
        "scripts": {
            tab: [len(runner.scripts), len(runner.alwayson_scripts), len(runner.selectable_scripts)]
            for tab, runner in (("txt2img", scripts.scripts_txt2img), ("img2img", scripts.scripts_img2img))
        },
        "model_asked_by": sorted({name for names in MODEL_ASKED_BY for name in names}),
        "sample": processing.process_images.__module__,
    }


def probed():
    """What the last probed generation did: `calls`, `forwards` in order, and their maps."""
    maps = safetensors.torch.save(WATCH.maps) if WATCH.maps else b""
    return {"calls": WATCH.calls, "forwards": WATCH.forwards, "maps": base64.b64encode(maps).decode()}


def add_routes(demo, app):
    app.add_api_route("/stand-ins/hooks", hooks, methods=["GET"])
    app.add_api_route("/stand-ins/probe", probed, methods=["GET"])
    app.add_api_route("/stand-ins/fault", set_fault, methods=["POST"])
    app.add_api_route("/stand-ins/latents", Latents.told, methods=["GET"])


script_callbacks.on_app_started(add_routes)
script_callbacks.on_list_unets(lambda listed: listed.append(BlankOption()))
script_callbacks.on_cfg_denoiser(WATCH.denoiser_call)
script_callbacks.on_cfg_after_cfg(Latents.after_call)
script_callbacks.on_cfg_denoised(Stop.denoised)
