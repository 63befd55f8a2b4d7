"""The command line: `unet-viz`, or `python -m lib_unet_viz`. `main(["blocks", "IN00-M00"])` from Python.

Results go to standard output, progress and errors to standard error; an error takes one or two lines there,
and the exit code 2.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib_unet_viz.notation.specs import SpecError

__all__ = ["main"]

BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0, 2 for what was asked wrongly, 130 after Ctrl-C.

    As argparse does, raises SystemExit after --help and --version, and for options that do not exist.
    """
    name, options = "unet-viz", None
    try:
        with _ending_at_once():
            from lib_unet_viz.cli.parser import parse

        options = parse(sys.argv[1:] if arguments is None else arguments)
        name = f"unet-viz {options.command}"
        options.run(options)
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options is not None and options.debug:
            traceback.print_exc()
        return _fail(_message(name, error))
    return 0


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Ctrl-C ends the process, while nothing but modules has been loaded: torch swallows it where it comes
    while it imports numpy.
    """

    def end(*_: object) -> None:
        os.write(2, b"unet-viz: interrupted\n")
        os._exit(INTERRUPTED)

    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler or not _is_main_thread():
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _message(name: str, error: Exception) -> str:
    from lib_unet_viz.notation.specs import SpecError

    if isinstance(error, SpecError):
        return _spec_message(name, error)
    if isinstance(error, OSError) and error.strerror:
        return f"{name}: {error.filename or ''}: {error.strerror}".replace(": : ", ": ")
    if isinstance(error, ImportError):
        return f"{name}: {error}; this command needs: pip install 'lib-unet-viz[app]'"
    text = " ".join(str(error).split()) or type(error).__name__
    expected = isinstance(error, ValueError | OSError | RuntimeError)
    return f"{name}: {text}" if expected else f"{name}: {type(error).__name__}: {text} (--debug says where)"


def _spec_message(name: str, error: SpecError) -> str:
    """Message and text on one line; the caret, and what may stand there, below."""
    message, text, caret, *allowed = str(error).split("\n")
    start = f"{name}: {message}: "
    return f"{start}{text[2:]}\n{' ' * len(start)}{caret[2:]} {' '.join(allowed)}".rstrip()


def _fail(message: str) -> int:
    from lib_unet_viz.cli.report import printable

    sys.stderr.write(f"{printable(message)}\n")
    return BAD_INPUT
