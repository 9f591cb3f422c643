"""Starts a process anew whose work hangs in a library, where no exception and no timeout comes."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


def begin_anew() -> None:
    """Replace this process by a new one with its id, arguments and environment, as after a kill -9; does not return."""
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - its own command line


class Watchdog:
    """Calls `act` in a thread of its own when nothing was `heard` for `seconds`, and logs where each thread is.

    Time in which the whole process stood still, as after SIGSTOP, does not count.
    """

    def __init__(self, seconds: float, act: Callable[[], object] = begin_anew) -> None:
        self._seconds = seconds
        self._act = act
        self._silent = 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def heard(self) -> None:
        """The work goes on; from any thread."""
        self._silent = 0.0

    def _run(self) -> None:
        while not self._closing.wait(_LOOK_SECONDS):
            # counted, not told from a clock, which goes on while a process is stopped
            self._silent += _LOOK_SECONDS
            if self._silent > self._seconds:
                log.error("nothing was done for %g s; starting anew", self._silent)
                faulthandler.dump_traceback(all_threads=True)
                self._silent = 0.0
                self._act()
