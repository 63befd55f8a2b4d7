"""Real neighbours of ours in a webui: ADetailer and Dynamic Prompts, from folders that hold them.

$ADETAILER_DIR, $DYNAMIC_PROMPTS_DIR: where; their needs are in the webui's environment, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NEIGHBOURS = {"ADETAILER_DIR": "adetailer", "DYNAMIC_PROMPTS_DIR": "sd-dynamic-prompts"}
DETECTOR = "unet-viz-detector.pt"
# Dynamic Prompts' options come to the webui after its settings were read (ui.py:262): a user's first "Apply
# settings" writes them into the config.json.
CONFIG: dict[str, Any] = {
    "dp_ignore_whitespace": False,
    "dp_write_raw_template": False,
    "dp_write_prompts_to_file": False,
    "dp_parser_variant_start": "{",
    "dp_parser_variant_end": "}",
    "dp_parser_wildcard_wrap": "__",
    # Else a template makes more prompts than there are negative ones, which the webui does not take.
    "dp_limit_jinja_prompts": True,
    "dp_auto_purge_cache": False,
    "dp_wildcard_manager_no_dedupe": False,
    "dp_wildcard_manager_no_sort": False,
    "dp_wildcard_manager_shuffle": False,
    "dp_magicprompt_batch_size": 1,
}
# Random weights of a detector that needs no non-maximum suppression, which torchvision would have to compile.
_MAKE = """
import sys, torch
torch.manual_seed(0)
from ultralytics import YOLO
YOLO("yolov10n.yaml").save(sys.argv[1])
"""


def missing() -> list[str]:
    """The variables that are not set."""
    return [name for name in NEIGHBOURS if not os.environ.get(name)]


def make(_: Path, data: Path) -> None:
    """Put them and a detector of faces that are anywhere into a webui's data folder."""
    for variable, name in NEIGHBOURS.items():
        (data / "extensions" / name).symlink_to(Path(os.environ[variable]).resolve())
    path = data / "models" / "adetailer" / DETECTOR
    path.parent.mkdir(parents=True)
    environment = {**os.environ, "YOLO_CONFIG_DIR": str(data)}
    environment.pop("PYTHONPATH", None)
    command = [os.environ.get("SD_WEBUI_PYTHON", sys.executable), "-c", _MAKE, str(path)]
    subprocess.run(command, env=environment, check=True, capture_output=True)


def adetailer(**more: Any) -> dict[str, Any]:
    """The fields of a request in which ADetailer paints the largest place that is found anew."""
    found = {"ad_model": DETECTOR, "ad_confidence": 0.0, "ad_mask_k": 1, "ad_prompt": "a blue star"}
    found |= {"ad_mask_max_ratio": 0.5, "ad_denoising_strength": 0.7}
    return {"alwayson_scripts": {"ADetailer": {"args": [True, False, {**found, **more}]}}}


def jinja(name: str) -> dict[str, Any]:
    """The fields of a request whose prompt is a Jinja template; name: of Dynamic Prompts' script."""
    arguments: list[Any] = [True, False, 1, False, False, False, 1.1, 1.5, 100, 0.7]
    # Fixed seed, unlinked from the prompt, not for the negative prompt, Jinja, and with pictures.
    arguments += [True, False, True, True, False, 0, None, ""]
    return {"alwayson_scripts": {name: {"args": arguments}}}
