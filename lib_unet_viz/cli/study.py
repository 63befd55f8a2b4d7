"""The commands about studies: run one, and report on its table."""

from __future__ import annotations

import json
from argparse import Namespace
from dataclasses import asdict

from lib_unet_viz.cli import progress
from lib_unet_viz.cli.commands import say
from lib_unet_viz.cli.files import OutputError
from lib_unet_viz.writing import replacing


def study(options: Namespace) -> None:
    """Run what is missing of a study, and write its table."""
    from lib_unet_viz.studies.run import run
    from lib_unet_viz.studies.study import Study

    asked = Study.load(options.study)
    if not options.out.absolute().parent.is_dir():
        raise OutputError(f"cannot write {options.out}: there is no folder {options.out.absolute().parent}")
    with progress.counting(1.0, "running") as now:
        done = run(
            asked,
            options.out,
            limit=options.limit,
            ray=options.ray,
            workers=options.workers,
            gpus=options.gpus,
            progress=lambda done, total: now(done / max(1, total), f"{done} of {total} groups"),
        )
    say(f"{options.out}: {done} of {len(asked.groups())} groups")


def study_report(options: Namespace) -> None:
    """Means with intervals of a study's table."""
    from lib_unet_viz.studies import report, table

    asked, rows = table.read(options.table)
    found = report.means(asked, rows)
    if options.out is not None:
        versions = ", ".join(f"{name} {value}" for name, value in table.versions_of(options.table).items())
        with replacing(options.out) as beside:
            beside.write_text(report.page(asked, found, versions), encoding="utf-8")
    say(json.dumps([asdict(each) for each in found], indent=2) if options.json else report.text(asked, found))
