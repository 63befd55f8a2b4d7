"""What our routes answer: imported for the first request, so that the webui starts sooner."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import chain
from math import isfinite
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from modules import call_queue, processing, sd_samplers, sd_schedulers, shared

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.drawing import edit_sheets
from lib_unet_viz.drawing.look import SHOWN_SIZE, block_spec, draw, heat_map, layer_choices
from lib_unet_viz.extension.edit_tab import JOB as EDIT_JOB
from lib_unet_viz.extension.schemas import (
    MULTIPLE,
    AttentionLayer,
    BlockShape,
    EditRequest,
    EditResult,
    Layers,
    Token,
    TraceRequest,
    TraceResult,
    VXARequest,
    VXAResult,
    numbers,
    picture,
    png,
    text,
)
from lib_unet_viz.extension.tab import alone
from lib_unet_viz.hosts.webui import uploaded as webui_uploaded
from lib_unet_viz.hosts.webui.generation import Generation
from lib_unet_viz.hosts.webui.loaded import FACTOR
from lib_unet_viz.hosts.webui.model import WebuiModel, loaded
from lib_unet_viz.maps import vxa
from lib_unet_viz.maps.words import cross_maps
from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.layer_prompt import CLOSE, OPEN
from lib_unet_viz.settings import EditSettings, Settings, SettingsError
from lib_unet_viz.settings.entry import EDIT_ROUTE, TRACE_ROUTE
from lib_unet_viz.trace import Trace

JOB = "unet-viz-trace"
LARGEST_MB = 512  # of maps in one answer
MOST_RUNS = 256  # of the U-Net for one look


def layers(width: int | None, height: int | None) -> Layers:
    """For a picture's size, the checkpoint's own unless given."""
    model = loaded()
    size = ((height or model.native_size) // FACTOR, (width or model.native_size) // FACTOR)
    return Layers(
        model=model.name,
        native_size=model.native_size,
        timesteps=len(model.schedule),
        near=vxa.default_layers(model),
        blocks=list(_blocks(model, size)),
        attention=list(_attention(model, size)),
    )


def look(request: VXARequest) -> VXAResult:
    """Visualize Cross-Attention: which parts of the picture the words of the prompt attend to."""
    image = picture(request.image)
    levels = [request.timestep] if isinstance(request.timestep, int) else request.timestep
    with alone(_runs(levels, request.draws)):
        model = loaded()
        positions = _positions(request, model.tokens(request.prompt))
        seen = vxa.trace_picture(
            model,
            image,
            request.prompt,
            blocks=_spec(model, request.layers),
            timestep=levels,
            noise_seed=request.noise_seed,
            draws=request.draws,
        )
    seen.picture = vxa.prepare(image, max(SHOWN_SIZE, model.native_size))
    heat, _ = heat_map(seen, positions, method=request.method, original=request.original)
    texts = seen.meta["tokens"]["cond"]
    return VXAResult(
        image=png(draw(seen, heat, request.mode, method=request.method)),
        model=model.name,
        tokens=[Token(index=at, text=tokens.readable(texts[at])) for at in heat.positions],
        layers=list(dict.fromkeys(f"{item.key.block}.{item.key.layer}" for item in cross_maps(seen))),
        heatmap=numbers({"heatmap": heat.values}) if request.numbers else None,
    )


def trace(request: TraceRequest) -> TraceResult:
    """Make one picture and record what the settings ask for."""
    settings = _settings(request)
    values = _generation(request)
    with _job(), closing(processing.StableDiffusionProcessingTxt2Img(**values)) as p:
        p.is_api = True
        with Generation(p, settings) as generation:
            processed = processing.process_images(p)
    if not processed.images:
        raise HTTPException(status_code=409, detail="interrupted before there was a picture")
    generation.trace.picture = processed.images[0]
    return TraceResult(
        image=png(processed.images[0]),
        infotext=processed.infotexts[0],
        seed=processed.all_seeds[0],
        notes=generation.trace.notes,
        trace=_dump(generation.trace),
    )


def edit(request: EditRequest) -> EditResult:
    """Edit a picture of one's own: it is inverted to noise, and sampled from there with other words."""
    image = picture(request.image)
    mask = None if request.mask is None else picture(request.mask, name="mask", on="black")
    settings = _settings_of_edit(request.edit)
    with alone(0, job=EDIT_JOB):
        model = loaded()
        edited = webui_uploaded.edit(
            model,
            request.prompt,
            settings,
            picture=image,
            inversion=request.inversion,
            negative=request.negative_prompt,
            steps=request.steps,
            cfg=request.cfg_scale,
            mask=mask,
        )
    masks = [edit_sheets.mask_sheet(edited, target) for target in range(1, len(edited.pictures))]
    return EditResult(
        pictures=[png(each) for each in edited.pictures],
        comparison=png(edit_sheets.comparison(edited)),
        masks=[None if mask is None else png(mask) for mask in masks],
        prompts=edited.request.prompts,
        errors={name: error if isfinite(error) else None for name, error in edited.errors.items()},
        model=model.name,
    )


