"""Stands in for the webui's modules/sd_schedulers.py."""

from __future__ import annotations

from typing import Any

schedulers: list[Any] = []
