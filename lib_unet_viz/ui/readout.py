"""What a choice of blocks and steps selects and costs, said before the run: HTML that a page shows beside it.

Texts that a person wrote are escaped. Errors become monospaced text, so that a caret stands under its place.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Any

from lib_unet_viz.capture.request import Capture, estimate
from lib_unet_viz.notation.errors import SpecError, ranges

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lib_unet_viz.editing.explanation import Column, Words
    from lib_unet_viz.editing.hooks import Plan
    from lib_unet_viz.editing.plan import Request
    from lib_unet_viz.settings import AttentionSettings, FeatureSettings
    from lib_unet_viz.trace import Half
    from lib_unet_viz.unet import AttentionSite, Block, UNet

OFF = "Off"


def features(unet: UNet, settings: FeatureSettings, *, size: tuple[int, int], steps: int) -> str:
    """Blocks, shapes (channels × height × width), whether the prompt reaches each, memory and time needed.

    size: the latent's (height, width). A wrong spec becomes a message with a caret.
    """
    try:
        capture = settings.capture()
        if capture is None:
            return note(OFF)
        names = capture.blocks.names(unet)
        cost = _cost(unet, features=capture, size=size, total=steps)
        summary = [f"{len(names)} of {len(unet.blocks)} blocks", *_steps(capture, steps), *cost]
    except ValueError as error:
        return problem(error)
    rows = [_block_row(unet.blocks[name], size) for name in names]
    return _summary(summary) + _table(("Block", "Input", "Output", "Prompt reaches it"), rows)


def attention(
    unet: UNet, settings: AttentionSettings, *, size: tuple[int, int], steps: int, tokens: int = 77
) -> str:
    """Attention layers, heads, positions (height × width), memory and time; as `features` otherwise."""
    try:
        capture = settings.capture()
        if capture is None:
            return note(OFF)
        sites = capture.sites(unet)
        cost = _cost(unet, attention=capture, size=size, total=steps, tokens=tokens)
        summary = [_count(len(sites), "attention layer"), *_steps(capture, steps), *cost]
    except ValueError as error:
        return problem(error)
    rows = [_site_row(site, size) for site in sites]
    return _summary(summary) + _table(("Layer", "Kind", "Heads", "Positions"), rows)


def words(
    unet: UNet, *, size: tuple[int, int], steps: int, tokens: int = 77, halves: Sequence[Half] = ("cond",)
) -> str:
    """What word heat maps take: attention layers, memory and time."""
    from lib_unet_viz.maps.words import word_captures

    captures = word_captures(halves=halves)
    sites = sum(len(capture.sites(unet)) for capture in captures)
    cost = _cost(unet, attention=captures, size=size, total=steps, tokens=tokens)
    return _summary(["Word heat maps", _count(sites, "attention layer"), *cost])


def layer_prompts(unet: UNet, prompt: str, negative: str = "") -> str:
    """What each block reads, a row a block; those without cross-attention greyed. Empty without a group.

    Templates and wildcards that another extension expands later pass; a mistake becomes a message with a
    caret.
    """
    from lib_unet_viz.notation.layer_prompt import LayerPrompt

    try:
        read = [LayerPrompt.parse(text, lenient=True) for text in (prompt, negative)]
        named = {
            name: layers
            for name, layers in zip(("Reads", "Reads as the negative prompt"), read, strict=True)
            if not layers.plain
        }
        texts = [layers.per_block(unet) for layers in named.values()]
        count = len({text for layers in named.values() for text in layers.distinct(unet)})
    except SpecError as error:
        return problem(error)
    if not named:
        return ""
    rows = [_reading_row(block, [each[block.name] for each in texts]) for block in unet.blocks.values()]
    off = [not block.cross for block in unet.blocks.values()]
    later = [spec for layers in named.values() for spec in layers.pending]
    notes = [f"known after expansion: {', '.join(later)}"] if later else []
    return _summary([_count(count, "text"), *notes]) + _table(("Block", *named), rows, off=off)


def _reading_row(block: Block, texts: Sequence[str]) -> list[str]:
    if block.cross:
        return [block.name, *(text if text.strip() else "nothing" for text in texts)]
    unread = f"{block.name} has no cross-attention: a prompt there changes nothing"
    return [block.name, unread, *("" for _ in texts[1:])]


def edit(request: Request, plan: Plan, unet: UNet | None = None) -> str:
    """Each target of an edit, token by token beside the source, and what keeps the source's attention.

    unet: to count the blocks in, and to find those that it lacks; that becomes a message with a caret.
    """
    from lib_unet_viz.editing import explanation

    try:
        facts = explanation.facts(plan, unet)
    except SpecError as error:
        return problem(error)
    targets = "".join(_target(request, plan, number) for number in range(1, plan.pictures))
    return f'<div class="uv-edit">{targets}{note(" · ".join(facts))}</div>'


def _target(request: Request, plan: Plan, number: int) -> str:
    from lib_unet_viz.editing import explanation

    asked = request.targets[number - 1]
    columns = "".join(_column(column) for column in explanation.columns(plan.targets[number - 1]))
    name = "Target" if plan.pictures == 2 else f"Target {number}"
    title = f"<b>{name}</b> <q>{escape(asked.prompt)}</q>"
    sides = '<div class="uv-sides"><span>source</span><span>target</span></div>'
    return (
        f'<section><p class="uv-target">{title}</p><div class="uv-words">{sides}{columns}</div>'
        f"{note('; '.join(asked.explained))}{note(explanation.blended(plan, number))}</section>"
    )


def _column(column: Column) -> str:
    """A token a box, those of a word close together."""
    sides = "".join(f"<span>{_boxes(words)}</span>" for words in (column.source, column.target))
    marks = escape(" ".join(column.marks))
    weighted = " uv-weighted" if column.strength != 1 else ""
    return f'<div class="uv-fate-{column.fate}{weighted}">{sides}<small>{marks}</small></div>'


def _boxes(words: Words) -> str:
    return "".join(
        f"<span>{''.join(f'<kbd>{escape(token)}</kbd>' for token in word)}</span>" for word in words
    )


def problem(error: BaseException | str) -> str:
    """An error's message, as it is, in monospaced text."""
    return f'<pre class="uv-problem" role="alert">{escape(str(error))}</pre>'


