"""Alerts in plain Python, for operators' own scripts: a lamp, a pager, a line stop.

    from sightline.contracts import Severity
    from sightline.subscriber import AlertSubscriber

    with AlertSubscriber(severities={Severity.CRITICAL}) as alerts:
        for alert in alerts:
            light_the_lamp(alert.camera)

Needs kafka-python (`pip install sightline[console]`) and nothing else: no Java, no compiler.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Iterator
from types import TracebackType
from typing import Any, Literal, Self

from sightline.codec import decode
from sightline.consumer import open_consumer
from sightline.contracts import Alert, AlertState, Severity
from sightline.errors import BrokerError, SightlineError
from sightline.kafka_refusal import refusal
from sightline.settings import KafkaSettings

Start = Literal["now", "earliest", "open"]

_log = logging.getLogger(__name__)
_REMEMBERED = 50_000
"""Incidents whose last revision is kept in memory to recognise a repeat."""
_CONTACT_SECONDS = 10.0
"""How long the topic may be silent before the broker is asked whether it is still there."""


class AlertSubscriber:
    """Iterates over alerts as they are published.

    Delivery: at least once, in order within a camera, and each (alert_id, revision) once in a subscriber's life. Only
    committed records are read, so an alert whose transaction was rolled back is never seen. Every subscriber gets every
    alert; there is no sharing of work.

    `start` says where to begin: `now`; `earliest`, with everything that the topic still holds; or `open`, with the last
    revision of each incident that is not closed, oldest first, and after those whatever happens next.

    With a `name` the broker remembers how far this subscriber came, and `start` counts only the first time: a script
    that is started again goes on where it stopped. Progress is noted when the *next* batch is asked for, so what was
    being handled during a crash comes again. Two scripts need two names.

    A broker that restarts is waited for; after `patience` seconds without an answer, reading raises BrokerError.
    """

    def __init__(
        self,
        settings: KafkaSettings | None = None,
        *,
        start: Start = "now",
        cameras: Collection[str] = (),
        severities: Collection[Severity] = (),
        name: str | None = None,
        connect_seconds: float = 10.0,
        patience: float = 300.0,
    ) -> None:
        """Connects at once; raises BrokerError when no broker answers or the topic does not exist."""
        self._settings = settings or KafkaSettings.load().for_role("operator")
        self._topic = self._settings.topics.alerts
        self._cameras = frozenset(cameras)
        self._severities = frozenset(severities)
        self._named = name is not None
        self._moved = False
        self._patience = patience
        self._revisions: OrderedDict[str, int] = OrderedDict()
        self._open: dict[str, Alert] | None = {} if start == "open" else None
        self._last_contact = time.monotonic()
        self._consumer = open_consumer(
            self._settings,
            connect_seconds=connect_seconds,
            client_id="sightline-alerts",
            group_id=name,
            isolation_level="read_committed",
        )
        try:
            self._ends = self._begin(start)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[Alert]:
        """Every alert, forever; waits while there is none. Raises BrokerError as described on the class."""
        while True:
            yield from self.poll(1.0)

    def poll(self, seconds: float) -> list[Alert]:
        """The alerts that came, possibly none, after at most about `seconds`."""
        from kafka.errors import KafkaError

        self._note_progress()
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                records = self._consumer.poll(timeout_ms=max(0, int(min(left, 1.0) * 1000)))
            except KafkaError as error:
                # kafka-python retries by itself; what it raises all the same is counted as silence
                _log.warning("reading alerts failed, trying again", extra={"topic": self._topic, "error": repr(error)})
                time.sleep(min(max(left, 0.0), 1.0))
                records = {}
            if records:
                self._last_contact = time.monotonic()
                self._moved = True
            alerts = self._fold(record for batch in records.values() for record in batch)
            if alerts or time.monotonic() >= deadline:
                self._check_contact()
                return alerts

    @property
    def caught_up(self) -> bool:
        """Whether everything that the topic held at the start has been read."""
        return all(self._consumer.position(partition) >= end for partition, end in self._ends.items())

    def close(self) -> None:
        """Leave the broker; alerts handed out since the last batch will come again to a named subscriber."""
        self._consumer.close(autocommit=False)

    def _begin(self, start: Start) -> dict[Any, int]:
        """Assign every partition, move to the start, and return where the topic ends now."""
        from kafka import TopicPartition
        from kafka.errors import KafkaError

        try:
            partitions = [TopicPartition(self._topic, n) for n in self._consumer.partitions_for_topic(self._topic)]
            if not partitions:
                raise BrokerError(
                    f"the broker at {self._settings.bootstrap} has no topic {self._topic!r}; create the topics with "
                    "`sightline topics`, or correct SIGHTLINE_KAFKA_TOPIC_PREFIX "
                    f"(now {self._settings.topic_prefix!r})"
                )
            self._consumer.assign(partitions)
            ends: dict[Any, int] = self._consumer.end_offsets(partitions)
            begins: dict[Any, int] = ends if start == "now" else self._consumer.beginning_offsets(partitions)
            noted = {p: self._consumer.committed(p) for p in partitions} if self._named else {}
            if any(offset is not None for offset in noted.values()):
                self._open = None
            elif self._named:
                # a start `now` is noted too, or what happens before the first alert and a restart would be lost
                self._moved = True
            for partition, begin in begins.items():
                offset = noted.get(partition)
                self._consumer.seek(partition, begin if offset is None else offset)
        except KafkaError as error:
            refused = refusal(self._settings, error, topic=self._topic, operation="read")
            raise refused or BrokerError(
                f"the broker at {self._settings.bootstrap} does not say where {self._topic!r} ends: {error}"
            ) from error
        return ends

    def _note_progress(self) -> None:
        from kafka.errors import KafkaError

        # before the open incidents are out, a position would skip them after a crash
        if not self._named or not self._moved or self._open is not None:
            return
        try:
            self._consumer.commit(timeout_ms=5000)
            self._moved = False
        except KafkaError as error:
            _log.warning("progress not noted, alerts may repeat", extra={"topic": self._topic, "error": repr(error)})

    def _fold(self, records: Iterable[Any]) -> list[Alert]:
        fresh = [alert for record in records if (alert := self._read(record)) is not None]
        if self._open is None:
            return [alert for alert in fresh if self._wanted(alert)]
        for alert in fresh:
            if alert.state is AlertState.CLOSED:
                self._open.pop(alert.alert_id, None)
            else:
                self._open[alert.alert_id] = alert
        if not self.caught_up:
            return []
        opened, self._open = self._open, None
        return sorted(filter(self._wanted, opened.values()), key=lambda alert: (alert.opened_at, alert.alert_id))

    def _read(self, record: Any) -> Alert | None:
        """The alert in a record; None for a tombstone, a repeat, or what is not an alert of this version."""
        if record.value is None:
            return None
        try:
            alert = decode(Alert, record.value)
        except SightlineError as error:
            where = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
            _log.warning("skipped a record that is no alert", extra={**where, "error": str(error)})
            return None
        if alert.revision <= self._revisions.get(alert.alert_id, -1):
            return None
        self._revisions[alert.alert_id] = alert.revision
        self._revisions.move_to_end(alert.alert_id)
        if len(self._revisions) > _REMEMBERED:
            self._revisions.popitem(last=False)
        return alert

    def _wanted(self, alert: Alert) -> bool:
        return (not self._cameras or alert.camera in self._cameras) and (
            not self._severities or alert.severity in self._severities
        )

    def _check_contact(self) -> None:
        from kafka.errors import KafkaError

        silent = time.monotonic() - self._last_contact
        if silent < min(_CONTACT_SECONDS, self._patience):
            return
        try:
            # poll() says nothing of a broker that is gone; this asks it
            self._consumer.end_offsets(list(self._ends), timeout_ms=1000)
            self._last_contact = time.monotonic()
        except KafkaError as error:
            if silent > self._patience:
                raise BrokerError(
                    f"the Kafka broker at {self._settings.bootstrap} has not answered for {silent:.0f} s; "
                    "start it again and run this once more"
                ) from error
