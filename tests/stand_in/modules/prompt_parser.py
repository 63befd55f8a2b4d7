"""Stands in for the webui's modules/prompt_parser.py: prompts with AND, and no schedules."""

from __future__ import annotations


class SdConditioning(list):
    """Prompts, and the picture that they are for."""

    def __init__(self, prompts, is_negative_prompt=False, width=None, height=None, copy_from=None):
        super().__init__(prompts)
        self.is_negative_prompt, self.width, self.height = is_negative_prompt, width, height


def get_multicond_prompt_list(prompts):
    texts = [part.strip() for prompt in prompts for part in prompt.split(" AND ")]
    unique = list(dict.fromkeys(texts))
    indexes = [[(unique.index(part.strip()), 1.0) for part in prompt.split(" AND ")] for prompt in prompts]
    return indexes, unique, {text: place for place, text in enumerate(unique)}


def get_learned_conditioning_prompt_schedules(
    prompts,
    base_steps,
    hires_steps=None,
    use_old_scheduling=False,
):
    return [[[base_steps, prompt]] for prompt in prompts]
