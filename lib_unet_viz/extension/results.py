"""What becomes of a recording: sheets in the gallery and beside the picture, dumps, and words about both.

References are to the webui's v1.10.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from lib_unet_viz.capture.dump import save_trace
from lib_unet_viz.capture.hooks import reason
from lib_unet_viz.drawing import naming, sheets
from lib_unet_viz.drawing.render import Rendered
from lib_unet_viz.extension import axes, paths
from lib_unet_viz.maps.words import cross_maps, word_maps
from lib_unet_viz.notation import tokens
from lib_unet_viz.settings import Method, Settings
from lib_unet_viz.trace import AttentionMaps, FeatureMaps, Pass, Trace

CAPTION = "U-Net Viz sheet"  # the infotext's key of what a sheet shows
PASSES: dict[Pass, str] = {"first": "", "hires": " (hires pass)"}


@dataclass(frozen=True)
class Sheet:
    """One picture of ours: a name for its file, what it shows in words."""

    image: Image.Image
    name: str
    caption: str


More = Callable[[int, Image.Image, list[str]], Iterable[Sheet]]


def add(processed: Any, p: Any, trace: Trace, settings: Settings, more: More | None = None) -> None:
    """Put each picture's sheets after it, save them, write the dumps, and say what happened.

    more: sheets of a picture, by its index, that come before the others; it may add to what is said. What
    goes wrong is said, too.
    """
    said = list(trace.notes)
    try:
        _put(processed, p, trace, settings, more, said)
    except Exception as error:
        said.append(f"no sheets and dumps were made: {reason(error)}")
    _say(processed, said)


def _put(
    processed: Any, p: Any, trace: Trace, settings: Settings, more: More | None, said: list[str]
) -> None:
    images, infotexts = blocks_of(processed)
    shown: list[Image.Image] = processed.images[: processed.index_of_first_image]
    texts: list[str] = processed.infotexts[: processed.index_of_first_image]
    pictures = {}
    for index, (block, text) in enumerate(zip(images, infotexts, strict=True)):
        pictures[index] = block[0]
        parts = (
            () if more is None else more(index, block[0], said),
            _word(p, trace, settings.method, index, block[0]),
            _words(trace, settings, index, block[0], said),
            _features(_own(trace, index, block[0]), settings),
            _attention(_own(trace, index, block[0]), settings),
        )
        drawn = chain.from_iterable(_drawable(part, index, said) for part in parts)
        made = _kept(p, drawn, settings, block[0], text, said)
        shown += [*block, *(sheet.image for sheet in made)]
        texts += [text] * len(block) + [_infotext(text, sheet) for sheet in made]
    said += _dumps(p, trace, settings, pictures)
    at = next((place for place, text in enumerate(texts) if CAPTION in text), None)
    if at is not None and axes.varied(p):  # a plot's cell is its first image
        shown.insert(processed.index_of_first_image, shown.pop(at))
        texts.insert(processed.index_of_first_image, texts.pop(at))
    processed.images[:] = shown
    processed.infotexts[:] = texts


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


def _drawable(drawn: Iterable[Sheet], index: int, said: list[str]) -> Iterator[Sheet]:
    """The sheets up to one that cannot be drawn: the picture is there anyway."""
    try:
        yield from drawn
    except Exception as error:
        said.append(f"not all sheets of picture {index + 1} could be drawn: {reason(error)}")


def _kept(
    p: Any, drawn: Iterable[Sheet], settings: Settings, picture: Image.Image, text: str, said: list[str]
) -> list[Sheet]:
    """The sheets of one picture that are to be shown; all are saved, if that is wanted."""
    output, shown, hidden = settings.output, list[Sheet](), 0
    save = output.save and p.save_samples()
    for sheet in drawn:
        if output.show and len(shown) < max(0, output.limit):
            shown.append(sheet)
        elif save:
            hidden += 1
        else:
            hidden += 1
            break  # neither shown nor saved: no need to draw more
        if save:
            try:
                _save(p, sheet, picture, _infotext(text, sheet))
            except Exception as error:
                said.append(f"the sheet {sheet.name} could not be saved: {reason(error)}")
    if hidden and output.show:
        rest = f"{hidden} more sheets are saved" if save else "more sheets are neither drawn nor saved"
        said.append(f"{rest}, as at most {output.limit} are shown for each picture")
    return shown


def _words(
    trace: Trace, settings: Settings, index: int, picture: Image.Image, said: list[str]
) -> Iterator[Sheet]:
    """One picture's word maps, of each pass."""
    if settings.heatmaps:
        for pass_ in _passes(trace, index):
            title = f"Word heat maps{PASSES[pass_]}  ·  {settings.method}"
            caption = f"{title}\nthe part of the picture that each word drove"
            try:
                drawn_words = sheets.word_sheet(
                    trace, picture, method=settings.method, image=index, pass_=pass_, caption=caption
                )
                yield Sheet(drawn_words, f"words{'-hires' * (pass_ == 'hires')}", f"words{PASSES[pass_]}")
            except ValueError as error:
                said.append(f"no word heat maps of picture {index + 1}: {error}")


def _own(trace: Trace, index: int, picture: Image.Image) -> Trace:
    """One picture's part of a recording."""
    return Trace(
        features=FeatureMaps(item for item in trace.features if item.key.image == index),
        attention=AttentionMaps(item for item in trace.attention if item.key.image == index),
        meta=trace.meta,
        picture=picture,
    )


def _features(own: Trace, settings: Settings) -> Iterator[Sheet]:
    """One picture's, drawn one by one."""
    for item in sheets.chosen_features(own, settings.features):
        drawn = sheets.feature_sheet(own, item, settings.features)
        yield Sheet(drawn.image, naming.name(item.key), _title(drawn))


def _attention(own: Trace, settings: Settings) -> Iterator[Sheet]:
    """One picture's, drawn one by one."""
    for attention in sheets.chosen_attention(own, settings.attention):
        if attention.key.step is not None:
            drawn = sheets.attention_sheet(own, attention, settings.attention)
            yield Sheet(drawn.image, naming.name(attention.key), _title(drawn))


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
    trace = sheets.of_pass(trace, _passes(trace, index)[0])
    texts = trace.token_texts(cross_maps(trace, image=index, common=True)[0])
    for heat in word_maps(trace, tokens.select(texts, [word]), image=index, method=method):
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


def _dumps(p: Any, trace: Trace, settings: Settings, pictures: dict[int, Image.Image]) -> Iterator[str]:
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
        for image, picture in pictures.items():
            whole = Trace(**content, meta=trace.meta, notes=trace.notes, picture=picture)
            if image in whole.images:
                numbered = stem if len(pictures) == 1 else f"{stem}-image{image + 1}"
                try:
                    yield f"wrote {save_trace(whole, paths.new_file(folder, numbered), image=image)}"
                except Exception as error:
                    yield f"no dump {numbered} in {folder}: {reason(error)}"


def _say(processed: Any, lines: list[str]) -> None:
    """Under the result in the page, and in what a request gets as `info`."""
    if lines:
        text = "\n".join(f"U-Net Viz: {line}" for line in lines)
        processed.comments += f"{text}\n"
        processed.extra_generation_params = {**processed.extra_generation_params, "U-Net Viz notes": text}
