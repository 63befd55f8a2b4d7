"""What a study is: a page of TOML, read and checked.

    title = "Which block takes a colour up?"
    seeds = [1, 2, 3]
    measures = ["distance", {name = "found", words = "{old}, {new}"}]
    reference = "plain"

    [[prompts]]
    text = "a big {word} circle"
    old = "red"
    new = "blue"

    [[variants]]
    name = "plain"
    word = "{old}"

    [[variants]]
    name = "only this block"
    word = "(~:{block}: {new}; _: {old}:~)"

A prompt's text has places in braces, which its own values, and the variant's, fill. A variant that names
{block} is run for each block; one with `edits` is an edit of the prompt.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from importlib import import_module
from pathlib import Path
from typing import Any

from lib_unet_viz.notation.specs import BlockSpec
from lib_unet_viz.studies.measures import MEASURES, Measure, of_others
from lib_unet_viz.studies.templates import StudyError, filled

SHIPPED = Path(__file__).parent
BLOCK = "block"
COLUMNS = ("prompt", "seed", "variant", BLOCK, "text", "measure", "of", "at_block", "head", "step", "value")


@dataclass(frozen=True)
class Variant:
    """One way to make a prompt's picture. values: what fills places; edits: lines of edits, or none."""

    name: str
    values: Mapping[str, str] = field(default_factory=dict)
    edits: str = ""

    @property
    def by_block(self) -> bool:
        """Whether it is run for each block."""
        return any(f"{{{BLOCK}}}" in text for text in (*self.values.values(), self.edits))


@dataclass(frozen=True)
class Group:
    """All variants of one prompt and one seed, which are run together. number: its place in the study."""

    number: int
    prompt: int
    seed: int


@dataclass(frozen=True)
class Study:
    """A study that can be run. source: its TOML, as it was given.

    model: a diffusers folder, a checkpoint file or a hub id; blank is the bundled one. blocks: what {block}
    goes through, as a block spec; blank is all that read a text. record: settings of what dumps hold besides
    what the measures need. by: what the report groups by.
    """

    source: str
    title: str
    prompts: tuple[Mapping[str, str], ...]
    variants: tuple[Variant, ...]
    measures: tuple[Measure, ...]
    reference: str
    seeds: tuple[int, ...] = (0,)
    model: str = ""
    steps: int = 20
    cfg: float = 7.5
    negative: str = ""
    blocks: str = ""
    dumps: bool = False
    record: Mapping[str, Any] = field(default_factory=dict)
    by: tuple[str, ...] = ("variant",)

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read a file, or a shipped study by its name, such as "blocks". Raises StudyError, SpecError."""
        shipped = SHIPPED / f"{path}.toml"
        found = shipped if not Path(path).exists() and shipped.exists() else Path(path)
        try:
            return cls.parse(found.read_text(encoding="utf-8"))
        except (FileNotFoundError, IsADirectoryError):
            known = ", ".join(sorted(each.stem for each in SHIPPED.glob("*.toml")))
            raise StudyError(f"there is no study {path}; shipped with the program: {known}") from None
        except UnicodeDecodeError:
            raise StudyError(f"{path} is no text") from None

    @classmethod
    def parse(cls, source: str) -> Study:
        """Read TOML. Raises StudyError for what is wrong, SpecError for wrong blocks."""
        given = _toml(source)
        known = {each.name: each for each in fields(cls) if each.name != "source"}
        _known(given, known, "the study")
        missing = [name for name in ("title", "prompts", "variants", "measures") if name not in given]
        if missing:
            raise StudyError(f"the study lacks {', '.join(missing)}")
        variants = tuple(_variant(each) for each in _tables(given["variants"], "variants"))
        study = cls(
            **{
                **{name: given[name] for name in given if name in known},
                "source": source,
                "prompts": tuple(_prompt(each) for each in _tables(given["prompts"], "prompts")),
                "variants": variants,
                "measures": tuple(_measure(each) for each in _list(given["measures"], "measures")),
                "reference": given.get("reference", variants[0].name),
                "seeds": _seeds(given.get("seeds", [0])),
                "by": tuple(_list(given.get("by", ["variant"]), "by")),
            }
        )
        study._check()
        return study

    def groups(self) -> list[Group]:
        """Prompts by seeds, in the order of the table."""
        pairs = itertools.product(range(len(self.prompts)), self.seeds)
        return [Group(number, prompt, seed) for number, (prompt, seed) in enumerate(pairs)]

    @property
    def columns(self) -> list[str]:
        """Names of the prompts' own values, which become columns of the table."""
        return list(dict.fromkeys(name for prompt in self.prompts for name in prompt if name != "text"))

    def runs(self, group: Group, blocks: Sequence[str]) -> Iterator[tuple[Variant, str, dict[str, str]]]:
        """The runs of a group, the reference's first: variant, its block or "", and what fills places."""
        row = self.prompts[group.prompt]
        for variant in sorted(self.variants, key=lambda variant: variant.name != self.reference):
            for block in blocks if variant.by_block else [""]:
                values = {**{name: row.get(name, "") for name in self.columns}, BLOCK: block}
                values |= {name: filled(text, values) for name, text in variant.values.items()}
                edits = filled(variant.edits, values)
                yield variant, block, {**values, "text": filled(row["text"], values), "edits": edits}

    def _check(self) -> None:
        names = [variant.name for variant in self.variants]
        if len(set(names)) < len(names):
            raise StudyError(f"two variants have one name: {', '.join(names)}")
        if self.reference not in names or self.variants[names.index(self.reference)].by_block:
            raise StudyError(
                f"the reference is {self.reference!r}; it is one of the variants without a block"
            )
        types = {"title": str, "model": str, "negative": str, "blocks": str, "steps": int, "dumps": bool}
        for name, kind in types.items():
            if type(getattr(self, name)) is not kind:
                raise StudyError(f"{name} is {getattr(self, name)!r}; expected {kind.__name__}")
        if not 1 <= self.steps <= 1000 or not isinstance(self.cfg, int | float):
            raise StudyError(f"steps are {self.steps}, cfg is {self.cfg}; expected 1 to 1000, and a number")
        BlockSpec.parse(self.blocks)
        _known(dict.fromkeys(self.by), [*COLUMNS[:-1], *self.columns], "by")
        for group in self.groups()[:: len(self.seeds)]:
            for _, _, values in self.runs(group, ["M00"]):
                for measure in self.measures:
                    measure.filled(values)


