"""Stands in for the webui's modules/sd_unet.py."""

from __future__ import annotations

from typing import Any

current_unet: Any = None  # an SdUnet, such as TensorRT's
