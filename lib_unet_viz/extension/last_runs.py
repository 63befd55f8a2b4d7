"""The run that the webui recorded last, kept in memory for the tab U-Net Explore: each visitor's own.

Visitors are told apart by their login (--gradio-auth). Where there is none, only a webui that its own machine
alone can reach keeps a run.
"""

from __future__ import annotations

from collections.abc import Sequence

from modules import shared
from PIL import Image

from lib_unet_viz.trace import Trace
from lib_unet_viz.ui.runs import Runs

MOST = 500_000_000  # bytes of a run's maps
OPEN = (
    "This webui is open to others without a login (--gradio-auth), so no run is kept, which another visitor "
    "could see. Let the script dump the numbers to files, and open such a dump here."
)


class NotKeptError(ValueError):
    """There is no run to open; the message says why."""


class LastRuns:
    """runs: what is kept, in which a run's pictures are its words, by image."""

    def __init__(self) -> None:
        self.runs = Runs(MOST)
        self._last: dict[str, str | NotKeptError] = {}  # a run's id, or why there is none, by owner

    def keep(self, user: str | None, trace: Trace, pictures: Sequence[Image.Image]) -> None:
        """In place of the run before. pictures: of each image."""
        if not trace.images:
            return
        try:
            owner = owner_of(user)
        except NotKeptError:
            return
        if trace.nbytes > MOST:
            self._last[owner] = NotKeptError(
                f"The last run's maps take {trace.nbytes / 1e6:,.0f} MB; up to {MOST / 1e6:,.0f} MB are "
                "kept. Record fewer blocks or steps, or open a dump."
            )
            return
        run = self.runs.start(owner)
        self.runs.end(run, trace, [(picture, f"image {at}") for at, picture in enumerate(pictures)])
        self._last[owner] = run.name

    def last(self, user: str | None) -> str:
        """The id of a visitor's run; blank where there was none. Raises NotKeptError."""
        found = self._last.get(owner_of(user), "")
        if isinstance(found, NotKeptError):
            raise NotKeptError(str(found))
        return found


def owner_of(user: str | None) -> str:
    """Whose a run is. Raises NotKeptError where visitors cannot be told apart."""
    if not user and getattr(shared.cmd_opts, "webui_is_non_local", False):
        raise NotKeptError(OPEN)
    return user or ""


def here() -> LastRuns:
    """This webui's."""
    return _HERE


_HERE = LastRuns()
