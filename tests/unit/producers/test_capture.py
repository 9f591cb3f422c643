from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from producers.backlog import Backlog, Policy
from producers.capture import Camera
from producers.doubles import ScriptedSource, Step, frames, picture
from producers.ledger import Ledger
from producers.settings import ProducerSettings
from producers.sources import Captured, Unreadable
from sightline.contracts import DropReason, Frame
from sightline.errors import SourceError

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path, "line-1", "cam-1", NOW)
    yield opened
    opened.close()


def capture(
    ledger: Ledger, script: list[Step], *, policy: Policy = Policy.BLOCK, most: int | None = None, room: int = 100
) -> list[Frame]:
    """The frames that wait to be sent after the whole script was captured."""
    source = ScriptedSource(script)
    source.open()
    backlog = Backlog(["cam-1"], frames=room, size=10**9)
    settings = ProducerSettings.load(fps=0)
    camera = Camera(name="cam-1", product="part", source=source, ledger=ledger, policy=policy, settings=settings)
    try:
        camera.run(backlog, threading.Event(), most)
    finally:
        ledger.settle(NOW)
    waiting = []
    while (frame := backlog.take(0)) is not None:
        waiting.append(frame)
    return waiting


def test_pixels_become_jpeg_frames_with_all_their_facts(ledger: Ledger) -> None:
    first, second = capture(ledger, frames(2, label="dent"))  # type: ignore[arg-type]
    assert (first.line, first.camera, first.product, first.label) == ("line-1", "cam-1", "part", "dent")
    assert (first.sequence, second.sequence) == (0, 1)
    assert (first.width, first.height) == (64, 48)
    decoded = cv2.imdecode(np.frombuffer(first.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert np.abs(decoded.astype(int) - picture(0)).mean() < 6


def test_jpeg_bytes_are_published_untouched_with_the_size_from_their_header(ledger: Ledger) -> None:
    data = bytes(cv2.imencode(".jpg", picture(width=80, height=30))[1])
    (frame,) = capture(ledger, [Captured(picture=data, captured_at=NOW, product="cap")])
    assert frame.jpeg == data
    assert (frame.width, frame.height, frame.captured_at, frame.product) == (80, 30, NOW, "cap")


def test_unreadable_frames_take_a_number_and_are_counted(ledger: Ledger) -> None:
    good, other = frames(2)
    text = Captured(picture=b"no jpeg", captured_at=NOW)
    waiting = capture(ledger, [good, Unreadable(what="x.png", why="cut", captured_at=NOW), text, other])
    assert [frame.sequence for frame in waiting] == [0, 3]
    tally = ledger.tally()
    assert (tally.captured, tally.dropped, tally.pending) == (4, {DropReason.UNREADABLE: 2}, 2)


@pytest.mark.parametrize(("policy", "kept"), [(Policy.DROP_OLDEST, [7, 8, 9]), (Policy.DROP_NEWEST, [0, 1, 2])])
def test_frames_that_come_too_fast_are_dropped_and_counted(ledger: Ledger, policy: Policy, kept: list[int]) -> None:
    waiting = capture(ledger, list(frames(10)), policy=policy, room=3)
    assert [frame.sequence for frame in waiting] == kept
    assert ledger.tally().dropped == {DropReason.QUEUE_FULL: 7}
    assert sum(last - first + 1 for first, last in _named(ledger)) == 7


def test_a_limit_of_frames_ends_a_camera(ledger: Ledger) -> None:
    assert len(capture(ledger, list(frames(10)), most=4)) == 4
    assert ledger.next_sequence == 4


def test_a_source_that_fails_for_good_ends_its_camera_with_the_reason(ledger: Ledger) -> None:
    with pytest.raises(SourceError, match="disk gone"):
        capture(ledger, [*frames(1), SourceError("disk gone")])
    assert ledger.next_sequence == 1


def _named(ledger: Ledger) -> list[tuple[int, int]]:
    return [
        (event.first_sequence, event.last_sequence)
        for event in ledger.hand_out(100)
        if event.first_sequence is not None and event.last_sequence is not None
    ]
