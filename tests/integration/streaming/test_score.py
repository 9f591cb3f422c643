"""The score query on a real broker and a real Spark, with a detector whose verdicts can be foretold."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from models.doubles import write_brightness_bundle
from models.runtime.card import bundle_digest
from sightline import codec
from sightline.contracts import Frame, Inspection, Reason, ShadowInspection, Verdict
from sightline.errors import SettingsError
from sightline.metrics import new_registry
from sightline.settings import KafkaSettings
from streaming.detectors import CHALLENGERS, CHAMPIONS, Bundle, write_pointer
from streaming.metrics import QueryMetrics
from streaming.query_watch import QueryWatch
from streaming.real_time import require_slots
from streaming.score import ScoreSettings, Trigger, start, starts
from streaming.supervise import keep_running

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming import StreamingQuery

START = datetime(2026, 1, 2, tzinfo=UTC)


def settings_of(folder: Path, trigger: Trigger) -> ScoreSettings:
    return ScoreSettings.load(
        trigger=trigger,
        real_time_seconds=1,
        backend="onnxruntime",
        shadow_fraction=1,
        detectors=str(folder / "detectors"),
        checkpoint=str(folder / "checkpoint"),
    )


@pytest.fixture(params=["micro-batch", "real-time"])
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> ScoreSettings:
    return settings_of(tmp_path, request.param)


def promote(settings: ScoreSettings, version: str, threshold: float, pointer: str = CHAMPIONS) -> None:
    folder = Path(settings.detectors) / "washer" / version
    write_brightness_bundle(folder, threshold=threshold)
    champion = Bundle(name="sightline.washer", version=version, digest=bundle_digest(folder), folder=str(folder))
    write_pointer(Path(settings.detectors) / pointer, {"washer": champion})


def frame(sequence: int, brightness: int, camera: str = "cam-1") -> Frame:
    _, jpeg = cv2.imencode(".jpg", np.full((120, 160, 3), brightness, np.uint8))
    captured_at = START + timedelta(milliseconds=100 * sequence)
    return Frame(
        line="north", camera=camera, sequence=sequence, captured_at=captured_at, product="washer",
        width=160, height=120, jpeg=jpeg.tobytes(),
    )  # fmt: skip


def publish(kafka: KafkaSettings, *frames: Frame | tuple[bytes, list[tuple[str, bytes]]]) -> None:
    producer = Producer(kafka.librdkafka(partitioner="murmur2_random"))
    for one in frames:
        value, headers = (one.jpeg, codec.frame_headers(one)) if isinstance(one, Frame) else one
        key = one.camera if isinstance(one, Frame) else "cam-1"
        producer.produce(kafka.topics.frames, value, key, headers=headers)
    assert producer.flush(20) == 0


def read(kafka: KafkaSettings, topic: str) -> list[Message]:
    """Everything that is on `topic` now."""
    consumer = Consumer(kafka.librdkafka(**{"group.id": "test", "enable.partition.eof": True}))
    partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
    consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
    found, ended = [], set()
    while len(ended) < len(partitions):
        message = consumer.poll(10)
        assert message is not None
        if message.error():
            ended.add(message.partition())
        else:
            found.append(message)
    consumer.close()
    return found


def inspections(kafka: KafkaSettings) -> list[Inspection]:
    return [codec.decode(Inspection, message.value()) for message in read(kafka, kafka.topics.inspections)]


def wait_for(what: Callable[[], Any], query: StreamingQuery) -> None:
    ends = time.monotonic() + 60
    while not what():
        assert query.isActive, query.exception()
        assert time.monotonic() < ends
        time.sleep(0.2)


@pytest.fixture
def running(spark: SparkSession, kafka: KafkaSettings, settings: ScoreSettings) -> Iterator[StreamingQuery]:
    promote(settings, "1", threshold=200)
    query = start(spark, kafka, settings)
    yield query
    query.stop()


def test_every_record_ends_once_as_inspection_or_dead_letter(kafka: KafkaSettings, running: StreamingQuery) -> None:
    good, torn = frame(0, 90), frame(1, 90)
    publish(
        kafka,
        good,
        (torn.jpeg[:300], codec.frame_headers(torn)),
        (b"", codec.frame_headers(frame(2, 90))),
        (good.jpeg, []),
        frame(3, 170),
        frame(4, 230),
        frame(0, 230, camera="cam-2"),
    )
    topics = kafka.topics
    wait_for(lambda: len(inspections(kafka)) + len(read(kafka, topics.dead_letters)) >= 7, running)
    found = inspections(kafka)
    assert Counter((one.camera, one.sequence) for one in found) == {
        ("cam-1", 0): 1, ("cam-1", 3): 1, ("cam-1", 4): 1, ("cam-2", 0): 1,
    }  # fmt: skip
    assert {one.sequence: one.verdict for one in found if one.camera == "cam-1"} == {
        0: Verdict.OK, 3: Verdict.REVIEW, 4: Verdict.DEFECT,
    }  # fmt: skip
    letters = [
        codec.dead_letter_from_record(message.key(), message.value(), message.headers())
        for message in read(kafka, topics.dead_letters)
    ]
    assert sorted(letter.reason for letter in letters) == [Reason.EMPTY, Reason.MISSING_HEADER, Reason.TRUNCATED]
    archived = {
        (message.key(), dict(message.headers())["ce_sequence"]): message.value()
        for message in read(kafka, topics.archive)
        if dict(message.headers())["sightline.verdict"] != b"ok"
    }
    assert archived == {
        (b"cam-1", b"3"): frame(3, 170).jpeg, (b"cam-1", b"4"): frame(4, 230).jpeg,
        (b"cam-2", b"0"): frame(0, 230).jpeg,
    }  # fmt: skip


def test_records_keep_their_cameras_order_and_partition(kafka: KafkaSettings, running: StreamingQuery) -> None:
    publish(kafka, *(frame(number, 90, camera) for number in range(40) for camera in ("cam-1", "cam-2", "cam-3")))
    wait_for(lambda: len(inspections(kafka)) >= 120, running)
    seen: dict[str, list[tuple[int, int]]] = {}
    for message in read(kafka, kafka.topics.inspections):
        one = codec.decode(Inspection, message.value())
        assert message.partition() == one.source.partition
        seen.setdefault(one.camera, []).append((message.offset(), one.sequence))
    for camera, rows in seen.items():
        assert [sequence for _, sequence in sorted(rows)] == list(range(40)), camera


def test_a_changed_champion_judges_the_next_frames_without_a_restart(
    kafka: KafkaSettings, running: StreamingQuery, settings: ScoreSettings
) -> None:
    publish(kafka, frame(0, 180))
    wait_for(lambda: inspections(kafka), running)
    promote(settings, "2", threshold=160)
    publish(kafka, frame(1, 180))
    wait_for(lambda: len(inspections(kafka)) == 2, running)
    promote(settings, "3", threshold=150, pointer=CHALLENGERS)
    # loaded in the background: frames do not wait, so some may come too early to be scored beside
    numbers = iter(range(2, 200))
    wait_for(lambda: (publish(kafka, frame(next(numbers), 155)), read(kafka, kafka.topics.shadow))[1], running)
    shadow = codec.decode(ShadowInspection, read(kafka, kafka.topics.shadow)[0].value())
    assert (shadow.verdict, shadow.detector.version, shadow.threshold) == (Verdict.DEFECT, "3", 150)
    assert {one.detector.version for one in inspections(kafka)} <= {"1", "2"}
    before, after, *_ = sorted(inspections(kafka), key=lambda one: one.sequence)
    assert (before.verdict, before.detector.version, before.threshold) == (Verdict.REVIEW, "1", 200)
    assert (after.verdict, after.detector.version, after.threshold) == (Verdict.DEFECT, "2", 160)


def test_stopped_and_started_again_nothing_is_lost_and_repeats_carry_the_same_ids(
    kafka: KafkaSettings, running: StreamingQuery, settings: ScoreSettings, spark: SparkSession
) -> None:
    publish(kafka, *(frame(number, 90) for number in range(30)))
    wait_for(lambda: inspections(kafka), running)
    running.stop()
    publish(kafka, *(frame(number, 90) for number in range(30, 60)))
    again = start(spark, kafka, settings)
    try:
        wait_for(lambda: {one.sequence for one in inspections(kafka)} >= set(range(60)), again)
    finally:
        again.stop()
    ids = {(one.sequence, one.inspection_id) for one in inspections(kafka)}
    assert len(ids) == 60


def test_a_line_changes_its_trigger_and_goes_on_where_it_was(
    kafka: KafkaSettings, spark: SparkSession, tmp_path: Path
) -> None:
    promote(settings_of(tmp_path, "micro-batch"), "1", threshold=200)
    triggers: tuple[Trigger, ...] = ("micro-batch", "real-time", "micro-batch")
    for number, trigger in enumerate(triggers, 1):
        noted = last_commit(tmp_path)
        query = start(spark, kafka, settings_of(tmp_path, trigger))
        publish(kafka, *(frame(sequence, 90) for sequence in range(20 * number - 20, 20 * number)))
        wait_for(partial(judged_and_noted, kafka, 20 * number, tmp_path, noted), query)
        query.stop()
    assert len({one.inspection_id for one in inspections(kafka)}) == 60
    assert len(inspections(kafka)) < 120, "each start judged everything again"


def judged_and_noted(kafka: KafkaSettings, frames: int, folder: Path, noted: int) -> bool:
    return last_commit(folder) > noted and len({one.sequence for one in inspections(kafka)}) == frames


def last_commit(folder: Path) -> int:
    return max((int(file.name) for file in (folder / "checkpoint" / "commits").glob("[0-9]*")), default=-1)


def test_what_retention_took_is_stepped_over_and_told(
    kafka: KafkaSettings, spark: SparkSession, settings: ScoreSettings
) -> None:
    promote(settings, "1", threshold=200)
    metrics = new_registry("score")
    watch = QueryWatch(QueryMetrics(metrics), kafka)
    query = watch.following("score", starts(spark, kafka, settings, lambda _: None), settings.checkpoint)
    publish(kafka, *(frame(number, 90) for number in range(10)))
    with kept_running(query):
        until_judged(kafka, set(range(10)))
    publish(kafka, *(frame(number, 90) for number in range(10, 30)))
    forget(kafka, kafka.topics.frames, keep=4)
    with kept_running(query):
        until_judged(kafka, set(range(26, 30)))
        publish(kafka, frame(30, 90))
        until_judged(kafka, {30})
        watch.look()
    assert metrics.get_sample_value("sightline_query_lost_records_total", {"query": "score"}) == 16
    assert {one.sequence for one in inspections(kafka)} == {*range(10), *range(26, 31)}


def test_a_loss_that_nobody_looked_at_before_a_kill_is_told_by_the_next_process(
    kafka: KafkaSettings, spark: SparkSession, settings: ScoreSettings
) -> None:
    promote(settings, "1", threshold=200)
    first = QueryWatch(QueryMetrics(new_registry("score")), kafka)
    query = first.following("score", starts(spark, kafka, settings, lambda _: None), settings.checkpoint)
    publish(kafka, *(frame(number, 90) for number in range(10)))
    with kept_running(query):
        until_judged(kafka, set(range(10)))
        until_noted(settings, 10)
    first.look()
    publish(kafka, *(frame(number, 90) for number in range(10, 30)))
    forget(kafka, kafka.topics.frames, keep=4)
    # as far as a process came that was killed before its next look
    with kept_running(starts(spark, kafka, settings, lambda _: None)):
        until_judged(kafka, set(range(26, 30)))
        until_noted(settings, 30)
    metrics = new_registry("score")
    second = QueryWatch(QueryMetrics(metrics), kafka)
    query = second.following("score", starts(spark, kafka, settings, lambda _: None), settings.checkpoint)
    with kept_running(query):
        publish(kafka, frame(30, 90))
        until_judged(kafka, {30})
        second.look()
    assert metrics.get_sample_value("sightline_query_lost_records_total", {"query": "score"}) == 16


@contextmanager
def kept_running(query: Callable[[], StreamingQuery]) -> Iterator[None]:
    stop = threading.Event()
    line = threading.Thread(target=keep_running, args=({"score": query}, stop))
    line.start()
    try:
        yield
    finally:
        stop.set()
        line.join()


def until_judged(kafka: KafkaSettings, sequences: set[int]) -> None:
    ends = time.monotonic() + 60
    while not sequences <= {one.sequence for one in inspections(kafka)}:
        assert time.monotonic() < ends, "not judged within a minute"
        time.sleep(0.2)


def until_noted(settings: ScoreSettings, records: int) -> None:
    """Until the checkpoint holds so many records of `frames` for done."""
    ends = time.monotonic() + 60
    while noted(Path(settings.checkpoint)) != records:
        assert time.monotonic() < ends, "not noted within a minute"
        time.sleep(0.2)


def noted(checkpoint: Path) -> int:
    done = max((int(file.name) for file in (checkpoint / "commits").glob("[0-9]*")), default=-1)
    plan = checkpoint / "offsets" / str(done)
    if not plan.is_file():
        return 0
    (places,) = json.loads(plan.read_text().splitlines()[-1]).values()
    return sum(places.values())


def forget(kafka: KafkaSettings, topic: str, keep: int) -> None:
    """Delete all but the last `keep` records of the partition that has some, as retention does."""
    client = Consumer(kafka.librdkafka(**{"group.id": "test"}))
    for number in client.list_topics(topic, timeout=10).topics[topic].partitions:
        place = TopicPartition(topic, number)
        if end := client.get_watermark_offsets(place, timeout=10)[1]:
            admin = AdminClient(kafka.librdkafka())
            (answer,) = admin.delete_records([TopicPartition(topic, number, end - keep)]).values()
            answer.result(20)
    client.close()


def test_real_time_is_refused_where_a_partition_would_have_no_slot(spark: SparkSession) -> None:
    require_slots(spark, 2)
    with pytest.raises(SettingsError, match=r"2 slots, and there are 3 partitions; use local\[3,4\]"):
        require_slots(spark, 3)
