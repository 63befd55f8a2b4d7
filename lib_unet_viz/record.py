"""The old place of `lib_unet_viz.capture.recorder` and `.request`; it goes with version 0.2."""

from lib_unet_viz.capture.recorder import Cancelled, NothingCaptured, Recorder
from lib_unet_viz.capture.request import BudgetError, Call, Calls, Capture, Row, estimate

__all__ = [
    "BudgetError",
    "Call",
    "Calls",
    "Cancelled",
    "Capture",
    "NothingCaptured",
    "Recorder",
    "Row",
    "estimate",
]
