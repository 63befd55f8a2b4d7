"""What a choice of blocks and steps selects, said before the run: HTML that a page shows beside the choice.

Texts that a person wrote are escaped. Errors become monospaced text, so that a caret stands under its place.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from lib_unet_viz.capture import Capture, estimate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lib_unet_viz.settings import AttentionSettings, FeatureSettings
    from lib_unet_viz.unet import AttentionSite, Block, UNet

OFF = "Switched off: nothing is recorded."


def features(unet: UNet, settings: FeatureSettings, *, size: tuple[int, int], steps: int) -> str:
    """Blocks, shapes (channels × height × width), whether the prompt reaches each, and the memory needed.

    size: the latent's (height, width). A wrong spec becomes a message with a caret.
    """
    try:
        capture = settings.capture()
        if capture is None:
            return note(OFF)
        names = capture.blocks.names(unet)
        needed = estimate(unet, features=capture, size=size, total=steps)
        summary = [f"{len(names)} of {len(unet.blocks)} blocks", *_steps(capture, steps), _bytes(needed)]
    except ValueError as error:
        return problem(error)
    rows = [_block_row(unet.blocks[name], size) for name in names]
    return _summary(summary) + _table(("Block", "Input", "Output", "Prompt reaches it"), rows)


def attention(
    unet: UNet, settings: AttentionSettings, *, size: tuple[int, int], steps: int, tokens: int = 77
) -> str:
    """Attention layers, heads, positions (height × width), and the memory needed; as `features` otherwise."""
    try:
        capture = settings.capture()
        if capture is None:
            return note(OFF)
        sites = capture.sites(unet)
        needed = estimate(unet, attention=capture, size=size, total=steps, tokens=tokens)
        count = f"{len(sites)} attention layer{'s' * (len(sites) != 1)}"
        summary = [count, *_steps(capture, steps), _bytes(needed)]
    except ValueError as error:
        return problem(error)
    rows = [_site_row(site, size) for site in sites]
    return _summary(summary) + _table(("Layer", "Kind", "Heads", "Positions"), rows)


def problem(error: BaseException | str) -> str:
    """An error's message, as it is, in monospaced text."""
    return f'<pre class="uv-problem" role="alert">{escape(str(error))}</pre>'


def note(text: str) -> str:
    """A quiet line."""
    return f'<p class="uv-note">{escape(text)}</p>'


def progress(text: str, done: float) -> str:
    """A line of text over a bar; `done` is in 0..1."""
    percent = round(100 * min(1.0, max(0.0, done)))
    bar = f'<div class="uv-bar"><div style="width: {percent}%"></div></div>'
    return f'<div class="uv-progress" role="progressbar" aria-valuenow="{percent}">{escape(text)}{bar}</div>'


def _steps(capture: Capture, total: int) -> list[str]:
    found = [f"{len(capture.steps.steps(total))} of {total} steps"]
    beyond = capture.steps.beyond(total)
    return [*found, f"not in this run: step {', '.join(map(str, beyond))}"] if beyond else found


def _bytes(count: int) -> str:
    return f"{count / 1e6:,.1f} MB to keep"


def _block_row(block: Block, size: tuple[int, int]) -> list[str]:
    before, after = block.shapes(size)
    reached = f"yes, {_count(block.heads, 'head')}" if block.cross else "no"
    layers = f", {block.depth} layers" if block.depth > 1 else ""
    return [block.name, _shape(before), _shape(after), reached + layers]


def _site_row(site: AttentionSite, size: tuple[int, int]) -> list[str]:
    kind = "cross (the prompt)" if site.kind == "cross" else "self (the picture)"
    return [f"{site.block}.{site.layer}", kind, str(site.heads), _shape(site.size(size))]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _shape(shape: Iterable[int]) -> str:
    return " × ".join(map(str, shape))


def _summary(parts: Iterable[str]) -> str:
    return f'<p class="uv-summary">{escape(" · ".join(parts))}</p>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "".join(line(row, "td") for row in rows)
    head = line(heads, "th")
    return (
        f'<div class="uv-table" tabindex="0"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
    )
