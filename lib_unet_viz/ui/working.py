"""Work that a click starts: progress while the model works, then its results, or what was wrong."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lib_unet_viz.ui import readout
from lib_unet_viz.ui.runs import Runs, reports

Updates = dict[Any, Any]  # by component


class Report(Protocol):
    """Says how far the work is, `done` in 0..1, and what else the page is to show meanwhile."""

    def __call__(self, text: str, done: float, also: Mapping[Any, Any] = ..., /) -> None: ...


def working(
    runs: Runs,
    work: Callable[[str, Report], Updates],
    *,
    run: Any,
    status: Any,
    busy: Callable[[bool], Updates],
    cancelled: str,
    alone: Callable[[], AbstractContextManager[Any]] | None = None,
) -> Generator[Updates, None, None]:
    """Yield updates while `work(name, report)` runs in its own thread, then those that it returns.

    run, status: the components of the run's id and of its progress. busy: updates for while it runs, and for
    after. cancelled: what is said when the person stopped it. alone: held while it runs; `runs.lock` unless
    given.
    """
    from lib_unet_viz.capture.recorder import Cancelled

    name = runs.start()
    yield {run: name, status: readout.progress("Starting …", 0), **busy(True)}

    def locked(tell: Callable[[Updates], None]) -> Updates:
        def report(text: str, done: float, also: Mapping[Any, Any] = {}, /) -> None:  # noqa: B006 - only read
            tell({status: readout.progress(text, done), **also})

        with runs.lock if alone is None else alone():
            return work(name, report)

    try:
        found = yield from reports(locked)
        yield {**found, **busy(False)}
    except Cancelled:
        yield {status: readout.note(cancelled), **busy(False)}
    except (ValueError, RuntimeError) as error:
        yield {status: readout.problem(error), **busy(False)}
    except Exception as error:
        yield {status: readout.problem(error), **busy(False)}
        raise  # what nobody foresaw goes to the server's log
    finally:
        runs.cancel(name)  # a visitor who leaves the page stops the work
