"""Following something on the broker for as long as a process runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Protocol, TypeVar

from sightline.errors import BrokerError

log = logging.getLogger(__name__)

RETRY_SECONDS = 3.0

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Source(Protocol[T_co]):
    """Brings what is new; raises BrokerError when it cannot."""

    def poll(self, seconds: float) -> Sequence[T_co]: ...
    def close(self) -> None: ...


class Contact:
    """Whether something on the broker can be read; the log hears of each loss once, not of every try.

    `fault` says why nothing can come, None while it can.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self.fault: str | None = f"{what} have not been reached yet"

    def told(self, fault: str | None) -> None:
        """Take note of how the last try went."""
        if fault and fault != self.fault:
            log.warning("no %s until the broker is back", self._what, extra={"error": fault})
        self.fault = fault


def follow(
    opened: Callable[[], Source[T]],
    take: Callable[[Sequence[T]], None],
    told: Callable[[str | None], None],
    halt: threading.Event,
    poll_seconds: float,
) -> None:
    """Give `take` what a source brings until `halt` is set, from a new one wherever the broker was away.

    `told` hears why nothing can come, and None as soon as it can.
    """
    while not halt.is_set():
        try:
            with closing(opened()) as source:
                told(None)
                while not halt.is_set():
                    take(source.poll(poll_seconds))
        except BrokerError as error:
            told(str(error))
            halt.wait(RETRY_SECONDS)
        except Exception as error:
            log.exception("not followed for a moment")
            told(repr(error))
            halt.wait(RETRY_SECONDS)
