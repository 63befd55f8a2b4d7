"""Progress on standard error: of counted work, and of waiting for something that cannot be counted."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

T = TypeVar("T")

# What is over sooner needs no bar.
DELAY = 1.0
FORMAT = "{desc}: {percentage:3.0f} % |{bar}| {elapsed}, {remaining} left"


@contextmanager
def counting(total: float, doing: str) -> Iterator[Callable[[float, str], None]]:
    """A bar; the function given takes how much is done by now, up to `total`, and what is being done."""
    with _bar(total=total, desc=doing, delay=DELAY, bar_format=FORMAT) as bar:

        def now(done: float, doing: str) -> None:
            bar.set_description_str(doing, refresh=False)
            bar.update(done - bar.n)

        yield now


def each(items: Sequence[T], doing: str) -> Iterable[T]:
    """The items, with a bar."""
    with _bar(total=len(items), desc=doing, delay=DELAY, bar_format=FORMAT) as bar:
        for item in items:
            yield item
            bar.update()


@contextmanager
def waiting(doing: str) -> Iterator[None]:
    """Seconds that go by, in a terminal only: elsewhere they would be noise before what matters."""
    if not sys.stderr.isatty():
        yield
        return
    stop = threading.Event()
    with _bar(desc=doing, bar_format="{desc} … {elapsed}", delay=DELAY) as bar:
        thread = threading.Thread(target=_tick, args=(bar, stop), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def _tick(bar: Any, stop: threading.Event) -> None:
    while not stop.wait(0.25):
        bar.update()


def _bar(**options: Any) -> Any:
    """tqdm's bar; one that shows nothing where tqdm, which comes with the extra `app`, is not installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(file=sys.stderr, leave=False, dynamic_ncols=True, **options)


class _NoBar:
    """Those of tqdm's methods that are used here."""

    n = 0.0

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def set_description_str(self, doing: str, refresh: bool = True) -> None:
        pass

    def update(self, by: float = 1) -> None:
        self.n += by
