"""The embedded broker as its users meet it: whole frames go through, and a dirty stop loses nothing."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.topics import ensure_topics
from sightline.errors import BrokerError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings


def _produce(kafka: KafkaSettings, topic: str, values: list[bytes]) -> None:
    faults: list[object] = []
    producer = Producer(kafka.librdkafka(**{"message.max.bytes": MAX_MESSAGE_BYTES, "acks": "all"}))
    for value in values:
        producer.produce(topic, value=value, partition=0, on_delivery=lambda fault, _: fault and faults.append(fault))
    assert producer.flush(20) == 0
    assert not faults


def _consume(kafka: KafkaSettings, topic: str, count: int) -> list[bytes]:
    consumer = Consumer(kafka.librdkafka(**{"group.id": "test", "fetch.message.max.bytes": MAX_MESSAGE_BYTES}))
    consumer.assign([TopicPartition(topic, 0, 0)])
    values: list[bytes] = []
    while len(values) < count:
        record = consumer.poll(20)
        assert record is not None, f"{len(values)} of {count} messages came"
        assert record.error() is None
        values.append(record.value())
    consumer.close()
    return values


def test_messages_survive_a_kill_and_another_start(tmp_path: Path) -> None:
    settings = BrokerSettings.load(folder=tmp_path / "kafka", heap="256m", free_disk_mb=100, start_seconds=300)
    values = [f"frame {number}".encode() for number in range(100)]
    first = EmbeddedBroker(settings)
    first.start()
    try:
        kafka = KafkaSettings.load(bootstrap=first.bootstrap)
        ensure_topics(kafka)
        _produce(kafka, kafka.topics.frames, values)

        with pytest.raises(BrokerError, match=rf"already runs from {tmp_path}/kafka \(process {first.pid}\)"):
            EmbeddedBroker(settings).start()

        assert first.pid is not None
        os.kill(first.pid, signal.SIGKILL)
        psutil.wait_procs([psutil.Process(first.pid)] if first.pid else [], timeout=10)
    finally:
        first.stop()

    with EmbeddedBroker(settings) as second:
        assert second.bootstrap == first.bootstrap
        assert not ensure_topics(kafka).created
        _produce(kafka, kafka.topics.frames, [b"after"])
        assert _consume(kafka, kafka.topics.frames, 101) == [*values, b"after"]

        # as a parent that was killed leaves it: alive, and known to nobody but its folder
        assert EmbeddedBroker(settings).stop_leftover()
        assert second.pid is None
        assert not EmbeddedBroker(settings).stop_leftover()


def test_the_largest_frame_goes_through(kafka: KafkaSettings) -> None:
    # what the record's own framing takes beside the value
    largest = os.urandom(MAX_MESSAGE_BYTES - 1024)
    _produce(kafka, kafka.topics.frames, [largest])
    assert _consume(kafka, kafka.topics.frames, 1) == [largest]


def test_it_listens_on_loopback_only(broker: KafkaSettings) -> None:
    port = int(broker.bootstrap.rpartition(":")[2])
    listening = [held for held in psutil.net_connections("tcp") if held.status == psutil.CONN_LISTEN]
    pid = next(held.pid for held in listening if held.laddr.port == port)
    mine = {held.laddr.ip.removeprefix("::ffff:") for held in listening if held.pid == pid}
    assert mine == {"127.0.0.1"}
