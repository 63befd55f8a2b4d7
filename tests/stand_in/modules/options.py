"""Stands in for the webui's modules/options.py."""

from __future__ import annotations

from typing import Any


class OptionInfo:
    """One option of the Settings page."""

    def __init__(
        self,
        default=None,
        label="",
        component=None,
        component_args=None,
        onchange=None,
        section=None,
        refresh=None,
        comment_before="",
        comment_after="",
        infotext=None,
        restrict_api=False,
        category_id=None,
    ):
        self.default, self.label, self.section = default, label, section
        self.comment_after = comment_after

    def info(self, info):
        self.comment_after += f"({info})"
        return self

    def needs_reload_ui(self):
        return self


class Options:
    """Values by name; an option that was added has its default."""

    def __init__(self, data_labels: dict[str, OptionInfo], restricted_opts: Any) -> None:
        self.data_labels = data_labels
        self.data: dict[str, Any] = {}

    def __getattr__(self, item: str) -> Any:
        if item in self.data:
            return self.data[item]
        if item in self.data_labels:
            return self.data_labels[item].default
        raise AttributeError(item)

    def add_option(self, key, info):
        self.data_labels[key] = info
