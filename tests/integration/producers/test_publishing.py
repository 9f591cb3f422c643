"""Producers against a real broker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from producers import job
from producers.doubles import ScriptedSource, Step, frames, picture
from producers.job import CameraPlan
from producers.ledger import Ledger, Tally
from producers.settings import ProducerSettings
from producers.sources import Captured, SourceLostError, now
from sightline.contracts import CameraEvent, CameraEventKind, DropReason, Frame
from sightline.errors import BrokerError, SourceError
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings

SIM = "sim:bottle_cap?width=160&height=120"
WaitUntil = Callable[[Callable[[], bool]], None]


def run(kafka: KafkaSettings, folder: Path, scripts: dict[str, list[Step]], **settings: Any) -> list[job.Summary]:
    plans = [CameraPlan(name=name, product="part", source=ScriptedSource(steps)) for name, steps in scripts.items()]
    chosen = ProducerSettings.load(**{"ledger": folder, "fps": 0, "policy": "block", "retry_seconds": 0.01} | settings)
    return job.run(plans, kafka, chosen)


def numbers(event: CameraEvent) -> range:
    assert event.first_sequence is not None
    assert event.last_sequence is not None
    return range(event.first_sequence, event.last_sequence + 1)


def assert_each_number_was_used_once(taken: list[Frame]) -> None:
    assert len({frame.sequence for frame in taken}) == len({frame.captured_at for frame in taken}) == len(taken)


def test_frames_arrive_with_their_facts_in_order_and_keyed_by_camera(
    kafka: KafkaSettings, published: Any, tmp_path: Path
) -> None:
    summaries = run(kafka, tmp_path, {"left": list(frames(30, label="dent")), "right": list(frames(20))})
    assert [summary.tally for summary in summaries] == [
        Tally(captured=30, delivered=30),
        Tally(captured=20, delivered=20),
    ]
    left = published.frames("left")
    assert [frame.sequence for frame in left] == list(range(30))
    assert [frame.sequence for frame in published.frames("right")] == list(range(20))
    assert {(frame.line, frame.product, frame.label, frame.width, frame.height) for frame in left} == {
        ("line-1", "part", "dent", 64, 48)
    }
    decoded = cv2.imdecode(np.frombuffer(left[3].jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - picture(3)).mean() < 6


def test_a_folder_of_real_pictures_arrives_byte_for_byte(
    kafka: KafkaSettings, published: Any, produce: Callable[..., Any], shared_data: Path
) -> None:
    folder = shared_data / "castings" / "test"
    said = produce(kafka, f"folder:{folder}", "--once", "--cameras", "2", "--fps", "0").finish()
    files = {path.read_bytes(): path.parent.name for path in folder.rglob("*.jp*g")}
    taken = published.frames()
    assert {frame.jpeg: frame.label for frame in taken} == files
    assert {frame.product for frame in taken} == {"castings"}
    assert f"cam-1: {len(taken) // 2} captured, {len(taken) // 2} delivered, dropped: none" in said


def test_a_video_arrives_at_its_size(
    kafka: KafkaSettings, published: Any, produce: Callable[..., Any], shared_data: Path
) -> None:
    produce(kafka, f"video:{shared_data / 'bottles.mp4'}", "--fps", "0", "--frames", "40", "--camera", "belt").finish()
    taken = published.frames("belt")
    assert [frame.sequence for frame in taken] == list(range(40))
    assert {(frame.width, frame.height, frame.product) for frame in taken} == {(640, 360, "bottles")}


def test_sequences_go_on_without_a_gap_after_sigterm(
    kafka: KafkaSettings, published: Any, produce: Callable[..., Any], wait_until: WaitUntil
) -> None:
    for _ in range(2):
        seen = len(published.frames())
        producing = produce(kafka, SIM, "--cameras", "2", "--fps", "60")
        wait_until(lambda before=seen: len(published.frames()) >= before + 20)
        wait_until(lambda: bool(published.events(CameraEventKind.HEARTBEAT)))
        producing.stop()
    for camera in ("cam-1", "cam-2"):
        taken = published.frames(camera)
        assert [frame.sequence for frame in taken] == list(range(len(taken)))
        assert_each_number_was_used_once(taken)
        last = [event for event in published.events(CameraEventKind.STOPPED) if event.camera == camera]
        assert last[-1].next_sequence == len(taken)
    assert published.events(CameraEventKind.IN_DOUBT, CameraEventKind.DROPPED) == []


def test_kill_9_leaves_a_reported_doubt_and_no_number_used_twice(
    kafka: KafkaSettings, published: Any, produce: Callable[..., Any], wait_until: WaitUntil
) -> None:
    producing = produce(kafka, SIM, "--fps", "0")
    wait_until(lambda: len(published.frames()) >= 100)
    producing.kill()
    survived = {frame.sequence for frame in published.frames()}
    produce(kafka, SIM, "--fps", "0", "--frames", "50").finish()

    taken = published.frames()
    assert_each_number_was_used_once(taken)
    doubts = published.events(CameraEventKind.IN_DOUBT)
    assert {event.reason for event in doubts} == {DropReason.PRODUCER_CRASH}
    doubtful = {number for event in doubts for number in numbers(event)}
    (stopped,) = published.events(CameraEventKind.STOPPED)
    # every number ever given is on the broker or was reported, and the second process began after all of them
    assert {frame.sequence for frame in taken} | doubtful == set(range(stopped.next_sequence))
    assert min({frame.sequence for frame in taken} - survived) > max(doubtful)


def test_frames_that_kafka_would_refuse_are_counted(kafka: KafkaSettings, published: Any, tmp_path: Path) -> None:
    small = bytes(cv2.imencode(".jpg", picture())[1])
    huge = small + bytes(MAX_MESSAGE_BYTES)
    script: list[Step] = [Captured(picture=data, captured_at=now()) for data in (small, huge, small)]
    (summary,) = run(kafka, tmp_path, {"cam": script})
    assert summary.tally == Tally(captured=3, delivered=2, dropped={DropReason.OVERSIZE: 1})
    (event,) = published.events(CameraEventKind.DROPPED)
    assert (event.reason, list(numbers(event))) == (DropReason.OVERSIZE, [1])
    assert [frame.sequence for frame in published.frames()] == [0, 2]


def test_the_largest_frame_that_fits_arrives(kafka: KafkaSettings, published: Any, tmp_path: Path) -> None:
    small = bytes(cv2.imencode(".jpg", picture())[1])
    large = small + bytes(MAX_MESSAGE_BYTES - 64 * 1024 - len(small))
    run(kafka, tmp_path, {"cam": [Captured(picture=large, captured_at=now())]})
    (frame,) = published.frames()
    assert frame.jpeg == large


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
def test_frames_that_come_too_fast_are_reported_number_by_number(
    kafka: KafkaSettings, published: Any, tmp_path: Path, policy: str
) -> None:
    (summary,) = run(
        kafka, tmp_path, {"cam": list(frames(300))}, policy=policy, queue_frames=1, flight_frames=1, spool_mb=0
    )
    tally = summary.tally
    assert tally.captured == 300
    assert tally.delivered + tally.dropped.get(DropReason.QUEUE_FULL, 0) == 300
    lost = [number for event in published.events(CameraEventKind.DROPPED) for number in numbers(event)]
    assert sorted([*lost, *(frame.sequence for frame in published.frames())]) == list(range(300))


def test_a_camera_that_goes_and_comes_back_is_reported(kafka: KafkaSettings, published: Any, tmp_path: Path) -> None:
    script = [*frames(3), SourceLostError("no signal"), *frames(3)]
    run(kafka, tmp_path, {"cam": script})
    health = published.events(CameraEventKind.CONNECTED, CameraEventKind.DISCONNECTED)
    assert [(event.kind, event.message, event.next_sequence) for event in health] == [
        (CameraEventKind.CONNECTED, "scripted", 0),
        (CameraEventKind.DISCONNECTED, "no signal", 3),
        (CameraEventKind.CONNECTED, "scripted", 3),
    ]
    assert [frame.sequence for frame in published.frames()] == list(range(6))


def test_a_camera_that_fails_for_good_does_not_stop_the_others(
    kafka: KafkaSettings, published: Any, tmp_path: Path
) -> None:
    broken, sound = run(kafka, tmp_path, {"broken": [*frames(2), SourceError("disk gone")], "sound": list(frames(50))})
    assert (broken.failure, sound.failure) == ("disk gone", None)
    assert len(published.frames("sound")) == 50
    gone = published.events(CameraEventKind.DISCONNECTED)
    assert [(event.camera, event.message) for event in gone] == [("broken", "disk gone")]


def test_a_report_from_before_the_last_crash_still_arrives(
    kafka: KafkaSettings, published: Any, tmp_path: Path
) -> None:
    ledger = Ledger(tmp_path, "line-1", "cam", now())
    ledger.dropped(ledger.reserve(), DropReason.UNREADABLE)
    ledger.settle(now())
    ledger.close()
    run(kafka, tmp_path, {"cam": list(frames(1))})
    (event,) = published.events(CameraEventKind.DROPPED)
    assert (event.reason, list(numbers(event))) == (DropReason.UNREADABLE, [0])
    assert [frame.sequence for frame in published.frames()] == [1]


def test_missing_topics_are_named(broker: KafkaSettings, tmp_path: Path) -> None:
    kafka = KafkaSettings.load(bootstrap=broker.bootstrap, topic_prefix="nobody.made.these.")
    with pytest.raises(BrokerError, match=r"no topic nobody\.made\.these\.frames .*sightline topics"):
        run(kafka, tmp_path, {"cam": list(frames(1))})


def test_a_run_may_be_stopped_from_within(kafka: KafkaSettings, published: Any, tmp_path: Path) -> None:
    stopping = threading.Event()

    class Stopper(ScriptedSource):
        def read(self) -> Any:
            if len(seen) == 5:
                stopping.set()
            seen.append(1)
            return super().read()

    seen: list[int] = []
    plan = CameraPlan(name="cam", product="part", source=Stopper(frames(10**4)))
    settings = ProducerSettings.load(ledger=tmp_path, fps=0, policy="block")
    (summary,) = job.run([plan], kafka, settings, stopping=stopping)
    assert summary.tally.captured == summary.tally.delivered == len(published.frames()) == 6
