"""The script's panel: settings as components in the webui's own page, with live read-outs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from lib_unet_viz.hosts.webui.loaded import FACTOR, loaded_unet
from lib_unet_viz.notation.layer_prompt import OPEN
from lib_unet_viz.settings import Settings, SettingsError
from lib_unet_viz.settings.entry import SCRIPT
from lib_unet_viz.settings.values import read_json, shown
from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout
from lib_unet_viz.ui.out_of_date import CALM, Made, OutOfDate, named
from lib_unet_viz.ui.parts import recording_controls
from lib_unet_viz.ui.style import PARTS_CSS

CSS = ".uv-columns { gap: 1.2rem !important; }"
FIRST = "heatmaps"  # the panel's first component, which is always there
INFOTEXT = "U-Net Viz"  # the key under which settings travel with a picture
LAYERS_HINT = (
    "Give blocks of the U-Net texts of their own: a (~: IN00-OUT11: cute ; M00: excellent :~) girl. "
    "A difference map needs a second picture, without them, from the same seed."
)
EDIT_HINT = (
    "Your prompt is the source. Each edit makes a target of it, which keeps the source's attention, so that "
    "only what was meant changes. Every picture that you ask for becomes a batch of its source and targets."
)
NO_EDIT = "Write an edit: what becomes of each word is shown here."
HINT = "Tick what you want to see, then Generate. The pictures follow yours in the gallery."


@dataclass(frozen=True)
class ScriptPanel:
    """The panel's components; `settings` reads what the webui passes to a script."""

    panel: ui.Panel
    layers: Any  # where it is shown what each block reads
    edit: Any  # where it is shown what becomes of each word
    compared: OutOfDate  # of the gallery's difference

    @property
    def components(self) -> list[Any]:
        """All components, in the order in which the webui passes their values."""
        return self.panel.components

    def settings(self, values: Sequence[Any]) -> Settings:
        """From a page's values by position, or a request's one JSON object. Raises SettingsError."""
        if values and isinstance(values[0], Mapping):
            return self.panel.kind.asked(values[0], SCRIPT)
        if len(values) != len(self.components) or values[0] is None:
            raise SettingsError(
                f"{_shortened(values)} was given; the script takes one argument, an object such as "
                '{"features": {"blocks": "IN02,M00"}}; '
                f"its names: {', '.join(self.panel.kind().to_dict())}"
            )
        return self.panel.settings(values)

    def infotext_fields(self, title: str, *, chosen: bool) -> list[tuple[Any, Callable[[Any], Any]]]:
        """Pairs for `Script.infotext_fields`: each component and how its value is found in an infotext.

        chosen: this is the dropdown's panel, which takes what the script `title` made; else what others did.
        """

        def mine(path: str) -> Callable[[Mapping[str, Any]], Any]:
            read = _reader(path, self.panel.kind)
            return lambda found: read(found) if (found.get("Script") == title) == chosen else None

        return [(component, mine(path)) for path, component in self.panel.fields.items()]


def build(defaults: Settings, *, name: str) -> ScriptPanel:
    """Make the components; to be called in a script's `ui`. name: of their elements in the page."""
    gr.HTML(f"<style>{PARTS_CSS}{CSS}</style>{readout.note(HINT)}")
    fields = ui.controls(defaults, "", SCRIPT, upto="one_scale")
    word_readout = gr.HTML(elem_classes=["uv-readout"])
    with gr.Tabs():
        with gr.Tab("U-Net features"):
            features, feature_readout = recording_controls(defaults, "features", SCRIPT)
        with gr.Tab("Attention"):
            attention, attention_readout = recording_controls(defaults, "attention", SCRIPT)
        with gr.Tab("Layer prompts"):
            gr.HTML(readout.note(LAYERS_HINT))
            fields |= ui.controls(defaults, "", SCRIPT, made=fields, upto="layer_prompts")
            layers = gr.HTML(elem_classes=["uv-readout"])
            compared = OutOfDate("Generate", f"{name}_difference", what="The gallery's difference")
            difference = ui.controls(defaults, "difference", SCRIPT)
        with gr.Tab("Edit"):
            gr.HTML(readout.note(EDIT_HINT))
            edit, edit_readout = _edit(defaults)
        with gr.Tab("Output"):
            output = ui.controls(defaults, "output", SCRIPT)
            output |= ui.controls(defaults, "", SCRIPT, made=fields)
    all_fields = {**fields, **features, **attention, **difference, **edit, **output}
    for path, component in all_fields.items():
        component.elem_id = f"{name}_{path.replace('.', '_')}"
        # ui-config.json goes by labels, and would give one section's value to another (ui_loadsave.py:36).
        component.do_not_save_to_config = True
    made = ui.Panel(all_fields, feature_readout, attention_readout, word_readout, type(defaults))
    return ScriptPanel(made, layers, edit_readout, compared)


