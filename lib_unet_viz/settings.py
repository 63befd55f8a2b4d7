"""Everything a person can choose about a run, in one value, for the page, the command line and later hosts.

`Settings.from_dict` reads the same from JSON and refuses names and types it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from lib_unet_viz.capture.request import Capture

ColorMethod = Literal["White/Black", "Red/Blue", "Custom", "Perceptual"]
Transform = Literal["Auto [0,1]", "Auto [-1,1]", "Linear", "Sigmoid"]
Space = Literal["RGB", "HSL"]
Average = Literal["none", "mean", "1-norm", "2-norm"]
Baseline = Literal["common", "erased"]
AttentionPart = Literal["Q", "K", "QK", "VQK"]
Half = Literal["cond", "uncond"]
Kind = Literal["cross", "self"]
BlendMaps = Literal["informed", "mean"]
Sweep = Literal["none", "steps", "blocks", "both"]
Method = Literal["informed", "iterated", "refined", "rescaled", "daam", "vxa_best", "vxa"]  # of heat maps


_NAMES = {int: "a whole number", bool: "true or false", str: "a text", float: "a number"}


class SettingsError(ValueError):
    """A setting that does not exist or has a wrong type; the message lists what is allowed."""


@dataclass(frozen=True)
class ColorSettings:
    """How values become colours; the words are those of the older extension's panel."""

    method: ColorMethod = "Red/Blue"
    transform: Transform = "Auto [-1,1]"
    minimum: float = -1.0
    maximum: float = 1.0
    gain: float = 1.0
    offset: float = 0.0
    space: Space = "HSL"
    formulas: tuple[str, ...] = ("(2+v)/3", "1.0", "0.5")
    colormap: str = "viridis"
    per_cell: bool = True


@dataclass(frozen=True)
class FeatureSettings:
    """Capturing of block features."""

    enabled: bool = True
    blocks: str = "IN02,M00,OUT05,OUT11"
    steps: str = ""
    halves: tuple[Half, ...] = ("cond",)
    average: Average = "none"
    color: ColorSettings = field(default_factory=ColorSettings)
    dump: bool = False
    path: str = ""  # of dumps: a folder below the host's own one for them

    def capture(self) -> Capture | None:
        """What the recorder is asked for; None where switched off. Raises SpecError for a wrong spec."""
        if not self.enabled:
            return None
        return Capture(blocks=self.blocks, steps=self.steps, halves=self.halves)


@dataclass(frozen=True)
class AttentionSettings:
    """Capturing of attention: Q, K, their product's probabilities (QK), the values so mixed (VQK)."""

    enabled: bool = True
    blocks: str = "M00"
    steps: str = ""
    halves: tuple[Half, ...] = ("cond",)
    parts: tuple[AttentionPart, ...] = ("QK",)
    kinds: tuple[Kind, ...] = ("cross",)
    color: ColorSettings = field(
        default_factory=lambda: ColorSettings(method="White/Black", transform="Auto [0,1]")
    )
    dump: bool = False
    path: str = ""

    def capture(self) -> Capture | None:
        """What the recorder is asked for; None where switched off. Raises SpecError for a wrong spec."""
        if not self.enabled:
            return None
        return Capture(
            blocks=self.blocks, steps=self.steps, halves=self.halves, what=self.parts, kinds=self.kinds
        )


@dataclass(frozen=True)
class DifferenceSettings(FeatureSettings):
    """Differences of features between a run with layer prompts and one without, from the same seed.

    baseline: what "without" is: the text that most blocks read, or the prompt with its groups erased.
    dump: write the differences into a file as well.
    """

    enabled: bool = False
    color: ColorSettings = field(
        default_factory=lambda: ColorSettings(method="White/Black", transform="Auto [0,1]", per_cell=False)
    )
    baseline: Baseline = "common"


