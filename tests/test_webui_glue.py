"""The webui's side without a webui: its `modules` are stood in for, its U-Net is Stable Diffusion's own code.

A real webui is asked in tests/webui/, which also compares the stand-in with it.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

pytest.importorskip("gradio")
ROOT = Path(__file__).parents[1]
# Bind names of `modules` when they are imported.
HOSTS = ("model", "denoiser", "uploaded")
GLUE = ("modules", "lib_unet_viz.extension", *(f"lib_unet_viz.hosts.webui.{name}" for name in HOSTS))


def _forget() -> None:
    for name in [name for name in sys.modules if f"{name}.".startswith(tuple(f"{glue}." for glue in GLUE))]:
        del sys.modules[name]
        package, _, own = name.rpartition(".")
        if own in vars(sys.modules.get(package, SimpleNamespace())):
            delattr(sys.modules[package], own)


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """The stand-in as `modules`, fresh, with a data folder of its own."""
    _forget()
    monkeypatch.syspath_prepend(ROOT / "tests" / "stand_in")
    names = ("shared", "scripts", "script_callbacks", "processing", "images", "sd_unet", "paths_internal")
    loaded = SimpleNamespace(**{name: importlib.import_module(f"modules.{name}") for name in names})
    loaded.paths_internal.data_path = str(tmp_path)
    yield loaded
    _forget()


# Loading.


def test_what_the_webui_loads_registers(modules: Any) -> None:
    source = ROOT / "scripts" / "unet_viz.py"
    names: dict[str, Any] = {"__name__": "unet_viz"}
    exec(compile(source.read_text(encoding="utf-8"), str(source), "exec"), names)  # noqa: S102  as the webui does
    registered = modules.script_callbacks.callback_map
    assert {"ui_settings", "before_ui", "cfg_denoiser", "cfg_after_cfg", "script_unloaded"} <= set(registered)
    found = {
        value().title()
        for value in names.values()
        if isinstance(value, type) and issubclass(value, modules.scripts.Script)
    }
    assert found == {"U-Net Viz", "U-Net Viz (always on)", "U-Net Viz (seams)"}


def test_a_plot_gets_axes_where_the_always_on_script_is_chosen(
    modules: Any, monkeypatch: pytest.MonkeyPatch, ldm_unet: Any
) -> None:
    """The plot's script is found by its file; wrong values are refused before its first cell."""
    from lib_unet_viz.notation.specs import SpecError
    from lib_unet_viz.settings import SettingsError

    axes = importlib.import_module("lib_unet_viz.extension.axes")

    def option(label: str, kind: type, apply: Any, confirm: Any = None, choices: Any = None) -> Any:
        return SimpleNamespace(label=label, apply=apply, confirm=confirm, choices=choices)

    plot = SimpleNamespace(axis_options=[], AxisOption=option)
    data = SimpleNamespace(path="scripts/xyz_grid.py", module=plot)
    monkeypatch.setattr(modules.scripts, "scripts_data", [data], raising=False)
    axes.register()
    assert plot.axis_options == []
    monkeypatch.setattr(modules.shared.opts, "unet_viz_always_on", True, raising=False)
    axes.register()
    axes.register()
    found = {each.label.removeprefix("[U-Net Viz] "): each for each in plot.axis_options}
    assert {"Layers", "Steps", "CFG branch", "Heat-map method", "Word", "Layer prompt"} <= found.keys()
    assert len(plot.axis_options) == len(found)
    assert found["CFG branch"].choices() == ["cond", "uncond", "cond+uncond"]
    model = SimpleNamespace(model=SimpleNamespace(diffusion_model=ldm_unet))
    p = SimpleNamespace(prompt="a circle", sd_model=model)
    found["Layer prompt"].apply(p, "IN00-OUT05: red", [])
    assert p.prompt == "a circle (~: IN00-OUT05: red :~)"
    refused = (("Layers", "IN99"), ("Layer prompt", "IN99: red"), ("Steps", "x"), ("CFG branch", "all"))
    for label, wrong in refused:
        with pytest.raises((SpecError, SettingsError)):
            found[label].confirm(p, [wrong])


def test_the_always_on_script_is_off_unless_chosen(modules: Any) -> None:
    from lib_unet_viz.extension.script import AlwaysOn, Dropdown, add_options

    add_options()
    assert AlwaysOn().show(False) is False
    assert Dropdown().show(True) is True
    modules.shared.opts.data["unet_viz_always_on"] = True
    assert AlwaysOn().show(False) is modules.scripts.AlwaysVisible


