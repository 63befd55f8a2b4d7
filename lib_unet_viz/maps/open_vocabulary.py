"""Any word asked of a finished run: its queries are kept, and keys are computed of another text.

Attention's queries come of the picture alone, so the U-Net need not run again (Marcos-Manchón et al. 2024,
"Open-Vocabulary Attention Maps"). A trace answers if Q of its cross-attention was recorded, as `vxa` does,
and `heatmap.explore_captures`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lib_unet_viz.attention import mean_over_heads, split_heads
from lib_unet_viz.maps.soundness import are_sound
from lib_unet_viz.trace import FIRST, AttentionMap, AttentionMaps, Selection, Trace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib_unet_viz.sampling.model import TextModel
    from lib_unet_viz.trace import Key
    from lib_unet_viz.unet import AttentionSite


def ask(trace: Trace, model: TextModel, text: str, *, selection: Selection = FIRST) -> Trace:
    """A trace as if `text` had been the prompt whose cross-attention was looked at; its picture is the same.

    It holds means over heads and steps, and the self-attention of the trace: what word maps are made of.
    Where the text names several things, they compete for each place: "a hat, a neck" tells more than "hat".

    Raises ValueError for an empty text, or where the trace holds no Q of what is selected.
    """
    if not text.strip():
        raise ValueError("nothing is asked: write a word or a phrase")
    trace = trace.view(selection)
    queries: Sequence[AttentionMap] = trace.attention.all(what="Q", kind="cross")
    if not queries:
        raise ValueError(
            f"the trace holds no queries (Q) of cross-attention of {selection}, so other words "
            "cannot be asked; record Q with cross-attention, or look again"
        )
    queries = [item for item in queries if are_sound(item.data).any()]
    if not queries:
        raise ValueError("each head of the trace's queries (Q) holds NaN or infinities")
    sites = {(site.block, site.layer): site for site in model.unet.sites if site.kind == "cross"}
    keys: dict[Key, torch.Tensor] = {}
    sums: dict[Key, list[torch.Tensor]] = {}
    conditions, _ = model.conditions([text])
    for item in queries:
        site = sites.get((item.key.block, item.key.layer or 0))
        if site is None:
            raise ValueError(f"this model has no cross-attention in {item.key.block}; the trace is another's")
        key = replace(item.key, what="QK", step=None, image=0, half="cond", sub=0)
        if key not in keys:
            keys[key] = _keys(site, conditions.context)
        sums.setdefault(key, []).append(_attended(item, site, keys[key]))
    found = [AttentionMap(key, torch.stack(maps).mean(0)) for key, maps in sums.items()]
    looks = (
        AttentionMap(replace(item.key, image=0, half="cond", sub=0), item.data, item.sigma)
        for item in trace.attention.all(kind="self")
    )
    known = trace.meta
    meta = replace(known, prompt=text, asked_of=known.prompt or "", tokens={"cond": model.tokens(text)})
    meta = replace(meta, tokens_hires=None, tokens_by_block=None)
    return Trace(attention=AttentionMaps([*found, *looks]), meta=meta, picture=trace.picture)


@torch.no_grad()
def _keys(site: AttentionSite, context: torch.Tensor) -> torch.Tensor:
    """(head, token, channel), float32, on the CPU."""
    weight = next(site.to_k.parameters())  # which hosts may keep elsewhere than what they compute
    context = context.to(weight.device, weight.dtype)
    return split_heads(site.to_k(context)[0], site.heads).float().cpu()


def _attended(item: AttentionMap, site: AttentionSite, keys: torch.Tensor) -> torch.Tensor:
    """(head 1, token, y, x) of one step."""
    queries = item.data.float().flatten(2).transpose(1, 2)
    good = are_sound(queries)
    mean = mean_over_heads(queries[good], keys[good], site.scale, tokens=None)
    return mean.reshape(1, len(mean), *item.shape[-2:])
