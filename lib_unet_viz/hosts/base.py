"""What a host gives. A host is who runs a U-Net: a web interface, a library's pipeline, a loop of one's own.

    Calls     what each call of the U-Net is, asked before it. That is all that recordings (`capture`) and
              edits of pictures that the host makes (`editing.hooks`) need.
    Model     a loaded model: texts to conditions and tokens, pictures to latents and back, predicted noise
              and its schedule. Looks into pictures, other words, inversion and edits of pictures of one's own
              are made with it. `Present` says the `Calls` of a host that calls the U-Net itself.
    TextModel the part of a Model that other words need.
    Denoiser  the part of a Model that inversion needs.

They stand lower, in `capture` and `sampling`, as the core asks for them. docs/writing-a-host.md writes one.
"""

from lib_unet_viz.capture.request import Call, Calls, Row
from lib_unet_viz.sampling.ddim import noise_of
from lib_unet_viz.sampling.model import (
    Conditions,
    Denoiser,
    Interrupted,
    Model,
    Present,
    TextModel,
    joined,
)
from lib_unet_viz.sampling.schedule import Schedule, sigma_of

__all__ = [
    "Call",
    "Calls",
    "Conditions",
    "Denoiser",
    "Interrupted",
    "Model",
    "Present",
    "Row",
    "Schedule",
    "TextModel",
    "joined",
    "noise_of",
    "sigma_of",
]