@pytest.mark.parametrize("api", [False, True])
def test_there_are_routes_only_with_the_api(modules: Any, api: bool) -> None:
    fastapi = pytest.importorskip("fastapi")
    from lib_unet_viz.extension import routes

    modules.shared.cmd_opts.api = api
    app = fastapi.FastAPI()
    routes.add(None, app)
    found = {path for path in app.openapi()["paths"] if path.startswith("/unet-viz/v1/")}
    assert found == (
        {f"/unet-viz/v1/{name}" for name in ("edit", "layers", "trace", "vxa")} if api else set()
    )


# A generation, as the webui's denoiser makes it.


def generation(unet: Any, *, subs: list[int], order: Callable[..., Iterator[list[Any]]], **asked: Any) -> Any:
    """A trace of two steps whose U-Net calls `order` makes of the rows' contexts."""
    from lib_unet_viz.hosts.webui import generation as webui
    from lib_unet_viz.hosts.webui import running as callbacks
    from lib_unet_viz.settings import Settings

    p = request(unet, batch_size=len(subs))
    wanted = {"features": {"blocks": "M00", "halves": ["cond", "uncond"]}, **asked}
    rows = sum(subs) + len(subs)
    contexts = torch.randn(rows, 7, 128, generator=torch.Generator().manual_seed(1))
    with webui.Generation(p, Settings.asked(wanted)) as running:
        for step in range(2):
            callbacks.before_denoiser(denoiser_call(p, step=step, subs=subs, rows=rows))
            for chosen in order(rows, len(subs)):
                latent = torch.zeros(len(chosen), 4, 8, 8)
                unet(latent, timesteps=torch.full((len(chosen),), 5.0), context=contexts[chosen])
            callbacks.after_denoiser()
    return running.trace, contexts


def request(unet: Any, **values: Any) -> Any:
    model = SimpleNamespace(model=SimpleNamespace(diffusion_model=unet), sd_checkpoint_info=None)
    defaults = {
        "sd_model": model,
        "iteration": 0,
        "n_iter": 1,
        "batch_size": 1,
        "steps": 2,
        "height": 64,
        "width": 64,
        "sampler_name": "Euler",
        "cfg_scale": 5.0,
        "prompts": [],
        "negative_prompts": [],
        "override_settings": {},
        "extra_generation_params": {},
    }
    return Request(**{**defaults, **values})


