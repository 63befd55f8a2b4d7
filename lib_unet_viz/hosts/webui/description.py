"""What a trace's `meta` says of a generation in the webui: its prompts, their tokens, seeds, model.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from lib_unet_viz.capture.recording import reason
from lib_unet_viz.hosts.webui import passes
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.hosts.webui.layer_prompts import Layers
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import Pass, Trace


class Description:
    """What is known of a run, batch by batch and pass by pass. What cannot be written down becomes a note:
    labels are not worth a picture. layers: its layer prompts, if they are read.
    """

    def __init__(self, p: Any, layers: Layers | None, note: Callable[[str], None]) -> None:
        self.p, self.layers, self._note = p, layers, note
        self._done: set[tuple[int, Pass]] = set()
        self._images: list[dict[str, Any]] = []  # what is known of each

    def run(self) -> Meta:
        """Of the whole run."""
        try:
            return _run(self.p)
        except Exception as error:
            self._note(f"what is known of the run is not written down: {reason(error)}")
            return Meta()

    def add_batch(self, trace: Trace) -> None:
        """Add prompts, seeds and tokens of the images of the present batch and pass, once; of the first image
        of all, for the whole run, too.
        """
        pass_ = passes.present(self.p)
        if (self.p.iteration, pass_) in self._done:
            return
        self._done.add((self.p.iteration, pass_))
        try:
            self._add_texts(pass_)
            self._add_layers(pass_)
        except Exception as error:
            self._note(f"the words of the prompt are not known: {reason(error)}")
        if self._images:
            new = {name: value for name, value in self._images[0].items() if name not in trace.meta}
            trace.meta = replace(trace.meta, images=self._images, **new)

    def _add_texts(self, pass_: Pass) -> None:
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
            self._add(place, {"tokens_hires" if pass_ == "hires" else "tokens": tokens})

    def _add_layers(self, pass_: Pass) -> None:
        if self.layers is None:
            return
        for place, found in self.layers.describe(pass_):
            image = self.p.iteration * self.p.batch_size + place
            self._images[image].setdefault("tokens_by_block", {}).update(found)

    def _add(self, place: int, more: dict[str, Any]) -> None:
        """What is known of an image of the batch."""
        p, entries = self.p, self._images
        image = p.iteration * p.batch_size + place
        while len(entries) <= image:
            entries.append({})
        entries[image].update(
            prompt=p.all_prompts[image],
            negative=p.all_negative_prompts[image],
            seed=p.seeds[place] if place < len(p.seeds) else None,
            **more,
        )


def _run(p: Any) -> Meta:
    info = getattr(p.sd_model, "sd_checkpoint_info", None)
    return Meta(
        model=getattr(info, "name_for_extra", "") or getattr(info, "name", ""),
        sampler=p.sampler_name,
        cfg=float(p.cfg_scale),
        picture_size=[p.height, p.width],
    )
