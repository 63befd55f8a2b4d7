"""A real webui to ask: started here or running already."""

from __future__ import annotations

import base64
import io
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from safetensors.torch import load as load_tensors

from lib_unet_viz.capture.dump import load_trace
from lib_unet_viz.trace import Trace

DROPDOWN = "U-Net Viz"
ALWAYS_ON = "U-Net Viz (always on)"
ARGUMENTS = (
    "--skip-prepare-environment",
    "--skip-torch-cuda-test",
    "--skip-version-check",
    "--no-download-sd-model",
    "--no-half",
    "--disable-nan-check",
    "--use-cpu",
    "all",
    "--opt-sdp-attention",
    "--api",
)
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Generated:
    """An API's answer: pictures in order, what was said of each, and all else of `info`."""

    images: list[Image.Image]
    info: dict[str, Any]

    @property
    def infotexts(self) -> list[str]:
        return list(self.info["infotexts"])

    def pixels(self) -> list[Pixels]:
        """(y, x, channel) of each image."""
        return [np.asarray(image.convert("RGB")) for image in self.images]


@dataclass(frozen=True)
class Probed:
    """What the webui's stand-in `probe` saw: the denoiser's calls, and the U-Net's in them."""

    calls: list[dict[str, Any]]
    forwards: list[dict[str, Any]]
    maps: dict[str, torch.Tensor]

    def rows(self, call: int, name: str = "block") -> list[torch.Tensor]:
        """The rows of one denoiser call, in order, over all the U-Net calls that it was split into."""
        within = [index for index, forward in enumerate(self.forwards) if forward["call"] == call]
        return [row for index in within for row in self.maps[f"{index}/{name}"]]


@dataclass
class Webui:
    """A webui at `url` whose data lie in `data`; `auth`: user and password of the API."""

    url: str
    data: Path
    log_path: Path | None = None
    auth: str | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def request(
        self, method: str, path: str, body: Any = None, *, auth: str | None = None
    ) -> tuple[int, Any]:
        """Status, and the JSON of the answer (its text where it is none)."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, method=method)
        request.add_header("Content-Type", "application/json")
        if auth or self.auth:
            token = base64.b64encode((auth or self.auth or "").encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=300) as answer:
                return answer.status, _decoded(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _decoded(error.read())

    def loaded(self, seconds: float = 120) -> None:
        """Wait for the first checkpoint, which the webui loads while it already answers."""
        end = time.monotonic() + seconds
        while "No checkpoint is loaded yet" in str(self.request("GET", "/unet-viz/v1/layers")[1]):
            assert time.monotonic() < end, "no checkpoint was loaded"
            time.sleep(0.5)

    def get(self, path: str) -> Any:
        status, answer = self.request("GET", path)
        assert status == 200, answer
        return answer

    def post(self, path: str, **body: Any) -> tuple[int, Any]:
        return self.request("POST", path, body)

    def txt2img(self, **fields: Any) -> Generated:
        return self.generate("txt2img", fields)

    def img2img(self, **fields: Any) -> Generated:
        return self.generate("img2img", fields)

    def generate(self, kind: str, fields: dict[str, Any]) -> Generated:
        """Ask, and fail with the webui's own words where it refuses."""
        status, answer = self.post(f"/sdapi/v1/{kind}", **{**DEFAULTS, **fields})
        assert status == 200, f"{status}: {answer}\n{self.log()[-3000:]}"
        return Generated([decoded_image(text) for text in answer["images"]], json.loads(answer["info"]))

    def probed(self) -> Probed:
        found = self.get("/stand-ins/probe")
        maps = load_tensors(base64.b64decode(found["maps"])) if found["maps"] else {}
        return Probed(found["calls"], found["forwards"], maps)

    def hooks(self) -> dict[str, Any]:
        found: dict[str, Any] = self.get("/stand-ins/hooks")
        return found

    def options(self, **values: Any) -> None:
        status, answer = self.post("/sdapi/v1/options", **values)
        assert status == 200, answer

    @property
    def outputs(self) -> Path:
        return self.data / "outputs"

    def dump_paths(self) -> list[Path]:
        """All dumps that there are, oldest first."""
        return sorted(self.outputs.rglob("*.safetensors"), key=lambda path: path.stat().st_mtime_ns)

    def traces_since(self, before: Sequence[Path]) -> list[Trace]:
        """What was dumped since `dump_paths()` gave `before`, a trace for each picture."""
        return [load_trace(path) for path in self.dump_paths() if path not in set(before)]

    def log(self) -> str:
        return self.log_path.read_text("utf-8", "replace") if self.log_path else ""

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(20)


DEFAULTS: dict[str, Any] = {
    "prompt": "a big red circle and a small blue square",
    "negative_prompt": "green",
    "seed": 7,
    "steps": 4,
    "width": 128,
    "height": 128,
    "sampler_name": "Euler",
    "cfg_scale": 5,
}


def decoded_image(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text.partition(",")[2] or text)))


def encoded_image(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _decoded(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode("utf-8", "replace")


def free_port() -> int:
    """One that nothing listens on; the system gives another one to whoever asks at the same time."""
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        return int(asked.getsockname()[1])


def start(
    folder: Path,
    data: Path,
    *arguments: str,
    auth: str | None = None,
    python_options: Sequence[str] = (),
    seconds: float = 240,
) -> Webui:
    """Start the webui in `folder` with the data folder `data` and wait until it answers.

    Raises RuntimeError with the end of its log if it ends or takes too long.
    """
    port = free_port()
    python = os.environ.get("SD_WEBUI_PYTHON", sys.executable)
    usual = [one for one in ARGUMENTS if one != "--no-half" or "half" not in arguments]
    more = [*arguments, *(["--api-auth", auth] if auth else [])]
    command = [python, *python_options, "launch.py", *usual, "--data-dir", str(data), *more]
    command += ["--ckpt", str(data / "models/Stable-diffusion/unet-viz-demo.safetensors")]
    command += ["--port", str(port)]
    return launched(command, folder=folder, data=data, auth=auth, seconds=seconds)


def launched(
    command: Sequence[str],
    *,
    folder: Path,
    data: Path,
    auth: str | None = None,
    seconds: float = 240,
) -> Webui:
    """Run a webui's command line, which ends with its port, in `folder`, and wait until it answers.

    Raises RuntimeError with the end of its log if it ends or takes too long.
    """
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
    threads = {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    own = {"YOLO_CONFIG_DIR": str(data)}  # ADetailer's detector writes there
    environment = {**os.environ, **offline, **threads, **own}
    environment.pop("PYTHONPATH", None)  # the webui finds the extension by itself or not at all
    log = data / "webui.log"
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=file, stderr=file)
    webui = Webui(f"http://127.0.0.1:{command[-1]}", data, log, auth, process)
    end = time.monotonic() + seconds
    try:
        while not _ready(webui):
            if process.poll() is not None:
                raise RuntimeError(f"the webui ended with {process.returncode}:\n{webui.log()[-3000:]}")
            if time.monotonic() > end:
                raise RuntimeError(f"the webui does not answer after {seconds} s:\n{webui.log()[-3000:]}")
            time.sleep(0.5)
    except BaseException:
        webui.stop()
        raise
    return webui


def _ready(webui: Webui) -> bool:
    if "Startup time" not in webui.log():
        return False
    try:
        return webui.request("GET", "/sdapi/v1/options")[0] == 200
    except (urllib.error.URLError, ConnectionError):
        return False
