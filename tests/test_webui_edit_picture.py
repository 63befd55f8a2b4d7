"""Editing a picture of one's own in the webui, without a webui: by its route and in its tab.

The modules stood in for are those of test_webui_glue; a real webui is asked in tests/webui/.
"""

from __future__ import annotations

import base64
import gc
from collections.abc import Callable, Iterator
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from test_edit import hooks
from test_webui_glue import modules
from torch import Tensor
from torch.nn import functional

from lib_unet_viz.drawing import edit_sheets
from lib_unet_viz.editing.edited import Edited
from lib_unet_viz.editing.uploaded import LIMIT, PSNR, RMSE
from lib_unet_viz.notation.specs import SpecError
from lib_unet_viz.notation.tokens import BOS, EOS
from lib_unet_viz.settings import EditSettings, SettingsError

gr = pytest.importorskip("gradio")

__all__ = ["modules"]
# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
PROMPT = "a red circle"
ME = ("me", 0, 0)  # whose run it is, and how often picture and mask were changed
SWAP = EditSettings(enabled=True, edits="red -> green", threshold=0.5)
STEPS = 2


@pytest.fixture(autouse=True, scope="module")
def _tidy() -> Iterator[None]:
    yield
    gc.collect()


class Checkpoint:
    """A LatentDiffusion whose text encoder reads word by word, and whose latents are small pictures."""

    def __init__(self, unet: Any) -> None:
        self.model = SimpleNamespace(diffusion_model=unet, conditioning_key="crossattn")
        self.sd_checkpoint_info = SimpleNamespace(name_for_extra="tiny")
        self.image_size, self.parameterization, self.scale_factor = 8, "eps", 1.0
        self.alphas_cumprod = torch.linspace(0.999, 0.005, 1000)
        self.first_stage_model = torch.nn.Identity()
        self.words = [BOS, EOS]
        self.tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [self.words[id_] for id_ in ids])

    def tokenize_line(self, line: str) -> Any:
        """Chunks of 77 without the webui's emphasis, as its own encoder makes them."""
        plain = line.replace(":1.2", " ").translate(str.maketrans("(),", "   "))
        words = [f"{word}</w>" for word in plain.split()]
        self.words += [word for word in dict.fromkeys(words) if word not in self.words]
        chunks = [words[at : at + 75] for at in range(0, max(1, len(words)), 75)]
        texts = [[BOS, *chunk, *[EOS] * (76 - len(chunk))] for chunk in chunks]
        ids = [[self.words.index(text) for text in chunk] for chunk in texts]
        return [SimpleNamespace(tokens=chunk, fixes=[]) for chunk in ids], len(words)

    def get_learned_conditioning(self, prompts: Any) -> Tensor:
        """(row, token, channel): a random vector for each token; shorter prompts get empty chunks."""
        chunks = [self.tokenize_line(prompt)[0] for prompt in prompts]
        most, (empty,) = max(map(len, chunks)), self.tokenize_line("")[0]
        rows = [[*found, *[empty] * (most - len(found))] for found in chunks]
        return torch.stack([torch.stack([_vector(i) for c in row for i in c.tokens]) for row in rows])

    def apply_model(self, latent: Any, when: Any, cond: Any) -> Any:
        return self.model.diffusion_model(latent, timesteps=when, context=cond["c_crossattn"][0])

    def encode_first_stage(self, pixels: Tensor) -> Any:
        small = functional.avg_pool2d(pixels, 8)
        return SimpleNamespace(mode=lambda: torch.cat([small, small[:, :1]], 1))

    def decode_first_stage(self, latents: Tensor) -> Tensor:
        return functional.interpolate(latents[:, :3], scale_factor=8.0)


def _vector(number: int) -> Tensor:
    return torch.randn(128, generator=torch.Generator().manual_seed(number))


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (64, 64, 3), np.uint8))


@pytest.fixture
def checkpoint(modules: Any, ldm_unet: Any) -> Checkpoint:
    """It is loaded."""
    from modules import sd_models

    made = sd_models.model_data.sd_model = Checkpoint(ldm_unet)
    return made


@pytest.fixture
def edit(checkpoint: Checkpoint, picture: Image.Image) -> Callable[..., Edited]:
    from lib_unet_viz.hosts.webui.model import loaded
    from lib_unet_viz.hosts.webui.uploaded import edit

    def made(prompt: str = PROMPT, settings: EditSettings = SWAP, **options: Any) -> Edited:
        return edit(loaded(), prompt, settings, **{"picture": picture, "steps": STEPS, **options})

    return made


# The edit.


