"""A fault at every line of ours in a run that looks, reads layer prompts or edits: no hook stays on the
U-Net, the next picture is the same to the byte, and a fault in looking costs no picture.
"""

from __future__ import annotations

import pytest
from injection import ERRORS, Subject, places, some
from standin import StandIn, edit

from lib_unet_viz.settings import EditSettings, Settings
from lib_unet_viz.trace import Trace

SIZE = (64, 64)  # pixels
ALL = Settings.from_dict(
    {
        "features": {"blocks": "", "steps": ""},
        "attention": {
            "blocks": "",
            "steps": "",
            "kinds": ["cross", "self"],
            "parts": ["Q", "K", "QK", "VQK"],
        },
        "explore": True,
    }
)
BLENDED = EditSettings(enabled=True, edits="cat -> dog", threshold=0.7)
QUICK = 12  # places of each kind of run


def subject(name: str) -> Subject:
    model = StandIn()

    def looking() -> tuple[bytes, Trace]:
        trace = model.generate("a (~: IN00-M00: red :~) cat", settings=ALL, steps=2, size=SIZE)
        assert trace.picture is not None
        return trace.picture.tobytes(), trace

    def editing() -> tuple[bytes, None]:
        edited = edit(model, "a red cat", BLENDED, steps=2, size=SIZE)
        return b"".join(picture.tobytes() for picture in edited.pictures), None

    return Subject(model.module, looking if name == "looking" else editing)


@pytest.mark.parametrize("count", [QUICK, pytest.param(10_000, marks=pytest.mark.heavy)])
@pytest.mark.parametrize("name", ["looking", "editing"])
def test_faults_at_lines_of_a_run(name: str, count: int) -> None:
    """Of so many places, or of all, each with another error."""
    one = subject(name)
    there = places(one.run)
    assert len(there) > 400
    assert one.harmed((place, ERRORS[at % len(ERRORS)]) for at, place in enumerate(some(there, count))) == []
