"""How often someone may ask: moving windows of a minute, in memory of this process."""

from __future__ import annotations

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter


class Throttle:
    """Counts by name; `take` is one try."""

    def __init__(self, times_a_minute: int) -> None:
        self._limit = RateLimitItemPerMinute(times_a_minute)
        self._limiter = MovingWindowRateLimiter(MemoryStorage())

    def take(self, *names: str) -> float | None:
        """None when it may be, else the seconds to wait."""
        if self._limiter.hit(self._limit, *names):
            return None
        return max(1.0, self._limiter.get_window_stats(self._limit, *names).reset_time - time.time())
