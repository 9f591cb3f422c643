"""The states of the incident fold as the compacted topic `alerts.state` keeps them."""

from __future__ import annotations

import logging
import time

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sightline.errors import BrokerError
from sightline.kafka_roles import NO_GROUP
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings
from streaming.fold import CameraState

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0


def read_states(kafka: KafkaSettings, partition: int, patience: float) -> dict[str, CameraState]:
    """The committed state of every camera of one partition.

    Reads up to the end that the log has now, a transaction in progress included: its end is awaited, for what it
    commits may be the state that belongs to offsets already committed. Raises BrokerError after `patience` seconds,
    and KafkaException.
    """
    place = TopicPartition(kafka.topics.alert_state, partition, OFFSET_BEGINNING)
    end = _end(kafka, place)
    states: dict[str, CameraState] = {}
    consumer = Consumer(_keys(kafka), logger=log)
    try:
        consumer.assign([place])
        deadline = time.monotonic() + patience
        reached = 0
        while reached < end:
            if time.monotonic() > deadline:
                raise BrokerError(
                    f"{place.topic} partition {partition} could not be read to its end: {reached} of {end} after "
                    f"{patience:g} s; a transaction in it stays open"
                )
            record = consumer.poll(0.5)
            if record is None:
                continue
            reached = record.offset()
            if record.error() is None:
                _keep(states, record.key(), record.value(), reached)
                reached += 1
            elif record.error().code() != KafkaError._PARTITION_EOF:
                raise KafkaException(record.error())
    finally:
        consumer.close()
    return states


def _keep(states: dict[str, CameraState], key: bytes, value: bytes | None, offset: int) -> None:
    camera = key.decode()
    if value is None:
        states.pop(camera, None)
        return
    try:
        states[camera] = msgspec.json.decode(value, type=CameraState)
    except msgspec.DecodeError as error:
        # of another version: this camera starts anew, and an incident that was open may be told once more
        log.warning("state of a camera is unreadable: %s", error, extra={"camera": camera, "offset": offset})
        states.pop(camera, None)


def _end(kafka: KafkaSettings, place: TopicPartition) -> int:
    """The offset after the last record, committed or not."""
    admin = AdminClient(kafka.librdkafka(), logger=log)
    asked = TopicPartition(place.topic, place.partition)
    answer = admin.list_offsets({asked: OffsetSpec.latest()}, request_timeout=_ANSWER_SECONDS)
    return int(answer[asked].result().offset)


def _keys(kafka: KafkaSettings) -> dict[str, object]:
    return kafka.librdkafka(
        **{
            "group.id": NO_GROUP,
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "fetch.message.max.bytes": MAX_MESSAGE_BYTES,
            "queued.max.messages.kbytes": 32 * 1024,
        }
    )
