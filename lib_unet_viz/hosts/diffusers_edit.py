"""The old place of `lib_unet_viz.hosts.diffusers.edit`; it goes with version 0.2."""

from lib_unet_viz.hosts.diffusers.edit import edit

__all__ = ["edit"]
