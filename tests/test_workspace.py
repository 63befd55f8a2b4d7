"""The workspace: numbers that read back, measures by hand, and pages that run no script but their own."""

from __future__ import annotations

import json
import re
import zlib
from html.parser import HTMLParser
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from lib_unet_viz.meta import Meta
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, MapLookupError, Selection, Trace
from lib_unet_viz.workspace import contents, numbers, page
from lib_unet_viz.workspace.bundle import Bundle, BundleError
from lib_unet_viz.workspace.contents import Choice

TOKENS = [BOS, "red</w>", "cir", "cle</w>", EOS, EOS]
BLOCKS = ["IN00", "IN01", "M00", "OUT00", "OUT01"]
SHELL = (
    '<!doctype html><html lang="en"><head><title>{{title}}</title><style>{{style}}</style></head><body>'
    '<script type="application/json" id="uv-manifest">{{manifest}}</script>'
    '<script type="application/octet-stream;base64" id="uv-numbers">{{numbers}}</script>'
    "<script>{{script}}</script></body></html>"
)


def features(block: str, step: int, *, seed: int = 0, channels: int = 3, side: int = 4) -> FeatureMap:
    generator = torch.Generator().manual_seed(seed + step)
    return FeatureMap(
        Key(block, "features", step=step), torch.randn(channels, side, side, generator=generator), 2.0
    )


def attention(step: int | None, *, heads: int = 2, block: str = "M00") -> AttentionMap:
    generator = torch.Generator().manual_seed(step or 0)
    values = torch.rand(heads, len(TOKENS), 2, 3, generator=generator).softmax(1)
    return AttentionMap(Key(block, "QK", 0, "cross", step), values)


def recorded(seed: int = 0, **meta: Any) -> Trace:
    known = {"prompt": "red circle", "seed": 7, "blocks": BLOCKS, "tokens": {"cond": TOKENS}, "steps": 9}
    trace = Trace(meta=Meta.of({**known, **meta}), picture=Image.new("RGB", (8, 6), "red"))
    for step in (0, 4, 8):
        trace.features.add(features("OUT01", step, seed=seed))
        trace.attention.add(attention(step))
    trace.attention.add(attention(None, heads=1))
    return trace


def planes(bundle: Bundle, where: dict[str, Any]) -> npt.NDArray[np.float64]:
    """As the script reads them: (n, y, x)."""
    raw = zlib.decompress(bundle.numbers[where["at"] : where["at"] + where["bytes"]])
    count, (height, width) = where["planes"], where["shape"]
    low = np.frombuffer(raw, "<f4", count).astype(np.float64)[:, None, None]
    high = np.frombuffer(raw, "<f4", count, 4 * count).astype(np.float64)[:, None, None]
    levels = np.frombuffer(raw, np.uint8, offset=8 * count).reshape(count, height, width)
    values: npt.NDArray[np.float64] = np.where(levels == 255, np.nan, low + (high - low) * levels / 254)
    return values


def held(bundle: Bundle, run: int = 0, **wanted: Any) -> dict[str, Any]:
    [found] = [
        each
        for each in bundle.manifest["runs"][run]["maps"]
        if all(each[name] == value for name, value in wanted.items())
    ]
    return dict(found)


# Numbers -------------------------------------------------------------------------------------------------


def test_values_come_back_to_half_a_level_of_their_picture() -> None:
    values = (
        np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
        * np.float32(10) ** np.arange(-2, 3, dtype=np.float32)[:, None, None]
    )
    values[1, 2, 3], values[2, 0, 0], values[3] = np.nan, np.inf, 4.5
    values[4] = np.nan
    where = numbers.Numbers().planes(numbers.deflated(values), values.shape)
    found = planes(Bundle({}, numbers.deflated(values)), where)
    known = np.isfinite(values)
    assert (np.isfinite(found) == known).all()
    span = np.array(
        [np.ptp(plane[np.isfinite(plane)]) if np.isfinite(plane).any() else 0 for plane in values]
    )
    error = np.abs(np.where(known, found - values, 0)).max((1, 2))
    assert (error <= span / 508 * (1 + 1e-5) + 1e-6 * np.abs(values[known]).max()).all()
    assert (found[3] == 4.5).all()


