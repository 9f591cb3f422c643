"""A steady clock for frames, and a limit for those that catch up."""

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


class Allowance:
    """How fast a queue may be emptied: `rate` a second, and one more for each that joins it.

    So it shrinks by `rate` a second whatever joins, and what receives it never has more than that on top of the usual.
    What is not used is kept for a quarter of a second.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._most = max(1.0, rate / 4)
        self._left = self._most
        self._clock = clock
        self._at = clock()

    def joined(self) -> None:
        """One more waits."""
        self._left = min(self._most, self._left + 1)

    def take(self) -> bool:
        """Whether one may leave now, which uses the allowance up."""
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
