"""Carries alerts from the outbox to one receiver."""

from __future__ import annotations

import asyncio
import logging
import random
import sqlite3
import time

from console.notify.outbox import Outbox, Waiting
from console.notify.sink import Sink
from sightline.errors import DeliveryError

log = logging.getLogger(__name__)

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0

_LOOK_SECONDS = 0.2


class Courier:
    """One receiver's own task: what hangs or fails here holds up nobody else.

    Delivery: at least once, see `Outbox`. After a failure the receiver is left alone for a pause that doubles from
    one second to one minute, with jitter, or for as long as it asked; an alert that is refused for good, or that has
    waited for `give_up_hours`, is counted, logged and passed over.
    """

    def __init__(
        self, name: str, sink: Sink, outbox: Outbox, *, give_up_hours: float, first_pause: float = FIRST_PAUSE
    ) -> None:
        self._name = name
        self._sink = sink
        self._outbox = outbox
        self._give_up_seconds = give_up_hours * 3600
        self._first_pause = first_pause
        self._failures = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        await self._sink.open()
        try:
            while True:
                try:
                    pause = await self._step()
                except sqlite3.Error as error:
                    # the disk is full: what was told but could not be taken out is told again
                    log.error("the outbox cannot be used", extra={"sink": self._name, "error": str(error)})
                    pause = LONGEST_PAUSE
                await asyncio.sleep(pause)
        finally:
            try:
                async with asyncio.timeout(self._sink.seconds):
                    await self._sink.close()
            except Exception as error:  # noqa: BLE001 - the end of one receiver is no matter for the others
                log.warning("did not close in peace", extra={"sink": self._name, "error": str(error)})

    async def _step(self) -> float:
        """Tell the receiver what is next; returns the seconds to wait before the one after it."""
        waiting = self._outbox.take(self._name, self._sink.most)
        if not waiting:
            return _LOOK_SECONDS
        if old := [one for one in waiting if time.time() - one.parked_at > self._give_up_seconds]:
            self._outbox.lose(self._name, old, "given_up", "waited too long")
            return 0
        try:
            async with asyncio.timeout(self._sink.seconds):
                await self._sink.send([one.alert for one in waiting])
        except DeliveryError as error:
            return self._failed(waiting, error)
        except TimeoutError:
            return self._failed(waiting, DeliveryError(f"no answer within {self._sink.seconds:g} s"))
        except Exception as error:  # noqa: BLE001 - whatever a client library raises is a failed try, not our end
            return self._failed(waiting, DeliveryError(repr(error)))
        self._failures = 0
        self._outbox.done(self._name, waiting, self._sink.rest_seconds)
        return 0

    def _failed(self, waiting: list[Waiting], error: DeliveryError) -> float:
        if error.final:
            self._outbox.lose(self._name, waiting, "refused", str(error))
            return 0
        self._failures += 1
        # the receiver rests by its own failures, each alert by its own: one that always fails lets the others pass
        pause = error.wait or backoff(self._failures, self._first_pause)
        due = error.wait or backoff(max(one.attempts for one in waiting) + 1, self._first_pause)
        self._outbox.postpone(self._name, waiting, due, str(error))
        if self._failures == 1:
            log.warning("not delivered, trying again", extra={"sink": self._name, "error": str(error)})
        return pause


def backoff(failures: int, first: float = FIRST_PAUSE) -> float:
    """Seconds after this many failures in a row: doubled each time up to a minute, the upper half of it by chance."""
    return min(LONGEST_PAUSE, first * 2.0 ** min(failures - 1, 20)) * random.uniform(0.5, 1)  # noqa: S311 - no secret
