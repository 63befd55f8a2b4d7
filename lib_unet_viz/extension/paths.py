"""Where dumps go, and which folders are allowed. References are to the webui's v1.10.1."""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from lib_unet_viz.drawing import naming
from lib_unet_viz.settings import Settings, SettingsError

FOLDER = "unet-viz"
PROBE = 4096  # bytes that a folder must take


def outputs() -> Path:
    """The webui's outputs folder: the one that holds its txt2img folder."""
    from modules import paths_internal, shared

    chosen = shared.opts.outdir_samples or shared.opts.outdir_txt2img_samples
    default = Path(paths_internal.data_path) / "outputs"
    folder = Path(chosen).parent if chosen else default
    return folder if folder.is_absolute() else Path(paths_internal.data_path) / folder


def check(settings: Settings) -> None:
    """Raise SettingsError for a folder of dumps that is not allowed, or that nothing can be written into."""
    for section in (settings.features, settings.attention, settings.difference):
        if section.enabled and section.dump:
            _probe(folder(section.path))


def _probe(directory: Path) -> None:
    """Make the folder and write into it, before a run whose dumps would be lost."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(PROBE))
    except OSError as error:
        where = str(directory)
        shown = where if len(where) <= 120 else f"{where[:60]} … {where[-50:]}"
        raise SettingsError(f"dumps cannot be written to {shown}: {error.strerror or error}") from error


def folder(path: str) -> Path:
    """The folder that a person's `path` means: below the outputs folder, or elsewhere on their own machine.

    Raises SettingsError for one outside the outputs folder where the webui can be reached by others or hides
    its folders' settings (`--hide-ui-dir-config`).
    """
    from modules import shared

    base = outputs()
    if not path.strip():
        return base / FOLDER / datetime.now().strftime("%Y-%m-%d")
    try:
        wanted = (base / Path(path.strip()).expanduser()).resolve()
    except (OSError, RuntimeError, ValueError) as error:  # no such user, a circle of links, a NUL
        raise SettingsError(f"{path[:120]!r} is no path of a folder: {str(error)[:120]}") from error
    options = shared.cmd_opts
    shut = getattr(options, "webui_is_non_local", False) or options.hide_ui_dir_config
    if shut and not wanted.is_relative_to(base.resolve()):
        raise SettingsError(f"{path!r} is outside the outputs folder, which is all that this webui allows")
    return wanted


def dump_name(p: Any) -> str:
    """A name that the server makes: the time and the seed."""
    return naming.plain(f"{datetime.now():%H%M%S}-{p.all_seeds[0]}")


def new_file(directory: Path, stem: str) -> Path:
    """A path that no file has yet."""
    number = 1
    while (path := directory / f"{stem}{'' if number == 1 else f'-{number}'}.safetensors").exists():
        number += 1
    return path
