"""The script's panel: settings as components in the webui's own page, with live read-outs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from lib_unet_viz import readout, ui
from lib_unet_viz.app.style import PARTS_CSS
from lib_unet_viz.hosts.webui import FACTOR, loaded_unet
from lib_unet_viz.settings import OutputSettings, Settings, SettingsError

INFOTEXT = "U-Net Viz"  # the key under which settings travel with a picture
HINT = "Tick what you want to see, then Generate. The pictures follow yours in the gallery."


@dataclass(frozen=True)
class ScriptPanel:
    """The panel's components; `settings` reads what the webui passes to a script."""

    panel: ui.Panel

    @property
    def components(self) -> list[Any]:
        """All components, in the order in which the webui passes their values."""
        return self.panel.components

    def settings(self, values: Sequence[Any]) -> Settings:
        """From a page's values by position, or a request's one JSON object. Raises SettingsError."""
        if values and isinstance(values[0], Mapping):
            return Settings.asked(values[0])
        if len(values) != len(self.components) or values[0] is None:
            raise SettingsError(
                'the script takes one argument, an object such as {"features": {"blocks": "IN02,M00"}}; '
                f"its names: {', '.join(Settings().to_dict())}"
            )
        return self.panel.settings(values)

    def infotext_fields(self) -> list[tuple[Any, Callable[[Mapping[str, Any]], Any]]]:
        """Pairs for `Script.infotext_fields`: each component and how its value is found in an infotext."""
        return [(component, _reader(path)) for path, component in self.panel.fields.items()]


def build(defaults: Settings, *, name: str) -> ScriptPanel:
    """Make the components; to be called in a script's `ui`. name: of their elements in the page."""
    gr.HTML(f"<style>{PARTS_CSS}</style>{readout.note(HINT)}")
    info = "One overlay for each word of the prompt: the part of the picture that it drove."
    fields: dict[str, Any] = {
        "heatmaps": gr.Checkbox(
            defaults.heatmaps, label="Word heat maps", info=info, elem_id=f"{name}_heatmaps"
        )
    }
    with gr.Tabs():
        with gr.Tab("U-Net features"):
            features, feature_readout = ui.feature_controls(defaults.features, dumps=True)
        with gr.Tab("Attention"):
            attention, attention_readout = ui.attention_controls(defaults.attention, dumps=True)
        with gr.Tab("Output"):
            output = _output(defaults)
    for path, component in {**fields, **features, **attention, **output}.items():
        component.elem_id = component.elem_id or f"{name}_{path.replace('.', '_')}"
        # ui-config.json goes by labels, and would give one section's value to another (ui_loadsave.py:36).
        component.do_not_save_to_config = True
    return ScriptPanel(
        ui.Panel({**fields, **features, **attention, **output}, feature_readout, attention_readout)
    )


def connect(panel: ScriptPanel, *, steps: Any, width: Any, height: Any) -> None:
    """Keep the read-outs true for the webui's own steps and size (components)."""
    ui.live_readout(panel.panel, present_unet, steps=steps, width=width, height=height, pixels=FACTOR)


def present_unet() -> Any:
    """The loaded checkpoint's U-Net; never waits for one. RuntimeError where none is loaded yet."""
    from modules import sd_models

    return loaded_unet(getattr(sd_models.model_data, "sd_model", None))


def written(settings: Settings) -> str:
    """The settings as they stand in an infotext."""
    return json.dumps(settings.changes(), ensure_ascii=False)


def read(text: str) -> Settings:
    """What `written` wrote. Raises SettingsError for anything else."""
    try:
        return Settings.restored(json.loads(text))
    except json.JSONDecodeError as error:
        raise SettingsError(f"{INFOTEXT}: {text!r} is no JSON: {error}") from error


def _reader(path: str) -> Callable[[Mapping[str, Any]], Any]:
    """Finds the value of a component in the parameters of an infotext; None leaves the component alone."""

    def value(parameters: Mapping[str, Any]) -> Any:
        if INFOTEXT not in parameters:
            return None
        try:
            return ui.shown_value(read(parameters[INFOTEXT]), path)
        except SettingsError as error:
            gr.Warning(str(error))
            return None

    return value


def _output(defaults: Settings) -> dict[str, Any]:
    output: OutputSettings = defaults.output
    fields: dict[str, Any] = {
        "output.show": gr.Checkbox(output.show, label="Show in the gallery, after their picture"),
        "output.limit": gr.Number(
            output.limit,
            label="At most so many for each picture",
            info="The rest is saved only, and named under the result.",
            precision=0,
        ),
        "output.save": gr.Checkbox(output.save, label="Save beside the picture, wherever that is saved"),
    }
    return {**fields, **ui.memory_controls(defaults)}
