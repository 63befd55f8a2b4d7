"""The page and the webui's routes, each served in a process of its own whose memory can be read.

    python benchmarks/served.py page --port 7860
    python benchmarks/served.py routes --port 7861

The page has the bundled model; the routes have the tests' stand-in for the webui, with a small U-Net of
random weights in Stable Diffusion's own code.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
LATEST = 180  # seconds until a server has to be there
KEPT = 150_000_000  # bytes of finished runs, which are soon there: what grows then is something else
EVERY = 2.0  # seconds between two times that free memory is given back


@dataclass(frozen=True)
class Served:
    """A server that is running."""

    url: str
    process: subprocess.Popen[bytes]

    def resident(self) -> int:
        """Bytes that it holds (Linux: /proc)."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(found[1]) * 1024 if found else 0


def free_port() -> int:
    """A port of this machine that nothing listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


@contextmanager
def served(what: str, log: Path) -> Iterator[Served]:
    """Serve it until the block is left. log: gets what the server prints."""
    port = free_port()
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, __file__, what, "--port", str(port)], stdout=file, stderr=file
        )
        try:
            one = Served(f"http://127.0.0.1:{port}", process)
            wait(one, "/config" if what == "page" else "/openapi.json")
            yield one
        finally:
            process.terminate()
            process.wait()


def wait(one: Served, path: str, *, every: float = 0.2) -> None:
    """Until it answers. Raises RuntimeError where it does not. every: seconds between two tries."""
    end = time.monotonic() + LATEST
    while time.monotonic() < end and one.process.poll() is None:
        try:
            urllib.request.urlopen(one.url + path, timeout=LATEST).close()
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(every)
    raise RuntimeError(f"nothing is served at {one.url}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("page", "routes"))
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    threading.Thread(target=_give_back, daemon=True).start()
    {"page": _page, "routes": _routes}[options.what](options.port)


def _give_back() -> None:
    """Again and again, so that what the process has resident is what it holds (as in `meter.py`)."""
    while sys.platform.startswith("linux"):
        time.sleep(EVERY)
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)


def _page(port: int) -> None:
    import torch

    from lib_unet_viz.app.page import build, serve
    from lib_unet_viz.hosts.diffusers.pipeline import Pipeline

    torch.set_num_threads(1)
    serve(build(Pipeline.load(), kept=KEPT), port=port)


def _routes(port: int) -> None:
    sys.path[:0] = [str(ROOT / "tests" / "stand_in"), str(ROOT / "tests")]
    import fastapi
    import torch
    import uvicorn
    from conftest import ldm_unet
    from modules import sd_models
    from test_webui_edit_picture import Checkpoint

    from lib_unet_viz.extension import routes

    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    sd_models.model_data.sd_model = Checkpoint(ldm_unet())
    app = fastapi.FastAPI()
    routes.add(None, app)
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
