"""Stands in for the webui's modules/script_callbacks.py."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

callback_map: dict[str, list[Any]] = defaultdict(list)


class CFGDenoiserParams:
    """What `on_cfg_denoiser` is told."""

    def __init__(
        self,
        x,
        image_cond,
        sigma,
        sampling_step,
        total_sampling_steps,
        text_cond,
        text_uncond,
        denoiser=None,
    ):
        self.x, self.image_cond, self.sigma = x, image_cond, sigma
        self.sampling_step, self.total_sampling_steps = sampling_step, total_sampling_steps
        self.text_cond, self.text_uncond, self.denoiser = text_cond, text_uncond, denoiser


class AfterCFGCallbackParams:
    """What `on_cfg_after_cfg` is told."""

    def __init__(self, x, sampling_step, total_sampling_steps):
        self.x, self.sampling_step, self.total_sampling_steps = x, sampling_step, total_sampling_steps


def on_app_started(callback, *, name=None):
    callback_map["app_started"].append(callback)


def on_before_token_counter(callback, *, name=None):
    callback_map["before_token_counter"].append(callback)


def on_before_ui(callback, *, name=None):
    callback_map["before_ui"].append(callback)


def on_cfg_after_cfg(callback, *, name=None):
    callback_map["cfg_after_cfg"].append(callback)


def on_cfg_denoiser(callback, *, name=None):
    callback_map["cfg_denoiser"].append(callback)


def on_infotext_pasted(callback, *, name=None):
    callback_map["infotext_pasted"].append(callback)


def on_script_unloaded(callback, *, name=None):
    callback_map["script_unloaded"].append(callback)


def on_ui_settings(callback, *, name=None):
    callback_map["ui_settings"].append(callback)


def on_ui_tabs(callback, *, name=None):
    callback_map["ui_tabs"].append(callback)


def on_after_component(callback, *, name=None):
    callback_map["after_component"].append(callback)