class Request:
    """A request for pictures (`p`); not a SimpleNamespace, since the extension refers to it weakly."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


def denoiser_call(p: Any, *, step: int, subs: list[int], rows: int) -> Any:
    cond = SimpleNamespace(batch=[[None] * count for count in subs])
    config = SimpleNamespace(options={})
    sampler = SimpleNamespace(sampler_extra_args={"cond": cond}, config=config, funcname="sample_euler")
    denoiser = SimpleNamespace(p=p, step=step, steps=2, total_steps=2, sampler=sampler)
    return SimpleNamespace(denoiser=denoiser, x=torch.zeros(rows, 4, 8, 8), sigma=torch.tensor([2.0 - step]))


def together(rows: int, images: int) -> Iterator[list[int]]:
    yield list(range(rows))


def in_batches(rows: int, images: int) -> Iterator[list[int]]:
    """Batch cond/uncond off."""
    for start in range(0, rows, images):
        yield list(range(start, min(start + images, rows)))


def without_uncond(rows: int, images: int) -> Iterator[list[int]]:
    """NGMS, skip early cond."""
    yield list(range(rows - images))


@pytest.mark.parametrize("order", [together, in_batches, without_uncond], ids=lambda order: order.__name__)
@pytest.mark.parametrize("subs", [[1], [1, 1], [2], [2, 1], [3, 3]], ids=str)
def test_rows_are_told_apart(modules: Any, ldm_unet: Any, subs: list[int], order: Any) -> None:
    trace, contexts = generation(ldm_unet, subs=subs, order=order)
    labels = [("cond", sub, image) for image, count in enumerate(subs) for sub in range(count)]
    if order is not without_uncond:
        labels += [("uncond", 0, image) for image in range(len(subs))]
    for step in (1, 2):
        found = trace.features.all(step=step)
        assert sorted((i.key.half, i.key.sub, i.key.image) for i in found) == sorted(labels)
    for row, (half, sub, image) in enumerate(labels):
        item = trace.features.one(step=1, half=half, sub=sub, image=image)
        torch.testing.assert_close(
            item.data.float(), alone(ldm_unet, contexts[row : row + 1]), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize(
    ("calls", "labels"),
    [
        ([[1, 0, 0]], ["u", "c1", "c0"]),
        ([[1], [0, 0]], ["u", "c1", "c0"]),
        ([[1], [0], [0]], ["u", "c1", "c0"]),
        ([[1, 0], [0]], ["u", "c1", "c0"]),
        ([[0], [0]], ["c1", "c0"]),
    ],
    ids=["together", "halves", "each alone", "pairs", "without uncond"],
)
def test_forge_splits_a_step_where_memory_is_short(calls: list[list[int]], labels: list[str]) -> None:
    """Its calls take what is left from the end, so uncond first (sampling_function.py)."""
    from lib_unet_viz.hosts.webui import forge

    found: list[str] = []
    seen = 0
    for kinds in calls:
        rows, seen = forge.rows(kinds, 2 * len(kinds), [2, 2], first=4, seen=seen)
        assert rows is not None
        assert [row.image for row in rows] == [4, 5] * len(kinds)
        found += ["u" if row.half == "uncond" else f"c{row.sub}" for row in rows[::2]]
    assert found == labels


@pytest.mark.parametrize(("subs", "count"), [([2, 1], 6), ([1, 1], 5), ([2], 4)])
def test_forge_rows_that_cannot_be_told_are_none(subs: list[int], count: int) -> None:
    from lib_unet_viz.hosts.webui import forge

    assert forge.rows([1, 0, 0], count, subs, first=0, seen=0) == (None, 0)


def alone(unet: Any, context: torch.Tensor) -> torch.Tensor:
    """The middle block's output of one row in a call of its own."""
    seen: list[torch.Tensor] = []
    with unet.middle_block.register_forward_hook(lambda module, args, output: seen.append(output[0].clone())):
        unet(torch.zeros(1, 4, 8, 8), timesteps=torch.tensor([5.0]), context=context)
    return seen[0]


def hooks(unet: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in unet.modules())


def test_no_hook_is_left_when_a_run_ends_in_mid_step(modules: Any, ldm_unet: Any) -> None:
    from lib_unet_viz.hosts.webui import generation as webui
    from lib_unet_viz.hosts.webui import running as callbacks
    from lib_unet_viz.settings import Settings

    p = request(ldm_unet)
    running = webui.Generation(p, Settings.asked({"features": {"blocks": "M00"}}))

    def run() -> None:
        with running:
            callbacks.before_denoiser(denoiser_call(p, step=0, subs=[1], rows=2))
            assert hooks(ldm_unet) > 0
            raise RuntimeError("in mid-run")

    with pytest.raises(RuntimeError, match="in mid-run"):
        run()
    assert hooks(ldm_unet) == 0


def test_another_requests_steps_are_not_recorded(modules: Any, ldm_unet: Any) -> None:
    from lib_unet_viz.hosts.webui import generation as webui
    from lib_unet_viz.hosts.webui import running as callbacks
    from lib_unet_viz.settings import Settings

    p, inner = request(ldm_unet), request(ldm_unet)
    with webui.Generation(p, Settings.asked({"features": {"blocks": "M00"}})) as running:
        callbacks.before_denoiser(denoiser_call(inner, step=0, subs=[1], rows=2))
        assert hooks(ldm_unet) == 0
        ldm_unet(torch.zeros(2, 4, 8, 8), timesteps=torch.zeros(2), context=torch.zeros(2, 7, 128))
        callbacks.after_denoiser()
    assert not running.trace.features


def test_with_another_u_net_there_is_a_note_and_no_hook(modules: Any, ldm_unet: Any) -> None:
    modules.sd_unet.current_unet = object()
    trace, _ = generation(ldm_unet, subs=[1], order=together)
    assert not trace.features
    assert any("TensorRT" in note for note in trace.notes)


# Paths.


def test_dumps_go_below_the_outputs_folder(modules: Any, tmp_path: Path) -> None:
    from lib_unet_viz.extension import paths

    assert paths.folder("").parent == tmp_path / "outputs" / "unet-viz"
    assert paths.folder("mine") == tmp_path / "outputs" / "mine"
    assert paths.folder("/elsewhere") == Path("/elsewhere").resolve()


