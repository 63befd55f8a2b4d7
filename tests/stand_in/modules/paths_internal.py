"""Stands in for the webui's modules/paths_internal.py."""

from __future__ import annotations

data_path = "."
