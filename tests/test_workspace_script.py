"""The workspace's script, before any browser runs it: its size, its messages, that it makes no request."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import lib_unet_viz

STATIC = Path(lib_unet_viz.__file__).parent / "workspace" / "static"
SCRIPT = (STATIC / "workspace.js").read_text("utf-8")
SHELL = (STATIC / "workspace.html").read_text("utf-8")


def messages() -> dict[str, dict[str, str]]:
    found: dict[str, Any] = json.loads(SHELL.split('id="uv-messages">')[1].split("</script>")[0])
    return found


def test_both_languages_have_the_same_messages_with_the_same_places() -> None:
    english, japanese = messages()["en"], messages()["ja"]
    assert english.keys() == japanese.keys()
    for name, text in english.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", japanese[name])), name
    assert english["keys"].count("|") == japanese["keys"].count("|")


def test_each_message_is_used() -> None:
    said = set(re.findall(r'"(\w+)"', SCRIPT))
    built = {f"mode{mode}" for mode in ("A", "B", "Side", "Swipe", "Difference")}
    built |= {f"scale{scale}" for scale in ("Each", "Sheet", "Percentile", "Symmetric")} | {"cross", "self"}
    named = set(re.findall(r"text\((\w+)\)", SCRIPT)) and {"head", "channel"}  # axes of maps
    assert set(messages()["en"]) - said - built - named == set()


def test_the_script_is_small_and_asks_nobody() -> None:
    assert len(SCRIPT.splitlines()) < 900
    assert not re.search(
        r"fetch\(|XMLHttpRequest|WebSocket|import\(|innerHTML|insertAdjacent|document\.write|eval\(", SCRIPT
    )
    assert "default-src 'none'" in SHELL
    assert "connect-src" not in SHELL
