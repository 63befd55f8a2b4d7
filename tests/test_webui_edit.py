"""Edits in the webui without a webui: what a run asks for, and what its denoiser's calls make of it.

The modules stood in for are those of test_webui_glue; a real webui is asked in tests/webui/test_edit.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from test_webui_glue import Request, hooks, in_batches, modules, together, without_uncond
from torch import Tensor, nn

from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.settings import DifferenceSettings, EditSettings, Settings, SettingsError

__all__ = ["modules"]
PROMPT = "a red circle"
SWAP = EditSettings(enabled=True, edits="circle -> star", threshold=0.7)
STEPS = 3


class Encoder:
    """Reads prompts word by word, in chunks of 77."""

    def __init__(self) -> None:
        self.words = [BOS, EOS]
        self.tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [self.words[id_] for id_ in ids])

    def tokenize_line(self, line: str) -> Any:
        words = [f"{word}</w>" for word in line.replace(",", " ").split()]
        self.words += [word for word in words if word not in self.words]
        chunks = [words[at : at + 75] for at in range(0, max(1, len(words)), 75)]
        texts = [[BOS, *chunk, *[EOS] * (76 - len(chunk))] for chunk in chunks]
        return [
            SimpleNamespace(tokens=[self.words.index(text) for text in chunk], fixes=[]) for chunk in texts
        ], len(words)

    def context(self, text: str) -> Tensor:
        """A random vector for each token: (token, channel)."""
        ids = [id_ for chunk in self.tokenize_line(text)[0] for id_ in chunk.tokens]
        return torch.stack([torch.randn(128, generator=torch.Generator().manual_seed(id_)) for id_ in ids])


@pytest.fixture(name="p")
def _p(modules: Any, ldm_unet: Any) -> Any:
    return asking(ldm_unet)


def asking(unet: Any, **values: Any) -> Any:
    """A request for a picture of 128 x 128."""
    model = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet), cond_stage_model=Encoder())
    usual = {"prompt": PROMPT, "negative_prompt": "blue", "styles": [], "seed": 7, "subseed": 9}
    usual |= {"subseed_strength": 0, "batch_size": 1, "n_iter": 1, "steps": STEPS, "iteration": 0}
    usual |= {"height": 128, "width": 128, "sampler_name": "Euler", "sd_model": model}
    usual |= {"override_settings": {}, "extra_generation_params": {}}
    return Request(**{**usual, **values})


def edit_run(p: Any, settings: EditSettings = SWAP) -> Any:
    return importlib.import_module("lib_unet_viz.hosts.webui.edit").EditRun(p, settings)


# What is asked for.


def test_each_picture_becomes_a_batch_of_one_seed(p: Any) -> None:
    p.batch_size, p.n_iter, p.styles = 2, 2, ["in oil"]
    before = dict(vars(p))
    run = edit_run(p)
    with run.batch.asked():
        assert (p.batch_size, p.n_iter) == (2, 4)
        assert p.prompt == ["a red circle, in oil", "a red star, in oil"] * 4
        assert p.negative_prompt == ["blue"] * 8
        assert p.styles == []
        assert p.seed == [7, 7, 8, 8, 9, 9, 10, 10]
        assert p.subseed == [9, 9, 10, 10, 11, 11, 12, 12]
    assert vars(p) == before
    assert run.batch.infotext() == {"U-Net Viz source": [None, "a red circle, in oil"] * 4}


def test_variations_keep_the_first_seed(p: Any) -> None:
    """As the webui counts them (processing.py:901)."""
    p.batch_size, p.subseed_strength = 2, 0.3
    with edit_run(p).batch.asked():
        assert p.seed == [7] * 4
        assert p.subseed == [9, 9, 10, 10]


def test_a_request_is_what_it_was_also_after_an_error(p: Any) -> None:
    def fail() -> None:
        with edit_run(p).batch.asked():
            raise RuntimeError("in mid-run")

    before = dict(vars(p))
    with pytest.raises(RuntimeError, match="in mid-run"):
        fail()
    assert vars(p) == before


def test_extra_networks_are_the_sources(p: Any) -> None:
    p.prompt = "a red <lora:x:1> circle"
    with edit_run(p).batch.asked():
        assert p.prompt == ["a red <lora:x:1> circle", "a red  star <lora:x:1>"]


def test_the_hires_pass_has_its_own_prompts(p: Any) -> None:
    vars(p).update(enable_hr=True, hr_prompt="a big circle", hr_negative_prompt="", hr_second_pass_steps=2)
    run = edit_run(p)
    with run.batch.asked():
        assert p.hr_prompt == ["a big circle", "a big star"]
        assert p.hr_negative_prompt == ["blue", "blue"]
    assert run.batch.infotext()["U-Net Viz hires source"] == [None, "a big circle"]
    found = {"Prompt": "a red star", "U-Net Viz source": PROMPT}
    importlib.import_module("lib_unet_viz.hosts.webui.edit_batch").pasted("", found)
    assert found["Prompt"] == PROMPT


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"prompt": ["a circle"]}, "one prompt"),
        ({"prompt": "a (~: M00: red :~) circle"}, "layer prompts"),
        ({"negative_prompt": "a (~: M00: red :~) circle"}, "layer prompts"),
        ({"init_images": [Image.new("RGB", (8, 8)), Image.new("RGB", (8, 8))]}, "one picture at a time"),
        ({"firstpass_image": object()}, "upscaled without edits"),
        ({"prompt": "a circle AND a star"}, "AND"),
    ],
)
def test_what_cannot_be_edited_is_refused(p: Any, values: dict[str, Any], words: str) -> None:
    vars(p).update(values)
    with pytest.raises(SettingsError, match=words):
        edit_run(p)


def test_sde_needs_equal_noise(modules: Any, p: Any) -> None:
    p.sampler_name = "DPM++ 2M SDE"
    edit_run(p)
    modules.shared.opts.data["no_dpmpp_sde_batch_determinism"] = True
    with pytest.raises(SettingsError, match="equal noise"):
        edit_run(p)


def test_unequal_lengths_are_refused_before_the_run(p: Any) -> None:
    from lib_unet_viz.hosts.webui import generation as webui

    run = edit_run(p, EditSettings(edits="+ " + "word " * 75))
    with run.batch.asked(), pytest.raises(SettingsError, match="1 part of 75 tokens, but .* in 2"):
        webui.Generation(p, Settings.off(), edit=run)


# What the denoiser's calls make of it.


class Denoiser(nn.Module):
    """Calls the U-Net as the webui's does, in the rows' order or the parts that `order` makes of them."""

    def __init__(self, p: Any, order: Any, kind: str = "") -> None:
        super().__init__()
        self.p, self.order, self.step, self.steps = p, order, 0, p.steps
        config = SimpleNamespace(options={"second_order": kind == "second order"})
        cond = SimpleNamespace(batch=[[None]] * p.batch_size)
        name = f"sample_dpm_{kind}"
        self.sampler = SimpleNamespace(
            sampler_extra_args={"cond": cond}, config=config, funcname=name, get_sigmas=lambda p, n: [1, 0]
        )
        encoder = p.sd_model.cond_stage_model
        texts = [*p.prompt, *p.negative_prompt]
        self.contexts = torch.stack([encoder.context(text) for text in texts])

    def forward(self, x: Tensor, sigma: float) -> Tensor:
        from lib_unet_viz.hosts.webui import running

        images, both = len(x), torch.cat([x, x])
        params = SimpleNamespace(denoiser=self, x=both, sigma=torch.full((2 * images,), sigma))
        with suppress(Exception):  # the webui only logs what its callbacks raise (script_callbacks.py)
            running.before_denoiser(params)
        out = torch.zeros_like(both)
        for rows in self.order(2 * images, images):
            times = torch.full((len(rows),), 100 * sigma)
            out[rows] = self.p.sd_model.model.diffusion_model(
                both[rows], timesteps=times, context=self.contexts[rows]
            )
        denoised = out[images:] + 3 * (out[:images] - out[images:])
        with suppress(Exception):
            running.after_denoiser(SimpleNamespace(x=denoised))
        self.step += 1
        return denoised


def sampled(p: Any, settings: EditSettings, order: Any = together, kind: str = "") -> tuple[Any, Tensor]:
    """Euler's or Heun's steps of a batch, and the last one's latents (picture, channel, y, x)."""
    from lib_unet_viz.hosts.webui import generation as webui

    run = edit_run(p, settings)
    with run.batch.asked(), torch.no_grad(), webui.Generation(p, Settings.off(), edit=run) as generation:
        p.prompts, denoiser = p.prompt, Denoiser(p, order, kind)
        generation.take_prompts()
        noise = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1))
        x = noise.repeat(p.batch_size, 1, 1, 1)
        for step in range(STEPS):
            sigma = 1 - step / STEPS
            change = (denoiser(x, sigma) - x) / STEPS
            if kind == "second order" and step + 1 < STEPS:
                change = (change + (denoiser(x + change, sigma - 1 / STEPS) - x) / STEPS) / 2
            x = x + change
        generation.after_sampling(x)
    return run, x


