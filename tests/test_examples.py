"""The examples that the page offers come out right with its own seeds, as the judge of things sees them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gradio")

from lib_unet_viz.app import txt2img  # noqa: E402
from lib_unet_viz.demo import scorer as shapes_scorer  # noqa: E402
from lib_unet_viz.demo.things import scorer  # noqa: E402
from lib_unet_viz.hosts.diffusers.edit import edit  # noqa: E402
from lib_unet_viz.hosts.diffusers.pipeline import Pipeline  # noqa: E402
from lib_unet_viz.settings import EditSettings  # noqa: E402
from lib_unet_viz.ui.edit_tab import EXAMPLES  # noqa: E402
from lib_unet_viz.ui.run_controls import CFG, SEED, STEPS  # noqa: E402

pytestmark = pytest.mark.heavy

DRAWN = ({"rabbit", "sunglasses"}, {"squirrel", "burger"}, {"car", "tree"}, {"blue car"})
EDITED = (
    ({"squirrel", "burger"}, {"lion", "burger"}),
    ({"panda", "red balloon"}, {"panda", "blue balloon"}),
    ({"cat"}, {"cat", "sunglasses"}),
)
SHAPES = (
    {("red", "circle"), ("blue", "square")},
    {("green", "circle"), ("blue", "square")},
    {("red", "star"), ("blue", "square")},
)  # of the fourth


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return Pipeline.load()


def found(pictures: Iterable[Image.Image]) -> list[set[str]]:
    """What each shows, with the colour of what has not its own, and without any."""
    seen = scorer.load().found(np.stack([np.asarray(picture) for picture in pictures]))
    return [{*each, *(f"{thing.color} {name}" for name, thing in each.items())} for each in seen]


@pytest.mark.parametrize(("text", "shown"), list(zip(txt2img.EXAMPLES, DRAWN, strict=True)))
def test_a_prompt_shows_what_it_names(model: Pipeline, text: str, shown: set[str]) -> None:
    [seen] = found([model.picture(text, seed=SEED, steps=STEPS, cfg=CFG)])
    assert shown <= seen


@pytest.mark.parametrize(("example", "shown"), list(zip(EXAMPLES[:3], EDITED, strict=True)))
def test_an_edit_changes_what_it_names(
    model: Pipeline, example: tuple[str, str], shown: tuple[set[str], set[str]]
) -> None:
    text, edits = example
    made = edit(model, text, EditSettings(edits=edits), seed=SEED, steps=STEPS, cfg=CFG)
    assert [wanted <= seen for wanted, seen in zip(shown, found(made.pictures), strict=True)] == [True, True]


def test_an_edit_of_shapes_changes_what_it_names(model: Pipeline) -> None:
    text, edits = EXAMPLES[3]
    made = edit(model, text, EditSettings(edits=edits), seed=SEED, steps=STEPS, cfg=CFG)
    seen = shapes_scorer.load().found(np.stack([np.asarray(picture) for picture in made.pictures]))
    assert [wanted <= kinds for wanted, kinds in zip(SHAPES, seen, strict=True)] == [True] * 3
