"""A line of real cameras' stand-ins, its producer as a process of its own, and what the broker has of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind, Frame
from sightline.settings import KafkaSettings


@dataclass
class Topic:
    """All records of a topic."""

    kafka: KafkaSettings
    name: str

    def records(self) -> list[Message]:
        """Everything in the topic now, each partition in order."""
        consumer = Consumer(self.kafka.librdkafka(**{"group.id": "test", "enable.auto.commit": False}))
        try:
            ends = self._ends(consumer)
            consumer.assign([TopicPartition(self.name, p, low) for p, (low, _) in ends.items()])
            missing = sum(high - low for low, high in ends.values())
            found: list[Message] = []
            while len(found) < missing:
                found.extend(consumer.consume(missing - len(found), timeout=10))
            return found
        finally:
            consumer.close()

    # a broker that just came up has no leader for its partitions yet
    @retry(retry=retry_if_exception_type(KafkaException), wait=wait_fixed(0.1), stop=stop_after_delay(30), reraise=True)
    def _ends(self, consumer: Consumer) -> dict[int, tuple[int, int]]:
        partitions = consumer.list_topics(self.name, timeout=10).topics[self.name].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(self.name, p), timeout=10) for p in partitions}


@dataclass
class Published:
    """What producers left on the broker."""

    kafka: KafkaSettings

    def frames(self, camera: str | None = None) -> list[Frame]:
        records = Topic(self.kafka, self.kafka.topics.frames).records()
        frames = [codec.frame_from_record(record.value(), record.headers() or []) for record in records]
        return [frame for frame in frames if camera in (None, frame.camera)]

    def events(self, *kinds: CameraEventKind) -> list[CameraEvent]:
        records = Topic(self.kafka, self.kafka.topics.camera_events).records()
        events = [codec.decode(CameraEvent, record.value() or b"") for record in records]
        return [event for event in events if not kinds or event.kind in kinds]


@dataclass
class Producing:
    """`python -m producers produce` as a process."""

    run_folder: Path
    kafka: KafkaSettings
    arguments: tuple[str, ...]
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "producers", "produce", *self.arguments],
            env={
                **os.environ,
                "SIGHTLINE_RUN": str(self.run_folder),
                "SIGHTLINE_KAFKA_BOOTSTRAP": self.kafka.bootstrap,
                "SIGHTLINE_KAFKA_TOPIC_PREFIX": self.kafka.topic_prefix,
                "SIGHTLINE_PRODUCER_HEARTBEAT_SECONDS": "0.5",
                "SIGHTLINE_PRODUCER_STOP_SECONDS": "3",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def stop(self) -> str:
        """SIGTERM, which must end it well; returns its summary."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def finish(self) -> str:
        """Wait for its own end; returns its summary."""
        said, complained = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, complained
        return said

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def published(kafka: KafkaSettings) -> Published:
    return Published(kafka)


@pytest.fixture
def produce(tmp_path: Path) -> Iterator[Callable[..., Producing]]:
    """Starts a producer whose run folder is this test's own, so that a second one goes on where the first ended."""
    started: list[Producing] = []

    def start(kafka: KafkaSettings, *arguments: str) -> Producing:
        started.append(Producing(tmp_path / "run", kafka, arguments))
        return started[-1]

    yield start
    for producing in started:
        if producing.process.poll() is None:
            producing.kill()


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    def wait(condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline, "it did not happen within a minute"
            time.sleep(0.1)

    return wait
