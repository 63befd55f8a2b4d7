"""A study's table in short: means with intervals, as text, as figures and as a page of HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from lib_unet_viz.drawing.norm import number
from lib_unet_viz.studies.study import Study

RESAMPLED, INTERVAL = 2000, (2.5, 97.5)  # times; percentiles


@dataclass(frozen=True)
class Mean:
    """The mean of a measure where `by` has these values, over so many groups, with its 95 % interval."""

    measure: str
    of: str
    by: tuple[str, ...]
    mean: float
    low: float
    high: float
    groups: int


def means(study: Study, rows: Iterable[Mapping[str, Any]], *, seed: int = 0) -> list[Mean]:
    """Means by `study.by`, with a percentile bootstrap over groups of one prompt and seed.

    Values of words of their own prompts go together.
    """
    found: dict[tuple[str, str, tuple[str, ...]], dict[tuple[int, int], list[float]]] = {}
    for row in rows:
        of = row["of"] if row["measure"] in ("distance", "word_maps") else ""
        by = tuple(str(row[name]) for name in study.by)
        groups = found.setdefault((row["measure"], str(of).rpartition(": ")[2], by), {})
        groups.setdefault((row["prompt"], row["seed"]), []).append(row["value"])
    order = {name: at for at, name in enumerate(variant.name for variant in study.variants)}
    at = study.by.index("variant") if "variant" in study.by else None
    keys = sorted(found, key=lambda key: (key[:2], order.get(key[2][at], 0) if at is not None else 0))
    return [_mean(key, [np.mean(values) for values in found[key].values()], seed) for key in keys]


def _mean(key: tuple[str, str, tuple[str, ...]], values: Sequence[Any], seed: int) -> Mean:
    numbers = np.asarray(values, dtype=np.float64)
    drawn = np.random.default_rng(seed).integers(len(numbers), size=(RESAMPLED, len(numbers)))
    low, high = np.percentile(numbers[drawn].mean(1), INTERVAL)
    return Mean(*key, float(numbers.mean()), float(low), float(high), len(numbers))


def text(study: Study, found: Sequence[Mean]) -> str:
    """The means as a table of text, a line each."""
    head = [*study.by, "measure", "mean", "95 % interval", "groups"]
    lines = [head, *(_cells(each) for each in found)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows)


def _cells(found: Mean) -> list[str]:
    interval = f"{number(found.low)} to {number(found.high)}"
    return [*found.by, _title(found), number(found.mean), interval, str(found.groups)]


def _title(found: Mean) -> str:
    return f"{found.measure}: {found.of}" if found.of else found.measure


def figure(study: Study, found: Sequence[Mean], *, measure: str) -> bytes:
    """One measure as a PNG: a panel for each value of the first of `by`, bars with intervals.

    measure: as `text` writes it, such as "distance: rms".
    """
    from matplotlib.figure import Figure

    chosen = [each for each in found if _title(each) == measure]
    panels: dict[str, list[Mean]] = {}
    for each in chosen:
        panels.setdefault(each.by[0] if len(study.by) > 1 else "", []).append(each)
    tall = max(map(len, panels.values()))
    page = Figure(figsize=(4.6 * len(panels), 1.2 + 0.2 * tall), layout="constrained")
    axes = page.subplots(1, len(panels), squeeze=False, sharex=True)[0]
    for axis, (name, part) in zip(axes, panels.items(), strict=True):
        labels = [" ".join(filter(None, each.by[1:] or each.by)) for each in part]
        middle = [each.mean for each in part]
        errors = [[each.mean - each.low for each in part], [each.high - each.mean for each in part]]
        axis.barh(range(len(part)), middle, xerr=errors, color="#2f7ebc", ecolor="#222", error_kw={"lw": 0.8})
        axis.set_yticks(range(len(part)), labels, fontsize=7)
        axis.invert_yaxis()
        axis.set_title(name)
        axis.set_xlabel(measure)
    page.suptitle(study.title)
    out = io.BytesIO()
    page.savefig(out, format="png", dpi=110, metadata={"Software": None})
    return out.getvalue()


def page(study: Study, found: Sequence[Mean], versions: str) -> str:
    """Figures, the table, the study's text and the versions, as one HTML file that needs nothing else."""
    measures = dict.fromkeys(_title(each) for each in found)
    pictures = "".join(
        f'<h2>{escape(name)}</h2><img alt="{escape(name)}" src="data:image/png;base64,'
        f'{base64.b64encode(figure(study, found, measure=name)).decode()}">'
        for name in measures
    )
    head = "".join(f"<th>{escape(name)}</th>" for name in (*study.by, "measure", "mean", "95 %", "groups"))
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(each))}</tr>" for each in found
    )
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(study.title)}</title>'
        "<style>body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem}"
        "img{max-width:100%}td,th{padding:.1rem .8rem .1rem 0;text-align:left}pre{overflow:auto}"
        "@media(prefers-color-scheme:dark){body{background:#16181d;color:#e8eaee}img{background:#fff}}</style>"
        f"<h1>{escape(study.title)}</h1>{pictures}<h2>All means</h2><table><tr>{head}</tr>{body}</table>"
        f"<h2>The study</h2><pre>{escape(study.source)}</pre><p>{escape(versions)}</p></html>\n"
    )
