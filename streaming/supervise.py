"""Keeps streaming queries running until the process is told to stop.

A query that fails (broker gone, table store down) is started again alone, with growing pauses; the others never notice.
One that has done what it was to do is followed by the next at once.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
HEALTHY_SECONDS = 60.0


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set; call it in the main thread before anything slow."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop


@dataclass(slots=True)
class _Supervised:
    start: Callable[[], StreamingQuery]
    explain: Callable[[str], object] = lambda _: None
    query: StreamingQuery | None = None
    due: float = 0.0
    started: float = 0.0
    pause: float = FIRST_PAUSE


def keep_running(
    queries: Mapping[str, Callable[[], StreamingQuery]],
    stop: threading.Event,
    *,
    look_every: float = 0.2,
    explain: Callable[[str], object] = lambda _: None,
) -> None:
    """Start each query and start it again whenever it ends, until `stop` is set; then stop them all.

    `explain` may say more about the text of a failure, such as what to do; None where it knows nothing.
    """
    watched = {name: _Supervised(start, explain) for name, start in queries.items()}
    while not stop.wait(look_every):
        for name, one in watched.items():
            _look_after(name, one)
    for one in watched.values():
        if one.query and one.query.isActive:
            one.query.stop()


def _look_after(name: str, one: _Supervised) -> None:
    now = time.monotonic()
    if one.query is not None and one.query.isActive:
        return
    if one.query is not None:
        if error := one.query.exception():
            # a query that ran for long before it failed has earned a quick first try
            one.pause = FIRST_PAUSE if now - one.started > HEALTHY_SECONDS else one.pause
            _put_off(name, one, error)
        one.query = None
    if now < one.due:
        return
    try:
        one.query, one.started = one.start(), now
        log.info("query started", extra={"query": name})
    except Exception as error:  # noqa: BLE001 - any failure to start is retried, never fatal for the others
        _put_off(name, one, error)


def _put_off(name: str, one: _Supervised, error: object) -> None:
    facts = {"query": name, "pause_s": one.pause, "error": str(error)[:2000]}
    if remedy := one.explain(str(error)):
        facts["remedy"] = str(remedy)
    log.error("query failed, starting it again", extra=facts)
    one.due = time.monotonic() + one.pause
    one.pause = min(one.pause * 2, LONGEST_PAUSE)
