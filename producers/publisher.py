"""Frames and camera events to Kafka, with every answer of the broker looked at."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from producers.backlog import Backlog
from producers.ledger import Ledger
from producers.settings import ProducerSettings
from producers.sources import now
from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, DropReason, Frame
from sightline.errors import BrokerError, PublishError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

log = logging.getLogger(__name__)

START_SECONDS = 10.0
IDLE_SECONDS = 0.05
"""How long the broker's answers wait to be looked at while no frame is sent."""
EVENTS_UNDERWAY = 16
"""Events of a camera's outbox that may be under way at once."""

_UNANSWERED = frozenset(
    {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE, KafkaError._TIMED_OUT}
)
"""Failures after which the broker may have the record all the same: an attempt was perhaps written, its answer lost."""


class Publisher:
    """Sends frames to the `frames` topic and events to `camera-events`, in order for each camera.

    At least once: idempotent retries leave neither gaps nor repeats as long as this process lives; a frame under way
    when it dies is in doubt. A broker that is away is waited for, with bounded memory. Raises PublishError when the
    broker has refused the producer for good.
    """

    def __init__(
        self, kafka: KafkaSettings, settings: ProducerSettings, ledgers: Mapping[str, Ledger], *, patient: bool
    ) -> None:
        """`patient`: frames are never given up while the process runs, because a source waits for them (`block`)."""
        self._bootstrap = kafka.bootstrap
        self._topics = kafka.topics
        self._ledgers = ledgers
        self._fatal: str | None = None
        self._away = False
        self._beating: set[str] = set()
        self._producer = Producer(
            kafka.librdkafka(**_producer_keys(settings, patient), error_cb=self._on_error), logger=log
        )

    def check(self) -> None:
        """Raises BrokerError when no broker answers, or it lacks a topic that is written."""
        try:
            found = self._producer.list_topics(timeout=START_SECONDS).topics
        except KafkaException as error:
            raise BrokerError(
                f"no Kafka broker answers at {self._bootstrap} within {START_SECONDS:g} s ({error.args[0].str()}); "
                "start one, or name yours in SIGHTLINE_KAFKA_BOOTSTRAP"
            ) from error
        missing = [topic for topic in (self._topics.frames, self._topics.camera_events) if topic not in found]
        if missing:
            raise BrokerError(
                f"the Kafka broker at {self._bootstrap} has no topic {' and no topic '.join(missing)}; create the "
                "topics with `sightline topics`, or correct SIGHTLINE_KAFKA_TOPIC_PREFIX"
            )

    def run(self, backlog: Backlog, halt: threading.Event) -> None:
        """Send what is in the backlog until it is closed and empty, or `halt` is set."""
        while not backlog.finished and not halt.is_set():
            frame = backlog.take(IDLE_SECONDS)
            if frame is not None:
                self._send(frame, halt)
            self._producer.poll(0)
            if self._fatal:
                raise PublishError(
                    f"the Kafka broker at {self._bootstrap} has refused this producer for good: {self._fatal}; start "
                    "it again, its ledger knows what is in doubt"
                )

    def send_events(self, ledger: Ledger) -> None:
        """Send what waits in the outbox of `ledger`, as far as there is room."""
        for event in ledger.hand_out(EVENTS_UNDERWAY):
            try:
                self._produce_event(event, partial(self._event_answered, ledger, event.event_id))
            except (BufferError, KafkaException) as error:
                ledger.take_back(event.event_id)
                log.debug("event waits", extra={"camera": event.camera, "why": str(error)})

    def beat(self, ledger: Ledger) -> None:
        """Send a heartbeat, unless the last one is still under way: it would say nothing new."""
        if ledger.camera in self._beating:
            return
        event = ledger.event(CameraEventKind.HEARTBEAT, now())
        try:
            self._produce_event(event, partial(self._beat_answered, ledger.camera))
            self._beating.add(ledger.camera)
        except (BufferError, KafkaException) as error:
            log.warning("heartbeat not sent", extra={"camera": ledger.camera, "why": str(error)})

    def flush(self, seconds: float) -> None:
        """Wait at most `seconds` until the broker has answered everything; give up the rest."""
        if self._producer.flush(seconds):
            self._producer.purge()
            self._producer.flush(1.0)

    def wait(self, seconds: float) -> int:
        """Look at answers for at most `seconds`; returns how many records are still without one."""
        return int(self._producer.flush(seconds))

    def _send(self, frame: Frame, halt: threading.Event) -> None:
        ledger = self._ledgers[frame.camera]
        headers = codec.frame_headers(frame)
        while not halt.is_set():
            try:
                self._producer.produce(
                    self._topics.frames,
                    value=frame.jpeg,
                    key=frame.camera,
                    headers=headers,
                    on_delivery=partial(self._frame_answered, ledger, frame.sequence),
                )
                return
            except BufferError:  # as much is under way as may be: wait for answers
                self._producer.poll(IDLE_SECONDS)
            except KafkaException as error:
                self._refused(ledger, frame.sequence, error.args[0])
                return
        ledger.dropped(frame.sequence, DropReason.NOT_DELIVERED)

    def _frame_answered(self, ledger: Ledger, sequence: int, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._refused(ledger, sequence, error)
            return
        ledger.delivered(sequence)
        if self._away:
            self._away = False
            log.info("broker is back", extra={"bootstrap": self._bootstrap})

    def _refused(self, ledger: Ledger, sequence: int, error: KafkaError) -> None:
        fields = {"camera": ledger.camera, "sequence": sequence, "why": error.str()}
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            log.error("frame is larger than Kafka takes", extra={**fields, "limit_bytes": MAX_MESSAGE_BYTES})
            ledger.dropped(sequence, DropReason.OVERSIZE)
        elif error.code() in _UNANSWERED:
            log.error("frame given up", extra=fields)
            ledger.doubtful(sequence, DropReason.NOT_DELIVERED)
        else:
            log.error("frame refused", extra=fields)
            ledger.dropped(sequence, DropReason.NOT_DELIVERED)

    def _produce_event(self, event: CameraEvent, answered: Any) -> None:
        self._producer.produce(
            self._topics.camera_events,
            value=codec.encode(event),
            key=event.camera,
            headers=codec.event_headers(event, event.event_id),
            on_delivery=answered,
        )

    def _event_answered(self, ledger: Ledger, event_id: str, error: KafkaError | None, _message: object) -> None:
        if error is None:
            ledger.sent(event_id)
        else:
            ledger.take_back(event_id)

    def _beat_answered(self, camera: str, _error: KafkaError | None, _message: object) -> None:
        self._beating.discard(camera)

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error.str()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away:
            self._away = True
            log.warning("broker is away; frames wait", extra={"bootstrap": self._bootstrap})


def _producer_keys(settings: ProducerSettings, patient: bool) -> dict[str, Any]:
    return {
        "enable.idempotence": True,
        "acks": "all",
        # the partition that the Java client would choose: joins by camera rely on it
        "partitioner": "murmur2_random",
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "compression.type": "none",  # JPEG does not get smaller
        "linger.ms": 1,
        "socket.nagle.disable": True,
        "queue.buffering.max.messages": settings.flight_frames,
        "queue.buffering.max.kbytes": settings.flight_bytes // 1024,
        "delivery.timeout.ms": 0 if patient else round(settings.delivery_timeout * 1000),
        "reconnect.backoff.max.ms": 2000,
        "client.id": "sightline-producers",
    }
