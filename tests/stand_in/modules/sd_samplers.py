"""Stands in for the webui's modules/sd_samplers.py."""

from __future__ import annotations

from typing import Any

all_samplers_map: dict[str, Any] = {"Euler": None}