def connect(panel: ScriptPanel, around: Mapping[str, Any]) -> None:
    """Keep the read-outs true for the webui's own components, by name, as far as they are there yet."""
    steps, width, height = (
        around.get(name) or gr.State(usual)
        for name, usual in (("steps", 20), ("width", 512), ("height", 512))
    )
    ui.live_readout(panel.panel, present_unet, steps=steps, width=width, height=height, pixels=FACTOR)
    prompts = [around[name] for name in ("prompt", "neg_prompt") if name in around]
    for prompt in prompts:
        ui.on_edit(prompt, _read_layers, prompts, panel.layers)
    if "prompt" in around:
        inputs = [around["prompt"], steps, *panel.components]
        show = partial(_read_edit, panel)
        for component in (around["prompt"], *panel.panel.under("edit.")):
            ui.on_edit(component, show, inputs, panel.edit)


def connect_result(panel: ScriptPanel, around: Mapping[str, Any], infotexts: Any) -> None:
    """Say at once where the gallery's difference no longer fits the webui's and the panel's controls.

    around: components of the webui by name, among them its button, `generate`. infotexts: of the gallery.
    """
    compared, begun = panel.compared, gr.State(Made())
    own = [component for name, component in around.items() if name != "generate"]
    fields = [panel.panel.fields["layer_prompts"], *panel.panel.under("difference.")]
    controls = {**named(own), **named(fields, "Difference: ")}
    compared.connect(controls)
    asked = list(controls.values())

    def begin(*values: Any) -> Made:
        made: Made = compared.made(asked, values)[compared.made_with]
        return made

    def finish(text: str, made: Made) -> Made:
        return made if _shows_difference(text, panel.panel.kind) else Made()

    around["generate"].click(begin, asked, [begun], **CALM)
    compared.marked_after(infotexts.change(finish, [infotexts, begun], [compared.made_with], **CALM))


def _shows_difference(text: str, kind: type[Settings]) -> bool:
    """Whether a gallery with these infotexts, as the webui's JSON, holds a difference."""
    from modules.infotext_utils import parse_generation_parameters

    try:
        first = json.loads(text)["infotexts"][0]
        found = read(parse_generation_parameters(first).get(INFOTEXT, "{}"), kind)
    except (ValueError, LookupError, TypeError):
        return False
    return found.difference.enabled and OPEN in first


def _read_layers(*prompts: str) -> str:
    """What each block reads, while a prompt is typed."""
    if not any(OPEN in prompt for prompt in prompts):
        return ""
    try:
        return readout.layer_prompts(present_unet(), *prompts)
    except (RuntimeError, ValueError) as error:
        return readout.note(str(error))


def _read_edit(panel: ScriptPanel, prompt: str, steps: float | None, *values: Any) -> str:
    """What becomes of each word of the prompt, while it or an edit is typed."""
    from lib_unet_viz.hosts.webui import edit_plan

    try:
        edit = panel.panel.settings(values).edit
        if not edit.edits.strip():
            return readout.note(NO_EDIT) if edit.enabled else ""
        unet, number = present_unet(), int(steps or 1)
        request = edit_plan.read(prompt, edit, steps=number)
        plan = edit_plan.plan(request, _present_model(), steps=number)
        return readout.edit(request, plan, unet)
    except ValueError as error:
        return readout.problem(error)
    except RuntimeError as error:  # no model yet
        return readout.note(str(error))


def present_unet() -> Any:
    """The loaded checkpoint's U-Net; never waits for one. RuntimeError where none is loaded yet."""
    return loaded_unet(_present_model())


def _present_model() -> Any:
    from modules import sd_models

    return getattr(sd_models.model_data, "sd_model", None)


def written(settings: Settings) -> str:
    """The settings as they stand in an infotext."""
    return json.dumps(settings.changes(), ensure_ascii=False)


def read(text: str, kind: type[Settings] = Settings) -> Settings:
    """What `written` wrote. Raises SettingsError for anything else."""
    return kind.restored(read_json(text, f"{INFOTEXT}: {shown(text)}"))


def _shortened(values: Sequence[Any]) -> str:
    """The first of what was given, for a message."""
    return shown(values[0]) if values else "nothing"


def _reader(path: str, kind: type[Settings]) -> Callable[[Mapping[str, Any]], Any]:
    """Finds the value of a component in the parameters of an infotext; None leaves the component alone.

    All of a panel's components read the same text: the first one's reader warns of one that cannot be read.
    """

    def value(parameters: Mapping[str, Any]) -> Any:
        if INFOTEXT not in parameters:
            return None
        try:
            return ui.shown_value(read(parameters[INFOTEXT], kind), path)
        except ValueError as error:
            if path == FIRST:
                gr.Warning(str(error))
            return None

    return value


def _edit(defaults: Settings) -> tuple[dict[str, Any], Any]:
    """Components by path, and the one that shows the read-out."""
    fields = ui.controls(defaults, "edit", SCRIPT, upto="edits")
    readout_html = gr.HTML(elem_classes=["uv-readout"])
    with gr.Row(elem_classes=["uv-columns"]):
        with gr.Column(min_width=200):
            fields |= ui.controls(defaults, "edit", SCRIPT, made=fields, upto="blocks")
        with gr.Column(min_width=200):
            fields |= ui.controls(defaults, "edit", SCRIPT, made=fields)
    return fields, readout_html