def test_the_largest_numbers_do_not_overflow() -> None:
    values = np.array([[[-3.4e38, 3.4e38]]], np.float32)
    found = planes(
        Bundle({}, numbers.deflated(values)), numbers.Numbers().planes(numbers.deflated(values), (1, 1, 2))
    )
    assert found == pytest.approx(values.astype(np.float64), rel=1e-6)


# The manifest --------------------------------------------------------------------------------------------


def test_a_map_is_found_by_what_the_manifest_says_of_it() -> None:
    trace = recorded()
    bundle = Bundle.of([trace])
    entry = held(bundle, kind="features", step=5)
    assert (entry["block"], entry["axes"], entry["shape"]) == ("OUT01", ["channel", "y", "x"], [3, 4, 4])
    wanted = trace.features.one(step=5).planes()
    assert planes(bundle, entry["values"]) == pytest.approx(wanted, abs=float(np.ptp(wanted)) / 500)


def test_of_cross_attention_only_words_are_kept_in_the_order_of_planes() -> None:
    trace = recorded()
    bundle = Bundle.of([trace])
    entry = held(bundle, kind="QK", step=9)
    assert (entry["tokens"], entry["labels"], entry["shape"]) == (
        [1, 2, 3],
        ["red", "cir", "cle"],
        [2, 3, 2, 3],
    )
    wanted = trace.attention.one(step=9).numpy()[:, [1, 2, 3]].reshape(6, 2, 3)
    assert planes(bundle, entry["values"]) == pytest.approx(wanted, abs=float(np.ptp(wanted)) / 500)


def test_tokens_that_a_recording_left_out_are_not_asked_for() -> None:
    trace = Trace(meta=Meta.of({"tokens": {"cond": TOKENS}}))
    values = torch.rand(2, 2, 2, 3)
    trace.attention.add(AttentionMap(Key("M00", "QK", 0, "cross", 0), values, tokens=[3, 4]))
    bundle = Bundle.of([trace])
    entry = held(bundle)
    assert entry["tokens"] == [3]
    assert planes(bundle, entry["values"]) == pytest.approx(values[:, 0].numpy(), abs=1 / 500)


def test_a_run_says_what_it_is() -> None:
    [run] = Bundle.of(
        [recorded(sigmas=[9.0, 8, 7, 6, 5, 4, 3, 2, 1], shapes={"IN00": [32, 16, 8]})]
    ).manifest["runs"]
    assert (run["prompt"], run["seed"], run["which"]) == ("red circle", 7, "image 0, prompt, first pass")
    assert run["steps"] == [{"step": 1, "sigma": 9.0}, {"step": 5, "sigma": 5}, {"step": 9, "sigma": 1}]
    assert [(block["name"], block["path"], block["skip"]) for block in run["blocks"]] == [
        ("IN00", "in", "OUT01"),
        ("IN01", "in", "OUT00"),
        ("M00", "mid", None),
        ("OUT00", "out", None),
        ("OUT01", "out", None),
    ]
    assert (run["blocks"][0]["channels"], run["blocks"][0]["size"]) == (32, [16, 8])
    assert (run["blocks"][4]["channels"], run["blocks"][4]["size"]) == (3, [4, 4])
    assert run["blocks"][1]["size"] is None
    [bare] = Bundle.of([recorded()]).manifest["runs"]
    assert bare["steps"][1] == {"step": 5, "sigma": 2.0}
    assert run["tokens"] == ["BOS", "red", "cir", "cle", "EOS", "EOS"]
    assert [(word["text"], word["tokens"]) for word in run["words"]] == [("red", [1]), ("circle", [2, 3])]


def test_the_picture_is_kept_without_loss() -> None:
    import io

    picture = Image.effect_noise((40, 30), 80).convert("RGB")
    trace = recorded()
    trace.picture = picture
    bundle = Bundle.of([trace])
    where = bundle.manifest["runs"][0]["picture"]
    file = io.BytesIO(bundle.numbers[where["at"] : where["at"] + where["bytes"]])
    assert (np.asarray(Image.open(file).convert("RGB")) == np.asarray(picture)).all()