def test_the_source_stays_and_the_webui_knows_how_far_it_is(
    modules: Any, edit: Callable[..., Edited], ldm_unet: Any
) -> None:
    told: list[tuple[int, int]] = []
    found = edit(progress=lambda done, total, _: told.append((done, total)))
    assert told == [(done, 2 * STEPS) for done in range(1, 2 * STEPS + 1)]
    state = modules.shared.state
    assert (state.sampling_step, state.sampling_steps) == told[-1]
    assert found.errors[RMSE] == 0
    assert found.errors[PSNR] == found.errors[LIMIT]
    assert found.latents is not None
    assert not torch.equal(found.latents[0], found.latents[1])
    assert hooks(ldm_unet) == 0


def test_emphasis_is_read_and_networks_are_not_words(edit: Callable[..., Edited]) -> None:
    plain, weighted = edit(), edit("a (red:1.2) circle <lora:fine:0.5>")
    assert weighted.request.prompts == ["a (red:1.2) circle ", "a (green:1.2) circle "]
    assert weighted.plan.targets[0].swapped == plain.plan.targets[0].swapped == {2}


@pytest.mark.parametrize(
    ("words", "edits"),
    [
        (100, "red -> green"),
        (74, "red -> green"),
        (73, "+ and green ones"),  # the target is longer by a chunk
        (160, "= a red circle"),  # and shorter
    ],
)
def test_prompts_of_several_chunks(
    edit: Callable[..., Edited], checkpoint: Checkpoint, words: int, edits: str
) -> None:
    prompt = "red " + " ".join(f"word{number}" for number in range(words))
    found = edit(prompt, EditSettings(edits=edits, blend=False))
    contexts = checkpoint.get_learned_conditioning(found.request.prompts)
    lengths = [len(each.tokens) for each in (found.plan.targets[0].source, found.plan.targets[0].target)]
    assert max(lengths) == contexts.shape[1]
    for row, text, length in zip(contexts, found.request.prompts, lengths, strict=True):
        assert torch.equal(row[:length], checkpoint.get_learned_conditioning([text])[0])
    assert found.errors[RMSE] == 0


@pytest.mark.parametrize("words", [3, 100])
def test_an_edit_to_the_same_prompt_is_the_source(edit: Callable[..., Edited], words: int) -> None:
    prompt = "red " + " ".join(f"word{number}" for number in range(words))
    settings = EditSettings(edits=f"= {prompt}", blend=False)
    latents = edit(prompt, settings, inversion="negative", cfg=2).latents
    assert latents is not None
    torch.testing.assert_close(latents[1], latents[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("prompt", "edits", "error", "said"),
    [
        ("a circle", "red -> green", SpecError, "does not hold these words"),
        ("a red cat AND a dog", "red -> green", SettingsError, "AND joins"),
        (PROMPT, "= a <lora:fine:1> circle", SettingsError, "source and targets alike"),
        ("a (~: IN00: red :~) circle", "circle -> star", SettingsError, "layer prompts"),
        (PROMPT, "", SpecError, "no edit"),
    ],
)
def test_what_cannot_be_is_said_before_anything_runs(
    edit: Callable[..., Edited], prompt: str, edits: str, error: type[ValueError], said: str
) -> None:
    told: list[int] = []
    with pytest.raises(error, match=said):
        edit(prompt, EditSettings(edits=edits), progress=lambda done, *_: told.append(done))
    assert not told


def test_a_prompt_that_changes_during_the_run_is_refused(
    modules: Any, edit: Callable[..., Edited], monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import prompt_parser

    changing: Any = lambda prompts, steps: [[[1, prompts[0]], [steps, prompts[0]]]]  # noqa: E731
    monkeypatch.setattr(prompt_parser, "get_learned_conditioning_prompt_schedules", changing)
    with pytest.raises(SettingsError, match="changes during the run"):
        edit(negative="[blue:red:2]")


# The route.


@pytest.fixture
def client(checkpoint: Checkpoint) -> Any:
    fastapi, testing = pytest.importorskip("fastapi"), pytest.importorskip("fastapi.testclient")
    from lib_unet_viz.extension import routes

    app = fastapi.FastAPI()
    routes.add(None, app)
    return testing.TestClient(app)


def post(client: Any, picture: Image.Image, **fields: Any) -> tuple[int, Any]:
    from lib_unet_viz.extension.schemas import png

    body = {"image": png(picture), "prompt": PROMPT, "steps": STEPS, "edit": {"edits": "red -> green"}}
    answer = client.post("/unet-viz/v1/edit", json={**body, **fields})
    return answer.status_code, answer.json()


def test_the_route_gives_what_the_edit_gives(
    client: Any, edit: Callable[..., Edited], picture: Image.Image
) -> None:
    from lib_unet_viz.extension.schemas import picture as decoded

    status, answer = post(client, picture, edit={"edits": "red -> green\n---\ncircle * 2", "threshold": 0.5})
    assert status == 200, answer
    expected = edit(settings=EditSettings(edits="red -> green\n---\ncircle * 2", threshold=0.5))
    assert answer["prompts"] == [PROMPT, "a green circle", PROMPT]
    for text, made in zip(answer["pictures"], expected.pictures, strict=True):
        assert np.array_equal(np.asarray(decoded(text)), np.asarray(made))
    assert decoded(answer["comparison"]).width > 3 * 64
    assert [mask is not None for mask in answer["masks"]] == [at in expected.masks for at in (1, 2)]
    assert answer["errors"] == expected.errors
    assert answer["model"] == "tiny"
    assert post(client, picture, edit={"edits": "red -> green", "blend": False})[1]["masks"] == [None]


def test_the_route_takes_a_mask(client: Any, picture: Image.Image) -> None:
    from lib_unet_viz.extension.schemas import picture as decoded
    from lib_unet_viz.extension.schemas import png

    layer = Image.new("RGBA", (640, 640))  # transparent
    layer.paste((255, 255, 255, 255), (0, 0, 320, 640))
    edit = {"edits": "red -> green", "blend": False}
    status, answer = post(client, picture, mask=png(layer), edit=edit)
    assert status == 200, answer
    assert answer["masks"][0] is not None
    source, target = (np.asarray(decoded(each)) for each in answer["pictures"])
    # The stand-in's autoencoder makes 8 x 8 pixels of each position, and knows no other.
    assert np.array_equal(source[:, 32:], target[:, 32:])
    assert not np.array_equal(source[:, :32], target[:, :32])


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (Image.new("L", (64, 64)), "no white pixel"),
        (Image.new("RGB", (64, 64), "red"), "has colours"),
        (Image.linear_gradient("L").resize((64, 32)), "64 x 32 pixels"),
    ],
)
def test_the_route_says_what_is_wrong_with_a_mask(
    client: Any, picture: Image.Image, mask: Image.Image, said: str
) -> None:
    from lib_unet_viz.extension.schemas import png

    status, answer = post(client, picture, mask=png(mask))
    assert (status, said in answer["detail"]) == (422, True), answer
    status, answer = post(client, picture, mask="%")
    assert status == 422
    assert answer["detail"].startswith("mask is no picture in base64")


