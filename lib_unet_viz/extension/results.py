"""What becomes of a recording: sheets in the gallery and beside the picture, dumps, and words about both.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.capture.recording import reason
from lib_unet_viz.drawing import naming, sheets
from lib_unet_viz.drawing.render import Rendered
from lib_unet_viz.extension import axes, last_runs, paths
from lib_unet_viz.hosts.webui.drawn_mask import sampled
from lib_unet_viz.maps.words import cross_maps, word_maps
from lib_unet_viz.notation import tokens
from lib_unet_viz.settings import Method, Settings
from lib_unet_viz.trace import AttentionMaps, FeatureMap, FeatureMaps, Pass, Selection, Trace

CAPTION = "U-Net Viz sheet"  # the infotext's key of what a sheet shows
PASSES: dict[Pass, str] = {"first": "", "hires": " (hires pass)"}
M = TypeVar("M", bound=FeatureMap)


@dataclass(frozen=True)
class Sheet:
    """One picture of ours: a name for its file, what it shows in words."""

    image: Image.Image
    name: str
    caption: str


Part = Sheet | str  # or what is to be said of one
More = Callable[[int, Image.Image], Iterable[Part]]


@dataclass(frozen=True)
class Report:
    """What a run shows: each picture followed by its sheets, an infotext for each, and what is to be said."""

    images: list[Image.Image]
    infotexts: list[str]
    notes: list[str]

    def show(self, processed: Any) -> None:
        """In the gallery; notes under it, and in what a request gets as `info`."""
        processed.images[:], processed.infotexts[:] = self.images, self.infotexts
        if self.notes:
            text = "\n".join(f"U-Net Viz: {note}" for note in self.notes)
            processed.comments += f"{text}\n"
            processed.extra_generation_params = {**processed.extra_generation_params, "U-Net Viz notes": text}


def report(processed: Any, p: Any, trace: Trace, settings: Settings, more: More | None = None) -> Report:
    """Draw and save the sheets of each picture, and write the dumps; what goes wrong is a note.

    more: sheets of a picture, by its index, that come before the others, and notes.
    """
    try:
        made = _made(processed, p, trace, settings, more)
    except Exception as error:
        note = f"no sheets and dumps were made: {reason(error)}"
        made = Report(list(processed.images), list(processed.infotexts), [note])
    try:
        last_runs.here().keep(
            getattr(p, "user", None), trace, [sampled(p, block[0]) for block in blocks_of(processed)[0]]
        )
    except Exception as error:
        made.notes.append(f"the run was not kept to be explored: {reason(error)}")
    return replace(made, notes=[*trace.notes, *made.notes])


def _made(processed: Any, p: Any, trace: Trace, settings: Settings, more: More | None) -> Report:
    first, (blocks, texts) = processed.index_of_first_image, blocks_of(processed)
    gallery, infotexts, notes = processed.images[:first], processed.infotexts[:first], list[str]()
    for index, (block, text) in enumerate(zip(blocks, texts, strict=True)):
        parts = _parts(p, trace, settings, index, block[0], more)
        shown, names = _kept(p, parts, settings, block[0], text)
        gallery += [*block, *(sheet.image for sheet in shown)]
        infotexts += [text] * len(block) + [_infotext(text, sheet) for sheet in shown]
        notes += names
    notes += _dumps(p, trace, settings, [sampled(p, block[0]) for block in blocks])
    at = next((place for place, text in enumerate(infotexts) if CAPTION in text), None)
    if at is not None and axes.varied(p):  # a plot's cell is its first image
        gallery.insert(first, gallery.pop(at))
        infotexts.insert(first, infotexts.pop(at))
    return Report(gallery, infotexts, notes)


def _parts(
    p: Any, trace: Trace, settings: Settings, index: int, picture: Image.Image, more: More | None
) -> Iterator[Part]:
    """All of one picture's, drawn one by one."""
    seen = sampled(p, picture)
    own = _own(trace, index, seen)
    for drawn in (
        () if more is None else more(index, picture),
        _word(p, trace, settings.method, index, seen),
        _words(trace, settings, index, seen),
        _features(own, settings, last_first=axes.varied(p)),
        _attention(own, settings, last_first=axes.varied(p)),
    ):
        try:
            yield from drawn
        except Exception as error:  # the picture is there anyway
            yield f"not all sheets of picture {index + 1} could be drawn: {reason(error)}"


def blocks_of(processed: Any) -> tuple[list[list[Image.Image]], list[str]]:
    """The pictures, each with the masks that follow it, and their infotexts: masks have none of their own
    (processing.py:1099).
    """
    first = processed.index_of_first_image
    pictures, texts = processed.images[first:], processed.infotexts[first:]
    each = len(pictures) // len(texts) if texts else 0
    if not each:
        return [], []
    return [pictures[at : at + each] for at in range(0, each * len(texts), each)], texts


def _kept(
    p: Any, parts: Iterable[Part], settings: Settings, picture: Image.Image, text: str
) -> tuple[list[Sheet], list[str]]:
    """The sheets of one picture that are to be shown, and notes; all are saved, if that is wanted."""
    output, shown, notes, hidden = settings.output, list[Sheet](), list[str](), 0
    save = output.save and p.save_samples()
    for part in parts:
        if isinstance(part, str):
            notes.append(part)
            continue
        if output.show and len(shown) < max(0, output.limit):
            shown.append(part)
        else:
            hidden += 1
            if not save:
                break  # neither shown nor saved: no need to draw more
        if save:
            try:
                _save(p, part, picture, _infotext(text, part))
            except Exception as error:
                notes.append(f"the sheet {part.name} could not be saved: {reason(error)}")
    if hidden and output.show:
        rest = f"{hidden} more sheets are saved" if save else "more sheets are neither drawn nor saved"
        notes.append(f"{rest}, as at most {output.limit} are shown for each picture")
    return shown, notes