def test_measures_are_what_their_names_say() -> None:
    trace = recorded()
    [run] = Bundle.of([trace]).manifest["runs"]
    norms = [float(np.sqrt((trace.features.one(step=step).numpy() ** 2).mean())) for step in (1, 5, 9)]
    assert run["measures"]["norm"] == {"OUT01": pytest.approx(norms, rel=1e-3)}
    assert run["means"]["norm"] == {"OUT01": pytest.approx(np.mean(norms), rel=1e-3)}
    values = trace.attention.one(step=5).numpy().mean(0)  # token, y, x
    assert run["measures"]["words"]["M00"][1] == pytest.approx(values[1:4].sum(0).mean(), rel=1e-3)
    assert run["measures"]["word"][1]["M00"][1] == pytest.approx(values[2:4].sum(0).mean(), rel=1e-3)
    strength = max(values[at].max() - values[at].mean() for at in (2, 3))
    assert run["words"][1]["by_step"][1] == pytest.approx(strength, rel=1e-3)
    whole = trace.attention.all(layer=0)[-1].numpy()[0]
    assert run["means"]["words"]["M00"] == pytest.approx(whole[1:4].sum(0).mean(), rel=1e-3)
    assert run["measures"]["change"] is None


def test_heads_and_values_that_are_not_finite_are_left_out_of_measures() -> None:
    trace = recorded()
    trace.features[0].data[0, 0, 0] = torch.nan
    trace.attention[0].data[1, 0, 0, 0] = torch.inf
    [run] = Bundle.of([trace]).manifest["runs"]
    known = trace.features[0].numpy().flatten()[1:]
    assert run["measures"]["norm"]["OUT01"][0] == pytest.approx(float(np.sqrt((known**2).mean())), rel=1e-3)
    head = trace.attention[0].numpy()[0]
    assert run["measures"]["words"]["M00"][0] == pytest.approx(head[1:4].sum(0).mean(), rel=1e-3)


def test_of_two_runs_the_second_says_what_changed() -> None:
    before, after = recorded(), recorded(seed=5)
    bundle = Bundle.of([before, after], names=("without", "with"))
    old, new = (trace.features.one(step=1).numpy() for trace in (before, after))
    change = float(np.sqrt(((new - old) ** 2).mean()) / np.sqrt((old**2).mean()))
    runs = bundle.manifest["runs"]
    assert [run["name"] for run in runs] == ["without", "with"]
    assert runs[0]["measures"]["change"] is None
    assert runs[1]["measures"]["change"]["OUT01"][0] == pytest.approx(change, rel=1e-3)


@pytest.mark.parametrize(
    ("given", "shown"), [(("old", "new"), ["old", "new"]), (("trace", "trace"), ["A", "B"])]
)
def test_two_runs_of_one_name_are_told_apart(given: tuple[str, str], shown: list[str]) -> None:
    found = Bundle.of([recorded(), recorded(seed=5)], names=given)
    assert [each["name"] for each in found.manifest["runs"]] == shown


def test_a_run_of_nothing_but_means_has_no_steps() -> None:
    trace = recorded()
    bare = Trace(meta=trace.meta)
    bare.attention.add(attention(None, heads=1))
    [run] = Bundle.of([bare]).manifest["runs"]
    assert run["steps"] == []
    assert run["measures"]["words"] == {}
    assert run["means"]["words"]["M00"] > 0
    assert run["words"][0]["map"]["planes"] == 1
    assert run["picture"] is None


def test_a_run_without_maps_of_words_says_why() -> None:
    trace = Trace(meta=recorded().meta)
    trace.features.add(features("OUT01", 0))
    [run] = Bundle.of([trace]).manifest["runs"]
    assert [word["map"] for word in run["words"]] == [None, None]
    assert any("no cross-attention" in note for note in run["notes"])


def test_a_selection_chooses_the_rows() -> None:
    trace = recorded()
    other = features("OUT01", 0, seed=99)
    other.key = Key("OUT01", "features", step=0, image=2, half="uncond")
    trace.features.add(other)
    with pytest.raises(MapLookupError, match="no maps of image 2"):
        Bundle.of([trace], selection=Selection(2))
    trace = Trace(meta=trace.meta, features=trace.features)
    bundle = Bundle.of([trace], selection=Selection(2))
    assert bundle.manifest["runs"][0]["which"] == "image 2, negative prompt, first pass"
    assert planes(bundle, held(bundle)["values"]) == pytest.approx(other.numpy(), abs=0.02)


@pytest.mark.parametrize("count", [0, 3])
def test_one_run_or_two_can_be_shown(count: int) -> None:
    with pytest.raises(BundleError, match=f"{count} runs were given"):
        Bundle.of([recorded()] * count)


# What goes in --------------------------------------------------------------------------------------------