def test_an_infinite_ratio_is_null(client: Any) -> None:
    status, answer = post(client, Image.new("RGB", (64, 64)), inversion="direct")
    assert status == 200, answer
    assert answer["errors"] == {RMSE: 0.0, PSNR: None, LIMIT: None}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"image": "!"}, "PNG"),
        ({"image": base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0\n").decode()}, "no picture of a known kind"),
        ({"image": base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 99).decode()}, "picture"),
        ({"edit": {"edits": "blue -> green"}}, "does not hold these words"),
        ({"edit": {}}, "no edit"),
        ({"edit": {"edit": "red -> green"}}, "allowed: enabled, edits"),
        ({"edit": {"edits": "red -> green", "enabled": False}}, "nothing is to be edited"),
        ({"edit": {"edits": "red -> green", "threshold": 2}}, "0 to 1"),
        ({"edit": {"edits": "red -> green", "sweep": "steps"}}, "no use for 'edit.sweep'"),
        ({"edit": {"edits": "red -> green", "blocks": "OUT99"}}, "OUT11"),
        ({"edit": "red -> green"}, "dict"),
        ({"inversion": "null"}, "null-text"),
        ({"steps": 0}, "1"),
        ({"cfg_scale": 0}, "1"),
        ({"seed": 3}, "seed"),
    ],
)
def test_wrong_requests_are_answered_in_words(
    client: Any, picture: Image.Image, wrong: dict[str, Any], said: str
) -> None:
    status, answer = post(client, picture, **wrong)
    assert status == 422, answer
    assert said in str(answer["detail"])


