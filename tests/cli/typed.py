"""Commands as a person types them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lib_unet_viz.cli import main
from lib_unet_viz.trace import FeatureMap

PROMPT = "a red circle"


def run(*arguments: str | Path) -> int:
    """The exit code, also where argparse leaves."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return int(end.code or 0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The message of a command that fails as the user's mistake."""
    assert run(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert 1 <= len(err.splitlines()) <= 2
    assert "Traceback" not in err
    return err


def twice_as_large(item: FeatureMap) -> torch.Tensor:
    """Its data, each position four times; of self-attention, those that are looked at as well."""
    data = item.data
    if item.key.kind == "self" and item.key.what == "QK":
        sides = data.unflatten(1, item.shape[2:])
        data = sides.repeat_interleave(2, 1).repeat_interleave(2, 2).flatten(1, 2)
    return data.repeat_interleave(2, -1).repeat_interleave(2, -2)
