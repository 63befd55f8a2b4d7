"""Asking a webui for a picture, with and without the extension, and what a recording must then hold."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from lib_unet_viz.trace import AttentionMap, FeatureMap, Trace
from webui.serving import ALWAYS_ON, DROPDOWN, Generated, Probed, Webui

HEADS = 2
BOTH = ["cond", "uncond"]
RECORD: dict[str, Any] = {
    "features": {"blocks": "IN05,M00", "halves": BOTH, "dump": True},
    "attention": {"blocks": "M00", "halves": BOTH, "parts": ["QK"], "dump": True},
    "output": {"show": False, "save": False},
}
MODES = ("dropdown", "always on")
Label = tuple[int, str, str, int, int]  # step from 0, pass, half, AND sub-prompt, image


def asking(mode: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request that switch the extension on."""
    if mode == "dropdown":
        return {"script_name": DROPDOWN, "script_args": [settings]}
    return {"alwayson_scripts": {ALWAYS_ON: {"args": [settings]}}}


def merged(fields: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Both requests in one: always-on scripts of both."""
    scripts = {**fields.get("alwayson_scripts", {}), **more.get("alwayson_scripts", {})}
    return {**fields, **more, **({"alwayson_scripts": scripts} if scripts else {})}


def stand_in(name: str, argument: Any = True) -> dict[str, Any]:
    return {"alwayson_scripts": {f"Stand-in: {name}": {"args": [argument]}}}


@dataclass(frozen=True)
class Recorded:
    """A request answered with the extension on."""

    answer: Generated
    traces: list[Trace]
    probed: Probed

    @property
    def features(self) -> list[FeatureMap]:
        return [item for trace in self.traces for item in trace.features]

    @property
    def attention(self) -> list[AttentionMap]:
        return [item for trace in self.traces for item in trace.attention]

    @property
    def notes(self) -> str:
        return "\n".join(note for trace in self.traces for note in trace.notes)

    @property
    def said(self) -> str:
        """All that the answer says beside its pictures."""
        return json.dumps(self.answer.info, ensure_ascii=False)

    def feature(self, block: str = "M00", **asked: Any) -> torch.Tensor:
        """The one block feature that fits, (channel, y, x) in float32; names as in `Key`, steps from 1."""
        return _one(self.features, block=block, **asked)

    def map(self, **asked: Any) -> torch.Tensor:
        """The one map of attention that fits, (head, token, y, x) in float32."""
        return _one(self.attention, **asked)


def _one(maps: Sequence[FeatureMap], **asked: Any) -> torch.Tensor:
    found = [item for item in maps if asked.items() <= item.key.labels().items()]
    assert len(found) == 1, f"{len(found)} of {[str(item.key) for item in maps]} fit {asked}"
    return found[0].data.float()


def record(
    webui: Webui,
    fields: dict[str, Any],
    *,
    kind: str = "txt2img",
    mode: str = "dropdown",
    settings: dict[str, Any] | None = None,
) -> Recorded:
    """Ask with the extension on, probed by the stand-in that looks on its own account."""
    before = webui.dump_paths()
    request = merged(merged(fields, stand_in("probe")), asking(mode, settings or RECORD))
    answer = webui.generate(kind, request)
    return Recorded(answer, webui.traces_since(before), webui.probed())


def assert_same_pictures(one: Generated, other: Generated) -> None:
    """The same number of pictures, and every decoded pixel of each the same."""
    assert len(one.images) == len(other.images) > 0
    for left, right in zip(one.pixels(), other.pixels(), strict=True):
        np.testing.assert_array_equal(left, right)


@dataclass(frozen=True)
class Plan:
    """What a generation's U-Net calls are.

    firsts: for each sampling step that is evaluated, the denoiser call that begins it.
    hires: the same of the hires pass. subs: AND sub-prompts of each image of a batch.
    picture_rows: there are rows with the picture and no text (Instruct-Pix2Pix).
    """

    firsts: Sequence[int] = (0, 1, 2, 3)
    hires: Sequence[int] = ()
    subs: Sequence[int] = (1,)
    picture_rows: bool = False

    def rows(self, probed: Probed) -> Iterator[tuple[Label, int, int]]:
        """Of each row to be recorded: what it is, its denoiser call, and its place among that call's rows."""
        runs = _runs(probed)
        passes = (("first", self.firsts), ("hires", self.hires)) if self.hires else (("first", self.firsts),)
        for number, run in enumerate(runs):
            name, firsts = passes[number % len(passes)]
            start = number // len(passes) * len(self.subs)
            for step, first in enumerate(firsts):
                if first < len(run):
                    labels = self._labels(start, with_uncond=self._has_uncond(probed, run[first]))
                    yield from (
                        ((step, name, half, sub, image), run[first], at)
                        for at, (half, sub, image) in enumerate(labels)
                    )

    def _labels(self, start: int, *, with_uncond: bool) -> list[tuple[str, int, int]]:
        """Half, sub-prompt and image of the rows of one denoiser call, in the webui's order
        (sd_samplers_cfg_denoiser.py:205-271).
        """
        cond = [("cond", sub, start + at) for at, count in enumerate(self.subs) for sub in range(count)]
        halves = (1, 0) if self.picture_rows else (0,)
        return cond + [
            ("uncond", sub, start + at) for sub in halves for at in range(len(self.subs) * with_uncond)
        ]

    def _has_uncond(self, probed: Probed, call: int) -> bool:
        rows = len(probed.rows(call))
        uncond = len(self.subs) * (1 + self.picture_rows)
        assert rows in (sum(self.subs), sum(self.subs) + uncond), f"{rows} rows for {self.subs}"
        return rows > sum(self.subs)


def _runs(probed: Probed) -> list[list[int]]:
    """The probed generation's denoiser calls, one list for each run of a sampler."""
    runs: list[list[int]] = []
    for index, call in enumerate(probed.calls):
        if not call["nested"]:
            if call["step"] == 0:
                runs.append([])
            runs[-1].append(index)
    return runs


def assert_right_rows(recorded: Recorded, plan: Plan, *, heads: int = HEADS) -> None:
    """The recording holds exactly the rows of the plan, each with what the probe saw of that very row; heads:
    of the middle block.
    """
    expected = {label: (call, at) for label, call, at in plan.rows(recorded.probed)}
    assert expected, "the probe saw no call"
    for block in ("IN05", "M00"):
        maps = [item for item in recorded.features if item.key.block == block]
        assert sorted(map(label, maps)) == sorted(expected), f"{block}: not the rows expected"
    assert sorted(map(label, recorded.attention)) == sorted(expected)
    for item in recorded.features:
        if item.key.block == "M00":
            seen = _seen(recorded.probed, *expected[label(item)], "block")
            torch.testing.assert_close(item.data, seen.to(item.data.dtype), rtol=0, atol=0, msg=str(item.key))
    for attention in recorded.attention:
        call, at = expected[label(attention)]
        wanted = probabilities(recorded.probed, call, at, heads=heads)
        got = attention.data.float()
        assert got.shape[:2] == wanted.shape[:2]
        torch.testing.assert_close(got.flatten(2), wanted, rtol=1e-2, atol=1e-4, msg=str(attention.key))


def label(item: FeatureMap) -> Label:
    key = item.key
    assert key.step is not None
    return key.step, key.pass_, key.half, key.sub, key.image


def _seen(probed: Probed, call: int, at: int, name: str) -> torch.Tensor:
    return probed.rows(call, name)[at]


def probabilities(probed: Probed, call: int, at: int, *, heads: int) -> torch.Tensor:
    """Softmax of Q K of a row, (head, token, position), from what `to_q` and `to_k` gave."""
    q, k = (
        _seen(probed, call, at, name).unflatten(-1, (heads, -1)).transpose(0, 1).double()
        for name in ("q", "k")
    )
    weights = torch.softmax(q @ k.transpose(1, 2) * q.shape[-1] ** -0.5, dim=-1)
    return weights.transpose(1, 2).float()
