"""Paths that people name, and names that become files: nothing is written beside the place that is meant, and
what cannot be is said in one line, before the work.
"""

from __future__ import annotations

import os
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from test_webui_glue import modules

from lib_unet_viz.capture.dump import load_trace, save_trace
from lib_unet_viz.cli import main
from lib_unet_viz.drawing import naming
from lib_unet_viz.meta import Meta
from lib_unet_viz.trace import AttentionMap, FeatureMap, Key, Trace

pwd = pytest.importorskip("pwd", reason="asks for links and limits of POSIX")
__all__ = ["modules"]

WORDS = (
    "../../etc/passwd",
    "/etc/passwd",
    "\\\\server\\share\\x",
    "C:\\Windows\\x",
    "file:///etc/passwd",
    "..",
    ".",
    "~",
    "~root/x",
    "CON",
    "nul.txt",
    "a\0b",
    "a\nb",
    "a:b",
    "$(id)`id`;id|id",
    "%2e%2e%2fx",
    "\u202egnp.exe",
    "\udcff\udc00",
    "\uff0e\uff0e\uff0fx",  # full-width dots and slash
    "x" * 5000,
    "犬" * 500,
    "e\u0301" * 300,
    "🐕" * 200,
    "",
)


def small(word: str = "cat") -> Trace:
    """A recording with a picture and a map of each token."""
    trace = Trace(meta=Meta(steps=1, seed=3, prompt=word, tokens={"cond": ["<s>", word, "</s>"]}))
    trace.features.add(FeatureMap(Key("IN04", "features", step=0), torch.rand(4, 8, 8), 1.0))
    key = Key("IN04", "QK", 0, "cross")
    trace.attention.add(AttentionMap(key, torch.rand(1, 3, 8, 8), None))
    trace.picture = Image.new("RGB", (64, 64), "grey")
    return trace


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    return save_trace(small(), tmp_path / "in" / "dump")


def below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# Names that become files.


