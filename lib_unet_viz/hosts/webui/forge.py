"""Where Forge differs from the webui that it comes from: found by what is there, never by a version.

References are to Forge's main branch (f2.0.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lib_unet_viz.capture.request import Row

COND, UNCOND = 0, 1  # in `cond_or_uncond` (backend/sampling/sampling_function.py, calc_cond_uncond_batch)


def inner_model(model: Any) -> Any:
    """The module that holds `diffusion_model`; None for a model that is not Forge's."""
    objects = getattr(model, "forge_objects", None)
    return None if objects is None else objects.unet.model


def kinds(kwargs: Mapping[str, Any]) -> Sequence[int] | None:
    """What a call of the U-Net says of its parts, such as [1, 0]; None if this is not Forge."""
    options = kwargs.get("transformer_options")
    return options.get("cond_or_uncond") if isinstance(options, Mapping) else None


def rows(
    kinds: Sequence[int], count: int, subs: Sequence[int], *, first: int, seen: int
) -> tuple[tuple[Row, ...] | None, int]:
    """The rows of one call, and how many conditional parts of this step there have been then.

    Each part has one row per image. A step's conditional parts come with the last AND-subprompt first, in one
    call or, where memory is short, in several. None where images have different numbers of sub-prompts.
    """
    images = len(subs)
    if len(set(subs)) != 1 or count != images * len(kinds):
        return None, seen
    found: list[Row] = []
    for kind in kinds:
        if kind == UNCOND:
            found += [Row(first + image, "uncond") for image in range(images)]
        else:
            found += [Row(first + image, "cond", subs[0] - 1 - seen) for image in range(images)]
            seen += 1
    return tuple(found), seen
