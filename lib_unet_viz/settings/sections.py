"""The table of settings: each says its name, type, default, label, help, range, flag and where it applies.

To add one, add it here, and use it where it matters: panels, the command line, the routes' schemas, the
infotext, the axes of plots and the documents have it then.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from lib_unet_viz.capture.request import Capture
from lib_unet_viz.notation import edits
from lib_unet_viz.notation.formula import Formula
from lib_unet_viz.notation.specs import BlockSpec, StepSpec
from lib_unet_viz.notation.windows import Windows, read_window
from lib_unet_viz.settings.entry import (
    DRAWN,
    EDIT,
    EDIT_ROUTE,
    PAGE,
    TRACE_ROUTE,
    WEBUI,
    part,
    setting,
)
from lib_unet_viz.settings.section import Section
from lib_unet_viz.settings.values import SettingsError

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
Method = Literal[  # of heat maps
    "guided", "informed", "iterated", "refined", "rescaled", "daam", "vxa_best", "vxa"
]

METHODS = {
    "guided": "as iterated, then along the picture's edges",
    "informed": "informative heads count more, refined by self-attention",
    "iterated": "as informed, refined twice by sharpened self-attention",
    "refined": "as daam, refined by self-attention",
    "rescaled": "as daam, each pixel shared among the words",
    "daam": "all heads and layers alike",
    "vxa_best": "the one layer that scores best",
    "vxa": "the middle block alone",
}
PARTS = {"K": "K", "Q·K": "QK", "V·Q·K": "VQK", "Q": "Q"}
HALVES = {"prompt": "cond", "negative prompt": "uncond"}
COLORMAPS = ("viridis", "plasma", "inferno", "magma", "cividis", "turbo", "coolwarm", "gray")
BLOCKS_HINT = "IN00 · IN00, M00 · IN04-OUT02 · IN00-OUT11(+2) · blank: all"
LAYERS_HINT = BLOCKS_HINT.replace("IN00, M00", "IN07.1")
STEPS_HINT = "1 · 1, 5 · 5-20(+5) · blank: all"
WINDOWS_HINT = '0.8 · [0.2, 0.8] · {"default": 0.8, "cat": [0, 0.4]}'
WORDS_HINT = "cat, red hat; blank:"

FLOAT32 = 3.4e38  # what numbers are computed in
AUTOMATIC: tuple[Transform, ...] = ("Auto [0,1]", "Auto [-1,1]")
RECORDED = DRAWN | {TRACE_ROUTE}
EDITED = WEBUI | {PAGE, EDIT, EDIT_ROUTE}
_blocks: dict[str, Any] = {"blank": "all", "read": BlockSpec.parse, "metavar": "SPEC"}
_steps: dict[str, Any] = {
    "blank": "all",
    "read": StepSpec.parse,
    "metavar": "STEPS",
    "hint": STEPS_HINT,
    "places": RECORDED,
}
_words: dict[str, Any] = {"metavar": "A,B", "places": EDITED}
_branch: dict[str, Any] = {
    "words": HALVES,
    "flag": "--halves",
    "metavar": "A,B",
    "axis": "CFG branch",
    "places": RECORDED,
}
_fraction: dict[str, Any] = {"low": 0, "high": 1, "metavar": "X", "places": EDITED}
_real: dict[str, Any] = {"low": -FLOAT32, "high": FLOAT32, "metavar": "X"}
_linear: dict[str, Any] = {**_real, "slider": (-10, 10, 0.05), "only": ("transform", ("Linear",))}
_sigmoid: dict[str, Any] = {**_real, "only": ("transform", ("Sigmoid",))}


def _dump() -> Any:
    return setting(False, "Dump the numbers to files", "write the numbers to files", places=WEBUI)


def _path() -> Any:
    return setting(
        "",
        "Output path",
        "folder of these files, below the outputs folder",
        hint="A folder below the outputs folder. Blank: unet-viz, and the date.",
        blank="unet-viz, and the date",
        places=WEBUI,
    )


@dataclass(frozen=True)
class ColorSettings(Section):
    """How values become colours; the words are those of the older extension's panel."""

    place: ClassVar[str] = "color"

    method: ColorMethod = setting(
        "Red/Blue",
        "Colorize method",
        "how values become colours",
        meanings={
            "White/Black": "white is far from 0",
            "Red/Blue": "red is positive, blue negative",
            "Custom": "by formulas",
            "Perceptual": "by a colour map",
        },
        needs={"Perceptual": "matplotlib"},
        axis="Colorize method",
    )
    transform: Transform = setting(
        "Auto [-1,1]", "Value transform", "of the values", flag="--transform", axis="Value transform"
    )
    minimum: float = setting(-1.0, "Clamp min.", "lower end of the range", flag="--min", **_linear)
    maximum: float = setting(1.0, "Clamp max.", "upper end of the range", flag="--max", **_linear)
    gain: float = setting(1.0, "Gain", "steepness", slider=(0.1, 20, 0.1), flag="--gain", **_sigmoid)
    offset: float = setting(
        0.0, "Offset", "the value in the middle", slider=(-10, 10, 0.05), flag="--offset", **_sigmoid
    )
    space: Space = setting(
        "HSL", "Color space", "of the formulas", flag="--space", only=("method", ("Custom",))
    )
    formulas: tuple[str, ...] = setting(
        ("(2+v)/3", "1.0", "0.5"),
        "Formulas",
        'three of v in [-1, 1], such as "(2+v)/3; 1.0; 0.5"',
        labels=("Hue", "Saturation", "Lightness"),
        read=Formula.parse,
        only=("method", ("Custom",)),
        flag="--formulas",
        metavar="A;B;C",
    )
    colormap: str = setting(
        "viridis",
        "Color map",
        "of matplotlib's",
        choices=COLORMAPS,
        only=("method", ("Perceptual",)),
        axis="Color map",
    )
    per_cell: bool = setting(
        True,
        "Normalize each tile separately",
        "each tile by its own range of values",
        only=("transform", AUTOMATIC),
        flag="--whole-grid",
        flag_help="one range of values for the whole grid, so that its cells compare",
    )

    @classmethod
    def _together(cls, values: Mapping[str, Any], place: str) -> None:
        low, high = values["minimum"], values["maximum"]
        if values["transform"] == "Linear" and not np.float32(low) < np.float32(high):
            raise SettingsError(f"{place}.minimum is {low}: the minimum must be below the maximum, {high}")


