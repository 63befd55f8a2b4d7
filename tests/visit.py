"""A visitor of a page, without a browser: events run the handlers that are connected to them, in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr


class Visit:
    """What is seen of a gr.Blocks, by component; what `change` and `press` do to it."""

    def __init__(self, blocks: Any) -> None:
        self._blocks = blocks
        self._values = {id_: getattr(block, "value", None) for id_, block in blocks.blocks.items()}
        self._hidden = {id_: not getattr(block, "visible", True) for id_, block in blocks.blocks.items()}
        config = blocks.get_config_file()["dependencies"]
        self.events = [{**event, "id": event.get("id", at)} for at, event in enumerate(config)]

    def __getitem__(self, component: Any) -> Any:
        """What a component shows; None where it is hidden."""
        return None if self._hidden[component._id] else self._values[component._id]

    def value(self, component: Any) -> Any:
        """What a component holds, seen or not."""
        return self._values[component._id]

    def change(self, component: Any, value: Any) -> None:
        """A person gives a component another value: texts and pictures are changed, all others input."""
        self._values[component._id] = value
        self.fire(component, "change" if isinstance(component, gr.Textbox | gr.Image) else "input")

    def press(self, button: Any) -> None:
        """A person clicks a button."""
        self.fire(button, "click")

    def fire(self, component: Any, name: str) -> None:
        """An event of a component; raises AssertionError where nothing listens."""
        heard = [event for event in self.events if (component._id, name) in targets(event)]
        assert heard, f"nothing listens to {name} of {component}"
        for event in heard:
            self._run(event)

    def _run(self, event: Mapping[str, Any]) -> None:
        handler = self._blocks.fns[event["id"]].fn
        found = handler(*(self._values[id_] for id_ in event["inputs"]))
        for updates in found if isinstance(found, Iterator) else [found]:
            self._show(event["outputs"], updates)
        for after in self.events:
            if after["trigger_after"] == event["id"]:
                self._run(after)

    def _show(self, outputs: list[int], updates: Any) -> None:
        if not isinstance(updates, dict) or "__type__" in updates:
            listed = [updates] if len(outputs) == 1 else updates
            updates = dict(zip(outputs, listed, strict=True))
        else:
            updates = {component._id: update for component, update in updates.items()}
        assert set(updates) <= set(outputs)
        for id_, update in updates.items():
            if not (isinstance(update, dict) and "__type__" in update):
                self._values[id_] = update
                continue
            self._values[id_] = update.get("value", self._values[id_])
            self._hidden[id_] = not update.get("visible", not self._hidden[id_])


def targets(event: Mapping[str, Any]) -> list[tuple[int, str]]:
    """The components that an event is of, by id, and its names; gradio 3 has one name for all."""
    named = [
        target if isinstance(target, list | tuple) else (target, event["trigger"])
        for target in event["targets"]
    ]
    return [(id_, name) for id_, name in named]
