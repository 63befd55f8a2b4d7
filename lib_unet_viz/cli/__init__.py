"""The command line: `unet-viz`, or `python -m lib_unet_viz`. `main(["blocks", "IN00-M00"])` from Python.

Results go to standard output, progress and errors to standard error; an error takes one or two lines there,
and the exit code 2.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

from lib_unet_viz.cli.parser import parse
from lib_unet_viz.cli.report import printable
from lib_unet_viz.notation.specs import SpecError

__all__ = ["main"]

BAD_INPUT, INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code: 0, 2 for what was asked wrongly, 130 after Ctrl-C.

    As argparse does, raises SystemExit after --help and --version, and for options that do not exist.
    """
    options = parse(sys.argv[1:] if arguments is None else arguments)
    name = f"unet-viz {options.command}"
    try:
        options.run(options)
    except KeyboardInterrupt:
        return _fail(f"{name}: interrupted", INTERRUPTED)
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough; Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        return _fail(_message(name, error), BAD_INPUT)
    return 0


def _message(name: str, error: Exception) -> str:
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


def _fail(message: str, code: int) -> int:
    sys.stderr.write(f"{printable(message)}\n")
    return code