@dataclass(frozen=True)
class FeatureSettings(Section):
    """Capturing of block features."""

    place: ClassVar[str] = "features"

    enabled: bool = setting(
        True,
        "Extract U-Net features",
        "record what blocks put out",
        flag="--no-features",
        flag_help="record and draw no features",
        places=RECORDED,
    )
    blocks: str = setting(
        "IN02,M00,OUT05,OUT11",
        "Layers",
        "features of these blocks",
        hint=BLOCKS_HINT,
        flag="--blocks",
        axis="Layers",
        places=RECORDED,
        **_blocks,
    )
    steps: str = setting("", "Steps", "only these steps", flag="--at", axis="Steps", **_steps)
    halves: tuple[Half, ...] = setting(("cond",), "CFG branch", "of prompt or negative prompt", **_branch)
    average: Average = setting(
        "none",
        "Average over channels",
        "one picture instead of all channels",
        flag="--average",
        axis="Average over channels",
    )
    color: ColorSettings = part(ColorSettings, places=DRAWN)
    dump: bool = _dump()
    path: str = _path()

    def capture(self) -> Capture | None:
        """What the recorder is asked for; None where switched off."""
        if not self.enabled:
            return None
        return Capture(blocks=self.blocks, steps=self.steps, halves=self.halves)


@dataclass(frozen=True)
class AttentionSettings(Section):
    """Capturing of attention: Q, K, their product's probabilities (QK), the values so mixed (VQK)."""

    place: ClassVar[str] = "attention"

    enabled: bool = setting(
        True,
        "Extract attention",
        "record attention",
        flag="--no-attention",
        flag_help="record and draw no attention",
        places=RECORDED,
    )
    blocks: str = setting(
        "M00",
        "Layers",
        "attention of these blocks, or of one transformer layer: IN07.1",
        hint=LAYERS_HINT,
        flag="--attention",
        axis="Layers",
        places=RECORDED,
        **_blocks,
    )
    steps: str = setting("", "Steps", "only these steps", flag="--at", axis="Steps", **_steps)
    parts: tuple[AttentionPart, ...] = setting(
        ("QK",),
        "Parts",
        "queries, keys, probabilities, mixed values",
        words=PARTS,
        flag="--parts",
        metavar="A,B",
        axis="Attention part",
        places=RECORDED,
    )
    kinds: tuple[Kind, ...] = setting(
        ("cross",),
        "Kinds",
        "to the prompt, or within the picture",
        flag="--kinds",
        metavar="A,B",
        axis="Attention kind",
        places=RECORDED,
    )
    halves: tuple[Half, ...] = setting(("cond",), "CFG branch", "of prompt or negative prompt", **_branch)
    color: ColorSettings = part(
        lambda: ColorSettings(method="White/Black", transform="Auto [0,1]"), places=DRAWN
    )
    dump: bool = _dump()
    path: str = _path()

    def capture(self) -> Capture | None:
        """What the recorder is asked for; None where switched off."""
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

    place: ClassVar[str] = "difference"

    enabled: bool = setting(
        False,
        "Output difference map of U-Net features between with and without Layer Prompt",
        "make a second picture without layer prompts, and show what they changed",
        places=WEBUI,
    )
    color: ColorSettings = part(
        lambda: ColorSettings(method="White/Black", transform="Auto [0,1]", per_cell=False), places=DRAWN
    )
    dump: bool = setting(False, "Write the differences to a file", "write the differences to a file")
    baseline: Baseline = setting(
        "common",
        "Without layer prompts",
        "what is compared with",
        meanings={"common": "the text that most blocks read", "erased": "the prompt without its groups"},
    )


