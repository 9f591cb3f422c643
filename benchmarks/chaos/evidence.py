"""Reads what came out of the line: Delta files with delta-rs, topics with a plain consumer, never with the product."""

from __future__ import annotations

import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from benchmarks.chaos.journal import JournalReader, Picture
from benchmarks.chaos.oracle import Key, Rule, Verdict, World, judge
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())

_ANSWER_SECONDS = 15.0


class TopicReader:
    """Everything in a topic, a part at a time; only what readers of committed records see."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        keys = {"group.id": "chaos-oracle", "enable.auto.commit": False, "isolation.level": "read_committed"}
        # what ends a transaction has an offset too, and no record
        keys |= {"enable.partition.eof": True}
        self._consumer = Consumer(kafka.librdkafka(**keys, **{"reconnect.backoff.max.ms": 500}), logger=log)
        self._topic = topic
        partitions = self._consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].partitions
        self._places = [TopicPartition(topic, number, 0) for number in partitions]
        self._assigned = False
        self._reached: dict[int, int] = {}

    def ends(self) -> int:
        """Records that were ever written, as offsets count them. Raises KafkaException.

        Quick before the first `read`: once records are fetched, an answer comes behind those that the broker waits for.
        """
        return sum(self._consumer.get_watermark_offsets(place, _ANSWER_SECONDS)[1] for place in self._places)

    def read(self) -> Iterator[Message]:
        """What is there now and was not read before."""
        if not self._assigned:
            self._consumer.assign(self._places)
            self._assigned = True
        ends = {
            place.partition: self._consumer.get_watermark_offsets(place, _ANSWER_SECONDS)[1] for place in self._places
        }
        silent_since = time.monotonic()
        while time.monotonic() - silent_since < _ANSWER_SECONDS:
            positions = self._consumer.position(self._places)
            if all(max(at.offset, self._reached.get(at.partition, 0)) >= ends[at.partition] for at in positions):
                return
            for record in self._consumer.consume(500, timeout=0.5):
                if (error := record.error()) is None:
                    silent_since = time.monotonic()
                    yield record
                elif error.code() == KafkaError._PARTITION_EOF:
                    self._reached[record.partition()] = record.offset()
                else:
                    raise KafkaException(error)

    def close(self) -> None:
        self._consumer.close()


def dead(letters: Iterable[tuple[str, str, int]]) -> Counter[Key]:
    """How often each frame's letter is there, by the id, camera and sequence of each row.

    A letter is one record of the frames' topic, not one frame: what a camera that was killed sent twice has two.
    """
    found: Counter[Key] = Counter()
    for (_, camera, sequence), rows in Counter(letters).items():
        found[camera, sequence] = max(found[camera, sequence], rows)
    return found


class Evidence:
    """The world as the oracle sees it, for a deployment with `tables`; without, what the broker has must do."""

    def __init__(self, kafka: KafkaSettings, journals: Path, tables: Path | None) -> None:
        self._kafka = kafka
        self._tables = tables
        self._journals = JournalReader(journals)
        self._frames: defaultdict[Key, set[bytes]] = defaultdict(set)
        self._told: Counter[Key] = Counter()
        self._opened: Counter[Key] = Counter()
        self._events: dict[str, tuple[str, str, int, int]] = {}
        self._readers: dict[str, TopicReader] = {}

    @property
    def captured_at(self) -> dict[Key, float]:
        """When each frame was captured, in seconds since the epoch."""
        return self._journals.sent.captured

    def look(self) -> World:
        """The world as it stands. Raises KafkaException when the broker does not answer."""
        sent = self._journals.update()
        shown = sent.pictures.items()
        world = World(
            captured=set(sent.captured),
            reused=set(sent.reused),
            defects={key for key, picture in shown if picture is Picture.DEFECT},
            cut={key for key, picture in shown if picture is Picture.CUT},
            acknowledged=set(sent.acknowledged),
        )
        if self._tables is None:
            self._look_at_topics(world)
        else:
            self._look_at_tables(self._tables, world)
        return world

    def settle(self, patience: float, rule: Rule | None, alarmed: Callable[[], int] = int) -> World:
        """The world once nothing is wrong with it, or nothing has got better for `patience` seconds.

        Rows of frames and of alerts come at a pace of their own: what is missing now may be under way. `alarmed` gives
        what alarms of the line have told to be lost so far.
        """
        least, since = -1, time.monotonic()
        while True:
            world = self.look()
            world.alarmed = alarmed()
            wrong = sum(len(finding.keys) for finding in judge(world, rule))
            if not wrong or time.monotonic() - since > patience:
                return world
            if least < 0 or wrong < least:
                least, since = wrong, time.monotonic()
            time.sleep(1)

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()

    def _look_at_topics(self, world: World) -> None:
        for record in self._read(self._kafka.topics.frames):
            headers = dict(record.headers() or ())
            self._frames[headers["ce_camera"].decode(), int(headers["ce_sequence"])].add(headers["ce_time"])
        for record in self._read(self._kafka.topics.camera_events):
            self._take_event(msgspec.json.decode(record.value()))
        # the topic is at least once: a frame may be there again after its producer was killed, at its own time
        world.inspected = Counter({key: len(times) for key, times in self._frames.items()})
        self._count_drops(world)

    def _look_at_tables(self, root: Path, world: World) -> None:
        columns = ["camera", "sequence", "captured_at", "verdict"]
        for camera, sequence, captured_at, verdict in _rows(root / "inspections", columns):
            world.inspected[camera, sequence] += 1
            world.verdicts.append(Verdict(camera, sequence, captured_at.timestamp(), verdict == "defect"))
        columns = ["dead_letter_id", "camera", "sequence", "stage"]
        world.dead = dead(row[:3] for row in _rows(root / "dead_letters", columns) if row[3] != "history")
        for camera, first in _rows(root / "alerts", ["camera", "first_sequence"]):
            world.alerts[camera, first] += 1
        for record in self._read(self._kafka.topics.alerts):
            alert = msgspec.json.decode(record.value())
            self._told[alert["alert_id"], alert["revision"]] += 1
            self._opened[alert["camera"], alert["first_sequence"]] += alert["state"] == "opened"
        world.told, world.opened = self._told, self._opened
        columns = ["event_id", "camera", "kind", "first_sequence", "last_sequence"]
        for event in _rows(root / "camera_events", columns):
            self._take_event(dict(zip(columns, event, strict=True)))
        self._count_drops(world)

    def _take_event(self, event: dict[str, Any]) -> None:
        if event["kind"] in ("dropped", "in-doubt"):
            span = event["first_sequence"], event["last_sequence"]
            self._events[event["event_id"]] = (event["camera"], event["kind"], *span)

    def _count_drops(self, world: World) -> None:
        for camera, kind, first, last in self._events.values():
            keys = {(camera, sequence) for sequence in range(first, last + 1)}
            if kind == "dropped":
                world.dropped |= keys
            else:
                world.doubted |= keys

    def _read(self, topic: str) -> Iterator[Message]:
        if topic not in self._readers:
            self._readers[topic] = TopicReader(self._kafka, topic)
        return self._readers[topic].read()


def _rows(table: Path, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    try:
        found = DeltaTable(str(table))
    except TableNotFoundError:
        return
    for batch in found.to_pyarrow_dataset().to_batches(columns=list(columns)):
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)
