"""Frames and camera events to Kafka, with every answer of the broker looked at."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from prometheus_client import CollectorRegistry

from producers.backlog import Backlog, Policy
from producers.flight import Flight
from producers.ledger import Ledger
from producers.metrics import PublishMetrics
from producers.pacing import Allowance
from producers.settings import ProducerSettings
from producers.sources import now
from producers.spool import Spool
from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, DropReason, Frame
from sightline.errors import BrokerError, PublishError
from sightline.kafka_refusal import Hearsay, refusal
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings
from sightline.traces import Fact, Tracer, TraceSettings, mark_headers, mark_of

log = logging.getLogger(__name__)

START_SECONDS = 10.0
RESTART_SECONDS = 2.0
"""The same while frames wait on the disk: the broker was away before, and cameras should not wait for it."""
IDLE_SECONDS = 0.05
"""How long the broker's answers wait to be looked at while no frame is sent."""
EVENTS_UNDERWAY = 16
"""Events of a camera's outbox that may be under way at once."""
CATCH_UP_FRAMES = 8
"""Frames that leave the spools between two looks at what was captured."""

_UNANSWERED = frozenset(
    {KafkaError._MSG_TIMED_OUT, KafkaError._PURGE_INFLIGHT, KafkaError._PURGE_QUEUE, KafkaError._TIMED_OUT}
)
"""Failures after which the broker may have the record all the same: an attempt was perhaps written, its answer lost."""


@dataclass(frozen=True, slots=True)
class Lane:
    """What belongs to one camera: its ledger, its spool if it has one, and its policy."""

    ledger: Ledger
    spool: Spool | None
    policy: Policy


