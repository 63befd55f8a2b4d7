"""Requests to the page that a browser sends for somebody else, or that are too large, by HTTP."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

GRADIO = int(pytest.importorskip("gradio").__version__.split(".")[0])

from standin import StandIn, edit  # noqa: E402

from lib_unet_viz.app import page  # noqa: E402

# gradio leaves event loops and their sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@contextmanager
def served(host: str | None = None) -> Iterator[int]:
    """The port of a page on the stand-in, served as from the command line."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    blocks = page.build(StandIn(), edit=edit)  # type: ignore[arg-type]
    blocks.block_thread = lambda: None  # of which it would wait until interrupted
    page.serve(blocks, host=host, port=port)
    try:
        yield port
    finally:
        blocks.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with served() as found:
        yield found


def asked(port: int, host: str, path: str = "/config") -> int:
    """The status of an answer to a request with this Host header."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.putrequest("GET", path, skip_host=True)
        connection.putheader("Host", host)
        connection.endheaders()
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize("path", ["/", "/config"])
def test_the_page_answers_to_loopback_names_only(port: int, path: str) -> None:
    for host in ("127.0.0.1", f"127.0.0.1:{port}", "localhost", f"localhost:{port}"):
        assert asked(port, host, path) == 200, host
    foreign = ("evil.example", f"evil.example:{port}", "127.0.0.1.evil.example", "localhost.evil.example")
    for host in (*foreign, "www.localhost", "192.168.0.1", "0.0.0.0", "127.0.0.1@evil.example", ""):
        assert asked(port, host, path) == 400, host


def test_where_a_host_was_asked_for_other_names_are_served() -> None:
    with served("127.0.0.1") as port:
        assert asked(port, "lab.example") == 200


@pytest.mark.skipif(GRADIO < 4, reason="gradio shows the folder it was started in")
@pytest.mark.parametrize(
    "path", ["/etc/passwd", "..%2f..%2fetc%2fpasswd", "../../etc/passwd", "standin.py", "~"]
)
def test_files_of_the_server_are_nobodys_to_read(port: int, path: str) -> None:
    for route in ("/gradio_api/file=", "/file=", "/static/", "/assets/", "/gradio_api/stream/"):
        assert asked(port, "127.0.0.1", f"{route}{path}") >= 400, route


@pytest.mark.skipif(GRADIO < 5, reason="gradio decodes it before")
def test_pictures_on_the_page_are_opened_with_their_bounds(port: int, tmp_path: Path) -> None:
    """Gradio hands over the file, which it has not decoded."""
    from gradio_client import Client, handle_file
    from test_pictures import bomb, encoded

    client = Client(f"http://127.0.0.1:{port}", verbose=False, download_files=False)
    parts = {part["id"]: part for part in client.config["components"]}
    [button] = [number for number, part in parts.items() if part["props"].get("elem_id") == "vxa-visualize"]
    events = client.config["dependencies"]
    [event] = [each for each in events if [button, "click"] in map(list, each["targets"])]
    inputs = [parts[number] for number in event["inputs"] if not parts[number].get("skip_api")]
    good = encoded(Image.new("RGB", (64, 64)), "PNG")
    for name, content, said in (
        ("good.png", good, ""),
        ("bomb.png", bomb(9_000, 9_000), "allowed: 40,000,000 pixels"),
        ("long.png", bomb(1, 60_000), "each side at most 16,384"),
        ("half.png", good[:60], "the picture is broken"),
        ("other.png", encoded(Image.new("RGB", (8, 8)), "EPS"), "no picture of a known kind"),
        ("other.svg", b"<svg/>", "no picture of a known kind"),
    ):
        (tmp_path / name).write_bytes(content)
        fields = {"vxa-upload": handle_file(tmp_path / name), "vxa-prompt": "a cat"}
        values = [fields.get(part["props"].get("elem_id"), part["props"].get("value")) for part in inputs]
        found = str(client.submit(*values, fn_index=event["id"]).result(timeout=120))
        assert said in found, found
        assert ("uv-problem" in found) == bool(said)


@pytest.mark.skipif(GRADIO < 6, reason="gradio bounds uploads from 4 on, at another address before 6")
def test_uploads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert page.MOST_UPLOAD <= 1_000_000_000
    monkeypatch.setattr(page, "MOST_UPLOAD", 64_000)
    with served() as port:
        assert [upload(port, size) for size in (60_000, 64_001)] == [200, 413]


def upload(port: int, size: int) -> int:
    """The status of the answer to a file of so many bytes."""
    head = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    body = head.encode() + b"\0" * size + b"\r\n--x--\r\n"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(
            "POST", "/gradio_api/upload", body, {"Content-Type": "multipart/form-data; boundary=x"}
        )
        return connection.getresponse().status
    finally:
        connection.close()
