"""Settings as gradio components: each as the table says, whose values become settings again.

Only what gradio 3.41, 4.40 and 6 all have is used; what differs goes through `known`, which asks a function
for its parameters instead of gradio for its version.
"""

from __future__ import annotations

import importlib.util
import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any

import gradio as gr

from lib_unet_viz.settings import Settings
from lib_unet_viz.settings.entry import Entry, entries, nested, value_at
from lib_unet_viz.settings.values import read_json

FEW = 5  # choices that are shown all at once


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


def controls(
    defaults: Settings, section: str, place: str, *, made: Mapping[str, Any] | None = None, upto: str = ""
) -> dict[str, Any]:
    """Components of a section's settings (blank: of those in none) that apply in a place, by path.

    made: those that there are already. upto: the name of the last one to make. What belongs to a choice of
    another setting stands below that, and is seen with that choice only.
    """
    wanted = [
        entry
        for entry in entries(defaults)
        if in_section(entry.path, section) and place in entry.places and entry.path not in (made or {})
    ]
    if upto:
        wanted = wanted[: 1 + [entry.name for entry in wanted].index(upto)]
    fields: dict[str, Any] = {}
    for only, group in groupby(_ordered(wanted), key=_condition):
        if only is None:
            for entry in group:
                fields |= component(entry)
        else:
            _conditional(fields, only, list(group))
    _label_formulas(fields)
    return fields


def in_section(path: str, section: str) -> bool:
    """Whether a setting is in a section; blank: in none."""
    return path.startswith(f"{section}.") if section else "." not in path


def component(entry: Entry) -> dict[str, Any]:
    """The component of a setting by its path; a list of texts has one for each."""
    about, value = entry.about, shown(entry, entry.default)
    options: dict[str, Any] = {"label": about.label, "info": about.hint or _info(entry)}
    if about.labels:
        with gr.Row():
            boxes = [
                gr.Textbox(text, label=label, lines=1, max_lines=1, min_width=80)
                for text, label in zip(value, about.labels, strict=True)
            ]
        return {f"{entry.path}.{at}": box for at, box in enumerate(boxes)}
    return {entry.path: _component(entry, value, options)}


def shown(entry: Entry, value: Any) -> Any:
    """What a setting's component shows for a value."""
    words = {meant: word for word, meant in words_of(entry).items()}
    if entry.listed and words:
        return [word for meant, word in words.items() if meant in value]
    if words:
        return words.get(value, value)
    return json.dumps(value, ensure_ascii=False) if _is_json(entry, value) else value


def meant(entry: Entry, value: Any) -> Any:
    """The value that a setting's component means; where a text is no JSON, that is said in its time."""
    words = words_of(entry)
    if entry.listed and words and isinstance(value, list | tuple):
        return [words.get(word, word) for word in value]
    if entry.hint is Any and isinstance(value, str):
        with suppress(ValueError):
            return read_json(value, entry.path)
    if entry.hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    return words.get(value, value) if isinstance(value, str) else value


def words_of(entry: Entry) -> dict[str, str]:
    """What people see of a setting's values, and these."""
    if entry.about.words or not entry.allowed:
        return dict(entry.about.words)
    long = len(entry.allowed) > FEW
    about = entry.about.meanings if long else {}
    return {f"{name}: {about[name]}" if name in about else name: name for name in entry.allowed}


def from_values(values: Mapping[str, Any], kind: type[Settings] = Settings) -> Settings:
    """Settings from components' values by path. Raises SettingsError, as on an empty number."""
    table = {entry.path: entry for entry in entries(kind)}
    plain, lists = dict[str, Any](), dict[str, list[Any]]()
    for path, value in values.items():
        above, _, last = path.rpartition(".")
        if last.isdigit():
            lists.setdefault(above, []).append(value)
        else:
            plain[path] = meant(table[path], value) if path in table else value
    return kind.from_dict(nested({**plain, **lists}))


def shown_value(settings: Settings, path: str) -> Any:
    """What the component of a path shows for these settings."""
    entry = next((entry for entry in entries(settings) if entry.path == path), None)
    return value_at(settings, path) if entry is None else shown(entry, entry.default)


def _component(entry: Entry, value: Any, options: dict[str, Any]) -> Any:
    about, choices = entry.about, _choices(entry)
    if entry.hint is bool:
        return gr.Checkbox(value, **options)
    if choices:
        several = gr.CheckboxGroup if entry.listed else gr.Radio
        kind = gr.Dropdown if len(choices) > FEW and not entry.listed else several
        return kind(choices, value=value, **options)
    if about.slider:
        low, high, step = about.slider
        return gr.Slider(low, high, value=value, step=step, **options)
    if entry.hint in (int, float):
        return gr.Number(value, precision=0 if entry.hint is int else None, **options)
    most = 12 if about.lines > 1 else 1
    return gr.Textbox(
        value, lines=about.lines, max_lines=most, placeholder=about.placeholder or None, **options
    )


def _choices(entry: Entry) -> list[str]:
    """What is offered: not what needs a module that is not there."""
    absent = {name for name, module in entry.about.needs.items() if not importlib.util.find_spec(module)}
    return [word for word, name in words_of(entry).items() if name not in absent] or list(entry.about.choices)


def _info(entry: Entry) -> str:
    """What a setting does, and, where they are shown without their meanings, what its values mean."""
    about = entry.about
    if not about.meanings or len(entry.allowed) > FEW:
        return f"{about.help[:1].upper()}{about.help[1:]}."
    return "; ".join(f"{name}: {meaning}" for name, meaning in about.meanings.items())


def _is_json(entry: Entry, value: Any) -> bool:
    return entry.hint is Any and not isinstance(value, str)


def _condition(entry: Entry) -> tuple[str, tuple[Any, ...]] | None:
    """The path of the setting that decides whether this one matters, and with which of its values."""
    if entry.about.only is None:
        return None
    name, values = entry.about.only
    return f"{entry.path.removesuffix(entry.name)}{name}", values


def _ordered(found: Sequence[Entry]) -> Iterator[Entry]:
    """What belongs to another setting's choice right after that."""
    for entry in found:
        if _condition(entry) is None:
            yield entry
            yield from (one for one in found if (_condition(one) or ("",))[0] == entry.path)


def _conditional(fields: dict[str, Any], only: tuple[str, tuple[Any, ...]], group: list[Entry]) -> None:
    """Components that are seen with some values of another one only."""
    path, values = only
    with gr.Column(visible=fields[path].value in values) as column:
        for entry in group:
            fields |= component(entry)
    on_edit(fields[path], lambda value: gr.update(visible=value in values), [fields[path]], [column])


def _label_formulas(fields: Mapping[str, Any]) -> None:
    """Formulas are of the colour space's three numbers."""
    for path, space in fields.items():
        if path.endswith(".color.space"):
            boxes = [fields[f"{path.removesuffix('space')}formulas.{at}"] for at in range(3)]
            on_edit(space, _relabelled, [space], boxes)


def _relabelled(space: str) -> list[Any]:
    names = ("Red", "Green", "Blue") if space == "RGB" else ("Hue", "Saturation", "Lightness")
    return [gr.update(label=name) for name in names]