class Publisher:
    """Sends frames to the `frames` topic and events to `camera-events`, in order for each camera.

    At least once: idempotent retries leave neither gaps nor repeats as long as this process lives; a frame under way
    when it dies is in doubt, or on the disk and sent again. While the broker does not answer, frames go to the spools,
    those under way too; later they leave in their order, no faster than `spool_fps`, and no new frame overtakes them.
    Under `block` captured frames wait in memory instead, and their source with them; other cameras go on. Raises
    PublishError when the broker has refused the producer for good.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        settings: ProducerSettings,
        lanes: Mapping[str, Lane],
        metrics: PublishMetrics | None = None,
        traces: TraceSettings | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self._metrics = metrics or PublishMetrics(CollectorRegistry())
        self._sample_every = traces.sample_every if traces else 0
        self._tracer = tracer
        self._kafka = kafka
        self._heard = Hearsay()
        self._bootstrap = kafka.bootstrap
        self._topics = kafka.topics
        self._lanes = lanes
        self._spooling = deque(lane for lane in lanes.values() if lane.spool is not None)
        self._settings = settings
        self._allowance = Allowance(settings.spool_fps)
        self._flight = Flight()
        self._fatal: str | None = None
        self._away = self._stuck = self._behind = False
        self._held: dict[str, Frame] = {}  # a frame for each camera that waits for the client to take it
        self._beating: set[str] = set()
        # never given up by time: a source waits for it, or it has its place on the disk
        patient = any(lane.spool is not None or lane.policy is Policy.BLOCK for lane in lanes.values())
        self._producer = Producer(
            kafka.librdkafka(**_producer_keys(settings, patient), error_cb=self._on_error), logger=log
        )

    @property
    def under_way(self) -> int:
        """Frames that the broker has not answered."""
        return len(self._flight)

    @property
    def stuck(self) -> bool:
        """Whether the broker has not answered for so long that frames go to the disk."""
        return self._stuck

    def check(self) -> None:
        """Raises BrokerError when no broker answers, or it lacks a topic that is written.

        With frames in a spool a silent broker is an outage that goes on, and no reason to capture nothing.
        """
        waiting = self._waiting()
        try:
            found = self._producer.list_topics(timeout=RESTART_SECONDS if waiting else START_SECONDS).topics
        except KafkaException as error:
            if waiting:
                log.warning("broker is away since the last start", extra={"spooled_frames": waiting})
                return
            self._producer.poll(0.1)  # for what was said at the door
            raise refusal(self._kafka, error, heard=self._heard) or BrokerError(
                f"no Kafka broker answers at {self._bootstrap} within {START_SECONDS:g} s ({error.args[0].str()}); "
                "start one, or name yours in SIGHTLINE_KAFKA_BOOTSTRAP"
            ) from error
        missing = [topic for topic in (self._topics.frames, self._topics.camera_events) if topic not in found]
        for topic in missing:
            answer = self._producer.list_topics(topic, timeout=START_SECONDS).topics[topic]
            if refused := refusal(self._kafka, answer.error, topic=topic, operation="write"):
                raise refused
        if missing:
            raise BrokerError(
                f"the Kafka broker at {self._bootstrap} has no topic {' and no topic '.join(missing)}; create the "
                "topics with `sightline topics`, or correct SIGHTLINE_KAFKA_TOPIC_PREFIX"
            )

    def run(self, backlog: Backlog, halt: threading.Event) -> None:
        """Send what is in the backlog and in the spools until both are empty and no more comes, or `halt` is set."""
        try:
            while not halt.is_set() and not (backlog.finished and not self._held and not self._waiting()):
                self._step(backlog, halt)
        finally:
            while self._held:
                self.put_aside(self._held.popitem()[1])

    def put_aside(self, frame: Frame) -> None:
        """Leave a frame that was not sent to the next process, or count it as lost."""
        lane = self._lanes[frame.camera]
        if lane.spool is None or lane.spool.put(frame, Policy.DROP_NEWEST):
            lane.ledger.dropped(frame.sequence, DropReason.NOT_DELIVERED)

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
        self._beating.add(ledger.camera)  # before it leaves: its answer comes in another thread
        try:
            self._produce_event(event, partial(self._beat_answered, ledger.camera))
        except (BufferError, KafkaException) as error:
            self._beating.discard(ledger.camera)
            log.warning("heartbeat not sent", extra={"camera": ledger.camera, "why": str(error)})

    def flush(self, seconds: float) -> None:
        """Wait at most `seconds` until the broker has answered everything; the rest is left to the next process."""
        if self._producer.flush(seconds):
            self._keep_flight()
            self._producer.purge()
            self._producer.flush(1.0)

    def wait(self, seconds: float) -> int:
        """Look at answers for at most `seconds`; returns how many records are still without one."""
        return int(self._producer.flush(seconds))

    def _step(self, backlog: Backlog, halt: threading.Event) -> None:
        frame = backlog.take(0 if self._held else IDLE_SECONDS, self._held)
        answers = 0.0
        if frame is not None:
            self._take(frame)
        elif self._held:  # an answer makes room for one of them
            answers = IDLE_SECONDS
        elif backlog.finished:
            halt.wait(IDLE_SECONDS)
        self._producer.poll(answers)
        self._look_after_spools()
        for camera, held in list(self._held.items()):
            if self._send_in_turn(held):
                del self._held[camera]
        if self._fatal:
            raise PublishError(
                f"the Kafka broker at {self._bootstrap} has refused this producer for good: {self._fatal}; start "
                "it again, its ledger knows what is in doubt"
            )

    def _take(self, frame: Frame) -> None:
        """Send a captured frame, or keep it behind those of its camera that wait already."""
        lane = self._lanes[frame.camera]
        if lane.spool is None or lane.policy is Policy.BLOCK:
            if not self._send_in_turn(frame):
                self._held[frame.camera] = frame
        elif self._stuck or lane.spool.waiting or not self._produce(frame):
            self._allowance.joined()
            for sequence in lane.spool.put(frame, lane.policy):
                lane.ledger.dropped(sequence, DropReason.QUEUE_FULL)

    def _send_in_turn(self, frame: Frame) -> bool:
        """Send a frame that can wait; False when the client takes no more now, or older ones are on the disk."""
        spool = self._lanes[frame.camera].spool
        return not (spool is not None and spool.waiting) and self._produce(frame)

    def _look_after_spools(self) -> None:
        stuck = self._flight.seconds() > self._settings.spool_after
        if stuck:
            self._keep_flight()
        else:
            self._catch_up()
        if self._spooling and stuck and not self._stuck:
            log.warning("broker does not answer; frames go to the disk", extra={"bootstrap": self._bootstrap})
        self._stuck = stuck
        waiting = self._waiting()
        if self._behind and not waiting:
            log.info("all frames have left the disk", extra={"bootstrap": self._bootstrap})
        self._behind = bool(waiting)
        for lane in self._spooling:
            if lane.spool is not None:
                lane.spool.sync()

    def _keep_flight(self) -> None:
        """Copies of what is under way: this process may not live to see the answers."""
        for frame in self._flight.frames():
            spool = self._lanes[frame.camera].spool
            if spool is not None:
                spool.keep(frame)

    def _catch_up(self) -> None:
        """Send what waits on the disk, cameras in turn, as fast as it may."""
        for _ in range(min(CATCH_UP_FRAMES, self._waiting())):
            while (spool := self._spooling[0].spool) is None or not spool.waiting:
                self._spooling.rotate(-1)
            if not self._allowance.take() or not self._send_first(self._spooling[0], spool):
                return
            self._spooling.rotate(-1)

    def _send_first(self, lane: Lane, spool: Spool) -> bool:
        """Send the frame that has waited longest on a camera's disk; False when the client takes no more now."""
        sequence = spool.first()
        if sequence is None:
            return True
        frame = spool.read(sequence)
        if frame is None:
            lane.ledger.doubtful(sequence, DropReason.PRODUCER_CRASH)
            spool.settle(sequence)
        elif not self._produce(frame):
            return False
        spool.hand_out()
        return True

    def _waiting(self) -> int:
        return sum(lane.spool.waiting for lane in self._spooling if lane.spool is not None)

    def _produce(self, frame: Frame) -> bool:
        """Hand a frame to the client; False when it takes no more now."""
        try:
            self._producer.produce(
                self._topics.frames,
                value=frame.jpeg,
                key=frame.camera,
                headers=self._headers(frame),
                on_delivery=partial(self._frame_answered, self._lanes[frame.camera], frame.sequence),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self._refused(self._lanes[frame.camera], frame.sequence, error.args[0])
            return True
        self._flight.left(frame)
        return True

    def _frame_answered(self, lane: Lane, sequence: int, error: KafkaError | None, _message: object) -> None:
        flown = self._flight.answered(lane.ledger.camera, sequence)
        if error is not None:
            self._refused(lane, sequence, error)
            return
        lane.ledger.delivered(sequence)
        if flown is not None:
            self._arrived(*flown)
        if lane.spool is not None:
            lane.spool.settle(sequence)
        if self._away:
            self._away = False
            log.info("broker is back", extra={"bootstrap": self._bootstrap})

    def _arrived(self, frame: Frame, seconds: float) -> None:
        arrived = now()
        self._metrics.delivered(frame.camera, (arrived - frame.captured_at).total_seconds())
        if self._tracer is not None and self._is_traced(frame):
            mark, left = mark_of(frame), arrived - timedelta(seconds=seconds)
            facts: dict[str, Fact] = {"camera": frame.camera, "sequence": frame.sequence, "product": frame.product}
            self._tracer.span("producers", "capture", mark, frame.captured_at, left, facts, root=True)
            self._tracer.span("producers", "publish frame", mark, left, arrived, facts | {"bytes": len(frame.jpeg)})

    def _is_traced(self, frame: Frame) -> bool:
        return bool(self._sample_every) and frame.sequence % self._sample_every == 0

    def _headers(self, frame: Frame) -> codec.Headers:
        return codec.frame_headers(frame) + (mark_headers(mark_of(frame)) if self._is_traced(frame) else [])

    def _refused(self, lane: Lane, sequence: int, error: KafkaError) -> None:
        ledger, spool = lane.ledger, lane.spool
        fields = {"camera": ledger.camera, "sequence": sequence, "why": error.str()}
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            log.error("frame is larger than Kafka takes", extra={**fields, "limit_bytes": MAX_MESSAGE_BYTES})
            ledger.dropped(sequence, DropReason.OVERSIZE)
        elif error.code() not in _UNANSWERED:
            remedy = refusal(self._kafka, error, topic=self._topics.frames, operation="write")
            log.error("frame refused", extra=fields | ({"why": str(remedy)} if remedy else {}))
            ledger.dropped(sequence, DropReason.NOT_DELIVERED)
        elif spool is not None and spool.holds(sequence):
            return  # the next process sends it
        else:
            log.error("frame given up", extra=fields)
            ledger.doubtful(sequence, DropReason.NOT_DELIVERED)
        if spool is not None:
            spool.settle(sequence)

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
        self._heard(error)
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
