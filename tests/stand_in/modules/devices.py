"""Stands in for the webui's modules/devices.py."""

from __future__ import annotations

from contextlib import nullcontext

import torch

cpu = torch.device("cpu")
dtype_vae = torch.float32
unet_needs_upcast = False


def autocast(disable=False):
    return nullcontext()


def without_autocast(disable=False):
    return nullcontext()
