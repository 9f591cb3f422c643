"""Live sources that come back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_when_event_set, wait_exponential_jitter

from producers.sources import Captured, FrameSource, SourceLostError, Unreadable
from sightline.contracts import CameraEventKind

log = logging.getLogger(__name__)

Report = Callable[[CameraEventKind, str], None]

FIRST_PAUSE = 0.5


class Reconnecting:
    """A source that, when its camera is lost, tries to reach it again until it gives frames or `stopping` is set.

    The pauses between attempts grow from half a second to `longest` seconds, with jitter so that cameras behind one
    switch do not all come back at once. An attempt succeeds when a frame has come, not when the connection opened.
    `report` is told `connected` and `disconnected`, once for each change.
    """

    def __init__(self, source: FrameSource, *, longest: float, stopping: threading.Event, report: Report) -> None:
        self.name = source.name
        self.live = source.live
        self.product = source.product
        self._source = source
        self._stopping = stopping
        self._report = report
        self._connected = False
        self._first = min(FIRST_PAUSE, longest)
        self._pauses = wait_exponential_jitter(multiplier=self._first, max=longest, jitter=self._first)

    @property
    def connected(self) -> bool:
        """Whether the camera gives frames, as far as it is known."""
        return self._connected

    @property
    def fps(self) -> float | None:
        return self._source.fps

    def open(self) -> None:
        """One attempt, so that a wrong address is told at once; raises SourceLostError."""
        self._source.open()
        self._connected = True
        self._report(CameraEventKind.CONNECTED, self.name)

    def read(self) -> Captured | Unreadable | None:
        """The next frame, after as many attempts as it takes; None at the end or when `stopping` was set."""
        if self._connected:
            try:
                return self._source.read()
            except SourceLostError as loss:
                self.lost(str(loss))
        return self._reconnect()

    def close(self) -> None:
        self._connected = False
        self._source.close()

    def lost(self, why: str) -> None:
        """Report the camera as lost, or as not there from the start; `read` will try to reach it."""
        self._connected = False
        self._source.close()
        log.warning("camera lost", extra={"source": self.name, "why": why})
        self._report(CameraEventKind.DISCONNECTED, why)

    def _reconnect(self) -> Captured | Unreadable | None:
        attempts = Retrying(
            retry=retry_if_exception_type(SourceLostError),
            wait=self._pauses,
            stop=stop_when_event_set(self._stopping),
            sleep=self._sleep,
            retry_error_callback=_give_up,
        )
        self._sleep(self._first)
        frame: Captured | Unreadable | None = attempts(self._attempt)
        return frame

    def _attempt(self) -> Captured | Unreadable | None:
        if self._stopping.is_set():
            return None
        try:
            self._source.open()
            frame = self._source.read()
        except SourceLostError:
            self._source.close()
            raise
        self._connected = True
        log.info("camera is back", extra={"source": self.name})
        self._report(CameraEventKind.CONNECTED, self.name)
        return frame

    def _sleep(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def _give_up(_state: RetryCallState) -> None:
    return None
