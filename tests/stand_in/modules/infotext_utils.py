"""Stands in for the webui's modules/infotext_utils.py."""

from __future__ import annotations


def image_from_url_text(filedata):
    raise NotImplementedError


def parse_generation_parameters(x: str, skip_fields: list[str] | None = None):
    raise NotImplementedError
