"""Stands in for the webui's modules/sd_models.py."""

from __future__ import annotations

from typing import Any


class SdModelData:
    """Holds the loaded checkpoint, None before."""

    def __init__(self):
        self.sd_model: Any = None


model_data = SdModelData()
