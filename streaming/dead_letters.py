"""Dead letters as they lie in their topic, and their way back to `frames` after a fix.

A replay sends the original key, bytes and headers, and two headers more: which dead letter it is, and how often it has
been sent. What was sent is written down in a topic of its own, after the broker has the frame: two runs send a letter
once, and a run that is killed in between repeats at most what was under way, which counts once in the tables.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from sightline import codec
from sightline.contracts import DeadLetter, Reason
from sightline.errors import BrokerError, SettingsError, SightlineError
from sightline.kafka_refusal import refusal
from sightline.kafka_roles import NO_GROUP
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

log = logging.getLogger(__name__)

REPLAY_OF = "sightline.replay_of"
"""Header of a replayed record: the id of its dead letter."""
REPLAYS = "sightline.replays"
"""Header of a replayed record: how often it has been sent again, this time included."""

_ANSWER_SECONDS = 10.0
_SILENCE_SECONDS = 60.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which dead letters are meant: all of these must fit, and an empty one fits everything.

    `since` and `until` are about the time at which the broker took in the record; `ids` are beginnings of ids.
    """

    reasons: Collection[Reason] = ()
    cameras: Collection[str] = ()
    since: datetime | None = None
    until: datetime | None = None
    ids: Collection[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A dead letter, its id as in the table `dead_letters`, and what became of it.

    `replays` is how often the record had been sent again when it failed; `sent` says whether this letter was.
    """

    id: str
    letter: DeadLetter
    replays: int
    sent: bool


@dataclass(slots=True)
class ReplayReport:
    """How many letters were sent, or would be, by reason; and how many were left out, by the reason for that."""

    sent: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    failed: str | None = None


def letter_id(letter: DeadLetter) -> str:
    """The `dead_letter_id` that history gives it: 128 bits in hex of its source and its time."""
    source = letter.source
    micros = (letter.ingested_at - _EPOCH) // timedelta(microseconds=1)
    place = "\x1f".join(map(str, (source.topic, source.partition, source.offset, micros)))
    return hashlib.sha256(place.encode()).hexdigest()[:32]


def find(kafka: KafkaSettings, selection: Selection) -> Iterator[Found]:
    """The dead letters that the topic holds now, each once, in the order of their partitions.

    Raises BrokerError when the broker or a topic is not there, or falls silent. Records that are no dead letters of
    Sightline are passed over with a warning.
    """
    sent = {(record.key() or b"").decode(errors="replace") for record in _records(kafka, kafka.topics.replays)}
    seen: set[str] = set()
    for record in _records(kafka, kafka.topics.dead_letters):
        try:
            letter = codec.dead_letter_from_record(record.key(), record.value(), record.headers() or [])
            found = Found(id=letter_id(letter), letter=letter, replays=_replays(letter), sent=letter_id(letter) in sent)
        except SightlineError as error:
            where = {"partition": record.partition(), "offset": record.offset()}
            log.warning("record is no dead letter", extra={**where, "error": str(error)})
            continue
        # the score query is at-least-once: a letter may be there twice
        if found.id not in seen and _fits(found, selection):
            seen.add(found.id)
            yield found


def one(kafka: KafkaSettings, beginning: str) -> Found:
    """The letter whose id begins so; raises SettingsError when there is none, or more than one."""
    matches = list(find(kafka, Selection(ids=[beginning])))
    if len(matches) != 1:
        raise SettingsError(
            f"{len(matches) or 'no'} dead letters have an id that begins with {beginning!r}; "
            "`sightline dead-letters list` shows the ids"
        )
    return matches[0]


def replay(kafka: KafkaSettings, selection: Selection, *, again: bool, limit: int | None, send: bool) -> ReplayReport:
    """Send the selected letters back to `frames`, or with `send` false only say what would be sent.

    Left out are letters that were sent before, and those of records that failed as a replay already; `again` sends
    them all the same. Letters that did not come from `frames` are never sent. Raises BrokerError as `find` does.
    """
    report = ReplayReport()
    producer = _Sender(kafka, report) if send else None
    for found in find(kafka, selection):
        if limit is not None and report.sent.total() >= limit:
            break
        if found.letter.source.topic != kafka.topics.frames:
            report.left[f"not from {kafka.topics.frames}"] += 1
        elif found.sent and not again:
            report.left["sent before"] += 1
        elif found.replays and not again:
            report.left["failed as a replay"] += 1
        else:
            report.sent[found.letter.reason] += 1
            if producer:
                producer.send(found)
    if producer:
        producer.finish()
    return report


def replayed(found: Found) -> codec.Headers:
    """The headers of a letter's record when it is sent again: the original ones, and that it is a replay."""
    original = [(name, data) for name, data in found.letter.headers if name not in (REPLAY_OF, REPLAYS)]
    return [*original, (REPLAY_OF, found.id.encode()), (REPLAYS, str(found.replays + 1).encode())]


class _Sender:
    """Sends letters, and marks each as sent when the broker has it."""

    def __init__(self, kafka: KafkaSettings, report: ReplayReport) -> None:
        self._kafka = kafka
        self._report = report
        keys = {
            "enable.idempotence": True,
            "acks": "all",
            # the partition that the camera's frames have
            "partitioner": "murmur2_random",
            "message.max.bytes": MAX_MESSAGE_BYTES,
            "queue.buffering.max.kbytes": 32 * 1024,
            "delivery.timeout.ms": 60_000,
        }
        self._producer = Producer(kafka.librdkafka(**keys), logger=log)

    def send(self, found: Found) -> None:
        letter, topic = found.letter, self._kafka.topics.frames
        self._produce(topic, letter.key, letter.value, replayed(found), partial(self._answered, found))
        self._producer.poll(0)

    def finish(self) -> None:
        """Wait for all answers; the marks are sent while the first are waited for."""
        while len(self._producer):
            self._producer.flush(_ANSWER_SECONDS)
        if self._report.failed:
            raise BrokerError(
                f"not all dead letters were sent: {self._report.failed}; run the command again, it sends the rest"
            )

    def _answered(self, found: Found, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed(found, error)
            return
        mark = {"at": datetime.now(UTC), "replays": found.replays + 1, "source": found.letter.source}
        self._produce(
            self._kafka.topics.replays, found.id.encode(), msgspec.json.encode(mark), [], partial(self._marked, found)
        )

    def _marked(self, found: Found, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            log.warning("a replay is not marked", extra={"id": found.id, "why": error.str()})

    def _failed(self, found: Found, error: KafkaError) -> None:
        self._report.sent[found.letter.reason] -= 1
        self._report.left["not taken by the broker"] += 1
        self._report.failed = str(refusal(self._kafka, error, operation="write") or error.str())

    def _produce(
        self, topic: str, key: bytes | None, value: bytes | None, headers: codec.Headers, answered: Any
    ) -> None:
        while True:
            try:
                self._producer.produce(topic, key=key, value=value, headers=headers, on_delivery=answered)
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                answered(error.args[0], None)
                return


def _replays(letter: DeadLetter) -> int:
    text = dict(letter.headers).get(REPLAYS, b"0")
    return int(text) if text.isdigit() and len(text) < 10 else 1


def _fits(found: Found, selection: Selection) -> bool:
    letter = found.letter
    return (
        (not selection.reasons or letter.reason in selection.reasons)
        and (not selection.cameras or letter.camera in selection.cameras)
        and (selection.since is None or letter.ingested_at >= selection.since)
        and (selection.until is None or letter.ingested_at < selection.until)
        and (not selection.ids or any(found.id.startswith(beginning) for beginning in selection.ids))
    )


def _records(kafka: KafkaSettings, topic: str) -> Iterator[Message]:
    """Everything that a topic holds at this moment, partition by partition."""
    consumer = Consumer(_keys(kafka), logger=log)
    try:
        for partition in _partitions(kafka, consumer, topic):
            low, high = _bounds(consumer, TopicPartition(topic, partition))
            if low < high:
                consumer.assign([TopicPartition(topic, partition, low)])
                yield from _until(consumer, kafka, topic, high)
    except KafkaException as error:
        raise refusal(kafka, error, topic=topic, operation="read") or BrokerError(
            f"the topic {topic} at {kafka.bootstrap} cannot be read: {error.args[0].str()}; start the broker, or "
            "correct the [kafka] settings"
        ) from error
    finally:
        consumer.close()


# a topic just created has no leader yet
@retry(retry=retry_if_exception_type(KafkaException), wait=wait_fixed(0.2), stop=stop_after_delay(15), reraise=True)
def _bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(place, timeout=_ANSWER_SECONDS)
    return low, high


def _until(consumer: Consumer, kafka: KafkaSettings, topic: str, high: int) -> Iterator[Message]:
    heard = time.monotonic()
    while True:
        record = consumer.poll(0.5)
        if record is None:
            if time.monotonic() - heard > _SILENCE_SECONDS:
                raise BrokerError(f"the broker at {kafka.bootstrap} fell silent while {topic} was read; is it running?")
            continue
        heard = time.monotonic()
        if record.error() is not None:
            if record.error().code() == KafkaError._PARTITION_EOF:
                return
            raise KafkaException(record.error())
        if record.offset() < high:
            yield record
        if record.offset() >= high - 1:
            return


def _partitions(kafka: KafkaSettings, consumer: Consumer, topic: str) -> list[int]:
    found = consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic]
    if refused := refusal(kafka, found.error, topic=topic):
        raise refused
    if found.error is not None or not found.partitions:
        raise BrokerError(
            f"the broker at {kafka.bootstrap} has no topic {topic}; create the topics with `sightline topics`, or "
            "correct SIGHTLINE_KAFKA_TOPIC_PREFIX"
        )
    return sorted(found.partitions)


def _keys(kafka: KafkaSettings) -> dict[str, Any]:
    return kafka.librdkafka(
        **{
            "group.id": NO_GROUP,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "allow.auto.create.topics": False,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": 32 * 1024,
        }
    )
