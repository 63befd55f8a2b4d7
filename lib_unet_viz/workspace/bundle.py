"""One run, or two to compare, as the workspace reads them: a manifest (plain data for JSON) and numbers.

    bundle = Bundle.of([load_trace("a.safetensors"), load_trace("b.safetensors")])
    page.text(bundle)

Maps are kept at 8 bits a value, each picture over its own range (`numbers`), of cross-attention those of
words (`contents`); measures of blocks are of everything that was recorded (`measures`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib_unet_viz.trace import FIRST, Selection, Trace
from lib_unet_viz.workspace import contents, measures
from lib_unet_viz.workspace.contents import Choice, Part
from lib_unet_viz.workspace.numbers import Numbers, deflated
from lib_unet_viz.workspace.run import Run

FORMAT = 1
NAMES = ("A", "B")
ALL = Choice()
_RATIO = 0.2  # of deflated bytes, expected of the first map of a kind


class BundleError(ValueError):
    """Nothing can be shown, or not so; the message says why."""


@dataclass(frozen=True)
class Bundle:
    """manifest: what docs/explore.md says. numbers: what it refers to by place and length."""

    manifest: Mapping[str, Any]
    numbers: bytes

    @classmethod
    def of(
        cls,
        traces: Sequence[Trace],
        *,
        names: Sequence[str] = NAMES,
        selection: Selection = FIRST,
        choice: Choice = ALL,
        most: int | None = None,
    ) -> Bundle:
        """Of one trace, or of two to compare.

        names: what the runs are called; A and B where both are called the same. selection: of which image,
        half, sub-prompt and pass. most: bytes of numbers; maps for which there is no room are left out, which
        a note says. Raises BundleError for other than one or two traces, MapLookupError for a selection that
        one of them does not hold, SpecError for a choice that cannot be read.
        """
        if len(traces) not in (1, 2):
            raise BundleError(f"{len(traces)} runs were given; the workspace shows one, or two to compare")
        called = names if len(set(names)) == len(names) else NAMES
        runs = [_viewed(name, trace, selection) for name, trace in zip(called, traces, strict=False)]
        chosen = [contents.parts(run.trace, choice) for run in runs]
        numbers = Numbers()
        described = [run.describe(numbers) for run in runs]
        if len(runs) == 2:
            _compare(runs, described[1])
        for run, parts in zip(described, _filled(chosen, numbers, described, most), strict=True):
            if parts:
                run["notes"].append(contents.left_out(parts))
        title = " / ".join(dict.fromkeys(run.trace.meta.prompt or run.name for run in runs))
        return cls({"format": FORMAT, "title": title, "runs": described}, numbers.joined())


def _viewed(name: str, trace: Trace, selection: Selection) -> Run:
    return Run(name, trace.view(selection), selection.image or next(iter(trace.images), 0))


def _compare(runs: Sequence[Run], after: dict[str, Any]) -> None:
    """What changed in each block from the first run to the second."""
    found = measures.changes(*(run.trace.features for run in runs))
    after["measures"]["change"] = measures.table(found, runs[1].steps)
    after["means"]["change"] = measures.means(found)


def _filled(
    chosen: Sequence[Sequence[Part]], numbers: Numbers, described: Sequence[dict[str, Any]], most: int | None
) -> list[list[Part]]:
    """Put the maps of each run into the numbers and its manifest while there is room; those left out."""
    out: list[list[Part]] = [[] for _ in chosen]
    ratios: dict[str, float] = {}
    for at, part in _in_turns(chosen):
        kind = str(part.item.key.what)
        expected = part.nbytes * ratios.get(kind, _RATIO)
        if most is not None and numbers.nbytes + expected > most:
            out[at].append(part)
            continue
        small = deflated(part.planes())
        ratios[kind] = len(small) / max(1, part.nbytes)
        if most is not None and numbers.nbytes + len(small) > most:
            out[at].append(part)
            continue
        described[at]["maps"].append({**part.entry(), "values": numbers.planes(small, part.pictures)})
    return out


def _in_turns(chosen: Sequence[Sequence[Part]]) -> Iterator[tuple[int, Part]]:
    """The runs' maps, the most wanted first, with the number of the run."""
    yield from sorted(
        ((at, part) for at, parts in enumerate(chosen) for part in parts), key=lambda each: each[1].rank
    )
