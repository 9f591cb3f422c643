"""Dead letters on a real broker: found, shown, and sent back once."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed
from typer.testing import CliRunner

from sightline import codec
from sightline.contracts import Frame, Reason, SourceOffset
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings
from streaming.commands import app
from streaming.dead_letters import REPLAY_OF, REPLAYS, Selection, find
from streaming.detectors import DetectorSet
from streaming.records import Outgoing, Record
from streaming.worker import FrameJudge

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
JPEG = b"\xff\xd8\xff not really a picture"


def records(kafka: KafkaSettings, topic: str) -> list[Message]:
    consumer = Consumer(kafka.librdkafka(**{"group.id": "test", "enable.auto.commit": False}))
    try:
        found: list[Message] = []
        for number in range(kafka.partitions):
            place = TopicPartition(topic, number)
            low, high = bounds(consumer, place)
            place.offset = low
            consumer.assign([place])
            before = len(found)
            while len(found) - before < high - low:
                found.extend(consumer.consume(high - low, timeout=1))
        return found
    finally:
        consumer.close()


# a topic just created has no leader yet
@retry(retry=retry_if_exception_type(KafkaException), wait=wait_fixed(0.1), stop=stop_after_delay(60), reraise=True)
def bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    low, high = consumer.get_watermark_offsets(place, timeout=60)
    return low, high


class Plant:
    """Frames that a score query without the right detector turns into dead letters."""

    def __init__(self, kafka: KafkaSettings, folder: Path) -> None:
        self.kafka = kafka
        self._judge = FrameJudge(DetectorSet(folder, lambda _: None), kafka.topics, 0.0)  # type: ignore[arg-type,return-value]
        self._producer = Producer(kafka.librdkafka(**{"enable.idempotence": True, "partitioner": "murmur2_random"}))

    def frame(self, sequence: int, *, camera: str = "cam-1", **changes: Any) -> tuple[bytes, codec.Headers]:
        facts: dict[str, Any] = {"line": "north", "captured_at": NOON, "product": "cap", "width": 8, "height": 8}
        frame = Frame(camera=camera, sequence=sequence, jpeg=JPEG + bytes([sequence]), **facts | changes)
        return frame.jpeg, codec.frame_headers(frame)

    def dead_letter(
        self, value: bytes, headers: codec.Headers, *, topic: str | None = None, offset: int = 0
    ) -> Outgoing:
        """One record of `frames` that cannot be judged, as the worker writes its dead letter."""
        source = SourceOffset(topic=topic or self.kafka.topics.frames, partition=0, offset=offset)
        record = Record(b"cam-1", value, [*headers], source, NOON + timedelta(minutes=offset))
        (out,) = self._judge.judge([record])
        return out

    def fail(self, value: bytes, headers: codec.Headers, *, topic: str | None = None, offset: int = 0) -> None:
        out = self.dead_letter(value, headers, topic=topic, offset=offset)
        self._producer.produce(out.topic, key=out.key, value=out.value, headers=[*out.headers])
        assert self._producer.flush(60) == 0


@pytest.fixture
def plant(kafka: KafkaSettings, tmp_path: Path) -> Plant:
    return Plant(kafka, tmp_path)


@pytest.fixture
def sightline(kafka: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setenv("SIGHTLINE_KAFKA_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("SIGHTLINE_KAFKA_TOPIC_PREFIX", kafka.topic_prefix)

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, ["dead-letters", *words], catch_exceptions=False)

    return run


def test_a_replay_sends_the_original_back_once_and_says_that_it_is_one(
    plant: Plant, sightline: Callable[..., Result]
) -> None:
    frames = [plant.frame(sequence) for sequence in range(3)]
    for offset, (value, headers) in enumerate(frames):
        plant.fail(value, headers, offset=offset)
    plant.fail(*frames[2], offset=2)  # the query was killed and wrote it twice

    assert "3 would be sent; --yes sends them" in sightline("replay", "--reason", "no-detector").output
    assert records(plant.kafka, plant.kafka.topics.frames) == []

    assert "3 sent" in sightline("replay", "--yes").output
    said = sightline("replay", "--yes").output
    assert "0 sent" in said
    assert "3 sent before" in said
    sent = records(plant.kafka, plant.kafka.topics.frames)
    assert [(one.key(), one.value()) for one in sent] == [(b"cam-1", value) for value, _ in frames]
    for one, (_, headers) in zip(sent, frames, strict=True):
        assert one.headers()[:-2] == headers
        assert [name for name, _ in one.headers()[-2:]] == [REPLAY_OF, REPLAYS]

    # what fails again does not go round unnoticed
    plant.fail(sent[0].value() or b"", sent[0].headers() or [], offset=100)
    said = sightline("replay", "--yes").output
    assert "0 sent" in said
    assert "1 failed as a replay" in said
    assert "replay 1 failed" in sightline("list", "--since", "2026-11-21T13:00").output
    assert "4 sent" in sightline("replay", "--again", "--yes").output
    *_, last = records(plant.kafka, plant.kafka.topics.frames)
    assert dict(last.headers() or [])[REPLAYS] == b"2"
    assert len([name for name, _ in last.headers() or [] if name == REPLAYS]) == 1


def test_letters_are_found_by_reason_camera_and_time_and_shown_whole(
    plant: Plant, sightline: Callable[..., Result], tmp_path: Path
) -> None:
    plant.fail(*plant.frame(0), offset=0)
    plant.fail(*plant.frame(1, camera="cam-2"), offset=1)
    plant.fail(b"hello", [("ce_type", codec.FRAME_TYPE.encode()), ("ce_line", b"\x1b[2J")], offset=2)
    plant.fail(*plant.frame(3), topic=plant.kafka.topics.operator_actions, offset=3)  # forged

    def listed(*words: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in sightline("list", "--json", *words).output.splitlines()]

    assert len(listed()) == 4
    assert [one["sequence"] for one in listed("--camera", "cam-2")] == [1]
    assert [one["reason"] for one in listed("--reason", "bad-header")] == ["bad-header"]
    assert [one["source"][-1] for one in listed("--since", "2026-11-21T12:01", "--until", "2026-11-21T12:03")] == [
        "1",
        "2",
    ]
    (bad,) = find(plant.kafka, Selection(reasons=[Reason.BAD_HEADER]))
    shown = sightline("show", bad.id[:16], "--save", str(tmp_path / "frame")).output
    assert "bad-header" in shown
    assert "\x1b" not in shown
    assert (tmp_path / "frame").read_bytes() == b"hello"

    said = sightline("replay", "--yes").output
    assert "left out: 1 not from" in said
    assert records(plant.kafka, plant.kafka.topics.operator_actions) == []
    assert len(records(plant.kafka, plant.kafka.topics.frames)) == 3


def test_the_largest_record_that_frames_takes_has_room_as_a_dead_letter(plant: Plant, kafka: KafkaSettings) -> None:
    _, headers = plant.frame(0)
    added = sum(len(name) + len(data) for name, data in headers)
    value = bytes(MAX_MESSAGE_BYTES - added - 250)
    letter = plant.dead_letter(value, headers)
    assert refusal(kafka, kafka.topics.frames, value, headers) is None
    assert refusal(kafka, kafka.topics.frames, value, letter.headers) == KafkaError.MSG_SIZE_TOO_LARGE
    assert refusal(kafka, letter.topic, letter.value, letter.headers) is None


def refusal(kafka: KafkaSettings, topic: str, value: bytes | None, headers: codec.Headers) -> int | None:
    """The broker's own answer, to a producer that would send more."""
    producer = Producer(kafka.librdkafka(**{"message.max.bytes": 2 * MAX_MESSAGE_BYTES}))
    answers: list[KafkaError | None] = []

    def answered(error: KafkaError | None, _message: object) -> None:
        answers.append(error)

    producer.produce(topic, key=b"cam-1", value=value, headers=[*headers], on_delivery=answered)
    assert producer.flush(60) == 0
    (error,) = answers
    return None if error is None else int(error.code())
