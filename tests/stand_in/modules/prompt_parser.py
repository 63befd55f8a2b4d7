"""Stands in for the webui's modules/prompt_parser.py: prompts with AND, and no schedules."""

from __future__ import annotations


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
