"""Settings as gradio components, for the standalone page and for a panel in a webui.

Only what gradio 3.41, 4.40 and 6 all have is used; what differs goes through `known`, which asks a function
for its parameters instead of gradio for its version.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, get_args

import gradio as gr

from lib_unet_viz.settings import (
    AttentionSettings,
    Average,
    Baseline,
    ColorMethod,
    ColorSettings,
    DifferenceSettings,
    FeatureSettings,
    Settings,
    Space,
    Transform,
)
from lib_unet_viz.trace import Half
from lib_unet_viz.ui import readout
from lib_unet_viz.unet import UNet

PARTS = {"K": "K", "Q·K": "QK", "V·Q·K": "VQK", "Q": "Q"}
HALVES = {"conditional (the prompt)": "cond", "unconditional (the negative prompt)": "uncond"}
KINDS = {"cross": "cross", "self": "self"}
COLORMAPS = ("viridis", "plasma", "inferno", "magma", "cividis", "turbo", "coolwarm", "gray")
BLOCKS_HINT = "IN00 · IN00, M00 · IN04-OUT02 · IN00-OUT11(+2) · blank: all"
STEPS_HINT = "1 · 1, 5 · 5-20(+5) · blank: all"
# Paths of components whose words on the page differ from those of the settings.
_WORDS = {
    "features.halves": HALVES,
    "difference.halves": HALVES,
    "attention.halves": HALVES,
    "attention.parts": PARTS,
    "attention.kinds": KINDS,
}
_AS_JSON = ("edit.cross_steps", "edit.self_steps")  # a number, a list or a mapping, in a text box


def known(function: Callable[..., Any], **wanted: Any) -> dict[str, Any]:
    """Those of the keyword arguments that this gradio's function or class has by name."""
    there = inspect.signature(function).parameters
    return {name: value for name, value in wanted.items() if name in there}


def on_edit(component: Any, handler: Callable[..., Any], inputs: Any, outputs: Any) -> Any:
    """Listen to a person's changes without queue or spinner; while they type or drag, the last state counts.

    Of a text box any change counts, as gradio 6 has no other event for pasted text.
    """
    event: Any = component.change if isinstance(component, gr.Textbox) else component.input
    calm: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    latest = known(event, trigger_mode="always_last")
    if not latest and hasattr(component, "blur"):  # gradio 3 may answer fast typing out of order
        component.blur(handler, inputs, outputs, **calm)
    return event(handler, inputs, outputs, **calm, **latest)


@dataclass(frozen=True)
class Panel:
    """The components of the settings by path, such as `features.blocks`, and where read-outs are shown."""

    fields: Mapping[str, Any]
    feature_readout: Any = None
    attention_readout: Any = None
    word_readout: Any = None

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

    def settings(self, values: Sequence[Any]) -> Settings:
        """The settings that the components' values say. Raises SettingsError, as on an empty number."""
        return from_values(dict(zip(self.fields, values, strict=True)))


def from_values(values: Mapping[str, Any]) -> Settings:
    """Settings from values by path; a list's entries may be given one by one, as `a.formulas.0`."""
    nested: dict[str, Any] = {}
    for path, value in values.items():
        *above, name = path.split(".")
        place = nested
        for step in above:
            place = place.setdefault(step, {})
        place[name] = _meant(path, value)
    for part in ("features", "attention", "difference"):
        color = nested.get(part, {}).get("color", {})
        if "formulas" in color:
            color["formulas"] = list(color["formulas"].values())
    return Settings.from_dict(nested)


def _meant(path: str, value: Any) -> Any:
    """The setting that a component's value says; where a text is no JSON, `edit_plan` says so in its time."""
    if path in _WORDS:
        return [meant for word, meant in _WORDS[path].items() if word in value]
    if path in _AS_JSON and isinstance(value, str):
        with suppress(ValueError):
            return json.loads(value)
    return value


def memory_controls(defaults: Settings) -> dict[str, Any]:
    """The budget's component, by path."""
    info = "A run that would keep more is refused before it starts."
    return {"budget_mb": gr.Number(defaults.budget_mb, label="Memory budget (MB)", info=info, precision=0)}


