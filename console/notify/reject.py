"""Reject signals: told in time, or not at all."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import IntEnum
from typing import Protocol

from console.notify.outbox import Outbox
from console.notify.rules import concerns, is_loud
from console.notify.settings import ModbusSettings
from sightline.contracts import Alert, AlertState
from sightline.errors import DeliveryError

log = logging.getLogger(__name__)

BACKLOG = 1000
"""Signals that may wait; the oldest one makes room."""

_AGAIN_SECONDS = 0.05
_REMEMBERED = 10_000


class Reason(IntEnum):
    """Why a PLC is told."""

    DEFECT = 1
    ALERT = 2
    TEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """One part to be rejected, or one incident that has opened."""

    reason: Reason
    line: str
    camera: str
    product: str
    sequence: int
    captured_at: datetime


class RejectPort(Protocol):
    """Speaks to one PLC."""

    async def tell(self, signal: Signal) -> None:
        """Returns once the PLC has acknowledged; raises DeliveryError when it has not. The same signal is a repeat."""

    async def close(self) -> None:
        """Let go of the connection."""


class RejectLine:
    """One PLC's own task and queue.

    Delivery: acknowledged by the PLC within `max_age_seconds` of the capture, tried again until then; after that never,
    since another part would be hit. No signal is tried for longer than that after it came, whatever the clocks of this
    host and of the camera's say. What was too late is counted as `late`, each try without acknowledgement as
    `unanswered`. Nothing outlives the process: by the next start every signal is too old.

    `clock` tells the time of day, `elapsed` seconds that no setting of a clock changes.
    """

    def __init__(
        self,
        name: str,
        settings: ModbusSettings,
        port: RejectPort,
        outbox: Outbox,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        elapsed: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._name = name
        self._port = port
        self._outbox = outbox
        self._clock = clock
        self._elapsed = elapsed
        self._queue: deque[tuple[Signal, float]] = deque()
        self._came = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._told: OrderedDict[str, None] = OrderedDict()
        self._failing = False

    def offer(self, signal: Signal) -> None:
        """Take one on; from any thread, never blocks."""
        if self._loop and concerns(self.settings, signal.line, signal.camera, signal.product):
            self._loop.call_soon_threadsafe(self._put, signal, self._elapsed())

    def offer_alert(self, alert: Alert, *, muted: bool) -> None:
        """Take on an incident, once, if this PLC is told of incidents; for one thread."""
        if self.settings.on != "alert" or muted or alert.state is AlertState.CLOSED:
            return
        if alert.alert_id in self._told or not is_loud(self.settings, alert):
            return
        self._told[alert.alert_id] = None
        if len(self._told) > _REMEMBERED:
            self._told.popitem(last=False)
        place = (alert.line, alert.camera, alert.product)
        self.offer(Signal(Reason.ALERT, *place, alert.last_sequence, alert.updated_at))

    async def run(self) -> None:
        """Until it is cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                while self._queue:
                    await self._tell(*self._queue.popleft())
                self._came.clear()
                await self._came.wait()
        finally:
            self._loop = None
            await self._port.close()

    async def _tell(self, signal: Signal, came: float) -> None:
        while (left := self._left(signal, came)) > 0:
            try:
                async with asyncio.timeout(left):
                    await self._port.tell(signal)
            except (DeliveryError, TimeoutError) as error:
                self._unanswered(str(error) or "no answer in time")
            except Exception as error:  # noqa: BLE001 - whatever a client library raises is a failed try, not our end
                self._unanswered(repr(error))
            else:
                self._failing = False
                self._outbox.count(self._name, "sent")
                return
            await asyncio.sleep(_AGAIN_SECONDS)
        self._late(signal)

    def _left(self, signal: Signal, came: float) -> float:
        age = (self._clock() - signal.captured_at).total_seconds()
        return self.settings.max_age_seconds - max(age, self._elapsed() - came)

    def _put(self, signal: Signal, came: float) -> None:
        if len(self._queue) >= BACKLOG:
            self._late(self._queue.popleft()[0])
        self._queue.append((signal, came))
        self._came.set()

    def _unanswered(self, error: str) -> None:
        self._outbox.count(self._name, "unanswered", error)
        if not self._failing:
            log.error("a reject signal was not acknowledged", extra={"sink": self._name, "error": error})
        self._failing = True

    def _late(self, signal: Signal) -> None:
        self._outbox.count(self._name, "late", "a reject signal came too late")
        log.warning(
            "a reject signal came too late and is not sent",
            extra={"sink": self._name, "camera": signal.camera, "sequence": signal.sequence},
        )