@pytest.mark.parametrize("shut", ["webui_is_non_local", "hide_ui_dir_config"])
@pytest.mark.parametrize("path", ["/elsewhere", "../out", "a/../../out", "~/out"])
def test_paths_elsewhere_are_refused_where_others_can_reach_the_webui(
    modules: Any, shut: str, path: str
) -> None:
    from lib_unet_viz.extension import paths
    from lib_unet_viz.settings import SettingsError

    setattr(modules.shared.cmd_opts, shut, True)
    with pytest.raises(SettingsError, match="outside the outputs folder"):
        paths.folder(path)
    assert paths.folder("mine").name == "mine"


@pytest.mark.parametrize("kind", ["a name of 300 letters", "a file in its place", "a full disk"])
def test_a_folder_that_takes_no_dumps_is_refused_before_a_run(
    modules: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    from lib_unet_viz.extension import paths
    from lib_unet_viz.settings import Settings, SettingsError

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "taken").write_text("here", encoding="utf-8")
    name = {"a name of 300 letters": "x" * 300, "a file in its place": "taken", "a full disk": "full"}[kind]
    if kind == "a full disk":
        monkeypatch.setattr("tempfile.TemporaryFile", full)
    for section in ("features", "attention", "difference"):
        with pytest.raises(SettingsError, match="dumps cannot be written to"):
            paths.check(Settings.asked({section: {"dump": True, "path": name}}))
        paths.check(Settings.asked({section: {"dump": False, "path": name}}))


# Results.


