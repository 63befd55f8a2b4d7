"""A panel of settings, for the standalone page and for a webui, and its live read-outs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Half
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.controls import controls, from_values, in_section, known, on_edit, shown_value
from lib_unet_viz.unet import UNet

__all__ = ["Panel", "controls", "from_values", "known", "live_readout", "on_edit", "shown_value"]


@dataclass(frozen=True)
class Panel:
    """The components of the settings by path, such as `features.blocks`, and where read-outs are shown."""

    fields: Mapping[str, Any]
    feature_readout: Any = None
    attention_readout: Any = None
    word_readout: Any = None
    kind: type[Settings] = Settings

    @property
    def components(self) -> list[Any]:
        """All components, in the order in which `settings` wants their values."""
        return list(self.fields.values())

    @property
    def readouts(self) -> list[Any]:
        """The components that `live_readout` fills, in its order."""
        return [self.feature_readout, self.attention_readout, self.word_readout]

    def under(self, prefix: str) -> list[Any]:
        """The components whose paths begin so."""
        return [component for path, component in self.fields.items() if path.startswith(prefix)]

    def settings(self, values: Sequence[Any], *, section: str | None = None) -> Settings:
        """The settings that the components' values say. Raises SettingsError, as on an empty number.

        section: read this one alone (blank: what is in none), whatever the others say.
        """
        by_path = dict(zip(self.fields, values, strict=True))
        chosen = {
            path: value for path, value in by_path.items() if section is None or in_section(path, section)
        }
        return from_values(chosen, self.kind)


def live_readout(
    panel: Panel,
    unet: Callable[[], UNet],
    *,
    steps: Any,
    width: Any,
    height: Any,
    pixels: int = 8,
    tokens: int = 77,
    halves: Sequence[Half] = ("cond",),
) -> Callable[..., list[str]]:
    """Keep the read-outs true while the panel or the run's steps and size (components) are changed.

    pixels: how many a latent position stands for. halves: of which word maps are made. Returns the handler,
    which takes steps, width, height and the panel's values, so that a page can call it when it loads.
    """

    def show(steps: float | None, width: float | None, height: float | None, *values: Any) -> list[str]:
        try:
            model = unet()
        except (RuntimeError, ValueError) as error:  # no model yet, or none that is known
            message = readout.problem(error) if isinstance(error, ValueError) else readout.note(str(error))
            return [message] * 3
        run: dict[str, Any] = {"steps": int(steps or 0)}
        run["size"] = (int(height or 0) // pixels, int(width or 0) // pixels)

        def words(settings: Settings) -> str:
            if not settings.heatmaps:
                return readout.note(readout.OFF)
            return readout.words(model, **run, tokens=tokens, halves=halves)

        def read(section: str, say: Callable[[Settings], str]) -> str:
            try:
                return say(panel.settings(values, section=section))
            except ValueError as error:
                return readout.problem(error)

        return [
            read("features", lambda settings: readout.features(model, settings.features, **run)),
            read(
                "attention",
                lambda settings: readout.attention(model, settings.attention, **run, tokens=tokens),
            ),
            read("", words),
        ]

    colors = {
        id(component) for part in ("features", "attention") for component in panel.under(f"{part}.color")
    }
    inputs = [steps, width, height, *panel.components]
    for component in inputs:
        if id(component) not in colors:
            on_edit(component, show, inputs, panel.readouts)
    return show
