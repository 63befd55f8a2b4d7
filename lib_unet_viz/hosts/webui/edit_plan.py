"""What an edit will do, read with the webui's syntax. References are to the webui's v1.10.1."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.plan import Request
from lib_unet_viz.hosts.webui import text as webui_text
from lib_unet_viz.settings import EditSettings, SettingsError

NETWORK = re.compile(r"<\w+:[^>]+>")  # how a prompt names one (extra_networks.py, re_extra_net)


def without_networks(prompt: str) -> str:
    """A prompt without its extra networks."""
    return NETWORK.sub("", prompt)


def read(prompt: str, settings: EditSettings, *, steps: int) -> Request:
    """The edits of a prompt as it was typed, without its extra networks: those act on the whole batch.

    Raises SpecError with its place in the edits, SettingsError for a prompt that cannot be edited.
    """
    request = Request.of(without_networks(prompt), settings)
    for text in request.prompts:
        if NETWORK.search(text):
            raise SettingsError(
                f"{text!r}: <lora:…> and the like act on source and targets alike: write them into the prompt"
            )
        texts, changes = webui_text.sub_prompts(text, steps)
        if len(texts) > 1:
            raise SettingsError("prompts that AND joins cannot be edited: there is no one attention to keep")
        if changes:
            raise SettingsError(f"{text!r} changes during the run: [a:b:n] and [a|b] cannot be edited")
    return request


def plan(request: Request, model: Any, *, steps: int) -> Plan:
    """The plan of an edit for the webui's loaded model, read with the webui's syntax.

    Raises SpecError for words that the prompts lack, SettingsError where prompts have different numbers of
    chunks: the source would not be its plain picture then, as the webui makes all contexts equally long.
    """
    made = request.plan(partial(tokens, model, steps=steps), syntax=True)
    for target in made.targets:
        here, there = (len(prompt.tokens) // 77 for prompt in (target.source, target.target))
        if here != there:
            raise SettingsError(
                f"{target.source.text!r} is read in {here} part{'s' * (here != 1)} of 75 tokens, but "
                f"{target.target.text!r} in {there}: an edit's prompts must have as many"
            )
    return made


def tokens(model: Any, prompt: str, *, steps: int) -> list[str]:
    """Of a prompt as it is at the last step."""
    return webui_text.tokens_of(model, prompt, half="cond", steps=steps)[0]
