"""Work that a click starts: progress while the model works, then its results, or what was wrong."""

from __future__ import annotations

import queue
import threading
import uuid
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from lib_unet_viz.ui import readout
from lib_unet_viz.ui.runs import Run, Runs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image

    from lib_unet_viz.trace import Trace

Updates = dict[Any, Any]  # by component
Tell = Callable[[Updates], None]
Q = TypeVar("Q")
T = TypeVar("T")
R = TypeVar("R")


class Job:
    """One run while the model works on it: says how far it is, asks whether to stop, keeps a result."""

    def __init__(self, run: Run, runs: Runs, status: Any, tell: Tell) -> None:
        self.name = run.name
        self._run, self._runs, self._status, self._tell = run, runs, status, tell
        self.trace: Trace | None = None
        self.words: Sequence[tuple[Image.Image, str]] = ()

    def report(self, text: str, done: float, also: Mapping[Any, Any] | None = None) -> None:
        """Say how far the work is, `done` in 0..1, and what else the page is to show meanwhile."""
        self._tell({self._status: readout.progress(text, done), **(also or {})})

    def cancelled(self) -> bool:
        """Whether the person asked it to stop, or left."""
        return self._run.cancelled

    def keep(self, trace: Trace, words: Sequence[tuple[Image.Image, str]] = ()) -> None:
        """What later clicks ask about, once the work is done: its trace, and pictures with their words."""
        self.trace, self.words = trace, words

    def keep_beside(self, trace: Trace, words: Sequence[tuple[Image.Image, str]]) -> str:
        """Keep a further trace of the same visitor, with its pictures; its id."""
        run = self._runs.start(self._run.owner)
        self._runs.end(run, trace, words)
        return run.name

    @property
    def folder(self) -> Path:
        """For the run's own files; it goes when the run goes."""
        return self._runs.folder / self.name


class Worker:
    """How a tab's buttons start work: one run after the other holds the model.

    status: the component that shows progress and what was wrong. busy: updates for while a run is going on,
    and for after. cancelled: what is said when the person stopped it. alone: held while the model works on a
    request; `runs.lock` unless given.

    `inputs` come before a handler's own, and `outputs` are among the components that it updates. `run` holds
    the id of the run whose result is shown: one that fails or is cancelled leaves it.
    """

    def __init__(
        self,
        runs: Runs,
        status: Any,
        *,
        busy: Callable[[bool], Updates],
        cancelled: str,
        alone: Callable[[Any], AbstractContextManager[Any]] | None = None,
    ) -> None:
        self.runs, self._status, self._busy, self._cancelled = runs, status, busy, cancelled
        self._alone = alone or (lambda _: runs.lock)
        self.owner, self.running, self.run = gr.State(""), gr.State(""), gr.State("")
        self.inputs = [self.owner]
        self.outputs = [self.owner, self.running, self.run, status]

    def __call__(
        self,
        owner: str,
        ask: Callable[[], Q],
        work: Callable[[Job, Q], Updates],
        made: Updates | None = None,
    ) -> Generator[Updates, None, None]:
        """Yield updates while `work` is done in a thread of its own, then those that it returns.

        owner: whose run it is, as `inputs` say; blank at first. ask: makes the request, before anything runs;
        it raises ValueError for what is wrong with it. made: further updates that go with a result.
        """
        from lib_unet_viz.capture.recorder import Cancelled

        run: Run | None = None
        try:
            request = ask()
            run = self.runs.start(owner or uuid.uuid4().hex)
            starting = readout.progress("Starting …", 0)
            yield {self.owner: run.owner, self.running: run.name, self._status: starting, **self._busy(True)}
            found = yield from reports(self._thread(run, request, work))
            yield {**found, **(made or {})}
        except Cancelled:
            yield {self._status: readout.note(self._cancelled), **self._busy(False)}
        except (ValueError, RuntimeError) as error:
            yield {self._status: readout.problem(error), **self._busy(False)}
        except Exception as error:
            yield {self._status: readout.problem(error), **self._busy(False)}
            raise  # what nobody foresaw goes to the server's log
        finally:
            if run is not None:
                run.cancelled = True  # a visitor who leaves the page stops the run

    def _thread(self, run: Run, request: Q, work: Callable[[Job, Q], Updates]) -> Callable[[Tell], Updates]:
        def working(tell: Tell) -> Updates:
            job = Job(run, self.runs, self._status, tell)
            try:
                with self._alone(request):
                    found = work(job, request)
            except BaseException:
                self.runs.end(run)
                raise
            self.runs.end(run, job.trace, job.words)
            shown = {} if job.trace is None else {self.run: run.name}
            return {**found, **shown, **self._busy(False)}

        return working

    def cancel(self, name: str) -> Any:
        """Stop a run after its present step; what the button says meanwhile."""
        self.runs.cancel(name)
        return gr.update(value="Cancelling …", interactive=False)


def reports(work: Callable[[Callable[[T], None]], R]) -> Generator[T, None, R]:
    """Run `work(report)` in its own thread; yield what it reports; return its result or raise its error."""
    messages: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            messages.put(("result", work(lambda item: messages.put(("report", item)))))
        except BaseException as error:  # raised again where the reports are read
            messages.put(("error", error))

    threading.Thread(target=run, daemon=True).start()
    while True:
        kind, item = messages.get()
        if kind == "report":
            yield item
        elif kind == "error":
            raise item
        else:
            result: R = item
            return result
