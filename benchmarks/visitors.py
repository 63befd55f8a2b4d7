"""What a visitor of the page, and a client of the webui's routes, does and expects; for `load.py`."""

from __future__ import annotations

import base64
import io
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from gradio_client import Client, handle_file
from PIL import Image

from lib_unet_viz.capture.dump import load_trace

PROMPTS = ("a big red circle", "a small blue square", "a green star and a yellow ring", "a purple triangle")
RUNS = tuple((prompt, seed) for seed, prompt in enumerate(PROMPTS, start=1))
STEPS, MANY = 4, 100
WRONG_PROMPTS = ("", "  ", "a (~: IN99: red :~) circle", "a (~: circle", "(~:" * 200)
WRONG_LAYERS = ("IN99", "IN00-", "1e400", "[" * 3000)
PATIENCE = 600.0  # seconds for one answer
Answer = tuple[str, Any]  # which request, and what came


class Wrong(AssertionError):
    """An answer that is none, or somebody else's."""


@dataclass
class Tally:
    """What came of the requests, by kind: seconds of those that were right, and what was wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    wrong: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    def measure(self, kind: str, action: Callable[[], object]) -> None:
        start = time.monotonic()
        try:
            action()
        except Wrong as error:
            self.say(str(error).partition(":")[0], f"{kind}: {error}")
        except Exception as error:  # whatever a server or the network does
            self.say("failed", f"{kind}: {type(error).__name__}: {error}")
        else:
            self.seconds.setdefault(kind, []).append(time.monotonic() - start)

    def say(self, what: str, example: str) -> None:
        self.wrong[what] += 1
        self.examples += [example[:300]] if len(self.examples) < 20 else []


class Visitor:
    """One with a session of the page of their own. known: pictures by run, as they are alone; filled where a
    run is not known yet.
    """

    def __init__(self, url: str, known: dict[tuple[str, int], bytes], folder: Path) -> None:
        self.client = Client(url, verbose=False, download_files=False, httpx_kwargs={"timeout": PATIENCE})
        self.known, self.shown = known, ("", 0)
        self.picture = folder / "picture.png"
        self.broken = folder / "broken.png"
        self._parts = {part["id"]: part for part in self.client.config["components"]}

    def generate(self, prompt: str, seed: int, **fields: Any) -> None:
        """A picture, which has to be that of this prompt and seed. fields: others than STEPS steps."""
        found = self._press("generate", {"prompt": prompt, "seed": seed, "Steps": STEPS, **fields})
        if "Done" not in str(found["status"]):
            raise Wrong(f"lost a run: {found['status']}")
        picture = self._file(found["picture"])
        if self.known.setdefault((prompt, seed), picture) != picture:
            others = [run for run, known in self.known.items() if known == picture]
            raise Wrong(f"crossed: {prompt}, {seed} got the picture of {others}")
        self.shown = (prompt, seed)

    def write_dump(self) -> None:
        """The dump of the run that is shown, which has to be of it."""
        found = self._press("write-dump", {})
        if not (found["dump"] or {}).get("visible", True) or not _url(found["dump"]):
            raise Wrong(f"lost a dump: {self.shown}: {list(found.values())[1:]}"[:250])
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(self._file(found["dump"]))
            file.flush()
            trace = load_trace(file.name)
        if (trace.meta["prompt"], trace.meta["seed"]) != self.shown or not trace.features:
            raise Wrong(f"crossed: the dump of {self.shown} is of {trace.meta['prompt']}")

    def ask_wrongly(self, **fields: Any) -> None:
        """Refused in words; the run that is shown stays."""
        found = self._press("generate", {"Steps": STEPS, **fields})
        if "Done" in str(found["status"]) or "uv-problem" not in str(found["status"]):
            raise Wrong(f"not refused: {fields} gave {found['status']}")

    def cancel(self) -> float:
        """A long run, stopped after its first preview; seconds from the click to its end."""
        job = self._start("generate", {"prompt": PROMPTS[0], "Steps": MANY})
        end = time.monotonic() + PATIENCE
        while len(job.outputs()) < 3 and not job.done() and time.monotonic() < end:
            time.sleep(0.02)
        clicked = time.monotonic()
        self._press("cancel", {})
        found = self._named("generate", job.result(timeout=PATIENCE))
        if "Cancelled" not in str(found["status"]):
            raise Wrong(f"not cancelled: {found['status']}")
        return time.monotonic() - clicked

    def look(self, prompt: str) -> None:
        """Words in a picture of one's own."""
        found = self._press("vxa-visualize", self._looked(self.picture, prompt))
        picture = self._file(found["vxa-result"])
        if self.known.setdefault((f"look: {prompt}", 0), picture) != picture:
            raise Wrong(f"crossed: the look for {prompt} got another picture")

    def look_wrongly(self) -> None:
        """Half a picture."""
        found = self._press("vxa-visualize", self._looked(self.broken, "a cat"))
        if "the picture is broken" not in str(found["vxa-status"]):
            raise Wrong(f"not refused: half a picture gave {found}")

    def _looked(self, picture: Path, prompt: str) -> dict[str, Any]:
        return {"vxa-upload": handle_file(picture), "vxa-prompt": prompt}

    # How the page is told.

    def _press(self, button: str, fields: dict[str, Any]) -> dict[str, Any]:
        return self._named(button, self._start(button, fields).result(timeout=PATIENCE))

    def _start(self, button: str, fields: dict[str, Any]) -> Any:
        event = self._event(button)
        values = []
        for number in event["inputs"]:
            part = self._parts[number]
            if not part.get("skip_api"):
                values.append(_given(part, fields))
        return self.client.submit(*values, fn_index=event["id"])

    def _event(self, button: str) -> dict[str, Any]:
        for event in self.client.config["dependencies"]:
            for number, trigger in event["targets"]:
                part = self._parts.get(number, {"props": {}})
                if part["props"].get("elem_id") == button and trigger == "click":
                    return dict(event)
        raise Wrong(f"no button {button}")

    def _named(self, button: str, answer: Any) -> dict[str, Any]:
        """The answer by the elements' names, or their places."""
        parts = [self._parts[number] for number in self._event(button)["outputs"]]
        told = [part for part in parts if not part.get("skip_api")]
        values = list(answer) if isinstance(answer, (list, tuple)) and len(told) != 1 else [answer]
        names = [part["props"].get("elem_id") or str(at) for at, part in enumerate(told)]
        return dict(zip(names, values, strict=True))

    def _file(self, value: Any) -> bytes:
        url = _url(value)
        if url is None:
            raise Wrong(f"lost an answer: no file in {value}")
        return httpx.get(url, timeout=PATIENCE).raise_for_status().content


