"""A whole run's settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from lib_unet_viz.capture.request import Capture, explore_captures, word_captures
from lib_unet_viz.settings.entry import (
    ALWAYS_ON,
    EVERYWHERE,
    PAGE,
    RENDER,
    SCRIPT,
    TRACE,
    TRACE_ROUTE,
    WEBUI,
    entries,
    part,
    setting,
)
from lib_unet_viz.settings.section import Section
from lib_unet_viz.settings.sections import (
    METHODS,
    AttentionSettings,
    DifferenceSettings,
    EditSettings,
    FeatureSettings,
    Half,
    Method,
    OutputSettings,
)
from lib_unet_viz.settings.values import SettingsError
from lib_unet_viz.unet import UNet

S = TypeVar("S", bound="Settings")


@dataclass(frozen=True)
class Settings(Section):
    """A whole run's choices.

    heatmaps: keep what maps of the prompt's words need. explore: also what other words, and places by head
    and step, can be asked of: Q of cross-attention, Q and K of self-attention.
    """

    features: FeatureSettings = part(FeatureSettings)
    attention: AttentionSettings = part(AttentionSettings)
    output: OutputSettings = part(OutputSettings)
    difference: DifferenceSettings = part(DifferenceSettings, places=frozenset({PAGE, SCRIPT}))
    edit: EditSettings = part(EditSettings, places=EVERYWHERE - {ALWAYS_ON})
    heatmaps: bool = setting(
        True,
        "Word heat maps",
        "one overlay for each word of the prompt: the part of the picture that it drove",
        flag="--no-heat",
        flag_help="no heat map for each word",
        places=WEBUI | {TRACE, RENDER, TRACE_ROUTE},
    )
    method: Method = setting(
        "guided",
        "Heat-map method",
        "how heads and layers become one map",
        meanings=METHODS,
        switch="heatmaps",
        flag="--method",
        axis="Heat-map method",
        places=WEBUI | {TRACE, RENDER},
    )
    one_scale: bool = setting(
        False,
        "One scale for all words",
        "all words' heat on the strongest word's scale, instead of each on its own",
        hint="Off: each word's heat is stretched to its own range, and weak words are drawn faint.",
        switch="heatmaps",
        flag="--one-scale",
        places=WEBUI | {TRACE, RENDER},
    )
    layer_prompts: bool = setting(
        True, "Read layer prompts", "read (~: … :~) in the prompts", places=WEBUI | {TRACE_ROUTE}
    )
    explore: bool = setting(
        False,
        "Keep queries",
        "keep what `unet-viz maps` needs for --ask, and for --look with --head or --step",
        flag="--explore",
        places=frozenset({TRACE}),
    )
    budget_mb: int = setting(
        2000,
        "Memory budget (MB)",
        "a run that would keep more is refused before it starts",
        low=0,
        flag="--budget",
        metavar="MB",
        places=WEBUI | {PAGE, TRACE, TRACE_ROUTE},
    )

    @property
    def enabled(self) -> bool:
        """Whether anything at all is to be recorded."""
        return self.features.enabled or self.attention.enabled or self.heatmaps

    def captures(
        self, unet: UNet, *, halves: Sequence[Half] = ("cond", "uncond"), fine: str = ""
    ) -> dict[str, Any]:
        """What a `Recorder` is to record of a U-Net, as its `features` and `attention`.

        halves: of which word maps are made. fine: whose self-attention can be explored, such as
        `vxa.default_layers`. Raises SpecError for blocks that the U-Net lacks.
        """
        features, attention = self.features.capture(), list[Capture]()
        if features is not None:
            features.blocks.names(unet)
        if (asked := self.attention.capture()) is not None:
            asked.sites(unet)
            attention.append(asked)
        if self.heatmaps:
            attention += word_captures(halves=halves)
        if self.explore:
            attention += explore_captures(fine)
        return {"features": features, "attention": attention}

    def to_dict(self) -> dict[str, Any]:
        """As plain data that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls: type[S], values: Mapping[str, Any]) -> S:
        """Read what `to_dict` gave, or a part of it; what is left out keeps its default."""
        return cls().filled(values)

    @classmethod
    def asked(cls: type[S], values: Mapping[str, Any], place: str | None = None) -> S:
        """Read what a request says, as `from_dict`; only the sections that it names are on.

        place: where it is asked, such as `entry.TRACE_ROUTE`; what applies elsewhere only is refused.
        """
        quiet = cls.off()
        named = [name for name in values if name in vars(quiet)] if isinstance(values, Mapping) else []
        on = {name: replace(getattr(quiet, name), enabled=True) for name in named if _has_switch(quiet, name)}
        found = replace(quiet, **on).filled(values)
        if place is not None:
            cls.refuse(values, place)
        return found

    @classmethod
    def refuse(cls, values: Mapping[str, Any], place: str) -> None:
        """Raise SettingsError for settings that change nothing in a place."""
        table = list(entries(cls))
        used = [entry.path for entry in table if place in entry.places]
        for path in _paths(values, {entry.path for entry in table}):
            if not any(f"{each}.".startswith(f"{path}.") for each in used):
                above = path.rpartition(".")[0]
                names = dict.fromkeys(_below(each, above) for each in used if f"{each}.".startswith(above))
                raise SettingsError(f"{place} has no use for {path!r}; allowed: {', '.join(names)}")

    @classmethod
    def off(cls: type[S]) -> S:
        """The defaults with everything switched off: what a panel starts from."""
        usual = cls()
        names = [each.name for each in fields(usual) if _has_switch(usual, each.name)]
        quiet = {name: replace(getattr(usual, name), enabled=False) for name in names}
        return replace(usual, heatmaps=False, **quiet)

    @classmethod
    def restored(cls: type[S], changes: Mapping[str, Any]) -> S:
        """What `changes` said. Raises SettingsError."""
        return cls.off().filled(changes)

    def changes(self) -> dict[str, Any]:
        """What differs from `off`, nested: short enough to travel with a picture."""
        found: dict[str, Any] = _differing(self.to_dict(), type(self).off().to_dict())
        return found


def _has_switch(settings: Settings, name: str) -> bool:
    return hasattr(getattr(settings, name), "enabled")


def _paths(values: Mapping[str, Any], leaves: Set[str], above: str = "") -> Iterator[str]:
    """The paths of plain data: of each section, and of the settings in it."""
    for name, value in values.items():
        path = f"{above}{name}"
        yield path
        if isinstance(value, Mapping) and path not in leaves:
            yield from _paths(value, leaves, f"{path}.")


def _below(path: str, above: str) -> str:
    """The part of a path that comes after another."""
    return path.removeprefix(above).lstrip(".").partition(".")[0]


def _differing(values: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, value in values.items():
        if isinstance(usual[name], Mapping):
            value = _differing(value, usual[name])
            if value:
                found[name] = value
        elif value != usual[name]:
            found[name] = value
    return found
