"""More frames than can be judged: how late verdicts get, and whether what was left out is counted to the frame."""

from __future__ import annotations

import time
from pathlib import Path

from confluent_kafka import Consumer, TopicPartition
from rich.console import Console

from benchmarks.cameras import Cameras, Load
from benchmarks.line import PRODUCT, LineUnderTest
from benchmarks.measured import Part, percentiles
from benchmarks.pictures import Pictures
from benchmarks.pipeline import CAMERAS, SETTLE_SECONDS, slope
from benchmarks.watch import Watch
from sightline import codec
from sightline.contracts import CameraEvent, CameraEventKind
from sightline.settings import KafkaSettings

POLICIES = ("off", "thin", "newest")
MAX_LAG_SECONDS = 3.0
FACTOR = 2.0
"""Frames offered over those that go through when a backlog is drained."""


def measure(folder: Path, pictures: Pictures, console: Console, *, seconds: float = 60.0) -> Part:
    """Each policy under the same load, `FACTOR` times what the line can do, for `seconds`."""
    part = Part(f"overload, {CAMERAS} cameras of {pictures.width} × {pictures.height}")
    rate = 0.0
    for policy in POLICIES:
        settings = {"SIGHTLINE_SCORE_SHED": policy, "SIGHTLINE_SCORE_MAX_LAG_SECONDS": str(MAX_LAG_SECONDS)}
        with LineUnderTest(folder, settings) as line:
            cameras, watch = Cameras(line.kafka, pictures), Watch(line.kafka)
            # to warm up: at once where all are judged, so that the time tells what the line can do
            cameras.start(Load(400, 0 if policy == "off" else 10, CAMERAS, PRODUCT))
            cameras.wait()
            watch.wait_for(400, 15.0)
            warmed = watch.renew()
            rate = rate or FACTOR * slope(warmed)
            frames = round(rate * seconds / CAMERAS) * CAMERAS
            cameras.start(Load(frames, rate, CAMERAS, PRODUCT, 100))
            began, sent = time.time(), cameras.wait()
            watch.wait_for(frames, SETTLE_SECONDS if policy == "off" else 15.0)
            seen = watch.renew()
            left_out = _left_out(line.kafka, 100)
            cameras.close()
            watch.close()
        lags = [1000 * (at - seen.captured[key]) for key, at in seen.verdicts.items() if at < began + seconds]
        spread = percentiles(lags)
        name = f"{policy}: {rate:.0f} frames/s offered"
        console.log(f"{name}, {len(seen.verdicts)} judged, {len(left_out)} left out, p99 {spread['p99']:.0f} ms")
        part.add(f"{name}, judged", 100 * len(seen.verdicts) / frames, "%")
        for key in ("p50", "p99"):
            part.add(f"{name}, capture → verdict {key}", spread[key], "ms")
        both = left_out & set(seen.verdicts)
        if sent.refused or both or len(seen.verdicts) + len(left_out) + seen.dead_letters != frames:
            part.faults.append(
                f"{policy}: of {frames} frames {len(seen.verdicts)} were judged and {len(left_out)} reported as left "
                f"out, {len(both)} of them both"
            )
    return part


def _left_out(kafka: KafkaSettings, first: int) -> set[tuple[str, int]]:
    """Camera and sequence of every frame from `first` on that `camera-events` reports as left out."""
    consumer = Consumer(kafka.librdkafka(**{"group.id": "sightline-bench", "enable.auto.commit": False}))
    topic = kafka.topics.camera_events
    found: set[tuple[str, int]] = set()
    for partition in consumer.list_topics(topic, timeout=10).topics[topic].partitions:
        start, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        consumer.assign([TopicPartition(topic, partition, start)])
        at = start
        while at < end:
            record = consumer.poll(10)
            if record is None or record.error():
                break
            at = record.offset() + 1
            event = codec.decode(CameraEvent, record.value())
            if event.kind is CameraEventKind.SHED:
                assert event.first_sequence is not None and event.last_sequence is not None
                found |= {(event.camera, n) for n in range(event.first_sequence, event.last_sequence + 1)}
    consumer.close()
    return {key for key in found if key[1] >= first}
