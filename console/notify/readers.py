"""From the topics to the outbox and the reject lines, each in a thread of its own."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from console.mutes import MuteFollower
from console.notify.outbox import Outbox
from console.notify.reject import Reason, RejectLine, Signal
from console.notify.settings import Rules
from sightline.contracts import Alert, Verdict
from sightline.errors import BrokerError
from sightline.kafka_refusal import refusal
from sightline.settings import KafkaSettings
from sightline.subscriber import AlertSubscriber

log = logging.getLogger(__name__)

GROUP = "alerts-{prefix}notify"
"""Consumer group; the rights of Kafka let the names of subscribers begin so."""

_AGAIN_SECONDS = 3.0
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 10.0


class AlertReader:
    """Parks alerts.

    Delivery: at least once into the outbox, which knows a repeat; offsets are noted after that. It starts at the end of
    the topic the first time, later where it stopped. A broker that is away is waited for.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        outbox: Outbox,
        sinks: dict[str, Rules],
        lines: Sequence[RejectLine],
        mutes: MuteFollower,
    ) -> None:
        self._kafka = kafka
        self._outbox = outbox
        self._sinks = sinks
        self._lines = lines
        self._mutes = mutes
        self._is_muted = mutes.book.is_muted

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        # an alert must not go out because its mute was not known yet
        while not self._mutes.ready.wait(_POLL_SECONDS) and not stop.is_set():
            pass
        while not stop.is_set():
            try:
                self._follow(stop)
            except BrokerError as error:
                log.warning("no alerts until the broker is back", extra={"error": str(error)})
                stop.wait(_AGAIN_SECONDS)

    def _follow(self, stop: threading.Event) -> None:
        name = GROUP.format(prefix=self._kafka.topic_prefix)
        with AlertSubscriber(self._kafka, name=name, connect_seconds=5.0, patience=_PATIENCE_SECONDS) as subscriber:
            log.info("following the alerts")
            while not stop.is_set():
                if alerts := subscriber.poll(_POLL_SECONDS):
                    self._take(alerts, stop)
            # asking for more says that all before is parked
            subscriber.poll(0)

    def _take(self, alerts: list[Alert], stop: threading.Event) -> None:
        for alert in alerts:
            for line in self._lines:
                line.offer_alert(alert, muted=self._is_muted(alert))
        while True:
            try:
                return self._outbox.park(alerts, self._sinks, self._is_muted)
            except sqlite3.Error as error:
                log.error("alerts cannot be parked, trying again", extra={"error": str(error)})
                if stop.wait(_AGAIN_SECONDS):
                    raise BrokerError("stopped before the alerts could be parked; they come again") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """What a reject signal needs of an Inspection; heat map and picture are not even decoded."""

    line: str
    camera: str
    sequence: int
    captured_at: datetime
    product: str
    verdict: str


class DefectReader:
    """Hands every verdict `defect` to the reject lines.

    Delivery: at most once, from the present end of the topic: a signal for a part that has gone by must not be sent.
    """

    def __init__(self, kafka: KafkaSettings, lines: Sequence[RejectLine]) -> None:
        self._kafka = kafka
        self._lines = lines
        self._decoder = msgspec.json.Decoder(_Judged)

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        from confluent_kafka import KafkaException

        while not stop.is_set():
            try:
                self._follow(stop)
            except (KafkaException, BrokerError) as error:
                log.warning("no reject signals until the broker is back", extra={"error": str(error)})
                stop.wait(_AGAIN_SECONDS)

    def _follow(self, stop: threading.Event) -> None:
        from confluent_kafka import OFFSET_END, Consumer, TopicPartition

        topic = self._kafka.topics.inspections
        keys = {
            "group.id": GROUP.format(prefix=self._kafka.topic_prefix),
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
        }
        consumer = Consumer(self._kafka.librdkafka(**keys), logger=log)
        try:
            found = consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
            if refused := refusal(self._kafka, found.error, topic=topic, operation="read"):
                raise refused
            if not found.partitions:
                raise BrokerError(f"there is no topic {topic!r}; create the topics with `sightline topics`")
            consumer.assign([TopicPartition(topic, partition, OFFSET_END) for partition in found.partitions])
            log.info("following the verdicts")
            while not stop.is_set():
                for message in consumer.consume(500, timeout=_POLL_SECONDS):
                    self._take(message)
        finally:
            consumer.close()

    def _take(self, message: Any) -> None:
        from confluent_kafka import KafkaError, KafkaException

        if (error := message.error()) is not None:
            if error.code() == KafkaError._PARTITION_EOF or error.retriable():
                return
            topic = self._kafka.topics.inspections
            raise refusal(self._kafka, error, topic=topic, operation="read") or KafkaException(error)
        if message.value() is None:
            return
        try:
            judged = self._decoder.decode(message.value())
        except msgspec.DecodeError as error:
            log.warning("passed over a record that is no inspection", extra={"error": str(error)})
            return
        if judged.verdict != Verdict.DEFECT:
            return
        place = (judged.line, judged.camera, judged.product)
        signal = Signal(Reason.DEFECT, *place, judged.sequence, judged.captured_at)
        for line in self._lines:
            if line.settings.on == "defect":
                line.offer(signal)
