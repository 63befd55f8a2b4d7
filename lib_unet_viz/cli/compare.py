"""What the commands `diff` and `sweep` do, from their parsed options."""

from __future__ import annotations

from argparse import Namespace
from dataclasses import replace
from typing import Any

from PIL import Image

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.cli import choices, files, progress
from lib_unet_viz.cli.commands import all_recorded, drawn, load, say, say_contents
from lib_unet_viz.drawing import difference
from lib_unet_viz.drawing import sweep as sweep_module
from lib_unet_viz.drawing.render import save_png
from lib_unet_viz.settings.entry import DIFF


def diff(options: Namespace) -> None:
    """What differs between two dumps."""
    before, after = (files.dump(path).only(files.selection(options)) for path in (options.a, options.b))
    changed = difference.difference(before, after, absolute=options.absolute)
    if changed.meta.blocks is None:
        there = sorted({i.key.block for i in (*changed.features, *changed.attention)})
        changed.meta = replace(changed.meta, blocks=there)
    chosen = choices.settings(options, DIFF, all_recorded(changed))
    with files.staging(options.out) as folder:
        made = drawn(
            changed,
            chosen,
            folder,
            feature=difference.feature_sheet,
            attention=difference.attention_sheet,
        )
        if not made:
            raise ValueError(f"nothing fits; both dumps hold {changed.features}, {changed.attention}")
        files.animate(made, folder, options)
        if changed.picture is not None:
            names = (options.a.stem, options.b.stem) if options.a.stem != options.b.stem else ("a", "b")
            save_png(difference.comparison(before, after, labels=names), folder / "comparison.png")
        save_trace(changed, folder / "difference.safetensors")
    say_contents(changed, options.out)


def sweep(options: Namespace) -> None:
    """What a word does in each block; goes on where an earlier call with the same options stopped."""
    if options.out.exists() and not options.out.is_dir():
        raise files.OutputError(f"cannot write to {options.out}: it is a file, not a folder")
    model = load(options.model)
    swept = sweep_module.Sweep.of(options.prompt, options.word, model.unet)
    run: dict[str, Any] = {
        "negative": options.negative,
        "seed": options.seed,
        "steps": options.steps,
        "cfg": options.cfg,
        "size": options.size,
    }

    def draw(case: sweep_module.Case) -> Image.Image:
        return model.picture(case.prompt, **run)

    with progress.counting(len(swept.cases), "sweeping") as now:
        found = sweep_module.run(
            swept,
            draw,
            folder=options.out,
            made_with={**run, "model": model.name},
            progress=lambda done, total, case: now(done, f"{case.name} ({done + 1} of {total})"),
        )
    _said_sweep(found)
    say(f"{options.out}{'' if str(options.out).endswith('/') else '/'}")


def _said_sweep(found: sweep_module.Swept) -> None:
    rows = zip(found.sweep.blocks, found.alone, found.missing, strict=True)
    say(f"distance: {difference.DISTANCE}\nblock  alone  all but it")
    say("\n".join(f"{name:<5}  {alone:5.1f}  {missing:10.1f}" for name, alone, missing in rows))
