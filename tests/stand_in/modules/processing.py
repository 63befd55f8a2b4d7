"""Stands in for the webui's modules/processing.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

generate: list[Callable[[Any], Processed]] = []  # what `process_images` does: set by a test


class StableDiffusionProcessing:
    """A request: attributes as a test wants them."""

    def __init__(self, **values: Any) -> None:
        self.comments: dict[str, int] = {}
        self.extra_generation_params: dict[str, Any] = {}
        self.__dict__.update(values)

    def comment(self, text):
        self.comments[text] = 1

    def save_samples(self) -> bool:
        return False


class Processed:
    """Its pictures, with an infotext each; `index_of_first_image` is 1 where a grid comes first."""

    def __init__(
        self,
        p,
        images_list,
        seed=-1,
        info="",
        subseed=None,
        all_prompts=None,
        all_negative_prompts=None,
        all_seeds=None,
        all_subseeds=None,
        index_of_first_image=0,
        infotexts=None,
        comments="",
    ):
        self.images = images_list
        self.infotexts = infotexts or [info] * len(images_list)
        self.index_of_first_image = index_of_first_image
        self.comments = comments
        self.extra_generation_params = p.extra_generation_params


def get_fixed_seed(seed):
    return 1234 if seed == -1 else seed


def process_images(p: Any) -> Processed:
    return generate[-1](p)


class StableDiffusionProcessingTxt2Img(StableDiffusionProcessing):
    """A request for a picture."""


class StableDiffusionProcessingImg2Img(StableDiffusionProcessing):
    """A request for a picture made from another."""


def txt2img_image_conditioning(sd_model, x, width, height):
    return x.new_zeros(len(x), 5, 1, 1)


def decode_latent_batch(model, batch, target_device=None, check_for_nans=False):
    return [model.decode_first_stage(latent[None])[0] for latent in batch]
