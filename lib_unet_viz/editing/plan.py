"""From what a person asks for, `EditSettings`, to the plan that `edit` carries out on a model's tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from lib_unet_viz.editing.alignment import Alignment, Pair, Prompt, align
from lib_unet_viz.editing.hooks import Plan
from lib_unet_viz.editing.local_blend import Blend
from lib_unet_viz.editing.own_mask import Mask, OwnMask
from lib_unet_viz.notation import edits
from lib_unet_viz.notation.layer_prompt import OPEN
from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.notation.windows import Window, Windows, read_window
from lib_unet_viz.settings import EditSettings, SettingsError

TokensOf = Callable[[str], Sequence[str]]


@dataclass(frozen=True)
class Request:
    """The edits of one source prompt, read: what can be known without tokens."""

    source: str
    targets: tuple[edits.Target, ...]
    settings: EditSettings
    cross: Windows
    self_: Window
    blocks: BlockSpec
    mask: OwnMask | None = None

    @classmethod
    def of(cls, source: str, settings: EditSettings, *, mask: Mask | None = None) -> Request:
        """Read the settings. mask: where the picture may change, as `OwnMask.of` takes it: together with the
        maps of words, or alone where the settings want no local blend.

        Raises SettingsError, and SpecError with its place in the edits or blocks.
        """
        if OPEN in source:
            raise SettingsError("an edit's prompt may have no layer prompts: all blocks read the same")
        replace(settings, enabled=True)  # its texts are read where it is on
        return cls(
            source,
            edits.targets(source, settings.edits),
            settings,
            Windows.read(settings.cross_steps),
            read_window(settings.self_steps),
            BlockSpec.parse(settings.blocks),
            None if mask is None else OwnMask.of(mask),
        )

    @property
    def prompts(self) -> list[str]:
        """The source prompt, then the targets'."""
        return [self.source, *(target.prompt for target in self.targets)]

    def plan(self, tokens_of: TokensOf, *, syntax: bool = False) -> Plan:
        """The plan for a model's tokens. Raises SpecError for words that the prompts lack."""
        source = Prompt(self.source, tokens_of(self.source), syntax)
        aligned = tuple(align(source, target, tokens_of(target.prompt)) for target in self.targets)
        for word in self.cross.words:
            if not any(target.holds(word) for target in aligned):
                aligned[0].positions(word)  # says what there is
        blend = self._blend(aligned)
        return Plan(aligned, self.cross, self.self_, self.settings.self_size, self.blocks, blend)

    def _blend(self, targets: Sequence[Alignment]) -> Blend | None:
        settings, own = self.settings, self.mask
        if not settings.blend:
            alone = Blend(threshold=settings.threshold, start=settings.blend_start, own=own)
            return None if own is None else alone
        chosen, left_out = _phrases(settings.blend_words), _phrases(settings.subtract)
        grouped = _summed if settings.blend_maps == "mean" else tuple
        words = [_places(target, chosen) if chosen else target.changed() for target in targets]
        without = [_places(target, left_out) for target in targets]
        named = zip(targets, words, without, strict=True)
        return Blend(
            tuple(map(grouped, words)),
            tuple(map(grouped, without)),
            tuple(target.others([*here, *there]) for target, here, there in named),
            settings.threshold,
            settings.blend_start,
            settings.blend_maps,
            own,
        )


def _places(target: Alignment, phrases: Sequence[str]) -> tuple[Pair, ...]:
    return tuple(target.positions(phrase) for phrase in phrases)


def _summed(words: Sequence[Pair]) -> tuple[Pair, ...]:
    """All words as one, whose map is the sum of theirs, as google/prompt-to-prompt has it."""
    sides = [tuple(at for word in words for at in word[side]) for side in (0, 1)]
    return ((sides[0], sides[1]),) if any(sides) else ()


def _phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split(",") if phrase.strip()]