def test_without_a_checkpoint_and_when_interrupted(
    modules: Any, client: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import sd_models

    begun: list[str] = []
    monkeypatch.setattr(modules.shared.state, "begin", lambda job: begun.append(job))
    monkeypatch.setattr(modules.shared.state, "interrupted", True)
    assert post(client, picture) == (409, {"detail": "Interrupted."})
    sd_models.model_data.sd_model = None
    assert post(client, picture)[0] == 503
    assert begun == ["unet-viz-edit"] * 2


# The tab.


@pytest.fixture
def tab(modules: Any) -> Any:
    """The tab as the page opens: no checkpoint is loaded yet."""
    from lib_unet_viz.extension.tab import alone
    from lib_unet_viz.hosts.webui import model as webui_model
    from lib_unet_viz.hosts.webui import uploaded as webui_uploaded
    from lib_unet_viz.ui.edit_uploaded_tab import EditUploaded
    from lib_unet_viz.ui.runs import Runs

    made = EditUploaded(
        webui_model.loaded,
        Runs(),
        draw=webui_uploaded.edit,
        planned=webui_uploaded.planned,
        alone=partial(alone, 0, job="unet-viz-edit"),
    )
    with gr.Blocks(analytics_enabled=False):
        made.build()
    return made


def asked(tab: Any, picture: Image.Image | None, edits: str = "red -> green") -> list[Any]:
    fields = {**{path: part.value for path, part in tab.panel.fields.items()}, "edit.edits": edits}
    return [picture, "direct", "", STEPS, 7.5, *fields.values(), None]


def test_the_webui_is_given_the_tab(modules: Any) -> None:
    from lib_unet_viz.extension import edit_tab

    edit_tab.register()
    (blocks, title, name), *_ = modules.script_callbacks.callback_map["ui_tabs"][-1]()
    assert (title, name) == ("Edit picture", "unet_viz_edit")
    ids = {getattr(block, "elem_id", None) for block in blocks.blocks.values()}
    assert {"edit-upload", "edit-prompt", "edits", "edit", "edit-sweep", "edit-mask"} <= ids
    assert "edit-seed" not in ids


def test_a_picture_is_edited_in_the_tab(
    modules: Any, tab: Any, ldm_unet: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    from modules import call_queue, sd_models

    values = asked(tab, picture)
    assert "once a model is loaded" in tab.show_alignment(PROMPT, *values[5:-1])
    assert "No checkpoint is loaded" in list(tab.run_edit(*ME, PROMPT, *values))[-1][tab.status]
    sd_models.model_data.sd_model = Checkpoint(ldm_unet)
    assert "a green circle" in tab.show_alignment(PROMPT, *values[5:-1])
    held = []
    apply = Checkpoint.apply_model

    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        held.append(call_queue.queue_lock.locked())
        return apply(self, *args, **kwargs)

    monkeypatch.setattr(Checkpoint, "apply_model", watched)
    *steps, last = tab.run_edit(*ME, PROMPT, *values)
    assert f"Step {2 * STEPS} of {2 * STEPS}" in steps[-1][tab.status]
    assert "Reconstruction: latent RMSE 0" in last[tab.status]
    assert [name for _, name in last[tab.pictures]] == ["source", "target 1: red -> green"]
    assert held == [True] * 2 * STEPS
    assert not call_queue.queue_lock.locked()


@pytest.mark.usefixtures("checkpoint")
def test_a_mask_is_given_in_the_tab(tab: Any, picture: Image.Image) -> None:
    mask = Image.new("RGB", picture.size)
    mask.paste((255, 255, 255), (0, 0, 32, 64))
    black = Image.new("RGB", picture.size)
    # As gradio 4 and 6 say it, and as gradio 3 does.
    painted = {"background": None, "layers": [mask], "composite": mask}, {"image": black, "mask": mask}
    for value in painted:
        last = list(tab.run_edit(*ME, PROMPT, *asked(tab, picture)[:-1], value))[-1]
        assert "and inside the given mask (50% of the picture) may change" in last[tab.status]
        assert last[tab.masks_section]["visible"]


@pytest.mark.usefixtures("checkpoint")
def test_what_is_missing_is_asked_for(tab: Any, picture: Image.Image) -> None:
    assert "no picture" in list(tab.run_edit(*ME, PROMPT, *asked(tab, None)))[-1][tab.status]
    empty = list(tab.run_edit(*ME, " ", *asked(tab, picture)))[-1]
    assert "Write what the picture shows" in empty[tab.status]
    wrong = list(tab.run_edit(*ME, PROMPT, *asked(tab, picture, "blue -> green")))[-1]
    assert "does not hold these words" in wrong[tab.status]
    assert wrong[tab.go]["interactive"]


@pytest.mark.usefixtures("checkpoint")
def test_a_sweep_and_its_end(
    modules: Any, tab: Any, picture: Image.Image, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(edit_sheets, "PERCENTS", (0, 100))
    last = list(tab.run_sweep(*ME, PROMPT, *asked(tab, picture)))[-1]
    assert last[tab.swept]["value"].width > 3 * 64
    running = tab.run_sweep(*ME, PROMPT, *asked(tab, picture))
    tab.worker.cancel(next(running)[tab.worker.running])
    assert "Cancelled" in list(running)[-1][tab.status]
    modules.shared.state.interrupted = True
    assert "Interrupted." in list(tab.run_edit(*ME, PROMPT, *asked(tab, picture)))[-1][tab.status]
