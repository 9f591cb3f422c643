"""One membership of the incident process in its consumer group, from joining to the first fault."""

from __future__ import annotations

import contextlib
import logging
import math
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Annotated, ClassVar, Self

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from pydantic import Field

from sightline import codec
from sightline.contracts import Alert, AlertState, Inspection
from sightline.errors import SightlineError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings, Section
from sightline.traces import Tracer, marked
from streaming.changelog import read_states
from streaming.fold import AlertSettings, CameraState, fold
from streaming.metrics import IncidentMetrics, unseen
from streaming.spans import IncidentSpans

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
_GREETING_SECONDS = 3.0
_LOOK_UP_SECONDS = 0.5
_BUFFER_KB = 32 * 1024


class IncidentSettings(Section):
    """How the incident process reads and commits."""

    section: ClassVar[str] = "incidents"

    group: str = "sightline-incidents"
    """Consumer group, after the deployment's topic prefix."""
    batch: Annotated[int, Field(ge=1, le=10_000)] = 500
    """Most inspections that are folded together."""
    commit_seconds: Annotated[float, Field(gt=0, le=60)] = 0.5
    """Alerts are committed at once, and all that led to them; without any, states and offsets this often."""
    transaction_seconds: Annotated[float, Field(ge=1, le=900)] = 10.0
    """After this long the broker gives up the transaction of an instance that died in its midst."""
    session_seconds: Annotated[float, Field(ge=6, le=300)] = 6.0
    """After this long without a sign of life, another instance takes over the partitions."""
    longest_pause_seconds: Annotated[float, Field(gt=0)] = 15.0
    """Bound of the growing pauses between attempts while the broker is away."""
    hang_seconds: Annotated[float, Field(ge=30)] = 30.0
    """After this long in one call to Kafka's library the process starts itself anew. The library's own bounds do not
    hold where a broker that led the group is gone from the cluster (confluentinc/librdkafka#5456 and #5511)."""


@dataclass(slots=True)
class _Folded:
    """What was folded since the last commit; `due` is when it must be committed, on the monotonic clock."""

    alerts: list[tuple[Alert, int]] = field(default_factory=list)
    changed: defaultdict[int, dict[str, CameraState]] = field(default_factory=lambda: defaultdict(dict))
    offsets: dict[int, int] = field(default_factory=dict)
    due: float = math.inf

    def forget(self, partition: int) -> None:
        """Leave a partition to the member that has it now, which starts from what was committed."""
        self.alerts = [(alert, place) for alert, place in self.alerts if place != partition]
        self.changed.pop(partition, None)
        self.offsets.pop(partition, None)


