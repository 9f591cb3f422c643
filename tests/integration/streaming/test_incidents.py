"""The incident process on a real broker: whatever happens to it, the alerts are those of the fold, each once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.topics import ensure_topics
from sightline import codec
from sightline.contracts import (
    Alert,
    DetectorRef,
    HeatMap,
    Inspection,
    Quality,
    SourceOffset,
    Timings,
    Verdict,
)
from sightline.settings import KafkaSettings
from streaming.changelog import read_states
from streaming.fold import AlertSettings, fold_all
from streaming.incident_session import IncidentSettings
from streaming.incidents import follow

START = datetime(2026, 11, 1, 8, 0, tzinfo=UTC)
CAMERAS = ("cam-a", "cam-b", "cam-c", "cam-d")
POLICY = AlertSettings(window=4, defects=2, close_after=5, cool_down_seconds=1.0, update_every=10)


def inspection(camera: str, sequence: int, verdict: Verdict) -> Inspection:
    captured = START + timedelta(milliseconds=100 * sequence)
    return Inspection(
        inspection_id=codec.digest_id(camera, sequence, captured, "1"),
        line="line-1",
        camera=camera,
        sequence=sequence,
        captured_at=captured,
        product="cap",
        width=640,
        height=480,
        score=1.0 + sequence % 7 / 10 if verdict is Verdict.DEFECT else 0.1,
        threshold=1.0,
        verdict=verdict,
        detector=DetectorRef(name="sightline.cap", version="1", digest="abc"),
        quality=Quality(blur=1.0, exposure=100.0),
        timings=Timings(ingested_at=captured, decoded_at=captured, scored_at=captured),
        source=SourceOffset(topic="frames", partition=0, offset=sequence),
        heat_map=HeatMap(rows=2, cols=2, scale=1.0, values=b"\0\1\2\3"),
        thumbnail=os.urandom(2000) if verdict is Verdict.DEFECT else None,
    )


def shift(frames: int, seed: int = 7) -> list[Inspection]:
    """`frames` inspections of each camera, good and bad in runs, interleaved as cameras are."""
    chance = random.Random(seed)
    bad = dict.fromkeys(CAMERAS, False)
    shots = []
    for sequence in range(frames):
        for camera in CAMERAS:
            bad[camera] ^= chance.random() < 0.08
            defect = bad[camera] and chance.random() < 0.8
            shots.append(inspection(camera, sequence, Verdict.DEFECT if defect else Verdict.OK))
    return shots


class Plant:
    """What stands at both ends of the process under test."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self.kafka = kafka
        # idempotent as Spark's: a record that is sent again must not end up behind those that followed it
        keys = {"partitioner": "murmur2_random", "linger.ms": 0, "enable.idempotence": True, "log_level": 0}
        self._producer = Producer(kafka.librdkafka(**keys))

    def publish(self, inspections: Sequence[Inspection], *, pause: float = 0.0) -> None:
        for shot in inspections:
            self.publish_bytes(shot.camera, codec.encode(shot))
            if pause:
                self._producer.poll(pause)
        assert self._producer.flush(30) == 0

    def publish_bytes(self, key: str, value: bytes) -> None:
        self._producer.produce(self.kafka.topics.inspections, key=key, value=value)
        self._producer.poll(0)

    def alerts(self) -> dict[str, list[Alert]]:
        """All committed alerts by camera, in the order of their partition."""
        alerts: dict[str, list[Alert]] = {camera: [] for camera in CAMERAS}
        keys = {"group.id": "test", "isolation.level": "read_committed", "enable.partition.eof": True, "log_level": 0}
        consumer = Consumer(self.kafka.librdkafka(**keys))
        waiting = set(range(self.kafka.partitions))
        consumer.assign([TopicPartition(self.kafka.topics.alerts, partition, 0) for partition in waiting])
        while waiting:
            record = consumer.poll(5)
            assert record is not None
            if record.error() is None:
                alert = codec.decode(Alert, record.value())
                assert record.key().decode() == alert.alert_id
                alerts[alert.camera].append(alert)
            else:
                assert record.error().code() == KafkaError._PARTITION_EOF
                waiting.discard(record.partition())
        consumer.close()
        return alerts

    def wait_for(self, expected: dict[str, list[Alert]], seconds: float = 60) -> None:
        """Wait until as many alerts as expected are there, then hold them against each other."""
        deadline = time.monotonic() + seconds
        count = sum(map(len, expected.values()))
        while (found := self.alerts()) and sum(map(len, found.values())) < count:
            assert time.monotonic() < deadline, f"{sum(map(len, found.values()))} of {count} alerts"
            time.sleep(0.1)
        assert found == expected


