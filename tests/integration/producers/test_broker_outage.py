"""A broker that goes away while cameras run."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from infra.broker import BrokerSettings, EmbeddedBroker
from infra.topics import ensure_topics
from producers.doubles import ScriptedSource, frames
from producers.job import CameraPlan, run
from producers.settings import ProducerSettings
from sightline.contracts import CameraEventKind
from sightline.errors import BrokerError
from sightline.settings import KafkaSettings

WaitUntil = Callable[[Callable[[], bool]], None]


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    settings = BrokerSettings.load(folder=tmp_path / "kafka", heap="256m", free_disk_mb=500)
    with EmbeddedBroker(settings) as running:
        yield running


@pytest.fixture
def kafka(own_broker: EmbeddedBroker) -> KafkaSettings:
    settings = KafkaSettings.load(bootstrap=own_broker.bootstrap)
    ensure_topics(settings)
    return settings


def test_a_killed_broker_is_waited_for_and_nothing_is_lost(
    own_broker: EmbeddedBroker,
    kafka: KafkaSettings,
    published: Any,
    produce: Callable[..., Any],
    wait_until: WaitUntil,
) -> None:
    producing = produce(kafka, "sim:bottle_cap?width=160&height=120", "--fps", "100", "--policy", "block")
    wait_until(lambda: len(published.frames()) >= 50)
    assert own_broker.pid is not None
    os.kill(own_broker.pid, signal.SIGKILL)
    own_broker.stop()
    own_broker.start()
    seen = len(published.frames())
    wait_until(lambda: len(published.frames()) >= seen + 300)
    producing.stop()

    taken = published.frames()
    assert [frame.sequence for frame in taken] == list(range(len(taken)))
    (stopped,) = published.events(CameraEventKind.STOPPED)
    assert stopped.next_sequence == len(taken)
    assert published.events(CameraEventKind.DROPPED, CameraEventKind.IN_DOUBT) == []


def test_cameras_that_cannot_wait_lose_nothing_in_an_outage_not_even_to_kill_9(
    own_broker: EmbeddedBroker,
    kafka: KafkaSettings,
    published: Any,
    produce: Callable[..., Any],
    wait_until: WaitUntil,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_PRODUCER_SPOOL_AFTER", "0.2")
    monkeypatch.setenv("SIGHTLINE_PRODUCER_SPOOL_FPS", "200")
    live = ("sim:bottle_cap?width=160&height=120", "--cameras", "2", "--policy", "drop-oldest", "--fps", "20")

    def spooled() -> int:
        return sum(file.stat().st_size for file in (tmp_path / "run" / "producers" / "spool").rglob("*.segment"))

    producing = produce(kafka, *live)
    wait_until(lambda: len(published.frames()) >= 20)
    own_broker.stop()
    wait_until(lambda: spooled() > 100_000)
    producing.kill()  # with frames on the disk, under way and perhaps just captured

    left = spooled()
    producing = produce(kafka, *live)  # goes on although no broker answers
    wait_until(lambda: spooled() > left + 100_000)
    own_broker.start()
    wait_until(lambda: spooled() == 0)
    producing.stop()

    doubts = published.events(CameraEventKind.DROPPED, CameraEventKind.IN_DOUBT)
    for camera in ("cam-1", "cam-2"):
        taken = list(dict.fromkeys(frame.sequence for frame in published.frames(camera)))
        (*_, stopped) = [event for event in published.events(CameraEventKind.STOPPED) if event.camera == camera]
        doubted = {
            number
            for event in doubts
            if event.camera == camera
            for number in range(event.first_sequence, event.last_sequence + 1)
        }
        assert taken == sorted(taken)
        assert set(taken) | doubted == set(range(stopped.next_sequence))
        # in doubt are only frames of the last moment before the kill
        assert len(doubted) <= 20 * 0.2 + 10


def test_a_producer_that_stops_while_the_broker_is_away_keeps_its_frames_for_the_next_start(
    own_broker: EmbeddedBroker,
    kafka: KafkaSettings,
    published: Any,
    produce: Callable[..., Any],
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIGHTLINE_PRODUCER_SPOOL_FPS", "1000")
    source = "sim:bottle_cap?width=160&height=120"
    producing = produce(kafka, source, "--fps", "30", "--policy", "drop-oldest")
    wait_until(lambda: len(published.frames()) >= 20)
    own_broker.stop()
    said = producing.stop()
    assert "on disk for the next start" in said
    assert "dropped: none" in said

    own_broker.start()
    produce(kafka, source, "--frames", "5").finish()
    taken = [frame.sequence for frame in published.frames()]
    *_, last = published.events(CameraEventKind.STOPPED)
    assert list(dict.fromkeys(taken)) == list(range(last.next_sequence))
    assert published.events(CameraEventKind.DROPPED, CameraEventKind.IN_DOUBT) == []


def test_no_broker_is_told_with_its_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
    plan = CameraPlan(name="cam", product="part", source=ScriptedSource(frames(1)))
    with pytest.raises(BrokerError, match=f"no Kafka broker answers at {address} .*SIGHTLINE_KAFKA_BOOTSTRAP"):
        run([plan], KafkaSettings.load(bootstrap=address), ProducerSettings.load(ledger=tmp_path))
