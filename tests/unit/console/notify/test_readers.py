"""Verdicts on their way to the reject lines, and what is said when none can be read."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import confluent_kafka
import pytest
from confluent_kafka import KafkaError

from console.notify import readers
from console.notify.readers import DefectReader
from console.notify.reject import Signal
from sightline import codec, samples
from sightline.contracts import Verdict
from sightline.settings import KafkaSettings

KAFKA = KafkaSettings(bootstrap="127.0.0.1:1")
TOPIC = KAFKA.topics.inspections
DEFECT = codec.encode(samples.inspection(sequence=7, verdict=Verdict.DEFECT))


class Message:
    def __init__(self, value: bytes | None = None, error: KafkaError | None = None) -> None:
        self.value = lambda: value
        self.error = lambda: error


class Line:
    """A reject line that ends the reader with the first signal."""

    settings = SimpleNamespace(on="defect")

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self.sequences: list[int] = []

    def offer(self, signal: Signal) -> None:
        self.sequences.append(signal.sequence)
        self.stop.set()


def read(monkeypatch: pytest.MonkeyPatch, *batches: Sequence[Message], denied: KafkaError | None = None) -> list[int]:
    """What a reader makes of `batches`; a broker that is asked first about the topic may have `denied` it."""
    waiting, answers = list(batches), [denied]

    class Consumer:
        def __init__(self, *_: Any, **__: Any) -> None:
            pass

        def list_topics(self, topic: str, timeout: float) -> Any:
            error = answers.pop() if answers else None
            return SimpleNamespace(topics={topic: SimpleNamespace(error=error, partitions={} if error else {0: None})})

        def assign(self, partitions: Any) -> None:
            pass

        def consume(self, most: int, timeout: float) -> Sequence[Message]:
            return waiting.pop(0)

        def close(self) -> None:
            pass

    monkeypatch.setattr(confluent_kafka, "Consumer", Consumer)
    monkeypatch.setattr(readers, "_AGAIN_SECONDS", 0.0)
    stop = threading.Event()
    line = Line(stop)
    DefectReader(KAFKA, [line]).run(stop)
    return line.sequences


def test_a_right_that_was_revoked_is_said_and_reading_begins_anew(monkeypatch, caplog) -> None:
    revoked = Message(error=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    assert read(monkeypatch, [revoked, Message(DEFECT)], [Message(DEFECT)]) == [7]
    (said,) = [record for record in caplog.records if record.message == "no reject signals until the broker is back"]
    assert f"to read the topic {TOPIC}" in said.error


def test_a_topic_that_may_not_be_read_is_not_said_to_be_missing(monkeypatch, caplog) -> None:
    denied = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)
    assert read(monkeypatch, [Message(DEFECT)], denied=denied) == [7]
    assert [f"to read the topic {TOPIC}" in record.error for record in caplog.records] == [True]


def test_any_other_error_is_said_too_and_the_end_of_a_partition_is_none(monkeypatch, caplog) -> None:
    end, odd = KafkaError(KafkaError._PARTITION_EOF), KafkaError(KafkaError.OFFSET_OUT_OF_RANGE)
    assert read(monkeypatch, [Message(error=end), Message(DEFECT)]) == [7]
    assert not caplog.records
    assert read(monkeypatch, [Message(error=odd)], [Message(DEFECT)]) == [7]
    assert ["OFFSET_OUT_OF_RANGE" in record.error for record in caplog.records] == [True]
