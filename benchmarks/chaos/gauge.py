"""How fast the line runs, and how long after a fault it ran at its rate again."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_SECONDS = 1.0
SHARE = 0.9
"""Part of the cameras' rate that counts as the full rate."""
_PAUSE = 0.1


class Gauge:
    """Samples a counter of finished frames; `count` raises OSError or RuntimeError while it cannot be asked."""

    def __init__(self, count: Callable[[], int], rate: float) -> None:
        self._count = count
        self._rate = rate
        self._samples: deque[tuple[float, int]] = deque(maxlen=6000)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gauge", daemon=True)
        self._thread.start()

    def recovery(self, since: float, seconds: float) -> float | None:
        """Seconds from `since`, on the monotonic clock, to the end of the first window after it at the full rate.

        A window starts after `since`, so the least is its length. None when there is none within `seconds`.
        """
        while time.monotonic() - since < seconds:
            if (found := first_full_window(list(self._samples), since, self._rate)) is not None:
                return found
            time.sleep(_PAUSE)
        return None

    def expect(self, rate: float) -> None:
        """From now on this is the cameras' rate."""
        self._rate = rate

    def close(self) -> None:
        self._closing.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._closing.wait(_PAUSE):
            try:
                self._samples.append((time.monotonic(), self._count()))
            except (OSError, RuntimeError):
                continue


def first_full_window(samples: list[tuple[float, int]], since: float, rate: float) -> float | None:
    """Seconds from `since` to the end of the first window that starts after it and has `SHARE` of `rate` frames/s."""
    after = [(at, count) for at, count in samples if at >= since]
    start = 0
    for at, count in after:
        while at - after[start + 1 if start + 1 < len(after) else start][0] >= WINDOW_SECONDS:
            start += 1
        began, had = after[start]
        length = at - began
        if length >= WINDOW_SECONDS and (count - had) / length >= SHARE * rate:
            return at - since
    return None