def test_a_choice_names_blocks_and_steps() -> None:
    trace = recorded()
    trace.features.add(features("IN00", 4))
    bundle = Bundle.of([trace], choice=Choice("IN00,M00", "5-9"))
    chosen = {(each["block"], each["kind"], each["step"]) for each in bundle.manifest["runs"][0]["maps"]}
    assert chosen == {("IN00", "features", 5), ("M00", "QK", 5), ("M00", "QK", 9), ("M00", "QK", None)}
    with pytest.raises(SpecError):
        Bundle.of([trace], choice=Choice("IN77"))


def test_what_does_not_fit_is_named_and_measured_all_the_same() -> None:
    trace = recorded()
    for step in range(9):
        trace.features.add(features("IN00", step, channels=64, side=16))
    whole = Bundle.of([trace])
    half = Bundle.of([trace], most=len(whole.numbers) // 2)
    assert len(half.numbers) <= len(whole.numbers) // 2
    [run] = half.manifest["runs"]
    kept = [each["step"] for each in run["maps"] if each["block"] == "IN00"]
    assert {1, 9} <= set(kept)
    assert 3 <= len(kept) < 9
    assert run["notes"][-1].startswith(f"{9 - len(kept)} maps did not fit")
    assert None not in run["measures"]["norm"]["IN00"]


def test_steps_are_kept_evenly_spread() -> None:
    rank = contents._spread({0, 1, 2, 3, 4, 8, 16})
    assert sorted(rank, key=rank.__getitem__) == [16, 0, 3, 1, 4, 2, 8]
    for count in range(40):
        assert sorted(contents._spread(range(count)).values()) == list(range(count))
    assert contents._spread(set()) == {}
    assert contents._spread({3}) == {3: 0}


# Pages ---------------------------------------------------------------------------------------------------


@pytest.fixture
def _shell(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {"html": SHELL, "css": "p { color: red }", "js": "'use strict'; // {{title}} $1 \\1"}
    monkeypatch.setattr(page, "_static", parts.__getitem__)


class _Scripts(HTMLParser):
    """The elements of a page by name, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.scripts: list[str] = []
        self.title = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, _: Any) -> None:
        self.tags.append(tag)
        self.scripts += [""] * (tag == "script")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script":
            self.scripts[-1] += data
        elif self.tags and self.tags[-1] == "title":
            self.title += data


HOSTILE = (
    "</script><script>alert(1)</script><!-- <script> --!> ]]> \"' & \u2028\u2029 {{script}} {{numbers}}"
    "</title><img src=x onerror=alert(2)>"
)


@pytest.mark.usefixtures("_shell")
def test_a_hostile_run_adds_no_element_to_the_page() -> None:
    trace = recorded(
        prompt=HOSTILE, negative=HOSTILE, model=HOSTILE, tokens={"cond": [BOS, HOSTILE, *TOKENS[1:]]}
    )
    trace.notes.append(HOSTILE)
    bundle = Bundle.of([trace], names=[HOSTILE])
    text = page.text(bundle)
    plain = page.text(Bundle.of([recorded()]))
    found = _Scripts(text)
    assert found.tags == _Scripts(plain).tags
    assert json.loads(found.scripts[0]) == bundle.manifest
    assert bundle.manifest["runs"][0]["prompt"] == HOSTILE
    assert found.title.startswith(HOSTILE[:9])
    assert not re.search(r"[<>&\u2028\u2029]", found.scripts[0])


@pytest.mark.usefixtures("_shell")
def test_a_page_is_its_parts_each_once() -> None:
    bundle = Bundle.of([recorded()])
    found = _Scripts(page.text(bundle, theme="dark"))
    assert found.scripts[2] == "'use strict'; // {{title}} $1 \\1"
    assert page.text(bundle, theme="dark").startswith('<!doctype html><html data-theme="dark" lang="en">')
    assert "data-theme" not in page.text(bundle)


@pytest.mark.usefixtures("_shell")
def test_a_page_is_not_larger_than_asked() -> None:
    trace = recorded()
    for step in range(9):
        trace.features.add(features("IN00", step, channels=320, side=32))
    most = 2_500_000
    text = page.text(Bundle.of([trace], most=page.room(most)))
    assert most / 2 < len(text.encode()) <= most
    with pytest.raises(BundleError, match=r"needs .* of them texts; allowed: 2,500,000"):
        page.text(Bundle.of([recorded(prompt="x" * 3_000_000)]), most=most)
