"""One subscription to the alerts for all who listen to this process, and the incidents that are open now."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from console.following import Contact, Source, follow
from sightline.contracts import Alert, AlertState
from sightline.settings import KafkaSettings
from sightline.subscriber import AlertSubscriber

log = logging.getLogger(__name__)

REMEMBERED = 5000
"""Incidents whose last revision is known without a table."""
BACKLOG = 500
"""Alerts that may wait for one listener; one that falls behind is sent away, and starts anew with what is open."""

_POLL_SECONDS = 0.5


Queue = asyncio.Queue["Alert | None"]


class AlertFeed:
    """Runs in a thread of its own. A broker that is away is waited for, and `fault` says why meanwhile."""

    def __init__(self, subscribe: Callable[[], Source[Alert]]) -> None:
        self._subscribe = subscribe
        self._known: OrderedDict[str, Alert] = OrderedDict()
        self._listeners: dict[Queue, asyncio.AbstractEventLoop] = {}
        self._lock = threading.Lock()
        self._halt = threading.Event()
        self._thread: threading.Thread | None = None
        self._contact = Contact("alerts")

    @classmethod
    def of(cls, kafka: KafkaSettings) -> AlertFeed:
        """The feed of a broker."""
        return cls(lambda: AlertSubscriber(kafka, start="open", connect_seconds=5.0, patience=30.0))

    @property
    def fault(self) -> str | None:
        """Why nothing can come; None while it can."""
        return self._contact.fault

    def start(self) -> None:
        """Begin; once."""
        self._thread = threading.Thread(target=self._run, name="alert-feed", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the subscription and send every listener away."""
        self._halt.set()
        if self._thread:
            self._thread.join()
        with self._lock:
            for queue, loop in self._listeners.items():
                _tell(loop, queue, None)

    def latest(self, alert_id: str) -> Alert | None:
        """The last revision of an incident, None where it is not remembered."""
        with self._lock:
            return self._known.get(alert_id)

    @property
    def listeners(self) -> int:
        """How many listen now."""
        with self._lock:
            return len(self._listeners)

    def open(self) -> list[Alert]:
        """The incidents that are open now, as far as they are remembered."""
        with self._lock:
            return [alert for alert in self._known.values() if alert.state is not AlertState.CLOSED]

    @asynccontextmanager
    async def listen(self) -> AsyncIterator[tuple[list[Alert], Queue]]:
        """The incidents that are open now, oldest first, and a queue of what follows; None in it is the end."""
        queue: Queue = asyncio.Queue(BACKLOG)
        with self._lock:
            still = [alert for alert in self._known.values() if alert.state is not AlertState.CLOSED]
            if self._halt.is_set():
                queue.put_nowait(None)
            self._listeners[queue] = asyncio.get_running_loop()
        try:
            yield sorted(still, key=lambda alert: (alert.opened_at, alert.alert_id)), queue
        finally:
            with self._lock:
                self._listeners.pop(queue, None)

    def _run(self) -> None:
        follow(self._subscribe, self._publish, self._contact.told, self._halt, _POLL_SECONDS)

    def _publish(self, alerts: Iterable[Alert]) -> None:
        with self._lock:
            for alert in alerts:
                known = self._known.get(alert.alert_id)
                if known and known.revision >= alert.revision:
                    continue  # a subscription that was begun anew tells the open ones again
                self._known[alert.alert_id] = alert
                self._known.move_to_end(alert.alert_id)
                if len(self._known) > REMEMBERED:
                    self._known.popitem(last=False)
                for queue, loop in self._listeners.items():
                    _tell(loop, queue, alert)


def _tell(loop: asyncio.AbstractEventLoop, queue: Queue, alert: Alert | None) -> None:
    def put() -> None:
        if alert is None or queue.full():
            while not queue.empty():
                queue.get_nowait()
            queue.put_nowait(None)
        else:
            queue.put_nowait(alert)

    try:
        loop.call_soon_threadsafe(put)
    except RuntimeError:
        log.debug("a listener's loop has ended")
