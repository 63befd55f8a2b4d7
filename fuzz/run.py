"""Fuzzes everything that reads what people type or hand over, guided by which code an input reaches.

    pip install -e '.[fuzz]'                                  (Linux, Python 3.11 and newer: atheris)
    python fuzz/run.py [--seconds N] [--corpus FOLDER] [--found FOLDER] [TARGET ...]

The seconds are divided among the targets (see targets.py). An input that raises anything but a refusal in
words, or that takes longer than 100 ms, is written into the folder `found`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from targets import TARGETS, WORDS, seeds

LONGEST_INPUT = 4096  # bytes
HERE = Path(__file__).parent


@dataclass(frozen=True)
class Result:
    """Of one target: how many inputs it read, the slowest's milliseconds, and what was said if one failed."""

    inputs: int
    slowest: float
    failed: str


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=120, help="for all targets together")
    parser.add_argument("--corpus", type=Path, help="keep inputs that reach more code, a folder a target")
    parser.add_argument("--found", type=Path, default=HERE / "found", help="where failing inputs go")
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if unknown := set(names) - set(TARGETS):
        parser.error(f"no target {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    total, failed = 0, 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            result = fuzz(name, options.seconds // len(names), options.corpus or Path(folder), options.found)
        total, failed = total + result.inputs, failed + bool(result.failed)
        sys.stdout.write(
            f"{name:14} {result.inputs:10,} inputs  slowest {result.slowest:6.1f} ms\n{result.failed}"
        )
        sys.stdout.flush()
    sys.stdout.write(f"{total:,} inputs, {failed} of {len(names)} targets failed\n")
    return int(failed > 0)


def fuzz(name: str, seconds: int, corpora: Path, found: Path) -> Result:
    """Fuzz one target in a process of its own, since libFuzzer ends the process that it runs in."""
    found.mkdir(parents=True, exist_ok=True)
    corpus = corpora / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[name]):
        (corpus / f"seed{number:04}").write_bytes(seed)
    with tempfile.TemporaryDirectory() as folder:
        words, report = Path(folder, "words"), Path(folder, "report")
        words.write_text("".join(f'"{_escaped(word)}"\n' for word in WORDS[name]), encoding="ascii")
        options = {
            "max_total_time": seconds,
            "max_len": LONGEST_INPUT,
            "timeout": 10,
            "rss_limit_mb": 3000,
            "artifact_prefix": f"{found}/{name}-",
            "print_final_stats": 1,
            "dict": words,
        }
        given = [*(f"-{option}={value}" for option, value in options.items()), str(corpus)]
        command = [sys.executable, str(HERE / "one.py"), name, str(report), *given]
        ran = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        slowest = float(report.read_text(encoding="utf-8")) if report.exists() else 0.0
    inputs = re.search(r"number_of_executed_units: (\d+)", ran.stderr)
    fine = ran.returncode == 0 and inputs
    return Result(int(inputs[1]) if inputs else 0, slowest, "" if fine else _end(ran.stdout, ran.stderr))


def _end(*outputs: str) -> str:
    """The last lines of what was said, the traceback among them."""
    return "".join(f"{line}\n" for output in outputs for line in output.splitlines()[-25:])


def _escaped(word: str) -> str:
    """As libFuzzer's dictionaries want it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


if __name__ == "__main__":
    sys.exit(main())
