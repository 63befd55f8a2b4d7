"""What each command does, from its parsed options. Each raises what goes wrong; `cli.main` says it."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import choices, files, progress, report
from lib_unet_viz.cli import maps as maps_module
from lib_unet_viz.drawing import naming, sheets
from lib_unet_viz.drawing.pictures import opened
from lib_unet_viz.drawing.render import Rendered, save_png
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.maps import vxa as vxa_module
from lib_unet_viz.maps import words as heatmap
from lib_unet_viz.notation import tokens
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.settings import AttentionPart, AttentionSettings, FeatureSettings, Half, Kind, Settings
from lib_unet_viz.settings.entry import RENDER, TRACE

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib_unet_viz.trace import AttentionMap, FeatureMap, Trace

FEATURE_BLOCKS = FeatureSettings().blocks
ATTENTION_BLOCKS = AttentionSettings().blocks
MEGABYTE = 1_000_000


def app(options: Namespace) -> None:
    """Open the page; returns when it is closed with Ctrl-C."""
    from lib_unet_viz.app.starting import import_gradio

    import_gradio()
    from lib_unet_viz.app.page import launch

    launch(model=options.model, port=options.port, browser=not options.no_browser)


def trace(options: Namespace) -> None:
    """Make a picture, and put it, its dump and its sheets into a folder."""
    middle = max(1, options.steps // 2)
    steps = {"steps": f"1,{middle},{options.steps}"}
    chosen = choices.settings(options, TRACE, {"features": steps, "attention": steps})
    for text in (options.prompt, options.negative):
        LayerPrompt.parse(text)
    with files.staging(options.out) as folder:
        model = load(options.model)
        chosen = _existing(chosen, model)
        with progress.counting(options.steps, "sampling") as now:
            traced = model.generate(
                options.prompt,
                settings=chosen,
                negative=options.negative,
                steps=options.steps,
                seed=options.seed,
                cfg=options.cfg,
                size=options.size,
                progress=lambda step, _steps, _preview: now(step, "sampling"),
            )
        if traced.picture is not None:
            save_png(traced.picture, folder / "picture.png")
        save_trace(traced, folder / "trace.safetensors", budget=chosen.budget_mb * MEGABYTE)
        _sheets(traced, chosen, options, folder)
    say_contents(traced, options.out)


def vxa(options: Namespace) -> None:
    """Show where in a picture a prompt's words are."""
    out, method = (
        files.picture(options.out),
        options.method or ("vxa" if options.original else heatmap.DEFAULT),
    )
    BlockSpec.parse(options.layer)
    picture = opened(options.image)
    with files.staging(out.parent) as folder:
        model = load(options.model)
        words = _positions(options, model.tokens(options.prompt))
        with progress.waiting("looking"):
            traced = vxa_module.trace_picture(
                model,
                picture,
                options.prompt,
                blocks=options.layer,
                timestep=options.timestep,
                noise_seed=options.noise_seed,
            )
        [found] = heatmap.word_maps(traced, words, method=method)
        save_png(sheets.word_picture(picture, found, options.mode), folder / out.name)
    say(str(out))


