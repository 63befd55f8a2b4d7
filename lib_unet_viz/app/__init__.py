"""The standalone page: `launch()` starts it, `build(pipeline)` makes it without starting."""

from lib_unet_viz.app.page import build, launch

__all__ = ["build", "launch"]