def test_what_goes_wrong_after_a_run_is_said(
    modules: Any, ldm_unet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib_unet_viz.extension import results
    from lib_unet_viz.settings import Settings

    def fault(*_: Any, **__: Any) -> Any:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    settings = Settings.asked({"features": {"blocks": "M00", "dump": True}, "attention": {"blocks": "M00"}})
    for name, count in (("save_trace", 5), ("_made", 1), ("sheets.feature_sheet", 3)):
        trace, _ = generation(ldm_unet, subs=[1], order=together, attention={"blocks": "M00"})
        p = modules.processing.StableDiffusionProcessing(all_seeds=[3], outpath_samples="")
        processed = modules.processing.Processed(p, [Image.new("RGB", (64, 64))], info="Seed: 3")
        with monkeypatch.context() as patched:
            patched.setattr(f"lib_unet_viz.extension.results.{name}", fault)
            results.report(processed, p, trace, settings).show(processed)
        assert len(processed.images) == len(processed.infotexts) == count, name
        assert "No space left on device" in processed.extra_generation_params["U-Net Viz notes"]


def test_sheets_follow_their_pictures_with_full_infotexts(modules: Any, ldm_unet: Any) -> None:
    from lib_unet_viz.extension import results
    from lib_unet_viz.settings import Settings

    trace, _ = generation(ldm_unet, subs=[1, 1], order=together)
    p = modules.processing.StableDiffusionProcessing(all_seeds=[3, 4], outpath_samples="")
    pictures = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    texts = [f"a circle\nSteps: 2, Seed: {seed}" for seed in (3, 4)]
    processed = modules.processing.Processed(p, list(pictures), infotexts=list(texts))
    settings = Settings.asked({"features": {"blocks": "M00", "steps": "2"}})
    results.report(processed, p, trace, settings).show(processed)
    assert len(processed.images) == len(processed.infotexts) > 2
    at = [processed.images.index(picture) for picture in pictures]
    assert at == [0, len(processed.images) // 2]
    assert [text.count("Seed: 3") for text in processed.infotexts[: at[1]]] == [1] * at[1]
    assert all("Seed: 4" in text for text in processed.infotexts[at[1] :])


def test_only_masked_maps_are_of_the_part_that_was_sampled(
    modules: Any, ldm_unet: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib_unet_viz.extension import last_runs, results
    from lib_unet_viz.settings import Settings

    kept: list[Image.Image] = []
    monkeypatch.setattr(
        last_runs.LastRuns, "keep", lambda _self, _user, _trace, pictures: kept.extend(pictures)
    )
    trace, _ = generation(ldm_unet, subs=[1], order=together, heatmaps=True)
    trace.meta = replace(
        trace.meta, tokens={"cond": ["<|startoftext|>", "a", "circle", *["<|endoftext|>"] * 4]}
    )
    p = modules.processing.StableDiffusionProcessing(all_seeds=[3], outpath_samples="")
    whole = Image.new("RGB", (100, 80), "blue")
    whole.paste("red", (30, 10, 62, 58))
    sheets = []
    for place, size, colors in ((None, (100, 80), 2), ((30, 10, 32, 48), (32, 48), 1)):
        p.paste_to = place
        processed = modules.processing.Processed(p, [whole], infotexts=["a circle"])
        made = results.report(processed, p, trace, Settings(heatmaps=True))
        assert made.images[0].size == whole.size
        assert kept[-1].size == size
        assert len(kept[-1].getcolors() or ()) == colors
        sheets += [image for image, text in zip(made.images, made.infotexts, strict=True) if "words" in text]
    wide, tall = sheets  # each word's picture is 256 pixels at its longer side
    assert tall.height - wide.height == 256 - round(256 * 80 / 100)


# Inversion with the loaded checkpoint.


def loaded_model(unet: Any, parameterization: str) -> Any:
    """A LatentDiffusion: its text encoder gives a chunk of 7 tokens for each word."""

    def encoded(prompts: Any) -> torch.Tensor:
        words = [len(prompt.split()) for prompt in prompts]
        chunks = [torch.full((7 * max(1, *words), 128), 0.1 * count) for count in words]
        return torch.stack(chunks)

    def apply_model(latent: Any, when: Any, cond: Any) -> Any:
        assert cond["c_concat"][0].shape == (len(latent), 5, 1, 1)
        return unet(latent, timesteps=when, context=cond["c_crossattn"][0])

    return SimpleNamespace(
        model=SimpleNamespace(diffusion_model=unet, conditioning_key="crossattn"),
        sd_checkpoint_info=SimpleNamespace(name_for_extra="tiny"),
        image_size=8,
        alphas_cumprod=torch.linspace(0.999, 0.005, 1000),
        parameterization=parameterization,
        apply_model=apply_model,
        get_learned_conditioning=encoded,
    )


@pytest.mark.parametrize("parameterization", ["eps", "v"])
def test_a_latent_is_inverted_with_the_loaded_checkpoint(
    modules: Any, ldm_unet: Any, parameterization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lib_unet_viz.capture.recorder import Recorder
    from lib_unet_viz.capture.request import Capture
    from lib_unet_viz.hosts.webui.checkpoint import Checkpoint
    from lib_unet_viz.hosts.webui.model import WebuiModel
    from lib_unet_viz.sampling import inversion
    from lib_unet_viz.sampling.model import Interrupted

    model = WebuiModel(Checkpoint(loaded_model(ldm_unet, parameterization)))
    conditions, uncond = model.conditions(["a red circle", "a star"], "bad")
    assert conditions.context.shape == (2, 21, 128)
    assert uncond.context[0, ::7, 0].tolist() == pytest.approx([0.1, 0, 0])
    latent = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    capture = Capture("M00", halves=("cond", "uncond"))
    with Recorder(model.unet, attention=capture, calls=model.calls) as trace:
        trajectory = inversion.invert(model, latent, conditions[:1], steps=2)
        latents = inversion.sample(model, trajectory, conditions, uncond)
    assert trajectory.rmse(latents[0]) == 0
    assert trajectory.rmse(latents[1]) > 0.01
    found = [(each.key.step, each.key.image, each.key.half) for each in trace.attention.all(block="M00")]
    assert sorted(found) == [(s, i, half) for s in (0, 1) for i in (0, 1) for half in ("cond", "uncond")]
    monkeypatch.setattr(inversion, "INNER_STEPS", 2)  # it need not be a good one
    assert inversion.null_text(model, trajectory, conditions[:1], uncond).context.shape == (2, 21, 128)
    modules.shared.state.interrupted = True
    with pytest.raises(Interrupted):
        inversion.sample(model, trajectory, conditions, uncond)


def test_a_plots_cell_shows_the_last_step(modules: Any) -> None:
    from lib_unet_viz.extension import results
    from lib_unet_viz.trace import FeatureMap, Key

    keys = [Key(block, "features", step=step) for block in ("IN01", "M00") for step in (0, 4)]
    maps = [FeatureMap(key, torch.zeros(1, 2, 2)) for key in keys]
    found = [item.key.labels()["step"] for item in results._in_order(maps, last_first=True)]
    assert found == [5, 5, 1, 1]
    assert results._in_order(maps, last_first=False) == maps
