"""What is fuzzed: everything that reads what people type or hand over. What is wrong is refused in words.

Each target takes bytes, reads them as its kind of text, and does with what was read all that a run would do
with it. `seeds` are where the search begins, `WORDS` what it may put in.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from lib_unet_viz.capture.dump import DumpError, load_trace, save_trace
from lib_unet_viz.meta import Meta
from lib_unet_viz.notation import edits
from lib_unet_viz.notation.errors import SpecError, ranges
from lib_unet_viz.notation.formula import FUNCTIONS, Formula
from lib_unet_viz.notation.layer_prompt import LayerPrompt
from lib_unet_viz.notation.specs import BlockSpec, Layout, StepSpec
from lib_unet_viz.settings import Settings, SettingsError
from lib_unet_viz.settings.values import read_json
from lib_unet_viz.trace import FeatureMap, Key, Trace

_NAMES = (*(f"IN{n:02d}" for n in range(12)), "M00", *(f"OUT{n:02d}" for n in range(12)))
LAYOUT = Layout(_NAMES, {name: n % 3 for n, name in enumerate(_NAMES)})
LONGEST = 3_000  # of a refusal, in characters
VALUES = np.linspace(-2, 2, 64)


def formula(given: bytes) -> None:
    assert Formula.parse(_text(given))(VALUES).shape == VALUES.shape


def blocks(given: bytes) -> None:
    spec = BlockSpec.parse(_text(given))
    assert set(spec.names(LAYOUT)) == {name for name, _ in spec.sites(LAYOUT)}


def steps(given: bytes) -> None:
    spec = StepSpec.parse(_text(given))
    found = spec.steps(20)
    assert found == [step for step in range(1, 21) if spec.includes(step, 20)]
    assert len(ranges([*found, *spec.beyond(20)])) < 300


def layer_prompt(given: bytes) -> None:
    text = _text(given)
    lenient = LayerPrompt.parse(text, lenient=True)
    assert len(lenient.erased) <= len(text)
    prompt = LayerPrompt.parse(text)
    assert prompt.pending == []
    found = prompt.per_block(LAYOUT)
    assert set(prompt.distinct(LAYOUT)) <= set(found.values())
    assert prompt.common(LAYOUT) in found.values()


def edit(given: bytes) -> None:
    """Up to the first empty line stands the source prompt, below it the edits."""
    source, _, text = _text(given).partition("\n\n")
    edits.first(text)
    for target in edits.targets(source, text):
        for (start, end), (first, last) in target.swapped:
            assert 0 <= start < end <= len(source)
            assert 0 <= first < last <= len(target.prompt)


def settings(given: bytes) -> None:
    values = read_json(_text(given), "settings")
    read = Settings.from_dict(values)
    Settings.asked(values)
    assert Settings.restored(read.changes()) == read
    read.features.capture()
    read.attention.capture()


def dump(given: bytes) -> None:
    """A whole file, header and all."""
    _loaded(given)


def dump_head(given: bytes) -> None:
    """The entry of a file's metadata in which the dump says what it holds."""
    tensors = {"step001/IN00/features/cond": torch.zeros(2, 4, 4)}
    _loaded(save(tensors, metadata={"unet_viz": _text(given)}))


@dataclass(frozen=True)
class Target:
    """What is done with bytes, and how it may refuse them."""

    read: Callable[[bytes], object]
    refusals: tuple[type[ValueError], ...] = (SpecError,)

    def __call__(self, given: bytes) -> None:
        """Raises what is no refusal, and AssertionError where one is long or what was read is wrong."""
        said = "read"
        try:
            self.read(given)
        except self.refusals as refused:
            said = str(refused)
        assert 0 < len(said) < LONGEST, "a refusal in few words"


TARGETS: Mapping[str, Target] = {
    "formula": Target(formula),
    "blocks": Target(blocks),
    "steps": Target(steps),
    "layer_prompt": Target(layer_prompt),
    "edit": Target(edit),
    "settings": Target(settings, (SettingsError, SpecError)),
    "dump": Target(dump, (DumpError,)),
    "dump_head": Target(dump_head, (DumpError,)),
}