def _dump_controls(prefix: str, defaults: FeatureSettings | AttentionSettings) -> dict[str, Any]:
    """Whether the numbers are written to a file, and the folder for it."""
    info = "A folder below the outputs folder. Blank: unet-viz, and the date."
    with gr.Row():
        dump = gr.Checkbox(defaults.dump, label="Dump the numbers to files")
        path = gr.Textbox(defaults.path, label="Output path", info=info, lines=1, max_lines=1)
    return {f"{prefix}.dump": dump, f"{prefix}.path": path}


def shown_value(settings: Settings, path: str) -> Any:
    """What the component of a path shows for these settings."""
    value: Any = settings
    for name in path.split("."):
        value = value[int(name)] if name.isdigit() else getattr(value, name)
    if path in _WORDS:
        return [word for word, meant in _WORDS[path].items() if meant in value]
    if path in _AS_JSON and not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return value


def feature_controls(defaults: FeatureSettings, *, dumps: bool = False) -> tuple[dict[str, Any], Any]:
    """Components by path, and the one that shows the read-out. dumps: with those of writing files."""
    fields: dict[str, Any] = {
        "features.enabled": gr.Checkbox(defaults.enabled, label="Extract U-Net features"),
        "features.blocks": gr.Textbox(
            defaults.blocks, label="Layers", info=BLOCKS_HINT, lines=1, max_lines=1
        ),
        "features.steps": gr.Textbox(defaults.steps, label="Steps", info=STEPS_HINT, lines=1, max_lines=1),
    }
    shown = gr.HTML(elem_classes=["uv-readout"])
    fields["features.halves"] = _chosen(HALVES, defaults.halves, "CFG branch")
    fields["features.average"] = gr.Radio(
        list(get_args(Average)), value=defaults.average, label="Average over channels"
    )
    fields |= _colors("features.color", defaults.color)
    return fields | (_dump_controls("features", defaults) if dumps else {}), shown


def difference_controls(
    defaults: DifferenceSettings, *, switch: bool = True, dumps: bool = False
) -> dict[str, Any]:
    """Components by path; switch: one of them turns it on and off; dumps: with a folder for files."""
    fields: dict[str, Any] = {}
    if switch:
        label = "Output difference map of U-Net features between with and without Layer Prompt"
        fields["difference.enabled"] = gr.Checkbox(defaults.enabled, label=label)
    info = "common: the text that most blocks read; erased: the prompt without its groups"
    fields["difference.baseline"] = gr.Radio(
        list(get_args(Baseline)), value=defaults.baseline, label="Without layer prompts", info=info
    )
    for name, label, hint in (("blocks", "Layers", BLOCKS_HINT), ("steps", "Steps", STEPS_HINT)):
        fields[f"difference.{name}"] = gr.Textbox(
            getattr(defaults, name), label=label, info=hint, lines=1, max_lines=1
        )
    fields["difference.halves"] = _chosen(HALVES, defaults.halves, "CFG branch")
    fields["difference.average"] = gr.Radio(
        list(get_args(Average)), value=defaults.average, label="Average over channels"
    )
    if dumps:
        fields |= _dump_controls("difference", defaults)
    else:
        fields["difference.dump"] = gr.Checkbox(defaults.dump, label="Write the differences to a file")
    return fields | _colors("difference.color", defaults.color)


def attention_controls(defaults: AttentionSettings, *, dumps: bool = False) -> tuple[dict[str, Any], Any]:
    """Components by path, and the one that shows the read-out; as `feature_controls`."""
    info = BLOCKS_HINT.replace("IN00, M00", "IN07.1")
    fields: dict[str, Any] = {
        "attention.enabled": gr.Checkbox(defaults.enabled, label="Extract attention"),
        "attention.blocks": gr.Textbox(defaults.blocks, label="Layers", info=info, lines=1, max_lines=1),
        "attention.steps": gr.Textbox(defaults.steps, label="Steps", info=STEPS_HINT, lines=1, max_lines=1),
    }
    shown = gr.HTML(elem_classes=["uv-readout"])
    fields["attention.parts"] = _chosen(PARTS, defaults.parts, "Parts")
    fields["attention.kinds"] = _chosen(KINDS, defaults.kinds, "Kinds")
    fields["attention.halves"] = _chosen(HALVES, defaults.halves, "CFG branch")
    fields |= _colors("attention.color", defaults.color)
    return fields | (_dump_controls("attention", defaults) if dumps else {}), shown


