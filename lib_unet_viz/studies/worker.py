"""Makes the pictures of a study's groups and measures them; one thread, so all get the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.demo import scorer
from lib_unet_viz.drawing import naming
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.studies.measures import Run
from lib_unet_viz.studies.study import Group, Study, Variant
from lib_unet_viz.trace import Trace

OFF = {"features": {"enabled": False}, "attention": {"enabled": False}, "heatmaps": False}


class Worker:
    """A loaded model. dumps: the folder that recordings go to, where the study asks for them."""

    def __init__(self, study: Study, dumps: Path | None = None) -> None:
        torch.set_num_threads(1)
        self.study, self.dumps = study, dumps
        self.model, self.scorer = Pipeline.load(study.model or None), scorer.load()
        readers = [block.name for block in self.model.unet.blocks.values() if block.cross]
        chosen = BlockSpec.parse(study.blocks).names(self.model.unet)
        self.blocks = [name for name in chosen if name in readers]

    def ready(self) -> None:
        """Answers as soon as the model is loaded."""

    def rows(self, group: Group) -> list[dict[str, Any]]:
        """The table's rows of all runs of a group, in their order."""
        found: list[dict[str, Any]] = []
        reference: Run | None = None
        for variant, block, values in self.study.runs(group, self.blocks):
            measures = [measure.filled(values) for measure in self.study.measures]
            settings = self._settings([measure.settings(self.study.steps) for measure in measures])
            run = self._run(group, variant, values, settings, reference)
            reference = reference or run
            head = {**self._head(group, values), "variant": variant.name, "block": block}
            found += [
                {**head, "measure": measure.name, **vars(value)}
                for measure in measures
                for value in measure.values(run)
            ]
            self._dump(run.trace, group, variant, block)
        return found

    def _head(self, group: Group, values: Mapping[str, str]) -> dict[str, Any]:
        own = {name: self.study.prompts[group.prompt].get(name, "") for name in self.study.columns}
        return {"prompt": group.prompt, "seed": group.seed, "text": values["text"], **own}

    def _settings(self, needed: list[dict[str, Any]]) -> Settings:
        asked: dict[str, Any] = dict(OFF)
        for each in (dict(self.study.record), *needed):
            asked.update(each)
        return Settings.from_dict(asked)

    def _run(
        self,
        group: Group,
        variant: Variant,
        values: Mapping[str, str],
        settings: Settings,
        reference: Run | None,
    ) -> Run:
        options: dict[str, Any] = {"steps": self.study.steps, "seed": group.seed, "cfg": self.study.cfg}
        options["negative"] = self.study.negative
        if variant.edits:
            asked = EditSettings(enabled=True, edits=values["edits"])
            edited = edit(self.model, values["text"], asked, **options)
            return Run(edited.pictures[1], Trace(), self.scorer, reference, edited)
        trace = self.model.generate(values["text"], settings=settings, **options)
        if trace.picture is None:
            raise RuntimeError("the pipeline made no picture")
        return Run(trace.picture, trace, self.scorer, reference)

    def _dump(self, trace: Trace, group: Group, variant: Variant, block: str) -> None:
        if self.dumps is not None and self.study.dumps and trace.picture is not None:
            named = (f"{group.number:06d}", variant.name.replace(" ", "-"), block)
            name = naming.plain("-".join(filter(None, named)))
            save_trace(trace, self.dumps / f"{name}.safetensors")
