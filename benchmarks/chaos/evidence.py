"""Reads what came out of the line: Delta files with delta-rs, topics with a plain consumer, never with the product."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError

from benchmarks.chaos.journal import JournalReader
from benchmarks.chaos.oracle import Key, Rule, Verdict, World, judge
from sightline.settings import KafkaSettings

log = logging.getLogger(__name__)
log.addHandler(logging.NullHandler())

_ANSWER_SECONDS = 15.0


class TopicReader:
    """Everything in a topic, a part at a time; only what readers of committed records see."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        keys = {"group.id": "chaos-oracle", "enable.auto.commit": False, "isolation.level": "read_committed"}
        self._consumer = Consumer(kafka.librdkafka(**keys, **{"reconnect.backoff.max.ms": 500}), logger=log)
        self._topic = topic
        partitions = self._consumer.list_topics(topic, timeout=_ANSWER_SECONDS).topics[topic].partitions
        self._places = [TopicPartition(topic, number, 0) for number in partitions]
        self._consumer.assign(self._places)

    def ends(self) -> int:
        """Records that were ever written, as offsets count them. Raises KafkaException."""
        return sum(self._consumer.get_watermark_offsets(place, _ANSWER_SECONDS)[1] for place in self._places)

    def read(self) -> Iterator[Message]:
        """What is there now and was not read before."""
        ends = {
            place.partition: self._consumer.get_watermark_offsets(place, _ANSWER_SECONDS)[1] for place in self._places
        }
        silent_since = time.monotonic()
        while time.monotonic() - silent_since < _ANSWER_SECONDS:
            positions = self._consumer.position(self._places)
            if all(max(at.offset, 0) >= ends[at.partition] for at in positions):
                return
            for record in self._consumer.consume(500, timeout=0.5):
                if record.error():
                    raise KafkaException(record.error())
                silent_since = time.monotonic()
                yield record

    def close(self) -> None:
        self._consumer.close()


class Evidence:
    """The world as the oracle sees it, for a deployment with `tables`; without, what the broker has must do."""

    def __init__(self, kafka: KafkaSettings, journals: Path, tables: Path | None) -> None:
        self._kafka = kafka
        self._tables = tables
        self._journals = JournalReader(journals)
        self._frames: Counter[Key] = Counter()
        self._events: dict[str, tuple[str, str, int, int]] = {}
        self._readers: dict[str, TopicReader] = {}

    @property
    def captured_at(self) -> dict[Key, float]:
        """When each frame was captured, in seconds since the epoch."""
        return self._journals.sent.captured

    def look(self) -> World:
        """The world as it stands. Raises KafkaException when the broker does not answer."""
        sent = self._journals.update()
        world = World(captured=set(sent.captured), acknowledged=set(sent.acknowledged))
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
            self._frames[headers["ce_camera"].decode(), int(headers["ce_sequence"])] += 1
        for record in self._read(self._kafka.topics.camera_events):
            self._take_event(msgspec.json.decode(record.value()))
        # the topic is at least once: a frame may be there again after its producer was killed
        world.inspected = Counter(self._frames.keys())
        self._count_drops(world)

    def _look_at_tables(self, root: Path, world: World) -> None:
        columns = ["camera", "sequence", "captured_at", "verdict"]
        for camera, sequence, captured_at, verdict in _rows(root / "inspections", columns):
            world.inspected[camera, sequence] += 1
            world.verdicts.append(Verdict(camera, sequence, captured_at.timestamp(), verdict == "defect"))
        for camera, sequence, stage in _rows(root / "dead_letters", ["camera", "sequence", "stage"]):
            if stage != "history":
                world.dead[camera, sequence] += 1
        for camera, first in _rows(root / "alerts", ["camera", "first_sequence"]):
            world.alerts[camera, first] += 1
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