def _words(trace: Trace, settings: Settings, index: int, picture: Image.Image) -> Iterator[Part]:
    """One picture's word maps, of each pass."""
    if settings.heatmaps:
        for pass_ in _passes(trace, index):
            title = f"Word heat maps{PASSES[pass_]}  ·  {settings.method}"
            caption = f"{title}\nthe part of the picture that each word drove"
            try:
                drawn_words = sheets.word_sheet(
                    trace,
                    picture,
                    method=settings.method,
                    selection=Selection(index, "cond", pass_=pass_),
                    caption=caption,
                    one_scale=settings.one_scale,
                )
                yield Sheet(drawn_words, f"words{'-hires' * (pass_ == 'hires')}", f"words{PASSES[pass_]}")
            except ValueError as error:
                yield f"no word heat maps of picture {index + 1}: {error}"


def _own(trace: Trace, index: int, picture: Image.Image) -> Trace:
    """One picture's part of a recording."""
    return Trace(
        features=FeatureMaps(item for item in trace.features if item.key.image == index),
        attention=AttentionMaps(item for item in trace.attention if item.key.image == index),
        meta=trace.meta,
        picture=picture,
    )


def _features(own: Trace, settings: Settings, *, last_first: bool) -> Iterator[Sheet]:
    """One picture's, drawn one by one. last_first: the last step first, which a plot's cell shows."""
    for item in _in_order(sheets.chosen_features(own, settings.features), last_first=last_first):
        drawn = sheets.feature_sheet(own, item, settings.features)
        yield Sheet(drawn.image, naming.name(item.key), _title(drawn))


def _attention(own: Trace, settings: Settings, *, last_first: bool) -> Iterator[Sheet]:
    """As `_features`."""
    for attention in _in_order(sheets.chosen_attention(own, settings.attention), last_first=last_first):
        if attention.key.step is not None:
            drawn = sheets.attention_sheet(own, attention, settings.attention)
            yield Sheet(drawn.image, naming.name(attention.key), _title(drawn))


def _in_order(maps: list[M], *, last_first: bool) -> list[M]:
    return sorted(maps, key=lambda item: -(item.key.step or 0)) if last_first else maps


def _title(drawn: Rendered) -> str:
    """The first line of a sheet's caption."""
    return drawn.caption.partition("\n")[0].replace("  ·  ", " · ")


def _passes(trace: Trace, index: int) -> list[Pass]:
    """The passes with word maps of a picture, the last one, which made it, first."""
    there = {
        item.key.pass_ for item in trace.attention if item.key.image == index and item.key.kind == "cross"
    }
    return [pass_ for pass_ in ("hires", "first") if pass_ in there]


def _word(p: Any, trace: Trace, method: Method, index: int, picture: Image.Image) -> Iterator[Sheet]:
    """The heat over the picture of the word that a plot varies.

    Raises SpecError for a word that the prompt does not hold.
    """
    word = axes.word(p)
    if word is None:
        return
    trace = trace.view(Selection(index, "cond", pass_=_passes(trace, index)[0]))
    texts = trace.token_texts(cross_maps(trace, common=True)[0])
    for heat in word_maps(trace, tokens.select(texts, [word]), method=method, picture=picture):
        yield Sheet(sheets.word_picture(picture, heat), naming.word(1, heat.word), f"heat of {heat.word}")


def _infotext(text: str, sheet: Sheet) -> str:
    """The picture's own, so that the gallery's Save and Zip work (ui_common.py:126), and what this is."""
    return f"{text}, {CAPTION}: {sheet.caption}"


def _save(p: Any, sheet: Sheet, picture: Image.Image, infotext: str) -> None:
    """Save by the webui's own saver: beside the picture, with its name and a suffix."""
    from modules import images, shared

    options: dict[str, Any] = {"extension": shared.opts.samples_format, "info": infotext, "p": p}
    saved_as = getattr(picture, "already_saved_as", None)
    if saved_as is None:
        options |= {"seed": p.all_seeds[0], "prompt": p.prompt, "suffix": f"-{sheet.name}"}
        images.save_image(sheet.image, p.outpath_samples, "", **options)
        return
    beside = Path(str(saved_as).partition("?")[0])
    options |= {"forced_filename": f"{beside.stem}-{sheet.name}", "save_to_dirs": False}
    images.save_image(sheet.image, str(beside.parent), "", **options)


def _dumps(p: Any, trace: Trace, settings: Settings, pictures: list[Image.Image]) -> Iterator[str]:
    """One file for each picture and place: features and attention have their own, often the same.

    Yields what is to be said of each.
    """
    wanted: dict[Path, dict[str, Any]] = {}
    for name, maps in (("features", trace.features), ("attention", trace.attention)):
        section = getattr(settings, name)
        if section.enabled and section.dump and maps:
            wanted.setdefault(paths.folder(section.path), {})[name] = maps
    stem = paths.dump_name(p)
    for folder, content in wanted.items():
        for image, picture in enumerate(pictures):
            whole = Trace(**content, meta=trace.meta, notes=trace.notes, picture=picture)
            if image in whole.images:
                numbered = stem if len(pictures) == 1 else f"{stem}-image{image + 1}"
                try:
                    yield f"wrote {save_trace(whole, paths.new_file(folder, numbered), image=image)}"
                except Exception as error:
                    yield f"no dump {numbered} in {folder}: {reason(error)}"
