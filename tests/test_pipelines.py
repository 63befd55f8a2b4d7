"""What can be asked of each of diffusers' pipelines: what is true is what docs/pipelines.md says.

python tests/test_pipelines.py      # writes the table anew
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("diffusers")

from pipelines import BUILDERS, NEEDS, PICTURE, PROMPT, SIDE, Built, built, called, recorded

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.capture.recorder import Recorder
from lib_unet_viz.capture.request import Capture
from lib_unet_viz.capture.runtime import uncompiled
from lib_unet_viz.hosts import diffusers as host
from lib_unet_viz.hosts.diffusers.edit import edit
from lib_unet_viz.hosts.diffusers.layer_prompts import LayerPrompts
from lib_unet_viz.hosts.diffusers.pipeline import NOTHING, Pipeline
from lib_unet_viz.maps.vxa import trace_picture
from lib_unet_viz.maps.words import word_captures, word_maps
from lib_unet_viz.settings import EditSettings
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet

# StableDiffusionAdapterPipeline, of itself.
pytestmark = pytest.mark.filterwarnings("ignore:The decode_latents method:FutureWarning")

DOCUMENT = Path(__file__).parents[1] / "docs" / "pipelines.md"
ALL = ("cond", "uncond", "perturbed")
# The others take a minute or two.
QUICK = ("Stable Diffusion, image to image",)


def halves(made: Built, rows: int) -> tuple[str, ...]:
    return made.halves if rows == len(made.halves) else ("cond",)


class Watch:
    """What goes in or out of some modules of a U-Net, call by call, by hooks of its own."""

    def __init__(self, unet: UNet, outputs: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
        self.call, self.stance = -1, uncompiled(unet.module)
        self.seen: dict[tuple[str, int], torch.Tensor] = {}
        self.handles = [unet.module.register_forward_pre_hook(self._begin)]
        for name, module in outputs.items():
            self.handles.append(module.register_forward_hook(self._keeper(name, lambda args, out: out)))
        for name, module in inputs.items():
            self.handles.append(module.register_forward_hook(self._keeper(name, lambda args, out: args)))

    def _begin(self, *_: object) -> None:
        self.call += 1

    def _keeper(self, name: str, chosen: Callable[[Any, Any], Any]) -> Callable[[Any, Any, Any], None]:
        def keep(_: Any, args: Any, out: Any) -> None:
            value = chosen(args, out)
            tensor = value if torch.is_tensor(value) else value[0]
            self.seen.setdefault((name, self.call), tensor.detach().clone())

        return keep

    def __enter__(self) -> Watch:
        self.stance.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.stance.__exit__(*error)
        for handle in self.handles:
            handle.remove()


# What is asked.


def features(made: Built) -> None:
    unet = host.attach(made.pipe).unet
    trace = recorded(made, features=Capture(halves=ALL))
    with Watch(unet, {name: block.output_module for name, block in unet.blocks.items()}, {}) as watch:
        called(made)
    expected = {
        (name, call, half): out[at]
        for (name, call), out in watch.seen.items()
        for at, half in enumerate(halves(made, len(out)))
    }
    assert len(expected) >= len(unet.blocks) * made.steps // 2
    assert len(trace.features) == len(expected)
    for item in trace.features:
        key = (item.key.block, item.key.step, item.key.half)
        assert torch.equal(item.data, expected[key]), key  # type: ignore[index]


def attention(made: Built) -> None:
    unet = host.attach(made.pipe).unet
    asked = Capture(what="Q,K,QK,VQK", kinds="cross,self", halves=ALL)
    trace = recorded(made, attention=asked)
    with Watch(unet, {}, {site.name: site.to_out for site in unet.sites}) as watch:
        called(made)
    compared = 0
    for item in trace.attention:
        if item.key.what == "QK":
            torch.testing.assert_close(item.data.sum(1), torch.ones_like(item.data[:, 0]))
        if item.key.what != "VQK" or (item.key.kind == "cross" and not made.shown):
            continue
        values = watch.seen[f"{item.key.block}.{item.key.layer} {item.key.kind}", item.key.step]  # type: ignore[index]
        order = made.halves if len(values) > 1 else ("cond",)
        mixed = values[order.index(item.key.half)].unflatten(-1, (item.shape[0], -1))
        torch.testing.assert_close(item.data.flatten(2), mixed.permute(1, 2, 0), rtol=1e-3, atol=1e-4)
        compared += 1
    assert compared >= made.steps
    assert {item.key.what for item in trace.attention} == {"Q", "K", "QK", "VQK"}
    assert {item.key.block for item in trace.attention} == {site.block for site in unet.sites}


def words(made: Built) -> None:
    trace = recorded(made, attention=word_captures())
    heats = word_maps(trace)
    assert [heat.word for heat in heats] == PROMPT.split()
    assert all(np.isfinite(heat.values).all() and heat.values.max() > 0 for heat in heats)


def layers(made: Built) -> None:
    if "prompt_embeds" in made.arguments(1):
        model = Pipeline(made.pipe, "small")
        model.generate("a (~: M00: red :~) circle", settings=NOTHING, arguments=made.arguments(1))
    unet = host.attach(made.pipe).unet
    asked = Capture(what="K", kinds="cross", steps="1", halves=ALL)

    def run(prompt: str) -> tuple[Any, Trace]:
        prompts = LayerPrompts(made.pipe, prompt, **made.encoding)
        calls = host.attach(made.pipe).calls
        with Recorder(unet, attention=asked, calls=calls) as trace, prompts.contexts():
            return called(made, **prompts.arguments), trace

    plain, common = run("a circle")
    assert plain.tobytes() == called(made, prompt=["a circle"]).tobytes()
    _, other = run("a red circle")
    mixed, trace = run("a (~: M00: red :~) circle")
    assert mixed.tobytes() != plain.tobytes()
    for item in trace.attention:
        own = item.key.block == "M00" and item.key.half != "uncond"
        [same] = [each for each in (other if own else common).attention if each.key == item.key]
        torch.testing.assert_close(item.data, same.data, rtol=1e-3, atol=1e-4)


def edits(made: Built) -> None:
    host.attach(made.pipe)
    model = Pipeline(made.pipe, "small")
    options = {"steps": made.steps, "seed": 1, "size": (SIDE, SIDE)}

    def pictures(**settings: Any) -> list[bytes]:
        arguments = dict(made.arguments(2))
        cfg = arguments.pop("guidance_scale", 7.5)
        steps = arguments.pop("num_inference_steps", made.steps)
        asked = EditSettings(edits="red -> blue", blend=False, **settings)
        found = edit(model, PROMPT, asked, **{**options, "steps": steps}, cfg=cfg, arguments=arguments)
        return [np.asarray(picture).tobytes() for picture in found.pictures]

    unedited = pictures(cross_steps="0", self_steps="0")
    raw = called(
        made, 2, prompt=[PROMPT, "blue circle"], guidance_scale=made.arguments(2).get("guidance_scale", 7.5)
    )
    plain = [(each * 255).round().astype("uint8").tobytes() for each in raw]
    assert unedited == plain
    source, target = pictures(cross_steps="1", self_steps="1")
    assert source == plain[0]
    assert target not in plain


def own_pictures(made: Built) -> None:
    host.attach(made.pipe)
    model = Pipeline(made.pipe, "small")
    trace = trace_picture(model, PICTURE, PROMPT, draws=1, timestep=(1, 500))
    assert [heat.word for heat in word_maps(trace)] == PROMPT.split()
    asked = EditSettings(edits="red -> blue", blend=False)
    found = edit(model, PROMPT, asked, picture=PICTURE, steps=2)
    assert len(found.pictures) == 2
    assert np.isfinite(list(found.errors.values())).all()


def dumps(made: Built) -> None:
    trace = recorded(
        made, features=Capture("M00"), attention=[Capture("M00", what="QK,VQK"), *word_captures()]
    )
    with TemporaryDirectory() as folder:
        save_trace(trace, Path(folder) / "run.safetensors")
        again = load_trace(Path(folder) / "run.safetensors")
        for one, other in zip(
            [*trace.features, *trace.attention], [*again.features, *again.attention], strict=True
        ):
            assert one.key == other.key
            assert torch.equal(one.data, other.data)
        for heat, read in zip(word_maps(trace), word_maps(again), strict=True):
            assert (heat.word, heat.values.tobytes()) == (read.word, read.values.tobytes())


ASKED: dict[str, Callable[[Built], None]] = {
    "block features": features,
    "Q, K, QK, VQK": attention,
    "word maps": words,
    "layer prompts": layers,
    "edits": edits,
    "pictures of one's own": own_pictures,
    "dumps read again": dumps,
}


def answers(name: str) -> list[str]:
    """Of each thing that is asked "yes", or why not: what the refusal said."""
    found = []
    for ask in ASKED.values():
        with built(name) as made:
            try:
                ask(made)
                found.append("yes")
            except ValueError as error:
                found.append(str(error))
    return found


# The table.


def table(rows: Mapping[str, list[str]]) -> str:
    reasons = list(dict.fromkeys(cell for cells in rows.values() for cell in cells if cell != "yes"))
    lines = [f"| pipeline | {' | '.join(ASKED)} |", "|---" * (len(ASKED) + 1) + "|"]
    for name, cells in rows.items():
        shown = ["yes" if cell == "yes" else f"no ({reasons.index(cell) + 1})" for cell in cells]
        lines.append(f"| {name} | {' | '.join(shown)} |")
    return "\n".join([*lines, "", *(f"{number}. {text}" for number, text in enumerate(reasons, start=1))])


def documented() -> dict[str, list[str]]:
    text = DOCUMENT.read_text(encoding="utf-8")
    reasons = dict(re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE))
    rows = [[cell.strip() for cell in line[1:-1].split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert rows[0] == ["pipeline", *ASKED]
    return {
        name: [re.sub(r"no \((\d+)\)", lambda found: reasons[found[1]], cell) for cell in cells]
        for name, *cells in rows[2:]
    }


def test_the_table_has_every_pipeline() -> None:
    assert list(documented()) == list(BUILDERS)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.heavy) for name in BUILDERS]
)
def test_what_can_be_asked_of_each_pipeline(name: str) -> None:
    for part, needed in NEEDS.items():
        if part in name:
            pytest.importorskip(needed)
    assert answers(name) == documented()[name]


def main() -> None:
    torch.set_num_threads(1)
    found = table({name: answers(name) for name in BUILDERS})
    text = DOCUMENT.read_text(encoding="utf-8")
    before, after = text.split("<!-- table -->")[0], text.split("<!-- end -->")[1]
    DOCUMENT.write_text(f"{before}<!-- table -->\n{found}\n<!-- end -->{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
