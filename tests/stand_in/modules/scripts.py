"""Stands in for the webui's modules/scripts.py."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

AlwaysVisible = object()
ScriptClassData = namedtuple("ScriptClassData", ["script_class", "path", "basedir", "module"])
scripts_data: list[Any] = []


class Script:
    """What a script inherits."""

    is_img2img = False
    tabname = "txt2img"
    infotext_fields: Any = None
    paste_field_names: Any = None
    on_after_component_elem_id: Any = None

    def title(self):
        raise NotImplementedError

    def ui(self, is_img2img):
        pass

    def show(self, is_img2img):
        return True

    def run(self, p, *args):
        pass

    def process(self, p, *args):
        pass

    def postprocess_batch(self, p, *args, **kwargs):
        pass

    def post_sample(self, p, ps, *args):
        pass

    def postprocess(self, p, processed, *args):
        pass