@dataclass(frozen=True)
class EditSettings(Section):
    """Prompt-to-prompt: targets that are made from the source prompt by editing attention; see `edits`.

    cross_steps: during which fraction of the steps words keep the source's maps: 0.8, [0.2, 0.8], or by word
    {"default": 0.8, "cat": [0, 0.4]}; also as JSON. self_steps, self_size: the same of self-attention with at
    most self_size² positions (0: as many as 16 x 16 at 512 x 512 pixels). blend: keep what lies outside of
    the maps of `blend_words` (blank: those that the edits change), with what `subtract` shows; from
    blend_start (a fraction of the steps) on. blend_maps: informative heads count more, and words compete
    for each place; or all alike as in the paper. sweep: also draw the first target with the source's
    attention in 0 % to 100 % of them.
    """

    place: ClassVar[str] = "edit"

    enabled: bool = setting(
        False,
        "Edit the picture through its attention",
        "make each edit's target beside the source",
        places=WEBUI | {EDIT_ROUTE},
    )
    edits: str = setting(
        "",
        "Edits, one a line",
        "what is to change, one edit a line; --- before another target",
        lines=4,
        placeholder="\n".join(edits.SYNTAX),
        flag="--edit",
        metavar="EDIT",
        places=EDITED,
    )
    cross_steps: Any = setting(
        0.8,
        "Cross-replace steps",
        "fraction of the steps in which words have the source's maps, or two, or by word as JSON",
        hint=f"A fraction of the steps: {WINDOWS_HINT}",
        read=Windows.read,
        flag="--cross-steps",
        metavar="X",
        places=EDITED,
    )
    self_steps: Any = setting(
        0.4,
        "Self-replace steps",
        "the same of self-attention: a fraction, or two",
        hint="0.4 · [0.2, 0.8]",
        read=read_window,
        flag="--self-steps",
        metavar="X",
        places=EDITED,
    )
    self_size: int = setting(
        0,
        "Max. self-attention map size (0 = automatic)",
        "only self-attention with at most N x N positions; 0: as many as 16 x 16 at 512 x 512 pixels",
        hint="16: up to 16 × 16 positions; 0: as many as 16 × 16 at 512 × 512 pixels",
        low=0,
        flag="--self-size",
        metavar="N",
        places=EDITED,
    )
    blocks: str = setting(
        "",
        "Edit these layers",
        "edit the attention of these blocks only",
        hint=BLOCKS_HINT,
        flag="--blocks",
        places=EDITED,
        **_blocks,
    )
    blend: bool = setting(
        True,
        "Local blend",
        "outside of the words' maps the picture stays the source's",
        flag="--no-blend",
        flag_help="all of the picture may change",
        places=EDITED,
    )
    blend_words: str = setting(
        "",
        "Blend words",
        "whose maps may change",
        hint=f"{WORDS_HINT} those that the edits change",
        blank="those that the edits change",
        flag="--blend-words",
        **_words,
    )
    subtract: str = setting(
        "",
        "Words to subtract",
        "where these words show nothing changes",
        hint=f"{WORDS_HINT} none",
        blank="none",
        flag="--subtract",
        **_words,
    )
    threshold: float = setting(
        0.3,
        "Blend threshold",
        "of the maps' maximum; its square where words compete",
        slider=(0, 1, 0.01),
        flag="--threshold",
        **_fraction,
    )
    blend_start: float = setting(
        0.2,
        "Blend start",
        "after this fraction of the steps",
        slider=(0, 1, 0.05),
        flag="--blend-start",
        **_fraction,
    )
    blend_maps: BlendMaps = setting(
        "informed",
        "Blend maps",
        "how heads become one map",
        meanings={
            "informed": "informative heads count more, and words compete for each place",
            "mean": "all alike, as in the paper",
        },
        flag="--blend-maps",
        places=EDITED,
    )
    sweep: Sweep = setting(
        "none",
        "Sweep",
        "also draw the first target with the source's attention in 0 % to 100 % of these",
        flag="--sweep",
        places=WEBUI | {EDIT},
    )


@dataclass(frozen=True)
class OutputSettings(Section):
    """What becomes of a run's sheets in a webui; `limit`: how many are shown for each picture."""

    place: ClassVar[str] = "output"

    show: bool = setting(
        True, "Show in the gallery, after their picture", "sheets in the gallery", places=WEBUI
    )
    limit: int = setting(
        12,
        "Max. sheets per image",
        "sheets shown for each picture",
        hint="The rest is saved only, and named under the result.",
        low=0,
        places=WEBUI,
    )
    save: bool = setting(
        True, "Save beside the picture, wherever that is saved", "sheets beside the picture", places=WEBUI
    )