def _toml(source: str) -> dict[str, Any]:
    tomllib: Any = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        found: dict[str, Any] = tomllib.loads(source)
        return found
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise StudyError(f"the study is no TOML: {error}") from None


def _prompt(given: Mapping[str, Any]) -> Mapping[str, str]:
    taken = [name for name in given if name in COLUMNS and name != "text"]
    if "text" not in given or taken:
        raise StudyError(f"a prompt has a text, and values of other names than {', '.join(COLUMNS)}: {given}")
    return {name: _text(value, f"prompts.{name}") for name, value in given.items()}


def _variant(given: Mapping[str, Any]) -> Variant:
    texts = {name: _text(value, f"variants.{name}") for name, value in given.items()}
    if "name" not in texts:
        raise StudyError(f"a variant lacks its name: {given}")
    return Variant(texts.pop("name"), edits=texts.pop("edits", ""), values=texts)


def _measure(given: Any) -> Measure:
    options = {"name": given} if isinstance(given, str) else dict(given) if isinstance(given, Mapping) else {}
    kinds = {**MEASURES, **of_others()}
    kind = kinds.get(str(options.pop("name", "")))
    if kind is None:
        raise StudyError(f"there is no measure {given!r}; there are {', '.join(kinds)}")
    _known(options, [each.name for each in fields(kind)], f"the measure {given!r}")
    return kind(**{name: _text(value, f"measures.{name}") for name, value in options.items()})


def _seeds(given: Any) -> tuple[int, ...]:
    seeds = _list(given, "seeds")
    if not seeds or any(type(seed) is not int or seed < 0 for seed in seeds):
        raise StudyError(f"seeds are {given!r}; expected a list of whole numbers from 0 on")
    return tuple(dict.fromkeys(seeds))


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str):
        raise StudyError(f"{name} is {value!r}; expected a text")
    return value


def _list(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise StudyError(f"{name} is {value!r}; expected a list")
    return value


def _tables(value: Any, name: str) -> list[Mapping[str, Any]]:
    if not all(isinstance(each, Mapping) for each in _list(value, name)):
        raise StudyError(f"{name} is {value!r}; expected tables, [[{name}]]")
    return list(value)


def _known(given: Mapping[str, Any], known: Mapping[str, Any] | Sequence[str], where: str) -> None:
    for name in given:
        if name not in known:
            raise StudyError(f"{where} knows no {name!r}; allowed: {', '.join(known)}")
