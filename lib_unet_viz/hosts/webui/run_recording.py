"""The recording of a run of the webui: it costs no picture, whatever goes wrong in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from lib_unet_viz.capture.recorder import NothingCaptured, Recorder
from lib_unet_viz.capture.recording import reason
from lib_unet_viz.capture.request import Calls
from lib_unet_viz.hosts.webui import needs
from lib_unet_viz.hosts.webui.description import Description
from lib_unet_viz.hosts.webui.layer_prompts import Layers
from lib_unet_viz.settings import Settings
from lib_unet_viz.trace import Trace
from lib_unet_viz.unet import UNet


class RunRecording:
    """Fills `trace` while a run goes on, on whichever U-Net that uses. What goes wrong ends it with a note.

    over: nothing is to be recorded, or no more. ended: called when something went wrong, to take hooks off.
    """

    def __init__(
        self, p: Any, settings: Settings, layers: Layers | None, *, ended: Callable[[], None]
    ) -> None:
        self.settings, self.trace = settings, Trace()
        self.over = not settings.enabled
        self.notes: list[str] = []
        self._ended = ended
        self._description = Description(p, layers, self.note)
        self._recorder: Recorder | None = None

    @property
    def begun(self) -> bool:
        """Whether hooks were on."""
        return self._recorder is not None

    def note(self, line: str) -> None:
        """Have a line read by the person who asked."""
        if line not in self.notes:
            self.notes.append(line)

    @contextmanager
    def looking(self, *raised: type[Exception]) -> Iterator[None]:
        """What goes wrong, but for what is to be raised, ends the recording with a note."""
        try:
            yield
        except raised:
            raise
        except Exception as error:
            self.over = True
            self._ended()
            self.note(f"the recording ended: {reason(error)}")

    def install(self, unet: UNet, calls: Calls) -> None:
        """Put the hooks on. Raises wrong settings, the first time."""
        if not self.over:
            with self.looking(*(() if self.begun else (ValueError,))):
                recorder = self._on(unet, calls)
                self._description.add_batch(self.trace)
                recorder.install()

    def remove(self) -> None:
        """Take the hooks off."""
        if self._recorder is not None:
            self._recorder.remove()

    def finish(self, *, stopped: bool) -> None:
        """Complete the trace; what could not be recorded becomes a note. stopped: the run was."""
        if self._recorder is not None:
            try:
                self._recorder.finish(check=not self.over)
            except NothingCaptured as error:
                self.note(str(error))
            except Exception as error:
                self.note(f"the recording was not completed: {reason(error)}")
        elif not stopped and not self.over:
            self.note("nothing was recorded: no step of the U-Net was seen")
        self.trace.notes.extend(note for note in self.notes if note not in self.trace.notes)

    def _on(self, unet: UNet, calls: Calls) -> Recorder:
        """The recorder, on this U-Net."""
        if self._recorder is None:
            self._recorder = self._new(unet, calls)
            self.trace = self._recorder.trace
        elif self._recorder.unet.module is not unet.module:
            self._recorder.follow(unet)
        return self._recorder

    def _new(self, unet: UNet, calls: Calls) -> Recorder:
        return Recorder(
            unet,
            **self.settings.captures(unet, halves=needs.HALVES),
            calls=calls,
            meta=self._description.run(),
            budget=needs.budget(self.settings),
        )