# The parts of these.


def _blocks(model: WebuiModel, size: tuple[int, int]) -> Iterator[BlockShape]:
    for block in model.unet.blocks.values():
        before, after = block.shapes(size)
        yield BlockShape(
            name=block.name, input=list(before), output=list(after), heads=block.heads, cross=block.cross
        )


def _attention(model: WebuiModel, size: tuple[int, int]) -> Iterator[AttentionLayer]:
    for site in model.unet.sites:
        height, width = site.size(size)
        name = f"{site.block}.{site.layer}"
        yield AttentionLayer(name=name, kind=site.kind, heads=site.heads, height=height, width=width)


def _spec(model: WebuiModel, wanted: str) -> str:
    """A block spec, or `all` or `16 x 16`."""
    choices = layer_choices(model)
    return block_spec(choices, [wanted]) if wanted in choices else wanted


def _runs(levels: list[int] | None, draws: int) -> int:
    """Of the U-Net. Raises ValueError for more than one request may take."""
    runs = vxa.runs(levels, draws=draws)
    if runs > MOST_RUNS:
        raise ValueError(f"timesteps times draws are {runs} runs of the U-Net; allowed: up to {MOST_RUNS}")
    return runs


def _positions(request: VXARequest, texts: list[str]) -> tuple[int, ...] | None:
    """Of the words or tokens asked for, None for all. Raises ValueError for both, and for others."""
    if request.words and request.tokens:
        raise ValueError("give words or tokens, not both")
    if not request.words and not request.tokens:
        return None
    places = tokens.select(texts, request.words).values()
    return tokens.checked([*request.tokens, *chain.from_iterable(places)], texts)


def _settings(request: TraceRequest) -> Settings:
    """Raises SettingsError also for what would change nothing in the answer."""
    values = request.settings
    settings = Settings.asked(values, TRACE_ROUTE)
    texts = (request.prompt, request.negative_prompt)
    if settings.layer_prompts and any(OPEN in text for text in texts):
        raise SettingsError(
            f'this route reads no layer prompts {OPEN} … {CLOSE}: ask the script, or give "layer_prompts": '
            "false to have it read as plain text"
        )
    if not settings.enabled:
        raise SettingsError(
            'nothing is to be recorded: name "features", "attention" or "heatmaps", as in '
            '{"features": {"blocks": "IN02,M00", "steps": "1,4"}, "heatmaps": true}'
        )
    if settings.budget_mb > LARGEST_MB and "budget_mb" in values:
        raise SettingsError(f"budget_mb is {settings.budget_mb}; allowed: up to {LARGEST_MB}")
    return replace(settings, budget_mb=min(settings.budget_mb, LARGEST_MB))


def _settings_of_edit(values: dict[str, Any]) -> EditSettings:
    settings = Settings.asked({"edit": values}, EDIT_ROUTE).edit
    if not settings.enabled:
        raise SettingsError("edit.enabled is False: nothing is to be edited")
    return settings


def _generation(request: TraceRequest) -> dict[str, Any]:
    """What describes the generation to the webui, with nothing saved. Raises ValueError."""
    for side in (request.width, request.height):
        if side % MULTIPLE:
            raise ValueError(f"width and height are multiples of {MULTIPLE}, not {side}")
    _check("sampler_name", request.sampler_name, list(sd_samplers.all_samplers_map))
    _check("scheduler", request.scheduler, [scheduler.label for scheduler in sd_schedulers.schedulers])
    values = {name: getattr(request, name) for name in request.GENERATION}
    return {**values, "do_not_save_samples": True, "do_not_save_grid": True}


def _check(name: str, value: str, allowed: list[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; allowed: {', '.join(allowed)}")


@contextmanager
def _job() -> Iterator[None]:
    """In the webui's queue, as its own generations are (modules/api/api.py, text2imgapi)."""
    with call_queue.queue_lock:
        shared.state.begin(job=JOB)
        try:
            yield
        finally:
            shared.state.end()
            shared.total_tqdm.clear()


def _dump(recorded: Trace) -> str:
    with tempfile.TemporaryDirectory(prefix="unet-viz-") as folder:
        return text(save_trace(recorded, Path(folder) / "trace").read_bytes())