class IncidentSession:
    """Consumer, transactional producer and the states of the cameras in the partitions at hand.

    Any KafkaException ends the session: it must be left, and the next one starts from what was committed. The
    transactional id is new each time. What fences a predecessor is the generation of the group: offsets that it sends
    after the partitions went to another member are refused, and its transaction with them.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        policy: AlertSettings,
        settings: IncidentSettings,
        metrics: IncidentMetrics | None = None,
        tracer: Tracer | None = None,
        alive: Callable[[], object] = lambda: None,
    ) -> None:
        """`alive` is called before each call to Kafka that may take long."""
        self._alive = alive
        self._kafka = kafka
        self._topics = kafka.topics
        self._policy = policy
        self._settings = settings
        self._metrics = metrics or unseen()
        self._spans = IncidentSpans(tracer)
        self._states: dict[int, dict[str, CameraState]] = {}
        self._folded = _Folded()
        self._in_transaction = False
        group = kafka.topic_prefix + settings.group
        self._consumer = Consumer(_consumer_keys(kafka, settings, group), logger=log)
        self._producer = Producer(_producer_keys(kafka, settings, f"{group}-{uuid.uuid4()}"), logger=log)

    def __enter__(self) -> Self:
        self._metrics.session()
        self._producer.init_transactions(_GREETING_SECONDS)
        self._consumer.subscribe(
            [self._topics.inspections], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._alive()
        if self._in_transaction:
            # a courtesy to the readers, who wait for its end; without it the broker gives it up after its time
            with contextlib.suppress(KafkaException):
                self._producer.abort_transaction(_ANSWER_SECONDS)
        self._alive()
        self._consumer.close()

    def step(self) -> int:
        """Wait a moment for inspections and fold what has come; returns how many. Raises KafkaException."""
        self._alive()
        wait = min(_LOOK_UP_SECONDS, max(0.0, self._folded.due - time.monotonic()))
        first = self._consumer.poll(wait)
        self._producer.poll(0)  # for its log lines
        records = [first, *self._consumer.consume(self._settings.batch - 1, timeout=0)] if first else []
        for record in records:
            if record.error():
                raise KafkaException(record.error())
        self._fold(records)
        if self._folded.alerts or time.monotonic() >= self._folded.due:
            self._commit()
        return len(records)

    def _fold(self, records: Iterable[Message]) -> None:
        """Fold the records in memory; what is to be said of them waits in `_folded`."""
        for record in records:
            partition = record.partition()
            if partition not in self._states:
                continue  # read before the partition went to another member, which will read it again
            if not self._folded.offsets:
                self._folded.due = time.monotonic() + self._settings.commit_seconds
            self._folded.offsets[partition] = record.offset() + 1
            inspection = _inspection(record)
            if inspection is None:
                continue
            published_at = datetime.fromtimestamp(record.timestamp()[1] / 1000, UTC)
            self._metrics.inspection(inspection, published_at)
            if self._spans.wanted and (mark := marked(record.headers())):
                self._spans.folded(mark, inspection, published_at)
            before = self._states[partition].get(inspection.camera, CameraState())
            after, alerts = fold(before, inspection, self._policy)
            if after is not before:
                self._states[partition][inspection.camera] = after
                self._folded.changed[partition][inspection.camera] = after
            self._folded.alerts += [(alert, partition) for alert in alerts]

    def _commit(self) -> None:
        """Alerts, states and offsets in one transaction; a failure leaves them to whoever reads the records again."""
        folded, self._folded = self._folded, _Folded()
        if not folded.offsets:
            return
        began = time.monotonic()
        membership = self._consumer.consumer_group_metadata()
        self._producer.begin_transaction()
        self._in_transaction = True
        for alert, partition in folded.alerts:
            self._send_alert(alert, partition)
        for partition, states in folded.changed.items():
            for camera, state in states.items():
                self._send(self._topics.alert_state, camera, msgspec.json.encode(state), partition)
        # Offsets must not overtake states: whoever reads these offsets from the group coordinator finds in the log the
        # states that belong to them, if only as part of a transaction whose end it then waits for.
        self._alive()
        self._producer.flush(_ANSWER_SECONDS)
        positions = [TopicPartition(self._topics.inspections, *position) for position in folded.offsets.items()]
        self._alive()
        self._producer.send_offsets_to_transaction(positions, membership, _ANSWER_SECONDS)
        self._alive()
        self._producer.commit_transaction(_ANSWER_SECONDS)
        self._in_transaction = False
        self._spans.committed()
        self._tell(folded, time.monotonic() - began)

    def _tell(self, folded: _Folded, seconds: float) -> None:
        incidents = (state.incident for states in self._states.values() for state in states.values())
        still_open = [one.alert.severity.value for one in incidents if one and one.closed_at is None]
        self._metrics.committed(seconds, [alert for alert, _ in folded.alerts], still_open)
        for partition, offset in folded.offsets.items():
            # as the last answer to a fetch told it: nothing is asked of the broker
            place = TopicPartition(self._topics.inspections, partition)
            _, end = self._consumer.get_watermark_offsets(place, cached=True)
            self._metrics.lag(partition, max(0, end - offset))

    def _send_alert(self, alert: Alert, partition: int) -> None:
        headers = codec.event_headers(alert, f"{alert.alert_id}/{alert.revision}")
        self._send(self._topics.alerts, alert.alert_id, codec.encode(alert), partition, headers)
        level = logging.DEBUG if alert.state is AlertState.UPDATED else logging.INFO
        facts = {"alert_id": alert.alert_id, "camera": alert.camera, "severity": alert.severity.value}
        log.log(level, "incident %s", alert.state.value, extra=facts | {"count": alert.count})

    def _send(self, topic: str, key: str, value: bytes, partition: int, headers: codec.Headers | None = None) -> None:
        record = {"topic": topic, "key": key, "value": value, "partition": partition, "headers": headers}
        try:
            self._producer.produce(**record)
        except BufferError:
            self._producer.flush(_ANSWER_SECONDS)
            self._producer.produce(**record)

    def _assigned(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - a callback
        patience = self._settings.transaction_seconds + _ANSWER_SECONDS
        for partition in partitions:
            self._alive()
            states = read_states(self._kafka, partition.partition, patience)
            self._states[partition.partition] = states
            log.info("partition taken over", extra={"partition": partition.partition, "cameras": len(states)})

    def _revoked(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002 - a callback
        for partition in partitions:
            self._states.pop(partition.partition, None)
            self._folded.forget(partition.partition)
            self._metrics.left(partition.partition)


def _inspection(record: Message) -> Inspection | None:
    """The inspection, or None for a record that is none: it is logged, and `history` keeps its bytes."""
    try:
        return codec.decode(Inspection, record.value() or b"")
    except SightlineError as error:
        place = {"partition": record.partition(), "offset": record.offset()}
        log.warning("record skipped: %s", error, extra=place)
        return None


def _consumer_keys(kafka: KafkaSettings, settings: IncidentSettings, group: str) -> dict[str, object]:
    return kafka.librdkafka(
        **{
            "group.id": group,
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "session.timeout.ms": int(settings.session_seconds * 1000),
            "heartbeat.interval.ms": int(settings.session_seconds * 1000 / 3),
            # a request that a restarting broker never answers must not hold the alerts for a minute
            "socket.timeout.ms": int(_ANSWER_SECONDS * 1000),
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": _BUFFER_KB,
        }
    )


def _producer_keys(kafka: KafkaSettings, settings: IncidentSettings, transactional_id: str) -> dict[str, object]:
    return kafka.librdkafka(
        **{
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(settings.transaction_seconds * 1000),
            # which the library wants to be shorter than that
            "socket.timeout.ms": min(int(_ANSWER_SECONDS * 1000), int(settings.transaction_seconds * 1000) - 100),
            "linger.ms": 0,
            # a transaction may have to ask again until the broker is done with the last one: not after 100 ms
            "retry.backoff.ms": 10,
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": _BUFFER_KB,
        }
    )