@pytest.mark.parametrize("word", WORDS, ids=lambda word: repr(word)[:20])
def test_any_word_makes_a_name_that_stays_in_its_folder(tmp_path: Path, word: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (naming.word(1, word), naming.plain(word), naming.name(Key(word, "features", step=0))):
        assert Path(name).name == name
        assert not set(name) & set('/\\:\0\n*?"<>|')
        assert not name.startswith(".")
        (folder / f"{name}-hires-image100.safetensors").touch()
    assert below(tmp_path) == {folder, *folder.iterdir()}


@pytest.mark.parametrize(
    "word", [word for word in WORDS if "\udcff" not in word], ids=lambda word: repr(word)[:20]
)
def test_commands_on_any_prompts_dump_write_into_their_folder(
    tmp_path: Path, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    there = save_trace(small(word), tmp_path / "in" / "dump")
    for number, command in enumerate((["render"], ["maps"])):
        out = tmp_path / f"out{number}"
        code = main([*command, str(there), "--out", str(out)])
        assert code in (0, 2)
        assert len(capsys.readouterr().err.split("\n")) <= 3  # a progress bar of a slow machine ends with \r
        assert all(path.parent == out for path in out.rglob("*"))
        assert code == 2 or any(out.iterdir())
    outside = {path for path in below(tmp_path) if path.parent.name not in ("out0", "out1")}
    assert outside <= {tmp_path / "in", there, tmp_path / "out0", tmp_path / "out1"}


# Paths on the command line.


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Paths that cannot be written to, and what is said of each."""
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    return {
        "a\0b": "null",
        "x" * 300: "too long",
        "/".join(["x" * 200] * 25): "too long",
        "file": "not a folder",
        "file/deeper": "not a folder",
        "dangling": "link to nothing",
        "circle": "not a folder",
        "/proc/unet-viz": "cannot write",
        "/dev/null": "not a folder",
    }


def test_folders_that_cannot_be_take_one_line(
    tmp_path: Path, dump: Path, places: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = below(tmp_path)
    commands: list[list[str]] = [["render", str(dump)], ["maps", str(dump)], ["diff", str(dump), str(dump)]]
    # Without a model, as it is refused before that is loaded.
    commands += [
        ["trace", "a cat", "--model", "none/none"],
        ["edit", "a cat", "--edit", "cat -> dog", "--model", "none/none"],
    ]
    for place, said in places.items():
        for command in commands:
            assert main([*command, "--out", str(tmp_path / place)]) == 2, (command, place)
            error = capsys.readouterr().err
            assert said in error, (command, place)
            assert len(error.splitlines()) == 1
            assert len(error) < 700 + len(str(tmp_path))
            assert below(tmp_path) == before


@pytest.mark.parametrize("what", ["dump", "settings", "image", "study", "table"])
def test_files_that_cannot_be_read_take_one_line(
    tmp_path: Path, dump: Path, places: dict[str, str], what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (*places, "nowhere", "in", "", "\udcff"):
        path = str(tmp_path / place)
        command = {
            "dump": ["show", path],
            "settings": ["render", str(dump), "--settings", path, "--out", str(tmp_path / "out")],
            "image": ["vxa", path, "a cat", "--out", str(tmp_path / "out.png")],
            "study": ["study", path, "--out", str(tmp_path / "table.parquet")],
            "table": ["study-report", path],
        }[what]
        assert main(command) == 2, place
        error = capsys.readouterr().err
        assert len(error.splitlines()) == 1, error
        assert "--debug" not in error, error
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_no_utf_8_is_refused_in_words(
    tmp_path: Path, dump: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe out"))
    assert main(["render", str(dump), "--out", str(out)]) == 2
    assert not out.exists()
    out.mkdir()
    named = out / dump.name
    dump.rename(named)
    for path in (named, f"{named}x"):
        assert main(["show", str(path)]) == 2
    lines = capfdbinary.readouterr().err.splitlines()
    assert [b"no UTF-8" in line for line in lines] == [True, True, False]
    assert all(b"\xff" not in line and b"udcff" in line for line in lines)


def test_links_in_the_way_are_followed_and_not_replaced(tmp_path: Path, dump: Path) -> None:
    """Whose folder it is may link it elsewhere; what is written is a file of its own."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    kept = tmp_path / "kept"
    kept.write_text("mine", encoding="utf-8")
    assert main(["render", str(dump), "--out", str(tmp_path / "link")]) == 0
    [made, *_] = sorted((tmp_path / "real").iterdir())
    made.unlink()
    made.symlink_to(kept)
    assert main(["render", str(dump), "--out", str(tmp_path / "link")]) == 0
    assert kept.read_text(encoding="utf-8") == "mine"
    assert not made.is_symlink()


# Disks.


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 60 kB, which is almost full."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if _mount("-t", "tmpfs", "-o", "size=60k", "tmpfs", str(folder)):
        pytest.skip("no disk can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def _mount(*arguments: str) -> int:
    try:
        return subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode
    except FileNotFoundError:
        return 1


def test_a_disk_that_may_only_be_read(disk: Path, dump: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _mount("-o", "remount,ro", str(disk)) == 0
    for out in (disk, disk / "out"):
        for command in (
            ["render", str(dump)],
            ["diff", str(dump), str(dump)],
            ["trace", "a", "--model", "none/none"],
        ):
            assert main([*command, "--out", str(out)]) == 2
            error = capsys.readouterr().err
            assert "Read-only file system" in error
            assert len(error.splitlines()) == 1
    assert list(disk.iterdir()) == []


def test_the_webuis_folder_on_such_a_disk(modules: Any, disk: Path) -> None:
    from lib_unet_viz.extension import paths
    from lib_unet_viz.settings import Settings, SettingsError

    modules.shared.opts.data["outdir_samples"] = str(disk / "images")
    wanted = Settings.asked({"features": {"dump": True, "path": "mine"}})
    paths.check(wanted)
    with suppress(OSError), (disk / "filling").open("wb", buffering=0) as file:
        while file.write(bytes(512)):
            pass
    with pytest.raises(SettingsError, match="dumps cannot be written to .*: No space left on device"):
        paths.check(wanted)
    assert _mount("-o", "remount,ro", str(disk)) == 0
    with pytest.raises(SettingsError, match="dumps cannot be written to .*: Read-only file system"):
        paths.check(wanted)


# The webui, where others can reach it.

OUTSIDE = (
    "..",
    "../out",
    "a/../../out",
    "./../out",
    "/",
    "/etc",
    "//server/share",
    "~",
    "~root",
    "~/out",
    "link",
    "link/deeper",
    "a/../link",
    "/proc/self/cwd",
)
NONE = ("a\0b", "~nobody-of-this-name/x", "circle/x")
INSIDE = (
    "mine",
    "a/../mine",
    "\\\\server\\share",
    "C:\\out",
    "..\\..\\out",
    "%2e%2e/out",
    "CON",
    "\uff0e\uff0e/out",
    "inner",
    "\udcff",
)


@pytest.fixture
def shared(modules: Any, tmp_path: Path) -> Path:
    """The outputs folder of a webui that others can reach, with links in it."""
    modules.shared.cmd_opts.webui_is_non_local = True
    outputs = tmp_path / "outputs"
    outputs.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (outputs / "link").symlink_to(tmp_path / "elsewhere")
    (outputs / "circle").symlink_to(outputs / "circle")
    (outputs / "mine").mkdir()
    (outputs / "inner").symlink_to(outputs / "mine")
    return outputs


@pytest.mark.parametrize("path", [*OUTSIDE, *NONE, *INSIDE], ids=repr)
def test_dumps_of_a_shared_webui_stay_in_its_outputs_folder(
    modules: Any, shared: Path, tmp_path: Path, path: str
) -> None:
    from lib_unet_viz.extension import paths
    from lib_unet_viz.settings import Settings, SettingsError

    for section in ("features", "attention", "difference"):
        wanted = Settings.asked({section: {"dump": True, "path": path}})
        if path in INSIDE:
            paths.check(wanted)
            assert paths.folder(path).resolve().is_relative_to(shared)
        else:
            with pytest.raises(SettingsError, match="outside the outputs folder|no path of a folder"):
                paths.check(wanted)
    assert {file.name for file in tmp_path.iterdir()} == {"outputs", "elsewhere"}
    assert not any((tmp_path / "elsewhere").iterdir())


def test_the_seed_of_a_request_names_no_folder(modules: Any, shared: Path) -> None:
    """The page and the API give numbers; another script may give what it likes."""
    from lib_unet_viz.extension import paths

    for seed in (3, -1, 10**400, "../../x", "/etc/x", "x" * 300, "a\0b"):
        name = paths.dump_name(SimpleNamespace(all_seeds=[seed]))
        assert Path(name).name == name
        save_trace(small(), paths.new_file(shared / "mine", f"{name}-image100"))
    assert len(list((shared / "mine").iterdir())) == 7


# Studies, which may be somebody else's.


def test_a_studys_variants_name_files_of_its_own_folder(tmp_path: Path) -> None:
    from lib_unet_viz.studies.study import Study
    from lib_unet_viz.studies.worker import Worker

    text = 'title = "x"\nsteps = 1\nseeds = [1]\nmeasures = ["distance"]\ndumps = true\n'
    text += '[[prompts]]\ntext = "a"\n'
    text += "".join(f"[[variants]]\nname = '{name}'\n" for name in ("plain", "../../up", "/abs"))
    study = Study.parse(text)
    worker = Worker.__new__(Worker)  # a model is not needed
    worker.study, worker.dumps = study, tmp_path / "in" / "dumps"
    [group] = study.groups()
    for variant in study.variants:
        worker._dump(small(), group, variant, "")
    assert {path.parent for path in tmp_path.rglob("*.safetensors")} == {tmp_path / "in" / "dumps"}


# Where the home is unknown, and where somebody loses patience.


def test_nobodys_home(
    monkeypatch: pytest.MonkeyPatch, dump: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def unknown(_: int) -> Any:
        raise KeyError("uid not found")

    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert main(["show", str(dump)]) == 0
    assert main(["blocks", "IN00", "--model", "~/model"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


INTERRUPTING = """
import sys
class Stop:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Stop())
from lib_unet_viz.cli import main
sys.exit(main(["blocks", "IN00"]))
"""


@pytest.mark.parametrize("at", ["lib_unet_viz.cli.parser", "torch", "numpy", "PIL", "diffusers"])
def test_ctrl_c_while_a_module_is_imported(at: str) -> None:
    found = subprocess.run(
        [sys.executable, "-c", INTERRUPTING, at], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (130, "")
    assert found.stderr in ("unet-viz: interrupted\n", "unet-viz blocks: interrupted\n")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("library", ["libtorch_cpu", "_multiarray_umath"])
def test_ctrl_c_in_the_first_second(library: str) -> None:
    """As soon as a library is being loaded."""
    command = [sys.executable, "-m", "lib_unet_viz", "blocks", "IN00"]
    heard = partial(
        signal.signal, signal.SIGINT, signal.SIG_DFL
    )  # shells make background processes deaf to it
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes, preexec_fn=heard) as started:  # noqa: PLW1509
        maps, end = Path(f"/proc/{started.pid}/maps"), time.monotonic() + 60
        while library not in maps.read_text(encoding="utf-8") and time.monotonic() < end:
            time.sleep(0.005)
        started.send_signal(signal.SIGINT)
        out, error = started.communicate(timeout=60)
    assert started.returncode == 130
    assert out == ""
    assert error.replace(" blocks", "") == "unet-viz: interrupted\n"
    assert set(error) <= set(string.printable)


def test_dumps_are_found_by_their_own_names_only(tmp_path: Path) -> None:
    """A dump's name is what was asked for, with a suffix: no pattern is filled in."""
    path = save_trace(small(), tmp_path / "{seed}-%s-$HOME-[prompt]")
    assert path.name == "{seed}-%s-$HOME-[prompt].safetensors"
    assert load_trace(path).features
