"""Stands in for the webui's modules/shared.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modules.options import OptionInfo, Options

__all__ = ["OptionInfo", "cmd_opts", "device", "opts", "sd_model", "state", "total_tqdm"]

cmd_opts: Any = SimpleNamespace(webui_is_non_local=False, hide_ui_dir_config=False, api=True, api_auth=None)
opts: Any = Options(
    {
        "outdir_samples": OptionInfo(""),
        "outdir_txt2img_samples": OptionInfo("outputs/txt2img-images"),
        "samples_format": OptionInfo("png"),
    },
    set(),
)
sd_model: Any = None
device: Any = "cpu"
state: Any = SimpleNamespace(job="", begin=lambda job: None, end=lambda: None, interrupted=False)
total_tqdm: Any = SimpleNamespace(clear=lambda: None)
