"""Loading diffusers pipelines: the bundled model, a folder, a single checkpoint file, or a model of the
hub.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

_DEMO = Path(__file__).parents[2] / "demo" / "model"
_FILES = (".safetensors", ".ckpt")
_XL_KEYS = ("conditioner.embedders.",)


class LoadError(ValueError):
    """A model cannot be loaded; the message says what was given and what is possible."""


def load_demo() -> Any:
    """The bundled model as a StableDiffusionPipeline on the CPU, in float32."""
    if not (_DEMO / "model_index.json").is_file():
        raise LoadError(f"the bundled model is not there: {_DEMO} has no model_index.json")
    return load(_DEMO, device="cpu")


def load(model: str | Path, *, device: str | None = None) -> Any:
    """A Stable Diffusion pipeline (1, 2, XL), from a diffusers folder, a checkpoint file or a hub id.

    device: cuda if there is one, else cpu; float16 on cuda, float32 elsewhere. Raises LoadError.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        path = Path(model).expanduser()
    except RuntimeError as error:
        raise LoadError(f"{model} cannot be loaded: there is no such user") from error
    with _quiet():
        try:
            pipe = _from_file(path) if path.is_file() else _from_folder_or_hub(model, path)
        except ImportError as error:
            raise LoadError(f"{model}: loading needs diffusers and transformers ({error})") from error
        except LoadError:
            raise
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, AttributeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise LoadError(f"{model} cannot be loaded: {reason}") from error
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(device, torch.float16 if device.startswith("cuda") else torch.float32)


def _from_file(path: Path) -> Any:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    if path.suffix not in _FILES:
        raise LoadError(f"{path}: a model file ends in {' or '.join(_FILES)}")
    if path.suffix == ".safetensors" and _is_xl(path):
        return StableDiffusionXLPipeline.from_single_file(str(path))
    return StableDiffusionPipeline.from_single_file(str(path), safety_checker=None)


def _is_xl(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return any(key.startswith(_XL_KEYS) for key in file.keys())  # noqa: SIM118  (no mapping)
    except SafetensorError as error:
        raise LoadError(f"{path} is not a safetensors file ({error})") from error


def _from_folder_or_hub(model: str | Path, path: Path) -> Any:
    from diffusers import DiffusionPipeline

    if path.is_dir() and not (path / "model_index.json").is_file():
        raise LoadError(f"{path} is no diffusers model: it has no model_index.json")
    if not path.is_dir() and (isinstance(model, Path) or not _may_be_hub_id(model)):
        raise LoadError(f"{model}: no such file or folder, and no hub id such as owner/name")
    source = str(path) if path.is_dir() else str(model)
    config = DiffusionPipeline.load_config(source)
    if "unet" not in config:
        name = config.get("_class_name", "model")
        raise LoadError(f"{model} is a {name}: it has no U-Net. Supported: Stable Diffusion 1, 2 and XL")
    options = {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in config else {}
    return DiffusionPipeline.from_pretrained(source, **options)


def _may_be_hub_id(model: str) -> bool:
    owner, slash, name = model.partition("/")
    return bool(owner.strip(".~") and slash and name) and "/" not in name and not name.endswith(_FILES)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice while loading; both libraries keep this as global state."""
    from diffusers.utils import logging as ours
    from transformers.utils import logging as theirs

    with ExitStack() as stack:
        for library in (ours, theirs):
            level = library.get_verbosity()
            stack.callback(library.set_verbosity, level)
            library.set_verbosity_error()
            if library.is_progress_bar_enabled():
                stack.callback(library.enable_progress_bar)
                library.disable_progress_bar()
        yield