def note(text: str) -> str:
    """A quiet line."""
    return f'<p class="uv-note">{escape(text)}</p>'


def of_run(prompt: str, steps: int, cfg: float) -> str:
    """What a result shows, to be put beside it."""
    return note(f"“{prompt.strip()}” · {_count(steps, 'step')} · CFG scale {cfg:g}")


def out_of_date(changed: Sequence[str], again: str, what: str = "") -> str:
    """What of a result's controls was changed since, and the button that makes it anew.

    what: the result, where the line does not stand over it.
    """
    begin = f"{what} is out of date" if what else "Out of date"
    text = f"{begin}. Changed since then: {', '.join(changed)}. Press {again} to update."
    return f'<p class="uv-stale" role="status">{escape(text)}</p>'


def progress(text: str, done: float) -> str:
    """A line of text over a bar; `done` is in 0..1."""
    percent = round(100 * min(1.0, max(0.0, done)))
    bar = f'<div class="uv-bar"><div style="width: {percent}%"></div></div>'
    return f'<div class="uv-progress" role="progressbar" aria-valuenow="{percent}">{escape(text)}{bar}</div>'


def _steps(capture: Capture, total: int) -> list[str]:
    found = [f"{len(capture.steps.steps(total))} of {total} steps"]
    beyond = capture.steps.beyond(total)
    return [*found, f"not in this run: step {ranges(beyond)}"] if beyond else found


def _cost(unet: UNet, **asked: Any) -> list[str]:
    """Bytes to keep, and what a CPU takes longer; of a GPU's time nothing is known."""
    from lib_unet_viz.capture.cost import added_time

    share = added_time(unet, **asked)
    time = "under 0.1" if share < 0.001 else f"{100 * share:.1f}"
    return [f"{estimate(unet, **asked) / 1e6:,.1f} MB to keep", f"{time} % more time on a CPU"]


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


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, off: Sequence[bool] = ()) -> str:
    """`off` says which rows are greyed."""

    def line(cells: Sequence[str], tag: str, start: str = "<tr>") -> str:
        return start + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    greyed = off or [False] * len(rows)
    starts = ['<tr class="uv-off">' if grey else "<tr>" for grey in greyed]
    body = "".join(line(row, "td", start) for row, start in zip(rows, starts, strict=True))
    head = line(heads, "th")
    return (
        f'<div class="uv-table" tabindex="0"><table><thead>{head}</thead><tbody>{body}</tbody></table></div>'
    )
