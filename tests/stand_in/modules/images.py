"""Stands in for the webui's modules/images.py."""

from __future__ import annotations

from typing import Any

saved: list[dict[str, Any]] = []  # what was asked to be saved, for a test to read


def save_image(
    image,
    path,
    basename,
    seed=None,
    prompt=None,
    extension="png",
    info=None,
    short_filename=False,
    no_prompt=False,
    grid=False,
    pnginfo_section_name="parameters",
    p=None,
    existing_info=None,
    forced_filename=None,
    suffix="",
    save_to_dirs=None,
):
    saved.append({"path": path, "forced_filename": forced_filename, "suffix": suffix, "info": info})


def read_info_from_image(image):
    return image.info.get("parameters"), {}