def blocks(options: Namespace) -> None:
    """The names of a spec's blocks, or all that is known of them."""
    spec = BlockSpec.parse(options.spec)
    model = load(options.model)
    names = spec.names(model.unet)
    if not options.json:
        say("\n".join(names))
        return
    height, width = options.size or (model.native_size, model.native_size)
    factor = model.pipe.vae_scale_factor
    latent = (height // factor, width // factor)
    say(_json([report.block(model.unet.blocks[name], latent) for name in names]))


def show(options: Namespace) -> None:
    """What a dump holds."""
    dump = load_trace(options.dump)
    say(
        json.dumps(report.contents(dump), indent=2, ensure_ascii=False) if options.json else report.text(dump)
    )


def render(options: Namespace) -> None:
    """Sheets of a dump again."""
    dump = files.dump(options.dump).only(files.selection(options))
    if dump.meta.blocks is None:
        names = sorted({item.key.block for item in (*dump.features, *dump.attention)})
        dump.meta = replace(dump.meta, blocks=names)
    chosen = choices.settings(options, RENDER, all_recorded(dump))
    with files.staging(options.out) as folder:
        _sheets(dump, chosen, options, folder)
        if not any(folder.iterdir()):
            raise ValueError(f"nothing in {options.dump} fits; it holds {dump.features}, {dump.attention}")
    say_contents(dump, options.out)


def maps(options: Namespace) -> None:
    """Words and places of a dump."""
    heats, left_out = maps_module.write(options)
    if options.json:
        words = [{"word": heat.word, "strength": heat.strength} for heat in heats]
        say(_json({"words": words, "notes": [left_out] if left_out else []}))
        return
    if left_out:
        say(f"note: {left_out}")
    for heat in heats:
        say(f"{heat.word}: strength {heat.strength:.2f}")
    say(f"{options.out}{'' if str(options.out).endswith('/') else '/'}")


def score(options: Namespace) -> None:
    """The model's and the maps' quality, or that of edits."""
    from lib_unet_viz.demo import score_edits, score_thing_edits, scorer
    from lib_unet_viz.demo.score import score as measure
    from lib_unet_viz.demo.things import scorer as things

    model, chosen = load(options.model), {"seed": options.seed, "count": options.count or 200}
    of_things = things.load()
    found: dict[str, Any]
    with progress.counting(1.0, "scoring") as now:
        if options.edits:
            chosen["count"] = options.count or 100
            told: Callable[[float], None] = lambda done: now(done / 2, "edits of shapes")  # noqa: E731
            found = {"edits": score_edits.edits(model, scorer.load(), progress=told, **chosen)}
            more: Callable[[float], None] = lambda done: now((1 + done) / 2, "edits of things")  # noqa: E731
            found["thing_edits"] = score_thing_edits.edits(model, of_things, progress=more, **chosen)
        else:
            found = measure(model=model, of_things=of_things, progress=now, **chosen)
    text = report.all_edits(found) if options.edits else report.scores(found, count=chosen["count"])
    say(_json(found) if options.json else text)


# Steps of these ------------------------------------------------------------------------------------------


def load(model: str | None) -> Pipeline:
    with progress.waiting("loading the model"):
        return Pipeline.load(model)


def _existing(chosen: Settings, model: Pipeline) -> Settings:
    """The default blocks are Stable Diffusion 1's: only those of them that this model has."""
    features, attention, names = chosen.features, chosen.attention, model.unet.layout.names
    if features.blocks == FEATURE_BLOCKS:
        features = replace(features, blocks=choices.existing(FEATURE_BLOCKS, names))
    if attention.blocks == ATTENTION_BLOCKS:
        attention = replace(attention, blocks=choices.existing(ATTENTION_BLOCKS, names))
    return replace(chosen, features=features, attention=attention)


def all_recorded(dump: Trace) -> dict[str, Any]:
    """Whatever options do not narrow: all blocks, steps, halves, parts and kinds that a dump has."""
    everything = {"blocks": "", "steps": "", "halves": get_args(Half)}
    parts = tuple(dict.fromkeys(item.key.what for item in dump.attention)) or get_args(AttentionPart)
    return {"features": everything, "attention": {**everything, "parts": parts, "kinds": get_args(Kind)}}


def drawn(
    traced: Trace,
    chosen: Settings,
    folder: Path,
    *,
    feature: Callable[[Trace, FeatureMap, FeatureSettings], Rendered] = sheets.feature_sheet,
    attention: Callable[[Trace, AttentionMap, AttentionSettings], Rendered] = sheets.attention_sheet,
) -> list[tuple[Rendered, Path]]:
    """Every sheet that the settings ask for, as files; feature, attention: how one is drawn."""
    made: list[tuple[Rendered, Path]] = []

    def keep(rendered: Rendered) -> None:
        made.append((rendered, save_png(rendered.image, folder / f"{naming.name(rendered.key)}.png")))

    for item in progress.each(sheets.chosen_features(traced, chosen.features), "drawing features"):
        keep(feature(traced, item, chosen.features))
    for each in progress.each(sheets.chosen_attention(traced, chosen.attention), "drawing attention"):
        keep(attention(traced, each, chosen.attention))
    return made


def _sheets(traced: Trace, chosen: Settings, options: Namespace, folder: Path) -> None:
    """Every sheet that the settings ask for, and the words' heat, as files."""
    made = drawn(traced, chosen, folder)
    if chosen.heatmaps and traced.picture is not None and traced.attention.all(what="QK", kind="cross"):
        overlays = sheets.heat_overlays(traced, method=chosen.method, one_scale=chosen.one_scale)
        for number, (image, heat) in enumerate(overlays, start=1):
            save_png(image, folder / f"{naming.word(number, heat.word)}.png")
    files.animate(made, folder, options)


def _positions(options: Namespace, texts: list[str]) -> dict[str, tuple[int, ...]]:
    """One name, and the token positions that are summed under it."""
    if options.words is not None:
        found = tokens.select(texts, options.words.split(","))
        if not found:
            raise ValueError("--words names no word; all content words are taken without it")
        return {", ".join(found): tuple(dict.fromkeys(at for places in found.values() for at in places))}
    if options.original:
        return {"all tokens": tuple(range(1, len(texts)))}
    places = tokens.indices(options.tokens or "", texts)
    if not places:
        raise ValueError("the prompt is empty: write what to look for in the picture")
    return {"tokens": places}


def say_contents(traced: Trace, folder: Path) -> None:
    for note in traced.notes:
        say(f"note: {note}")
    say(f"{folder}{'' if str(folder).endswith('/') else '/'}")


def _json(values: Any) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False)


def say(text: str) -> None:
    sys.stdout.write(f"{report.printable(text)}\n")
