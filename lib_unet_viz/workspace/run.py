"""What a manifest says of one run: what is known of it, its words, and a number for each block and step."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from PIL import Image

from lib_unet_viz.maps.words import HeatMap, word_maps
from lib_unet_viz.notation import tokens
from lib_unet_viz.trace import Key, Trace
from lib_unet_viz.workspace import measures
from lib_unet_viz.workspace.contents import block_names
from lib_unet_viz.workspace.measures import Shares, Values, averaged
from lib_unet_viz.workspace.numbers import Numbers, deflated

_HALVES = {"cond": "prompt", "uncond": "negative prompt", "perturbed": "prompt, perturbed"}
_DIFFERENCE = "This is a difference of two runs: a block's norm is the size of its change."


@dataclass(frozen=True)
class Run:
    """A view of one image, half, sub-prompt and pass; name: what the run is called; image: which it was."""

    name: str
    trace: Trace
    image: int = 0

    @cached_property
    def key(self) -> Key:
        """Of one of its maps, of attention where there is some, but of no block."""
        maps = (*self.trace.attention, *self.trace.features)
        return replace(maps[0].key, block="") if maps else Key("", "features")

    @cached_property
    def steps(self) -> list[int]:
        """From 0, those of which there are maps."""
        maps = (*self.trace.features, *self.trace.attention)
        return sorted({item.key.step for item in maps if item.key.step is not None})

    def describe(self, numbers: Numbers) -> dict[str, Any]:
        """The manifest's entry, without maps; the picture and the words' heat go into the numbers."""
        meta, texts = self.trace.meta, self.trace.texts(self.key)
        shares = measures.shares(self.trace)
        heats, notes = self._heats()
        by_step: dict[int, list[Shares]] = {step: [] for step in self.steps}
        for each in shares:
            if each.step is not None:
                by_step[each.step].append(each)
        words = {heat.word: heat.positions for heat in heats} or tokens.named(texts)
        return {
            "name": self.name,
            "prompt": meta.prompt or "",
            "negative": meta.negative or "",
            "seed": None if meta.seed is None else int(meta.seed),
            "model": meta.model,
            "which": self._which(),
            "notes": [*self.trace.notes, *notes],
            "picture": _picture(self.trace.picture, numbers),
            "steps": [{"step": step + 1, "sigma": self._sigma(step)} for step in self.steps],
            "blocks": _blocks(self.trace, self.key),
            "tokens": [tokens.readable(text) for text in texts],
            "words": [self._word(word, at, heats, by_step, numbers) for word, at in words.items()],
            **_measured(self.trace, shares, list(words), self.steps),
            "maps": [],
        }

    def _heats(self) -> tuple[list[HeatMap], list[str]]:
        """The heat of each word, or why there is none."""
        notes = [_DIFFERENCE] if self.trace.meta.difference else []
        try:
            return word_maps(self.trace), notes
        except ValueError as error:
            return [], [*notes, f"There are no heat maps of words: {error}"]

    def _which(self) -> str:
        key = self.key
        sub = f", sub-prompt {key.sub + 1}" if key.sub else ""
        return f"image {self.image}, {_HALVES[key.half]}{sub}, {key.pass_} pass"

    def _sigma(self, step: int) -> float | None:
        meta = self.trace.meta
        sigmas = (meta.sigmas_hires if self.key.pass_ == "hires" else meta.sigmas) or ()
        known = sigmas[step] if step < len(sigmas) else None
        return self._sigmas.get(step) if known is None else known

    @cached_property
    def _sigmas(self) -> dict[int, float]:
        """Of the maps, for recordings whose meta does not say."""
        maps = (*self.trace.features, *self.trace.attention)
        found = ((item.key.step, item.sigma) for item in maps)
        return {step: sigma for step, sigma in found if step is not None and sigma is not None}

    def _word(
        self,
        word: str,
        positions: Sequence[int],
        heats: Sequence[HeatMap],
        by_step: Mapping[int, Sequence[Shares]],
        numbers: Numbers,
    ) -> dict[str, Any]:
        """One word: how much it stands out, over the run and at each step, and its heat."""
        heat = next((heat for heat in heats if heat.word == word), None)
        found = None
        if heat is not None:
            planes = heat.values[None]
            found = numbers.planes(deflated(planes), planes.shape)
        return {
            "text": word,
            "tokens": list(positions),
            "strength": None if heat is None else measures.rounded(heat.strength),
            "by_step": [measures.rounded(_strongest(word, layers)) for layers in by_step.values()],
            "map": found,
        }


def _strongest(word: str, layers: Iterable[Shares]) -> float | None:
    """A word's strength (`maps.strength`) at one step: in the layer where it stands out most."""
    found = (layer.strength(word) for layer in layers)
    return max((value for value in found if value is not None), default=None)


def _measured(
    trace: Trace, shares: Sequence[Shares], words: Sequence[str], steps: Sequence[int]
) -> dict[str, Any]:
    """The entries `measures`, by step, and `means`, over the run."""
    found: dict[str, Values] = {
        "norm": measures.norms(trace.features),
        "words": averaged(shares, Shares.all_words),
    }
    by_word = [averaged(shares, partial(Shares.share, word=word)) for word in words]
    tables = {name: measures.table(values, steps) for name, values in found.items()}
    means = {name: measures.means(values) for name, values in found.items()}
    return {
        "measures": {**tables, "word": [measures.table(each, steps) for each in by_word], "change": None},
        "means": {**means, "word": [measures.means(each) for each in by_word], "change": None},
    }


def _blocks(trace: Trace, key: Key) -> list[dict[str, Any]]:
    """All blocks of the U-Net as they run, with what they put out, and which output block reads it again."""
    names = block_names(trace)
    meta = trace.meta
    shapes: dict[str, Sequence[int]] = {item.key.block: item.shape for item in trace.features}
    shapes |= (meta.shapes_hires if key.pass_ == "hires" else meta.shapes) or {}
    outputs = [name for name in names if name.startswith("OUT")]
    skips = dict(zip((name for name in names if name.startswith("IN")), reversed(outputs), strict=False))
    return [_block(name, shapes.get(name), skips if meta.blocks else {}) for name in names]


def _block(name: str, shape: Sequence[int] | None, skips: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": name,
        "path": "in" if name.startswith("IN") else "out" if name.startswith("OUT") else "mid",
        "size": None if shape is None else list(shape[1:]),
        "channels": None if shape is None else shape[0],
        "skip": skips.get(name),
    }


def _picture(picture: Image.Image | None, numbers: Numbers) -> dict[str, Any] | None:
    """The picture as a WebP without loss, or as a PNG where it is too large for one."""
    if picture is None:
        return None
    kind = "PNG" if max(picture.size) > 16383 else "WEBP"  # the longest side that a WebP may have
    file = io.BytesIO()
    picture.convert("RGB").save(file, kind, lossless=True)
    return {"mime": f"image/{kind.lower()}", **numbers.add(file.getvalue())}