_SPECS = ("IN", "OUT", "M00", "IN00-OUT11", "(+2)", "(", ")", ",", "-", "+", ".1", "99999", "²")
_JSON = ("{", "}", "[", "]", ":", ",", "null", "true", "NaN", "Infinity", "1e400", "-1", '""', "\\ud800")
_SETTINGS = tuple(json.dumps(name) for name in Settings().to_dict())
_DUMP = (
    "meta",
    "notes",
    "maps",
    "tensor",
    "axes",
    "sigma",
    "what",
    "block",
    "step",
    "half",
    "features",
    "QK",
)

WORDS: Mapping[str, tuple[str, ...]] = {
    "formula": (
        *FUNCTIONS,
        "v",
        "pi",
        "**",
        "//",
        " if ",
        " else ",
        " and ",
        "not ",
        "1e9",
        "lambda v:",
        "(",
        ")",
    ),
    "blocks": _SPECS,
    "steps": _SPECS,
    "layer_prompt": ("(~:", ":~)", ":", ";", "\\;", "_:", "{{", "}}", "{%", "%}", "${", "}", "__", *_SPECS),
    "edit": ("->", "→", "+ ", " * ", "= ", "---", "\n", "\n\n", ";", "#2", "2.5", "nan", "1e999", "cat"),
    "settings": (*_JSON, *_SETTINGS, '"color"', '"blocks"', '"steps"', '"halves"', '"cross_steps"'),
    "dump": (*_JSON, "__metadata__", "unet_viz", "dtype", "shape", "data_offsets", "F16", "F32", "BF16"),
    "dump_head": (*_JSON, *_DUMP),
}


def seeds() -> dict[str, list[bytes]]:
    """Inputs of each target that can be read, and some that nearly can."""
    corpus = json.loads((_ATTACK / "formulas.json").read_bytes())
    file, head = _dumped()
    texts = {
        "formula": [text for texts in corpus.values() for text in texts if len(text) < 200],
        "blocks": ["", "IN00", "IN00-OUT11(+2)", "in 3 - m0, OUT 11.1", "IN04,IN05.0"],
        "steps": ["", "1", "1,5-20(+5)", "20-1 (+3) , 7", "1-99999(+2)"],
        "layer_prompt": [
            "a cat",
            "a (~: IN00-OUT11: cute ; M00: excellent :~) girl",
            "(~:_: a\\; b;{{x:y}}:c;:~)",
            "(~:${a:b}, __c__: d :~)(~:{a|b}:e:~)",
        ],
        "edit": [
            "a cat with a hat, a cat\n\ncat#2 -> dog; hat * 2.5\n---\n= a dog",
            "a cat\n\n+ wearing a hat; cat + sitting",
            "two cats\n\ntwo ->; cats → dogs",
        ],
        "settings": [json.dumps(Settings().to_dict()), '{"edit": {"cross_steps": {"cat": [0, 0.4]}}}'],
        "dump_head": [head],
    }
    found = {name: [text.encode("utf-8", "surrogatepass") for text in each] for name, each in texts.items()}
    return found | {"dump": [file]}


_ATTACK = Path(__file__).parents[1] / "tests" / "attack"


def _text(given: bytes) -> str:
    return given.decode("utf-8", "replace")


def _dumped() -> tuple[bytes, str]:
    """A small dump: the file, and its entry."""
    trace = Trace(meta=Meta(prompt="a cat", steps=1, tokens={"cond": ["cat</w>"]}, sigmas=[1.0]))
    key = Key("IN00", what="features", half="cond", step=0)
    trace.features.add(FeatureMap(key, torch.zeros(2, 4, 4), 1.0))
    with tempfile.TemporaryDirectory() as folder:
        file = save_trace(trace, Path(folder, "seed")).read_bytes()
    length = int.from_bytes(file[:8], "little")
    return file, json.loads(file[8 : 8 + length])["__metadata__"]["unet_viz"]


def _loaded(file: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as there:
        there.write(file)
        there.flush()
        trace = load_trace(there.name)
        for item in trace.features:
            assert item.data.shape == item.shape
