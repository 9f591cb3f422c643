"""Cameras that send what no camera should: wrong clocks, frames out of order, twice, with gaps; and frames too old."""

from __future__ import annotations

import json
import random
import time
from datetime import UTC, datetime, timedelta

from confluent_kafka import KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from benchmarks.chaos.camera import DARK, PRODUCT, SIDE, picture
from benchmarks.chaos.fault import BrokenError, Fault, idle, wait_for
from benchmarks.chaos.journal import Journal, Picture
from benchmarks.chaos.kills import frozen
from benchmarks.chaos.line import Line
from infra.processes import ManagedProcess, tree
from sightline import codec
from sightline.contracts import Frame

FRAMES = 30
LOST = "records_lost"
"""Field of the alarm in a log."""


def clock_set_wrong(line: Line, rng: random.Random) -> float:
    """A third of the frames is an hour early or late, those before and after are not."""
    away = timedelta(hours=rng.choice((-1, 1)))
    return _send(line, rng, [(n, away if FRAMES <= 3 * n < 2 * FRAMES else timedelta()) for n in range(FRAMES)])


def out_of_order(line: Line, rng: random.Random) -> float:
    numbers = list(range(FRAMES))
    rng.shuffle(numbers)
    return _send(line, rng, [(n, timedelta()) for n in numbers])


def sent_twice(line: Line, rng: random.Random) -> float:
    """Some at once, some later."""
    numbers = [n for n in range(FRAMES) for _ in range(rng.randint(1, 3))]
    return _send(line, rng, [(n, timedelta()) for n in numbers + rng.sample(range(FRAMES), 5)])


def gaps(line: Line, rng: random.Random) -> float:
    numbers = sorted(rng.sample(range(20 * FRAMES), FRAMES))
    return _send(line, rng, [(n, timedelta()) for n in numbers])


def overtaken_by_retention(line: Line, rng: random.Random) -> float:
    """The score query stands still, and the broker deletes frames that it has not read."""
    return _overtaken(line, rng, line.score, "frames", int(2 * line.rate))


def history_overtaken_by_retention(line: Line, rng: random.Random) -> float:
    """The history stands still, and the broker deletes dead letters that are in no table yet."""
    return _overtaken(line, rng, line.history, "frames.dead-letter", 2)


def _overtaken(line: Line, rng: random.Random, reader: ManagedProcess, topic: str, records: int) -> float:
    """An alarm must tell how many records were gone."""
    idle(rng)
    said = reader.log_file.stat().st_size
    with frozen(tree(reader.pid)):
        before = line.ends(topic)
        wait_for(lambda: line.ends(topic) >= before + records, 60, "records pile up", every=0.05)
        _delete_records(line, topic)
    resumed = time.monotonic()
    while not alarmed(line.log_since(reader, said)):
        if time.monotonic() - resumed > 120:
            raise BrokenError(f"records of {topic} were lost to retention, and no alarm told of it")
        time.sleep(0.2)
    return resumed


def alarmed(log: str) -> int:
    """How many records the alarms in a log of the score query or of the history tell to be lost."""
    found = 0
    for line in log.splitlines():
        if line.startswith("{") and f'"{LOST}"' in line:
            found += int(json.loads(line)[LOST])
    return found


def _delete_records(line: Line, topic: str) -> None:
    admin, name = AdminClient(line.kafka.librdkafka()), f"{line.kafka.topic_prefix}{topic}"
    # -1 is the end
    answers = admin.delete_records([TopicPartition(name, number, -1) for number in range(line.kafka.partitions)])
    for answer in answers.values():
        answer.result(30)


def _send(line: Line, rng: random.Random, frames: list[tuple[int, timedelta]]) -> float:
    """Send frames of a camera of its own: numbers, and how wrong the clock was; the same number is the same frame."""
    idle(rng)
    camera = f"odd-{rng.getrandbits(32):08x}"
    journal = Journal(line.folder / "journals", camera)
    keys = {"enable.idempotence": True, "partitioner": "murmur2_random"}
    producer = Producer(line.kafka.librdkafka(**keys))
    began, jpeg = datetime.now(UTC), picture(DARK)
    seen: set[int] = set()
    for number, away in frames:
        if number not in seen:
            journal.captured(number, Picture.GOOD)
            seen.add(number)

        def answered(error: KafkaError | None, _message: Message, number: int = number) -> None:
            if error is None:
                journal.acknowledged(number)

        frame = Frame(
            line="chaos",
            camera=camera,
            sequence=number,
            captured_at=began + number * timedelta(milliseconds=100) + away,
            product=PRODUCT,
            width=SIDE,
            height=SIDE,
            jpeg=jpeg,
        )
        producer.produce(
            line.kafka.topics.frames,
            value=jpeg,
            key=camera,
            headers=codec.frame_headers(frame),
            on_delivery=answered,
        )
        producer.poll(0.02)
    if producer.flush(60):
        raise BrokenError("the broker did not take the frames of an odd camera")
    journal.close()
    return time.monotonic()


FAULTS = (
    Fault("clock-set-wrong", clock_set_wrong, 20),
    Fault("out-of-order", out_of_order, 20),
    Fault("sent-twice", sent_twice, 20),
    Fault("gaps", gaps, 10),
    Fault("overtaken-by-retention", overtaken_by_retention, 5),
    Fault("history-overtaken-by-retention", history_overtaken_by_retention, 5),
)
