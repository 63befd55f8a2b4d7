"""Stands in for the webui's modules/shared.py."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from modules.options import OptionInfo, Options

__all__ = ["OptionInfo", "cmd_opts", "device", "opts", "prompt_styles", "sd_model", "state", "total_tqdm"]

cmd_opts: Any = SimpleNamespace(webui_is_non_local=False, hide_ui_dir_config=False, api=True, api_auth=None)
opts: Any = Options(
    {
        "outdir_samples": OptionInfo(""),
        "outdir_txt2img_samples": OptionInfo("outputs/txt2img-images"),
        "samples_format": OptionInfo("png"),
    },
    set(),
)
prompt_styles: Any = SimpleNamespace(
    apply_styles_to_prompt=lambda prompt, styles: ", ".join([prompt, *styles]),
    apply_negative_styles_to_prompt=lambda prompt, styles: prompt,
)
sd_model: Any = None
device: Any = "cpu"
state: Any = SimpleNamespace(
    job="",
    job_count=0,
    sampling_step=0,
    textinfo=None,
    begin=lambda job: None,
    end=lambda: None,
    interrupted=False,
    stopping_generation=False,
)
total_tqdm: Any = SimpleNamespace(clear=lambda: None)
