"""What people write about a scene of things: articles or tags, synonyms, colours and places, or none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lib_unet_viz.demo.things.catalog import THINGS
from lib_unet_viz.demo.things.grounds import PATTERNS, PLACES, PLAIN
from lib_unet_viz.demo.things.scenes import ACTIONS, PAINTS, Shown, ThingScene

if TYPE_CHECKING:
    from collections.abc import Sequence

SYNONYM = 0.2  # how often one is used
KIND = 0.04  # how often only the kind is said: "an animal"
KINDS = ("animal", "food", "vehicle", "building")
TAGS = 0.15  # share of captions in tags with commas
PART = 0.3  # share of captions in tags that name a part, too
WORDS = {
    "next to": ("next to", "beside", "near"),
    "above": ("above", "over"),
    "below": ("below", "under"),
    "left of": ("left of", "to the left of"),
    "right of": ("right of", "to the right of"),
    "wearing": ("wearing", "wearing", "with"),
    "eating": ("eating",),
    "holding": ("holding", "carrying"),
    "on": ("on", "on top of"),
    "with": ("with",),
    "and": ("and",),
}
OPENINGS = ("a picture of ", "a drawing of ")


def caption(scene: ThingScene, rng: np.random.Generator, *, plainly: bool = False) -> str:
    """Say what a scene shows. A colour that was given is always said, a size and a place not always.

    plainly: in a sentence, without synonyms: each thing by its own name.
    """
    if not plainly and rng.random() < TAGS:
        return _tags(scene, rng)
    names = [_with_article(name) for name in _names(scene, rng, plainly=plainly)]
    text = names[0]
    if len(names) == 2:
        text += f" {_one(WORDS[scene.relation], rng)} {names[1]}"
    if where := _where(scene, rng):
        text += f" {where}"
    return f"{_one(OPENINGS, rng)}{text}" if rng.random() < 0.05 else text


def _tags(scene: ThingScene, rng: np.random.Generator) -> str:
    names = _names(scene, rng)
    if scene.relation in ACTIONS:
        names[1] = f"{scene.relation} {names[1] if rng.random() < 0.5 else _with_article(names[1])}"
    elif len(names) == 2 and scene.relation not in ("and", "with", "next to"):
        names = [f"{names[0]} {scene.relation} {names[1]}"]
    parts = THINGS[scene.things[0].name].part_names
    part = [_one(parts, rng)] if rng.random() < PART else []
    where = _where(scene, rng)
    return ", ".join([*names, *part, *([where] if where else [])])


def _names(scene: ThingScene, rng: np.random.Generator, *, plainly: bool = False) -> list[str]:
    """Size, colour and noun of each: "small red car". What is worn, eaten or held has the size that fits."""
    attached = scene.relation in ACTIONS
    found = []
    for number, thing in enumerate(scene.things):
        size = thing.size if not (attached and number) and rng.random() < 0.5 else ""
        noun = thing.name if plainly else _noun(thing, rng)
        found.append(" ".join(word for word in (size, thing.color, noun) if word))
    return found


def _noun(thing: Shown, rng: np.random.Generator) -> str:
    """Its name; a synonym or its kind now and then."""
    known = THINGS[thing.name]
    if known.kind in KINDS and rng.random() < KIND:
        return known.kind
    return _one(known.words, rng) if known.words and rng.random() < SYNONYM else known.name


def _where(scene: ThingScene, rng: np.random.Generator) -> str:
    if scene.place:
        return _one(PLACES[scene.place], rng) if rng.random() < 0.85 else ""
    pattern = "" if scene.pattern == "plain" else f"{scene.pattern} "
    return f"on a {pattern}{scene.background} background" if rng.random() < 0.6 else ""


def _with_article(name: str) -> str:
    noun = name.rsplit(" ", 1)[-1]
    if noun in ("glasses", "sunglasses", "spectacles", "shades", "cherries"):
        return name
    if name in ("sun", "moon"):
        return f"the {name}"
    return f"an {name}" if name[0] in "aeio" or name.startswith("umb") else f"a {name}"


def _one(words: Sequence[str], rng: np.random.Generator) -> str:
    return words[int(rng.integers(len(words)))]


def vocabulary() -> list[str]:
    """Every word that a caption may hold, and the names of all parts, in the order of the alphabet."""
    texts = [
        *KINDS,
        *OPENINGS,
        *PAINTS,
        *PLAIN,
        *PATTERNS,
        *(phrase for phrases in (*PLACES.values(), *WORDS.values()) for phrase in phrases),
        *(text for thing in THINGS.values() for text in (thing.name, *thing.words, *thing.part_names)),
        "on a background an the small big",
    ]
    return sorted({word for text in texts for word in text.split()})
