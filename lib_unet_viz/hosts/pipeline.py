"""The old place of `lib_unet_viz.hosts.diffusers.pipeline`; it goes with version 0.2."""

from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

__all__ = ["Pipeline"]