def _chosen(words: Mapping[str, str], values: Iterable[str], label: str) -> Any:
    chosen = set(values)
    return gr.CheckboxGroup(
        list(words), value=[w for w, value in words.items() if value in chosen], label=label
    )


def _colors(prefix: str, defaults: ColorSettings) -> dict[str, Any]:
    """Colour settings; what belongs to one method or transform is visible with that one only."""
    methods = [
        m for m in get_args(ColorMethod) if m != "Perceptual" or importlib.util.find_spec("matplotlib")
    ]
    method = gr.Radio(methods, value=defaults.method, label="Colorize method")
    with gr.Column(visible=defaults.method == "Custom") as custom:
        space = gr.Radio(list(get_args(Space)), value=defaults.space, label="Color space")
        labels = _formula_labels(defaults.space)
        with gr.Row():
            formulas = [
                gr.Textbox(text, label=label, lines=1, max_lines=1, min_width=80)
                for label, text in zip(labels, defaults.formulas, strict=True)
            ]
    colormap = gr.Dropdown(
        list(COLORMAPS), value=defaults.colormap, label="Color map", visible=defaults.method == "Perceptual"
    )
    transform = gr.Radio(list(get_args(Transform)), value=defaults.transform, label="Value transform")
    with gr.Column(visible=defaults.transform == "Linear") as linear:
        minimum = gr.Slider(-10, 10, value=defaults.minimum, step=0.05, label="Clamp min.")
        maximum = gr.Slider(-10, 10, value=defaults.maximum, step=0.05, label="Clamp max.")
    with gr.Column(visible=defaults.transform == "Sigmoid") as sigmoid:
        gain = gr.Slider(0.1, 20, value=defaults.gain, step=0.1, label="Gain")
        offset = gr.Slider(-10, 10, value=defaults.offset, step=0.05, label="Offset")
    per_cell = gr.Checkbox(
        defaults.per_cell,
        label="Normalize each tile separately",
        visible=defaults.transform.startswith("Auto"),
    )

    def shown(method: str, transform: str) -> list[Any]:
        wanted = (
            method == "Custom",
            method == "Perceptual",
            transform == "Linear",
            transform == "Sigmoid",
            transform.startswith("Auto"),
        )
        return [gr.update(visible=visible) for visible in wanted]

    def relabelled(space: str) -> list[Any]:
        return [gr.update(label=label) for label in _formula_labels(space)]

    for choice in (method, transform):
        on_edit(choice, shown, [method, transform], [custom, colormap, linear, sigmoid, per_cell])
    on_edit(space, relabelled, [space], formulas)
    names = ("method", "space", "colormap", "transform", "minimum", "maximum", "gain", "offset", "per_cell")
    parts = (method, space, colormap, transform, minimum, maximum, gain, offset, per_cell)
    fields = {f"{prefix}.{name}": part for name, part in zip(names, parts, strict=True)}
    return fields | {f"{prefix}.formulas.{index}": box for index, box in enumerate(formulas)}


def _formula_labels(space: str) -> tuple[str, str, str]:
    return ("Red", "Green", "Blue") if space == "RGB" else ("Hue", "Saturation", "Lightness")


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
            settings, model = panel.settings(values), unet()
            run = {"size": (int(height or 0) // pixels, int(width or 0) // pixels), "steps": int(steps or 0)}
        except ValueError as error:
            return [readout.problem(error)] * 3
        except RuntimeError as error:  # no model yet
            return [readout.note(str(error))] * 3
        return [
            readout.features(model, settings.features, **run),  # type: ignore[arg-type]
            readout.attention(model, settings.attention, **run, tokens=tokens),  # type: ignore[arg-type]
            readout.words(model, **run, tokens=tokens, halves=halves)  # type: ignore[arg-type]
            if settings.heatmaps
            else readout.note(readout.OFF),
        ]

    colors = {
        id(component) for part in ("features", "attention") for component in panel.under(f"{part}.color")
    }
    inputs = [steps, width, height, *panel.components]
    for component in inputs:
        if id(component) not in colors:
            on_edit(component, show, inputs, panel.readouts)
    return show
