"""How long it takes to read and to draw long texts of every kind, at 1,000 and at 16,000 of their parts.

    python benchmarks/time_bounds.py [--parts N] [--most SECONDS]

Time is to grow with the text or to be bounded, in which case the text is refused in words; "grew" is the
factor for 16 times the text. Exit code 1 where one takes more than SECONDS (2). tests/attack/test_time.py
counts calls.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

from lib_unet_viz.drawing.montage import LABEL, TEXT, first_lines
from lib_unet_viz.notation import edits, tokens
from lib_unet_viz.notation.errors import SpecError
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec, StepSpec

BLOCKS = [*(f"IN{n:02d}" for n in range(12)), "M00", *(f"OUT{n:02d}" for n in range(12))]


def cats(n: int, *others: str) -> list[str]:
    return [tokens.BOS, *["cat</w>"] * n, *others, tokens.EOS]


def numbered(n: int) -> str:
    return " ".join(f"w{i}" for i in range(n))


def several(n: int) -> list[str]:
    return [tokens.BOS, *(f"w{i}</w>" for i in range(n)), tokens.EOS]


# What grows is a number of words, ranges or signs.
GROWING: dict[str, Callable[[int], object]] = {
    "step ranges, named": lambda n: StepSpec.parse("1-99999," * n + "1").steps(20),
    "step ranges, beyond": lambda n: StepSpec.parse("1-9(+2)," * n + "1").beyond(4),
    "block ranges": lambda n: BlockSpec.parse("IN00-OUT11," * n + "M00").names(BLOCKS),
    "{{ never closed": lambda n: LayerPrompt.parse(f"(~: {'{{' * n}: x:~)", lenient=True),
    "{% never closed": lambda n: LayerPrompt.parse(f"(~: {'{%' * n}: x:~)", lenient=True),
    "{ never closed": lambda n: LayerPrompt.parse(f"(~: {'${' * n}: x:~)", lenient=True),
    "__ never closed": lambda n: LayerPrompt.parse(f"(~: {'__a ' * n}: x:~)", lenient=True),
    "groups": lambda n: LayerPrompt.parse("(~: M00: x:~)" * n).per_block(BLOCKS),
    "choices": lambda n: LayerPrompt.parse(f"(~: {'M00: x;' * n}:~)").distinct(BLOCKS),
    "a word of many tokens": lambda n: tokens.words([tokens.BOS, *["cat"] * n, "cat</w>", tokens.EOS]),
    "a word that is there": lambda n: tokens.find(cats(n), f"cat#{n}"),
    "a phrase that is not there": lambda n: tokens.find(cats(n), "cat " * 200 + "dog"),
    "many words": lambda n: tokens.select(several(n), numbered(min(n, 50)).split()),
    "typed as it is": lambda n: tokens.typed("cat " * n, cats(n), syntax=True),
    "typed in other words": lambda n: tokens.typed("dog " * n, cats(n), syntax=True),
    "typed in other words, all different": lambda n: tokens.typed("dog " * n, several(n), syntax=True),
    "typed brackets": lambda n: tokens.typed("(" * n, cats(n), syntax=True),
    "typed colons": lambda n: tokens.typed(": " * n, cats(n), syntax=True),
    "typed numbers": lambda n: tokens.typed(":" + "1" * n + " " * n, cats(n), syntax=True),
    "typed AND": lambda n: tokens.typed("AND " + " " * n, cats(n), syntax=True),
    "a word swapped in all its places": lambda n: edits.targets("a cat " * n, "cat -> dog"),
    "a strength after many blanks": lambda n: edits.targets("a b", f"a{' ' * n}b * 2"),
    "an edit of blanks": lambda n: edits.targets("a b", f"a{' ' * n}b"),
    "an edit of stars": lambda n: edits.targets("a b", " *" * n),
    "an edit of plusses": lambda n: edits.targets("a b", "+ +" * n),
    "edits": lambda n: edits.targets(numbered(n), "\n".join(f"w{i} -> x" for i in range(n))),
    "a long error": lambda n: str(BlockSpec.parse("IN00," * min(n, 999) + "x" * n).names(BLOCKS)),
}
DRAWN: dict[str, Callable[[int], object]] = {
    "a caption of tags, in letters": lambda n: first_lines(TEXT, ("masterpiece,1girl," * n)[:n], 500),
    "a caption in Japanese, in letters": lambda n: first_lines(TEXT, ("女の子は本を読む" * n)[:n], 500),
    "a label of tags, in letters": lambda n: LABEL.fit(("masterpiece,1girl," * n)[:n], 150),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", type=int, default=16_000)
    parser.add_argument("--most", type=float, default=2.0, help="seconds that each may take")
    options = parser.parse_args()
    slowest = 0.0
    for name, work in (GROWING | DRAWN).items():
        _, (short, _), (long, refused) = (seconds(work, n) for n in (1, options.parts // 16, options.parts))
        slowest = max(slowest, long)
        end = "  refused in words" if refused else ""
        sys.stdout.write(
            f"{name:45} {1e3 * short:8.1f} ms {1e3 * long:8.1f} ms  grew {long / short:6.1f}{end}\n"
        )
    sys.stdout.write(f"slowest {slowest:.2f} s, to be at most {options.most:g} s\n")
    return int(slowest > options.most)


def seconds(work: Callable[[int], object], n: int) -> tuple[float, bool]:
    """How long the work takes, and whether it was refused."""
    begun, refused = time.thread_time(), False
    try:
        work(n)
    except SpecError:
        refused = True
    return time.thread_time() - begun, refused


if __name__ == "__main__":
    sys.exit(main())