@dataclass(frozen=True)
class EditSettings:
    """Prompt-to-prompt: targets that are made from the source prompt by editing attention; see `edits`.

    cross_steps: during which fraction of the steps words keep the source's maps: 0.8, [0.2, 0.8], or by word
    {"default": 0.8, "cat": [0, 0.4]}; also as JSON. self_steps, self_size: the same of self-attention with at
    most self_size² positions (0: as many as 16 x 16 at 512 x 512 pixels). blend: keep what lies outside of
    the maps of `blend_words` (blank: those that the edits change), with what `subtract` shows; from
    blend_start (a fraction of the steps) on. blend_maps: informative heads count more, or all alike as in the
    paper. sweep: also draw the first target with the source's attention in 0 % to 100 % of them.
    """

    enabled: bool = False
    edits: str = ""
    cross_steps: Any = 0.8
    self_steps: Any = 0.4
    self_size: int = 0
    blocks: str = ""
    blend: bool = True
    blend_words: str = ""
    subtract: str = ""
    threshold: float = 0.3
    blend_start: float = 0.2
    blend_maps: BlendMaps = "informed"
    sweep: Sweep = "none"


@dataclass(frozen=True)
class OutputSettings:
    """What becomes of a run's sheets in a webui; `limit`: how many are shown for each picture."""

    show: bool = True
    save: bool = True
    limit: int = 12


@dataclass(frozen=True)
class Settings:
    """A whole run's choices.

    heatmaps: keep what maps of the prompt's words need. explore: also what other words, and places by head
    and step, can be asked of: Q of cross-attention, Q and K of self-attention.
    """

    features: FeatureSettings = field(default_factory=FeatureSettings)
    attention: AttentionSettings = field(default_factory=AttentionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    difference: DifferenceSettings = field(default_factory=DifferenceSettings)
    edit: EditSettings = field(default_factory=EditSettings)
    heatmaps: bool = True
    method: Method = "informed"
    one_scale: bool = False
    layer_prompts: bool = True
    explore: bool = False
    budget_mb: int = 2000

    @property
    def enabled(self) -> bool:
        """Whether anything at all is to be recorded."""
        return self.features.enabled or self.attention.enabled or self.heatmaps

    def to_dict(self) -> dict[str, Any]:
        """As plain data that JSON can hold."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Settings:
        """Read what `to_dict` gave, or a part of it; what is left out keeps its default."""
        settings: Settings = _fill(cls(), values, "settings")
        return settings

    @classmethod
    def asked(cls, values: Mapping[str, Any]) -> Settings:
        """Read what a request says, as `from_dict`; only the sections that it names are on."""
        quiet = dict(Settings.off().to_dict())
        for name in ("features", "attention", "difference", "edit"):
            if isinstance(values, Mapping) and isinstance(values.get(name), Mapping):
                quiet[name]["enabled"] = True
        settings: Settings = _fill(cls.from_dict(quiet), values, "settings")
        return settings

    @classmethod
    def off(cls) -> Settings:
        """The defaults with everything switched off: what a panel starts from."""
        return cls(FeatureSettings(enabled=False), AttentionSettings(enabled=False), heatmaps=False)

    @classmethod
    def restored(cls, changes: Mapping[str, Any]) -> Settings:
        """What `changes` said. Raises SettingsError."""
        settings: Settings = _fill(cls.off(), changes, "settings")
        return settings

    def changes(self) -> dict[str, Any]:
        """What differs from `off`, nested: short enough to travel with a picture."""
        found: dict[str, Any] = _differing(self.to_dict(), Settings.off().to_dict())
        return found


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


def _fill(base: Any, values: Mapping[str, Any], place: str) -> Any:
    """A copy of dataclass `base` with `values` in it, each checked against its field's type."""
    if not isinstance(values, Mapping):
        raise SettingsError(f"{place} is {values!r}; an object with names and values is expected")
    hints, names = get_type_hints(type(base)), [f.name for f in fields(base)]
    changes = {}
    for name, value in values.items():
        if name not in names:
            raise SettingsError(f"{place} has no {name!r}; allowed: {', '.join(names)}")
        current, where = getattr(base, name), f"{place}.{name}"
        changes[name] = (
            _fill(current, value, where) if is_dataclass(current) else _checked(value, hints[name], where)
        )
    return replace(base, **changes)


def _checked(value: Any, hint: Any, place: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin is Literal:
        if value not in arguments:
            raise SettingsError(f"{place} is {value!r}; allowed: {', '.join(map(str, arguments))}")
        return value
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise SettingsError(f"{place} is {value!r}; a list is expected")
        return tuple(_checked(item, arguments[0], place) for item in value)
    allowed = (int, float) if hint is float else (hint,)
    if not isinstance(value, allowed) or (isinstance(value, bool) and hint is not bool):
        raise SettingsError(f"{place} is {value!r}; expected {_NAMES.get(hint, hint.__name__)}")
    return hint(value)
