"""A steady clock for frames."""

from __future__ import annotations

import time
from collections.abc import Callable

BURST = 2
"""How many frames may follow at once after a delay; time lost beyond that is given up."""


class Pacer:
    """Says when the next frame is due, counting from the first, so that delays do not add up to drift.

    `fps` None or 0 means at once. `pause` waits some seconds and returns True when waiting was ended from outside, as
    `threading.Event.wait` does.
    """

    def __init__(
        self, fps: float | None, pause: Callable[[float], bool], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = 1 / fps if fps else 0.0
        self._pause = pause
        self._clock = clock
        self._due: float | None = None

    def wait(self) -> bool:
        """Wait until the next frame is due; False when waiting was ended from outside."""
        if not self._interval:
            return not self._pause(0)
        clock = self._clock()
        due = clock if self._due is None else max(self._due, clock - BURST * self._interval)
        self._due = due + self._interval
        return not self._pause(max(0.0, due - clock))