def by_camera(shots: Sequence[Inspection]) -> dict[str, list[Alert]]:
    return {camera: list(fold_all([s for s in shots if s.camera == camera], POLICY)) for camera in CAMERAS}


@contextmanager
def following(kafka: KafkaSettings, **settings: float) -> Iterator[None]:
    """The process in a thread of this one."""
    stop = threading.Event()
    arguments = (kafka, POLICY, IncidentSettings(**settings), stop)
    thread = threading.Thread(target=follow, args=arguments)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def plant(kafka: KafkaSettings) -> Plant:
    return Plant(kafka)


def test_alerts_are_those_of_the_fold_in_the_partition_of_the_camera(plant: Plant) -> None:
    shots = shift(200)
    plant.publish(shots)
    expected = by_camera(shots)
    assert sum(map(len, expected.values())) > 40
    with following(plant.kafka, batch=50):
        plant.wait_for(expected)
    states = [read_states(plant.kafka, partition, 10) for partition in range(plant.kafka.partitions)]
    assert sorted(camera for partition in states for camera in partition) == sorted(CAMERAS)


def test_a_stop_and_a_replayed_topic_make_no_second_alert(plant: Plant) -> None:
    shots = shift(120)
    with following(plant.kafka):
        plant.publish(shots[:200])
        plant.wait_for(by_camera(shots[:200]))
    with following(plant.kafka):
        plant.publish(shots[100:])
        plant.wait_for(by_camera(shots))
        # a camera that the replay does not know proves that all of it was read
        plant.publish(shots)
        marker = [inspection("cam-a", 10_000 + n, Verdict.DEFECT) for n in range(2)]
        plant.publish(marker)
        plant.wait_for(by_camera([*shots, *marker]))


def test_a_record_that_is_no_inspection_is_passed_over(plant: Plant) -> None:
    with following(plant.kafka):
        for junk in (b"", b"{}", b"\xff\xfe", b'{"inspection_id": 3}'):
            plant.publish_bytes("cam-a", junk)
        shots = [inspection("cam-a", n, Verdict.DEFECT) for n in range(3)]
        plant.publish(shots)
        plant.wait_for(by_camera(shots))


def test_two_instances_share_the_cameras_and_take_over_from_each_other(plant: Plant) -> None:
    shots = shift(300)
    publisher = threading.Thread(target=plant.publish, args=(shots,), kwargs={"pause": 0.003})
    publisher.start()
    with following(plant.kafka):
        time.sleep(1)
        with following(plant.kafka):
            time.sleep(2)
        publisher.join()
        plant.wait_for(by_camera(shots))


def test_killed_at_any_moment_the_next_one_tells_what_is_left_to_tell(plant: Plant, tmp_path: Path) -> None:
    shots = shift(600)
    part = len(shots) // 4
    log = tmp_path / "incidents.log"
    settings = {f"SIGHTLINE_ALERTS_{key.upper()}": str(value) for key, value in POLICY.model_dump().items()} | {
        "SIGHTLINE_KAFKA_BOOTSTRAP": plant.kafka.bootstrap,
        "SIGHTLINE_KAFKA_TOPIC_PREFIX": plant.kafka.topic_prefix,
        "SIGHTLINE_INCIDENTS_TRANSACTION_SECONDS": "3",
    }
    command = [sys.executable, "-m", "streaming.incidents"]
    for turn in range(4):
        so_far = sum(map(len, plant.alerts().values()))
        publisher = threading.Thread(target=plant.publish, args=(shots[turn * part :][:part],), kwargs={"pause": 0.004})
        with log.open("ab") as errors:
            process = subprocess.Popen(command, env=os.environ | settings, stderr=errors)
        try:
            publisher.start()
            while sum(map(len, plant.alerts().values())) <= so_far:
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            if turn < 3:
                time.sleep(random.uniform(0, 0.5))
                process.kill()
            else:
                publisher.join()
                plant.wait_for(by_camera(shots))
                process.terminate()
                assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
            publisher.join()
    assert plant.alerts() == by_camera(shots)


def test_a_restarted_broker_is_found_again(tmp_path: Path) -> None:
    with EmbeddedBroker(BrokerSettings(folder=tmp_path / "kafka", heap="256m", free_disk_mb=100)) as broker:
        kafka = KafkaSettings(bootstrap=broker.bootstrap)
        ensure_topics(kafka)
        plant = Plant(kafka)
        shots = shift(100)
        with following(kafka):
            plant.publish(shots[:200])
            plant.wait_for(by_camera(shots[:200]))
            broker.stop()
            broker.start()
            plant.publish(shots[200:])
            plant.wait_for(by_camera(shots), seconds=180)
