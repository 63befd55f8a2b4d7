"""What a trace's `meta` says of a generation in the webui: its prompts, their tokens, seeds, model.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lib_unet_viz.capture.recording import reason
from lib_unet_viz.hosts.webui import passes
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.layer_prompts import Layers
from lib_unet_viz.trace import Pass


class Description:
    """What is known of a run, batch by batch and pass by pass. What cannot be written down becomes a note:
    labels are not worth a picture. layers: its layer prompts, if they are read.
    """

    def __init__(self, p: Any, layers: Layers | None, note: Callable[[str], None]) -> None:
        self.p, self.layers, self._note = p, layers, note
        self._done: set[tuple[int, Pass]] = set()

    def run(self) -> dict[str, Any]:
        """Of the whole run."""
        try:
            return _run(self.p)
        except Exception as error:
            self._note(f"what is known of the run is not written down: {reason(error)}")
            return {"images": []}

    def add_batch(self, meta: dict[str, Any]) -> None:
        """Add prompts, seeds and tokens of the images of the present batch and pass, once."""
        pass_ = passes.present(self.p)
        if (self.p.iteration, pass_) in self._done:
            return
        self._done.add((self.p.iteration, pass_))
        try:
            self._add_texts(meta, pass_)
            self._add_layers(meta, pass_)
        except Exception as error:
            self._note(f"the words of the prompt are not known: {reason(error)}")

    def _add_texts(self, meta: dict[str, Any], pass_: Pass) -> None:
        p, steps = self.p, passes.steps(self.p, pass_)
        texts = (getattr(p, name) for name in passes.PROMPTS[pass_].values())
        for place, (prompt, negative) in enumerate(zip(*texts, strict=False)):
            if webui_text.sub_prompts(prompt, steps)[1]:
                self._note(
                    "the prompt changes during the run (prompt editing): words are those of its last form"
                )
            tokens = {
                "cond": webui_text.tokens_of(p.sd_model, prompt, half="cond", steps=steps),
                "uncond": webui_text.tokens_of(p.sd_model, negative, half="uncond", steps=steps),
            }
            self._add(meta, place, {"tokens_hires" if pass_ == "hires" else "tokens": tokens})

    def _add_layers(self, meta: dict[str, Any], pass_: Pass) -> None:
        if self.layers is None:
            return
        for place, found in self.layers.describe(pass_):
            image = self.p.iteration * self.p.batch_size + place
            meta["images"][image].setdefault("tokens_by_block", {}).update(found)
            if image == 0:
                meta["tokens_by_block"] = meta["images"][0]["tokens_by_block"]

    def _add(self, meta: dict[str, Any], place: int, more: dict[str, Any]) -> None:
        """What is known of an image of the batch; of the first of all, for the whole run, too."""
        p, entries = self.p, meta["images"]
        image = p.iteration * p.batch_size + place
        while len(entries) <= image:
            entries.append({})
        entries[image].update(
            prompt=p.all_prompts[image],
            negative=p.all_negative_prompts[image],
            seed=p.seeds[place] if place < len(p.seeds) else None,
            **more,
        )
        for name, value in entries[0].items():
            meta.setdefault(name, value)


def _run(p: Any) -> dict[str, Any]:
    info = getattr(p.sd_model, "sd_checkpoint_info", None)
    return {
        "model": getattr(info, "name_for_extra", "") or getattr(info, "name", ""),
        "sampler": p.sampler_name,
        "cfg": float(p.cfg_scale),
        "picture_size": [p.height, p.width],
        "images": [],
    }
