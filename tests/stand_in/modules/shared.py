"""Stands in for the webui's modules/shared.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modules.options import OptionInfo, Options

__all__ = ["OptionInfo", "cmd_opts", "opts", "sd_model"]

cmd_opts: Any = SimpleNamespace(webui_is_non_local=False, hide_ui_dir_config=False, api=True)
opts: Any = Options(
    {
        "outdir_samples": OptionInfo(""),
        "outdir_txt2img_samples": OptionInfo("outputs/txt2img-images"),
        "samples_format": OptionInfo("png"),
    },
    set(),
)
sd_model: Any = None
