"""A process that stands for all cameras: frames at a given rate, by the clock, whatever the line does with them.

Open loop: a frame's capture stamp is the moment at which it was due, so that a sender that falls behind shows as
latency instead of as a lower load.
"""

from __future__ import annotations

import itertools
import multiprocessing
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from multiprocessing.connection import Connection

from confluent_kafka import KafkaError, Message, Producer
from kafka.partitioner.default import murmur2

from benchmarks.pictures import Pictures
from sightline import codec
from sightline.contracts import Frame
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

_FLUSH_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Load:
    """`frames` in all, over `cameras`, at `rate` frames/s together; rate 0 sends as fast as the broker takes them."""

    frames: int
    rate: float
    cameras: int
    product: str
    first_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """What was acknowledged, and how late the sender was at worst, in seconds."""

    frames: int
    refused: int
    latest: float
    cpu_seconds: float


def camera_names(count: int, partitions: int) -> list[str]:
    """Names that Kafka spreads evenly, as it does with many cameras; four taken by chance may all share a partition."""
    names: list[str] = []
    numbers = itertools.count()
    while len(names) < count:
        name = f"bench-{next(numbers):03d}"
        if (murmur2(name.encode()) & 0x7FFFFFFF) % partitions == len(names) % partitions:
            names.append(name)
    return names


class Cameras:
    """The sending process; `start` returns at once, `wait` when the broker has acknowledged everything."""

    def __init__(self, kafka: KafkaSettings, pictures: Pictures) -> None:
        context = multiprocessing.get_context("spawn")
        self._end, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kafka, pictures), daemon=True)
        self._process.start()
        theirs.close()
        self._end.recv()

    def start(self, load: Load) -> None:
        self._end.send(load)

    def wait(self) -> Sent:
        sent = self._end.recv()
        assert isinstance(sent, Sent)
        return sent

    def close(self) -> None:
        self._end.close()
        self._process.join()


def _serve(end: Connection, kafka: KafkaSettings, pictures: Pictures) -> None:
    end.send("ready")
    while True:
        try:
            load = end.recv()
        except EOFError:
            return
        end.send(_send(load, kafka, pictures))


def _send(load: Load, kafka: KafkaSettings, pictures: Pictures) -> Sent:
    keys = {"enable.idempotence": True, "partitioner": "murmur2_random", "linger.ms": 1, "socket.nagle.disable": True}
    limits = {"message.max.bytes": MAX_MESSAGE_BYTES, "queue.buffering.max.kbytes": 256 * 1024}
    producer = Producer(kafka.librdkafka(**keys, **limits))
    acknowledged = refused = 0

    def answered(error: KafkaError | None, _message: Message) -> None:
        nonlocal acknowledged, refused
        if error is None:
            acknowledged += 1
        else:
            refused += 1

    producer.list_topics(kafka.topics.frames, timeout=10)
    names, latest = camera_names(load.cameras, kafka.partitions), 0.0
    began, cpu = time.time(), time.process_time()
    for number in range(load.frames):
        due = began + number / load.rate if load.rate else time.time()
        while (early := due - time.time()) > 0:
            producer.poll(min(early, 0.01))
        latest = max(latest, time.time() - due)
        camera, turn = number % load.cameras, number // load.cameras
        # cameras look at different parts, or all would have their defects at once
        picture = (turn + camera * len(pictures.jpegs) // load.cameras) % len(pictures.jpegs)
        frame = Frame(
            line="bench",
            camera=names[camera],
            sequence=load.first_sequence + turn,
            captured_at=datetime.fromtimestamp(due, UTC),
            product=load.product,
            width=pictures.width,
            height=pictures.height,
            jpeg=pictures.jpegs[picture],
            label=pictures.labels[picture],
        )
        while True:
            try:
                producer.produce(
                    kafka.topics.frames, key=frame.camera, value=frame.jpeg, headers=codec.frame_headers(frame),
                    on_delivery=answered,
                )  # fmt: skip
                break
            except BufferError:
                producer.poll(0.05)
        producer.poll(0)
    producer.flush(_FLUSH_SECONDS)
    return Sent(acknowledged, refused + len(producer), latest, time.process_time() - cpu)