@pytest.fixture(params=["first order", "second order"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("order", [together, in_batches], ids=lambda order: order.__name__)
def test_outside_the_mask_a_target_is_its_source(p: Any, order: Any, kind: str) -> None:
    plain = sampled(p, EditSettings(edits="circle -> circle", blend=False), order, kind)[1]
    torch.testing.assert_close(plain[0], plain[1], rtol=1e-5, atol=1e-5)
    run, x = sampled(p, SWAP, order, kind)
    torch.testing.assert_close(x[0], plain[0])
    [(number, masks)] = run.edited(0, []).masks.items()
    assert number == 1
    assert [step for step, _ in masks] == [1, 2, 3]
    mask = masks[-1][1]
    assert 0 < mask.float().mean() < 1
    assert torch.equal(x[1][:, ~mask], x[0][:, ~mask])
    assert not torch.equal(x[1][:, mask], x[0][:, mask])
    source, target = torch.rand(2, 3, 16, 16)
    images = torch.stack([source, target])
    run.paste(images)
    assert torch.equal(images[0], source)
    assert torch.equal(images[1], torch.where(mask, target, source))
    assert hooks(p.sd_model.model.diffusion_model) == 0


@pytest.mark.parametrize("blend", [True, False], ids=["and words", "alone"])
def test_outside_the_drawn_mask_a_target_is_its_source(p: Any, blend: bool, kind: str) -> None:
    left = torch.zeros(16, 16, dtype=torch.bool)
    left[:, :7] = True
    p.nmask = left.expand(4, 16, 16).half()  # as processing.py:1746 makes it
    run, x = sampled(p, EditSettings(edits="circle -> star", threshold=0.7, blend=blend), kind=kind)
    [masks] = run.edited(0, []).masks.values()
    assert all(not (mask & ~left).any() for _, mask in masks)
    mask = masks[-1][1]
    assert torch.equal(mask, left) == (not blend)
    assert torch.equal(x[1][:, ~mask], x[0][:, ~mask])
    assert not torch.equal(x[1][:, mask], x[0][:, mask])
    assert p.extra_generation_params == {"U-Net Viz mask": run.batch.requests["first"].mask.digest}


def test_a_drawn_mask_that_keeps_all_stops_the_run(p: Any) -> None:
    p.nmask = torch.zeros(4, 16, 16)
    with pytest.raises(ValueError, match="no white pixel"):
        sampled(p, SWAP)
    assert hooks(p.sd_model.model.diffusion_model) == 0


def test_only_masked_masks_are_shown_where_they_were_sampled(p: Any) -> None:
    p.nmask, p.paste_to = torch.zeros(4, 16, 16), (30, 10, 32, 48)
    p.nmask[:, :, 8:] = 1
    run, _ = sampled(p, EditSettings(edits="circle -> star", blend=False))
    made = run.edited(0, [Image.new("RGB", (100, 80))] * 2)
    shown = torch.zeros(80, 100, dtype=torch.bool)
    shown[10:58, 46:62] = True
    assert torch.equal(made.masks[1][-1][1], shown)
    assert torch.equal(made.plan.blend.own.allows((80, 100), 0.3), shown)


def test_how_the_calls_are_split_changes_nothing(p: Any) -> None:
    one, other = (sampled(p, SWAP, order)[1] for order in (together, in_batches))
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_without_unconditional_rows_it_is_edited_too(p: Any) -> None:
    run, _ = sampled(p, SWAP, without_uncond)
    assert run.edited(0, []).masks


def one_by_one(rows: int, images: int) -> Iterator[list[int]]:
    """As an extension may that saves memory."""
    yield from ([row] for row in range(rows))


def unknown(rows: int, images: int) -> Iterator[list[int]]:
    yield [*range(rows), 0]


@pytest.mark.parametrize(
    ("order", "kind_", "words"),
    [
        (one_by_one, "", "without its source"),
        (unknown, "", "cannot tell which row is which image"),
        (together, "adaptive", "DPM adaptive"),
    ],
)
def test_what_cannot_be_edited_stops_the_run(p: Any, order: Any, kind_: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sampled(p, SWAP, order, kind_)
    assert hooks(p.sd_model.model.diffusion_model) == 0


def test_another_extensions_prompts_stop_the_run(p: Any) -> None:
    from lib_unet_viz.hosts.webui import generation as webui

    run = edit_run(p)
    p.prompts = ["a blue circle", "a blue star"]

    def sample() -> None:
        with run.batch.asked(), webui.Generation(p, Settings.off(), edit=run) as generation:
            generation.take_prompts()
            Denoiser(p, together)(torch.zeros(2, 4, 16, 16), 1.0)

    with pytest.raises(ValueError, match="another extension changed the prompts"):
        sample()
    assert hooks(p.sd_model.model.diffusion_model) == 0


def test_repeated_contexts_are_as_good(p: Any) -> None:
    """Forge makes contexts equally long by repeating them, which changes nothing in attention."""
    from lib_unet_viz.capture.request import Call, Row
    from lib_unet_viz.editing.hooks import Editing

    unet, run = p.sd_model.model.diffusion_model, edit_run(p)
    encoder = p.sd_model.cond_stage_model
    context = torch.stack([encoder.context(prompt) for prompt in run.batch.requests["first"].prompts])
    rows = (Row(0, "cond"), Row(1, "cond"))
    call = Call(step=0, total=2, sigma=1.0, rows=rows, size=(16, 16))
    x = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(1)).repeat(2, 1, 1, 1)
    plan = run.plan(p.sd_model, "first")
    outs = []
    for times in (1, 2):
        with Editing(unet, plan, calls=lambda args, kwargs: call, repeats=times > 1), torch.no_grad():
            outs.append(unet(x, timesteps=torch.ones(2), context=context.repeat(1, times, 1)))
    torch.testing.assert_close(*outs, rtol=1e-4, atol=1e-4)


def test_a_mistake_in_the_edits_has_its_place(p: Any) -> None:
    with pytest.raises(SpecError, match=r"moon -> star\n  \^\^\^\^"):
        edit_run(p, EditSettings(edits="moon -> star"))


# The script.


def test_the_script_runs_source_and_targets_and_shows_what_changed(
    modules: Any, p: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib_unet_viz.extension import edited, results

    p.all_seeds, p.all_subseeds, p.comments = [7, 7], [9, 9], {}
    p.save_samples, asked = lambda: False, []

    def process(given: Any) -> Any:
        asked.append((given.prompt, given.seed))
        pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
        texts = [f"{prompt}\nSteps: 4, Seed: 7" for prompt in given.prompt]
        denoiser, noise = Denoiser(given, together), torch.ones(2, 4, 16, 16)
        with torch.no_grad():
            denoiser(noise, 1.0)
            denoiser(noise, 0.5)
        return modules.processing.Processed(given, pictures, infotexts=texts)

    monkeypatch.setattr(modules.processing, "generate", [process])
    edit = EditSettings(enabled=True, edits="circle -> star", sweep="steps")
    made = edited.run(p, replace(Settings.off(), edit=edit), {"Script": "U-Net Viz"})
    assert [prompts for prompts, _ in asked] == [[PROMPT, "a red star"]] * 7
    assert [seeds for _, seeds in asked] == [[7, 7]] * 7
    told = [text.rpartition(f"{results.CAPTION}: ")[2] for text in made.infotexts[2:]]
    assert told == [
        "source and targets of an edit",
        "where target 1 may change the picture",
        "edit from 0 % to 100 %",
    ]
    assert (p.prompt, p.batch_size) == (PROMPT, 1)
    assert p.extra_generation_params["U-Net Viz source"] == [None, PROMPT]


def test_an_edit_and_a_difference_are_two_things(p: Any) -> None:
    from lib_unet_viz.extension import edited

    settings = replace(Settings.off(), edit=SWAP, difference=DifferenceSettings(enabled=True))
    with pytest.raises(SettingsError, match="one of layer prompts"):
        edited.run(p, settings, {})
