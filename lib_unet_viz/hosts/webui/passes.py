"""The passes of a run: the first, and the second one of hires fix, with prompts and steps of its own.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lib_unet_viz.trace import Half, Pass

PROMPTS: Mapping[Pass, Mapping[Half, str]] = {  # attributes of `p`: of the present batch
    "first": {"cond": "prompts", "uncond": "negative_prompts"},
    "hires": {"cond": "hr_prompts", "uncond": "hr_negative_prompts"},
}
GIVEN: Mapping[Pass, Mapping[Half, str]] = {  # as they were given, before styles
    "first": {"cond": "prompt", "uncond": "negative_prompt"},
    "hires": {"cond": "hr_prompt", "uncond": "hr_negative_prompt"},
}


def present(p: Any) -> Pass:
    """The one that a run is in."""
    return "hires" if getattr(p, "is_hr_pass", False) else "first"


def asked(p: Any) -> tuple[Pass, ...]:
    """Those that a run will have."""
    return ("first", "hires") if getattr(p, "enable_hr", False) else ("first",)


def steps(p: Any, pass_: Pass) -> int:
    """The steps that were chosen for a pass."""
    return int((getattr(p, "hr_second_pass_steps", 0) or p.steps) if pass_ == "hires" else p.steps)


def prompt(p: Any, pass_: Pass, half: Half) -> str:
    """The one prompt of a pass, with its styles; hires fix has the first pass's where it has none."""
    from modules import shared

    text = getattr(p, GIVEN[pass_][half]) or getattr(p, GIVEN["first"][half])
    styles = shared.prompt_styles
    apply = styles.apply_styles_to_prompt if half == "cond" else styles.apply_negative_styles_to_prompt
    styled: str = apply(text, p.styles)
    return styled
