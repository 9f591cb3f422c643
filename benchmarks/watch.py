"""The reader at the end of the line: what an operator's screen would have known, and when."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from confluent_kafka import Consumer, TopicPartition

from sightline import codec
from sightline.contracts import Alert, AlertState, Inspection
from sightline.settings import KafkaSettings

Key = tuple[str, int]
"""Camera and sequence."""


@dataclass(slots=True)
class Seen:
    """Times are in seconds since the epoch, by this machine's clock when the record was in the reader's hands."""

    verdicts: dict[Key, float] = field(default_factory=dict)
    captured: dict[Key, float] = field(default_factory=dict)
    stages: dict[Key, tuple[float, float, float, float]] = field(default_factory=dict)
    """Seconds from capture to: on the broker, decoded, scored, on the verdicts' topic."""
    opened: dict[Key, float] = field(default_factory=dict)
    """When the opening of an incident was read, by the frame that caused it."""
    dead_letters: int = 0
    repeated: int = 0
    detectors: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    """How many had which verdict: a defect costs its picture too."""

    def wrong(self, frames: int, refused: int = 0) -> str | None:
        """What became of `frames` that did not get one verdict each; None where all did. Kafka never had `refused`."""
        lost = frames - refused - len(self.verdicts) - self.dead_letters
        if not (lost or refused or self.dead_letters or self.repeated):
            return None
        return (
            f"of {frames} frames {lost} were lost, {refused} refused by the broker, {self.dead_letters} dead-lettered, "
            f"{self.repeated} repeated"
        )

    def latencies(self) -> list[float]:
        """Capture to the verdict in the reader's hands, in milliseconds, in the order of arrival."""
        return [1000 * (at - self.captured[key]) for key, at in self.verdicts.items()]

    def alert_delays(self) -> list[float]:
        """From the verdict of the frame that opened an incident to its alert, both in the reader's hands, in ms."""
        return [1000 * (at - self.verdicts[key]) for key, at in self.opened.items() if key in self.verdicts]

    def alert_latencies(self) -> list[float]:
        """From the capture of the frame that opened an incident to its alert in the reader's hands, in ms."""
        return [1000 * (at - self.captured[key]) for key, at in self.opened.items() if key in self.captured]


class Watch:
    """Follows verdicts, alerts and dead letters from the topics' present ends until closed."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topics = kafka.topics
        keys = {
            "group.id": "sightline-bench",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
        self._consumer = Consumer(kafka.librdkafka(**keys))
        topics = (self._topics.inspections, self._topics.alerts, self._topics.dead_letters)
        known = self._consumer.list_topics(timeout=10).topics
        places = [TopicPartition(topic, partition) for topic in topics for partition in known[topic].partitions]
        for place in places:
            place.offset = self._consumer.get_watermark_offsets(place, timeout=10)[1]
        self._consumer.assign(places)
        self.seen = Seen()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._thread.start()

    def renew(self) -> Seen:
        """Begin a new account; returns the last one."""
        last, self.seen = self.seen, Seen()
        return last

    def wait_for(self, frames: int, seconds: float) -> bool:
        """Whether `frames` verdicts and dead letters came before nothing more did for `seconds`."""
        count, since = -1, time.monotonic()
        while (now := len(self.seen.verdicts) + self.seen.dead_letters) < frames:
            if now > count:
                count, since = now, time.monotonic()
            elif time.monotonic() - since > seconds:
                return False
            time.sleep(0.05)
        return True

    def close(self) -> None:
        self._closing.set()
        self._thread.join()
        self._consumer.close()

    def _run(self) -> None:
        while not self._closing.is_set():
            record = self._consumer.poll(0.1)
            if record is None or record.error():
                continue
            at, seen = time.time(), self.seen
            if record.topic() == self._topics.inspections:
                self._verdict(codec.decode(Inspection, record.value()), at, record.timestamp()[1] / 1000, seen)
            elif record.topic() == self._topics.alerts:
                alert = codec.decode(Alert, record.value())
                if alert.state is AlertState.OPENED:
                    seen.opened[alert.camera, alert.last_sequence] = at
            else:
                seen.dead_letters += 1

    def _verdict(self, verdict: Inspection, at: float, written: float, seen: Seen) -> None:
        key = verdict.camera, verdict.sequence
        if key in seen.verdicts:
            seen.repeated += 1
            return
        captured, times = verdict.captured_at.timestamp(), verdict.timings
        seen.captured[key] = captured
        seen.verdicts[key] = at
        moments = (times.ingested_at.timestamp(), times.decoded_at.timestamp(), times.scored_at.timestamp(), written)
        seen.stages[key] = tuple(moment - captured for moment in moments)  # type: ignore[assignment]
        seen.detectors[verdict.detector.version] += 1
        seen.kinds[verdict.verdict.value] += 1
