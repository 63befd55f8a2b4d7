"""Shows what happens inside a diffusion U-Net, block by block, step by step and word by word."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
