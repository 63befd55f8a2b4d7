"""What says at once that a result no longer fits the controls that it was made with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from lib_unet_viz.ui import components as ui
from lib_unet_viz.ui import readout

if TYPE_CHECKING:
    from lib_unet_viz.ui.working import Updates

CALM: dict[str, Any] = {"queue": False, "show_progress": "hidden"}


@dataclass(frozen=True)
class Made:
    """What a result was made with: values of controls by name, and the button that makes it anew."""

    again: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)

    def but(self, changed: Mapping[str, Any]) -> Made:
        """The same, with other values of some controls."""
        return replace(self, given={**self.given, **changed})


class OutOfDate:
    """A line over a result, and what its controls were; made where it is to stand.

    again: the button that makes the result anew; a result may have one of its own. what: the result, where
    the line stands elsewhere. `outputs` are among those of the handler that makes it.
    """

    def __init__(self, again: str, name: str, *, what: str = "") -> None:
        self._again, self._what = again, what
        self._watched: dict[str, Any] = {}
        self._pictures: dict[int, Sequence[Any]] = {}
        self.counts: list[Any] = []  # of pictures, in the order in which they were asked for
        self.made_with, self.note = gr.State(Made()), gr.HTML(visible=False, elem_id=f"{name}-out-of-date")
        self.outputs = [self.made_with, self.note]

    def connect(self, controls: Mapping[str, Any]) -> None:
        """Mark the result when one of the controls, by name, is changed; pictures as `counted` gave them."""
        self._watched = dict(controls)
        for component in controls.values():
            for changed in self._pictures.get(id(component), ()):
                self.marked_after(changed(_one_more, [component], [component], **CALM))
            if id(component) not in self._pictures:
                ui.on_edit(component, self.mark, self.inputs, [self.note])

    def counted(self, *changed: Any) -> Any:
        """A control that stands for a picture: how often it was changed, so that it need not travel.

        changed: the events of its component that say so.
        """
        count = gr.State(0)
        self._pictures[id(count)] = changed
        self.counts.append(count)
        return count

    def marked_after(self, event: Any) -> Any:
        """The event, after which the result is marked if need be: controls may change while it is made."""
        return event.then(self.mark, self.inputs, [self.note], **CALM)

    @property
    def inputs(self) -> list[Any]:
        """What `mark` is given."""
        return [self.made_with, *self._watched.values()]

    def made(self, components: Sequence[Any], values: Sequence[Any], *, again: str = "") -> Updates:
        """Updates that go with a result: which values of these components it was made with."""
        given = {id(component): value for component, value in zip(components, values, strict=True)}
        there = {name: given[id(part)] for name, part in self._watched.items() if id(part) in given}
        return {self.made_with: Made(again or self._again, there)}

    def emptied(self) -> Updates:
        """Updates for when there is no result."""
        return {self.made_with: Made(), self.note: gr.update(visible=False)}

    def mark(self, made: Made, *values: Any) -> Any:
        """The line, hidden while the result is what the controls say."""
        now = zip(self._watched, values, strict=True)
        changed = [name for name, value in now if name in made.given and _differ(made.given[name], value)]
        line = readout.out_of_date(changed, made.again, self._what) if changed else ""
        return gr.update(value=line, visible=bool(changed))


def named(components: Iterable[Any], prefix: str = "") -> dict[str, Any]:
    """Controls by their labels, without what these add after a comma, a colon or in brackets."""
    return {f"{prefix}{re.split('[,:(]', part.label)[0].strip()}": part for part in components}


def _one_more(times: int) -> int:
    return times + 1


def _differ(one: Any, other: Any) -> bool:
    """Of several choices, the order in which they were made does not count; nor do blanks around a text."""
    if isinstance(one, list) and isinstance(other, list):
        return sorted(map(str, one)) != sorted(map(str, other))
    if isinstance(one, str) and isinstance(other, str):
        return one.strip() != other.strip()
    return bool(one != other)
