"""Pipelines of diffusers: `attach` says what their U-Net calls are, `load` and `load_demo` give one.

    from lib_unet_viz.hosts import diffusers as host

Imports the core and, late, diffusers.
"""

from lib_unet_viz.hosts.diffusers.attached import (
    Attached,
    PipelineCalls,
    UnsupportedPipelineError,
    attach,
    describe,
    encode,
    estimate,
    model_name,
    tokens,
)
from lib_unet_viz.hosts.diffusers.models import LoadError, load, load_demo

__all__ = [
    "Attached",
    "LoadError",
    "PipelineCalls",
    "UnsupportedPipelineError",
    "attach",
    "describe",
    "encode",
    "estimate",
    "load",
    "load_demo",
    "model_name",
    "tokens",
]