def _given(part: dict[str, Any], fields: dict[str, Any]) -> Any:
    """What a component is given: by its name, or its label, of which others may have the same."""
    props = part["props"]
    if props.get("elem_id") in fields:
        return fields[props["elem_id"]]
    meant = fields.get(props.get("label"))
    of_kind = isinstance(meant, str) == (part["type"] == "textbox")
    return meant if meant is not None and of_kind else props.get("value")


def _url(value: Any) -> str | None:
    """Where a file is to be got that the page shows."""
    inner = value.get("value", value) if isinstance(value, dict) else None
    return inner.get("url") if isinstance(inner, dict) else None


class Caller:
    """A client of the routes. known: answers by request, as they are alone."""

    def __init__(self, url: str, known: dict[str, bytes], picture: Path) -> None:
        # The server ends connections that were idle for 5 seconds; a request must not meet that.
        limits = httpx.Limits(keepalive_expiry=2.0)
        self.client = httpx.Client(base_url=f"{url}/unet-viz/v1", timeout=PATIENCE, limits=limits)
        self.known = known
        self.image = base64.b64encode(picture.read_bytes()).decode()

    def ask(self, path: str, **fields: Any) -> None:
        """Right requests, whose answers are always the same."""
        named = json.dumps([path, fields])
        body = {"image": self.image, **fields}
        answer = self.client.get(path) if path == "/layers" else self.client.post(path, json=body)
        if answer.status_code != 200:
            raise Wrong(f"lost an answer: {path} gave {answer.status_code}: {answer.text[:200]}")
        if self.known.setdefault(named, answer.content) != answer.content:
            raise Wrong(f"crossed: {named} got another answer")

    def ask_wrongly(self, path: str, **fields: Any) -> None:
        answer = self.client.post(path, json={"image": self.image, "prompt": "a cat", **fields})
        if answer.status_code != 422:
            raise Wrong(f"not refused: {path} {str(fields)[:80]} gave {answer.status_code}")


RIGHT: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/layers", {}),
    *(("/vxa", {"prompt": prompt, "draws": 1, "timestep": 100}) for prompt in PROMPTS),
    ("/edit", {"prompt": "a red circle", "steps": 2, "edit": {"edits": "red -> pink"}}),
    ("/edit", {"prompt": "a blue star", "steps": 2, "edit": {"edits": "+ big"}}),
)
REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/vxa", {"image": "!"}),
    ("/vxa", {"image": base64.b64encode(b"%!PS-Adobe-3.0 EPSF-3.0").decode()}),
    ("/vxa", {"layers": "IN99"}),
    ("/vxa", {"draws": 10**9}),
    ("/edit", {"edit": {"edits": "dog -> bird"}}),
    ("/edit", {"steps": -1, "edit": {"edits": "cat -> dog"}}),
    ("/trace", {"steps": "many"}),
)


def pictures(folder: Path) -> None:
    """What visitors upload."""
    noise = random.Random(3).randbytes(64 * 64 * 3)
    Image.frombytes("RGB", (64, 64), noise).save(folder / "picture.png")
    whole = io.BytesIO()
    Image.new("RGB", (64, 64)).save(whole, "PNG")
    (folder / "broken.png").write_bytes(whole.getvalue()[:60])
