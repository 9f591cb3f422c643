"""What the publisher does with frames and heartbeats that the Kafka client takes late, or not at all."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from producers import publisher
from producers.backlog import Backlog, Policy
from producers.ledger import Ledger, Tally
from producers.publisher import Lane, Publisher
from producers.settings import ProducerSettings
from producers.sources import now
from producers.spool import Spool
from sightline.contracts import Frame
from sightline.settings import KafkaSettings

FILES, LIVE = "files", "live"


class Client:
    """In the place of the Kafka client: takes `room` records, and answers them when it is told to."""

    def __init__(self, room: int = 2) -> None:
        self.room = room
        self.answering = threading.Event()
        self.sent: list[tuple[str, bytes]] = []
        self.polls = 0
        self._open: list[Callable[[None, None], None]] = []

    def produce(self, _topic: str, *, value: bytes, key: str, on_delivery: Any, **_more: Any) -> None:
        if len(self._open) >= self.room:
            raise BufferError("queue full")
        self.sent.append((key, value))
        self._open.append(on_delivery)

    def poll(self, seconds: float) -> None:
        if self.answering.wait(seconds):
            answered, self._open = self._open, []
            for answer in answered:
                answer(None, None)
        self.polls += 1

    def flush(self, _seconds: float) -> int:
        return len(self._open)

    def purge(self) -> None:
        """What was not sent stays unanswered."""


@dataclass
class Line:
    """Two cameras with one publisher: files that can wait, and a live one that cannot."""

    folder: Path
    client: Client
    lanes: dict[str, Lane]
    publisher: Publisher
    backlog: Backlog = field(default_factory=lambda: Backlog([FILES, LIVE], frames=4, size=10**6))
    halt: threading.Event = field(default_factory=threading.Event)

    def capture(self, camera: str) -> list[Frame]:
        """Capture a frame; returns those that had to go for it."""
        return self.backlog.put(self.numbered(camera), self.lanes[camera].policy)

    def numbered(self, camera: str) -> Frame:
        sequence = self.lanes[camera].ledger.reserve()
        return Frame(
            line="line-1",
            camera=camera,
            sequence=sequence,
            captured_at=now(),
            product="part",
            width=1,
            height=1,
            jpeg=str(sequence).encode(),
        )

    @contextmanager
    def publishing(self) -> Iterator[None]:
        """The publisher in its thread, to its end."""
        thread = threading.Thread(target=self.publisher.run, args=(self.backlog, self.halt))
        thread.start()
        try:
            yield
        except BaseException:
            self.halt.set()
            raise
        finally:
            thread.join(20)
        assert not thread.is_alive()

    def spool(self, camera: str) -> Spool:
        spool = self.lanes[camera].spool
        assert spool is not None
        return spool

    def sent(self, camera: str) -> list[int]:
        return [int(value) for key, value in self.client.sent if key == camera]

    def tally(self, camera: str) -> Tally:
        self.client.poll(0)  # the last answers
        ledger = self.lanes[camera].ledger
        ledger.settle(now())
        return ledger.tally()


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    client = Client()
    monkeypatch.setattr(publisher, "Producer", lambda *_keys, **_more: client)
    settings = ProducerSettings.load(ledger=tmp_path, spool_fps=1000)
    with ExitStack() as stack:
        lanes = {}
        for camera, policy in ((FILES, Policy.BLOCK), (LIVE, Policy.DROP_OLDEST)):
            spool = Spool(tmp_path / camera, size=10**6, spare=0)
            ledger = Ledger(tmp_path, "line-1", camera, now(), spool.open)
            stack.callback(ledger.close)
            stack.callback(spool.close)
            lanes[camera] = Lane(ledger, spool, policy)
        yield Line(tmp_path, client, lanes, Publisher(KafkaSettings.load(), settings, lanes))


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 20 s"
        time.sleep(0.001)


def test_files_that_wait_for_the_broker_cost_a_live_camera_nothing(line: Line) -> None:
    with line.publishing():
        for _ in range(6):
            line.capture(FILES)  # two under way, one refused by the client, the others in their queue
        for _ in range(12):
            assert line.capture(LIVE) == []
            until(lambda: not line.backlog.waiting()[LIVE])
        until(lambda: line.spool(LIVE).waiting == 12)
        assert line.spool(FILES).waiting == 0
        line.client.answering.set()
        line.backlog.close()
    assert line.sent(FILES) == list(range(6))
    assert line.sent(LIVE) == list(range(12))
    assert line.tally(FILES) == Tally(captured=6, delivered=6)
    assert line.tally(LIVE) == Tally(captured=12, delivered=12)


def test_the_end_of_the_files_waits_for_the_broker(line: Line) -> None:
    with line.publishing():
        for _ in range(3):
            line.capture(FILES)
        line.backlog.close()
        until(lambda: line.backlog.finished)
        looked = line.client.polls
        until(lambda: line.client.polls > looked + 2)
        line.client.answering.set()
    assert line.sent(FILES) == [0, 1, 2]
    assert line.tally(FILES) == Tally(captured=3, delivered=3)


def test_a_stop_leaves_the_frame_that_waits_to_the_next_process(line: Line) -> None:
    with line.publishing():
        for _ in range(5):
            line.capture(FILES)
        until(lambda: line.backlog.waiting()[FILES] == 2)
        line.backlog.close()
        line.halt.set()
    while (frame := line.backlog.take(0)) is not None:
        line.publisher.put_aside(frame)
    line.publisher.flush(0)
    line.spool(FILES).close()
    assert line.sent(FILES) == [0, 1]
    assert Spool(line.folder / FILES, size=10**6, spare=0).open() == frozenset(range(5))
    assert line.tally(FILES) == Tally(captured=5, delivered=0, pending=5)


def test_files_of_an_earlier_process_leave_before_new_ones(line: Line) -> None:
    for _ in range(3):
        line.spool(FILES).put(line.numbered(FILES), Policy.DROP_NEWEST)
    line.client.answering.set()
    with line.publishing():
        for _ in range(3):
            line.capture(FILES)
        line.backlog.close()
    assert line.sent(FILES) == list(range(6))
    assert line.tally(FILES) == Tally(captured=6, delivered=6)


def test_a_camera_without_a_spool_waits_too_and_drops_by_its_policy(line: Line) -> None:
    line.lanes[LIVE] = Lane(line.lanes[LIVE].ledger, None, Policy.DROP_OLDEST)
    with line.publishing():
        for _ in range(3):
            line.capture(LIVE)
        until(lambda: not line.backlog.waiting()[LIVE])
        gone = [frame.sequence for _ in range(6) for frame in line.capture(LIVE)]
        line.client.answering.set()
        line.backlog.close()
    assert gone == [3, 4]
    assert line.sent(LIVE) == [0, 1, 2, 5, 6, 7, 8]


def test_a_heartbeat_that_is_answered_at_once_is_not_the_last(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    produce = line.client.produce

    def answered_at_once(*arguments: Any, **more: Any) -> None:
        produce(*arguments, **more)
        line.client.poll(0)  # as the publisher's thread may

    monkeypatch.setattr(line.client, "produce", answered_at_once)
    line.client.answering.set()
    for _ in range(3):
        line.publisher.beat(line.lanes[LIVE].ledger)
    assert len(line.client.sent) == 3


def test_a_heartbeat_goes_when_the_last_one_is_answered_or_was_not_taken(line: Line) -> None:
    ledger = line.lanes[LIVE].ledger
    line.client.room = 0
    line.publisher.beat(ledger)
    line.client.room = 5
    line.publisher.beat(ledger)
    line.publisher.beat(ledger)
    assert len(line.client.sent) == 1
    line.client.answering.set()
    line.client.poll(0)
    line.publisher.beat(ledger)
    assert len(line.client.sent) == 2
