from __future__ import annotations

import threading
from datetime import UTC, datetime

import pytest

from producers.backlog import Backlog, Policy
from sightline.contracts import Frame


def frame(sequence: int, *, camera: str = "a", size: int = 10) -> Frame:
    return Frame(
        line="l",
        camera=camera,
        sequence=sequence,
        captured_at=datetime.now(UTC),
        product="p",
        width=1,
        height=1,
        jpeg=bytes(size),
    )


def backlog(*cameras: str, frames: int = 3, size: int = 1000) -> Backlog:
    return Backlog(cameras or ("a",), frames=frames, size=size)


def drain(queue: Backlog) -> list[int]:
    taken = []
    while (next_one := queue.take(0)) is not None:
        taken.append(next_one.sequence)
    return taken


@pytest.mark.parametrize(
    ("policy", "dropped", "kept"),
    [(Policy.DROP_OLDEST, [0, 1], [2, 3, 4]), (Policy.DROP_NEWEST, [3, 4], [0, 1, 2])],
)
def test_a_full_queue_drops_what_the_policy_says(policy: Policy, dropped: list[int], kept: list[int]) -> None:
    queue = backlog()
    gone = [lost.sequence for number in range(5) for lost in queue.put(frame(number), policy)]
    assert gone == dropped
    assert drain(queue) == kept


def test_a_queue_is_full_by_bytes_too_but_takes_any_one_frame() -> None:
    queue = backlog(frames=100, size=25)
    assert queue.put(frame(0, size=1000), Policy.DROP_OLDEST) == []
    gone = [lost.sequence for number in range(1, 4) for lost in queue.put(frame(number, size=10), Policy.DROP_OLDEST)]
    assert gone == [0, 1]
    assert drain(queue) == [2, 3]


def test_block_waits_for_room_and_drops_nothing() -> None:
    queue = backlog()
    done = threading.Event()

    def fill() -> None:
        for number in range(50):
            assert queue.put(frame(number), Policy.BLOCK) == []
        done.set()

    filler = threading.Thread(target=fill)
    filler.start()
    taken = []
    while len(taken) < 50:
        assert len(taken) >= 47 or not done.is_set()
        next_one = queue.take(5)
        assert next_one is not None
        taken.append(next_one.sequence)
    filler.join()
    assert taken == list(range(50))


def test_closing_lets_a_waiting_frame_in() -> None:
    queue = backlog(frames=1)
    queue.put(frame(0), Policy.BLOCK)
    waiting = threading.Thread(target=queue.put, args=(frame(1), Policy.BLOCK))
    waiting.start()
    queue.close()
    waiting.join(5)
    assert not waiting.is_alive()
    assert not queue.finished
    assert drain(queue) == [0, 1]
    assert queue.finished


def test_cameras_take_turns_and_do_not_fill_each_others_queues() -> None:
    queue = backlog("a", "b", "c")
    for number in range(9):
        queue.put(frame(number, camera="a"), Policy.DROP_OLDEST)
    assert queue.put(frame(100, camera="b"), Policy.DROP_OLDEST) == []
    assert queue.put(frame(200, camera="c"), Policy.DROP_OLDEST) == []
    assert drain(queue) == [6, 100, 200, 7, 8]


def test_a_camera_that_is_passed_over_keeps_its_frames_and_holds_up_no_other() -> None:
    queue = backlog("a", "b")
    for number in range(2):
        queue.put(frame(number, camera="a"), Policy.BLOCK)
    queue.put(frame(100, camera="b"), Policy.BLOCK)
    taken = queue.take(0, passed_over={"a"})
    assert taken is not None
    assert taken.sequence == 100
    assert queue.take(0, passed_over={"a"}) is None
    queue.close()
    assert not queue.finished
    assert drain(queue) == [0, 1]


def test_taking_from_an_empty_backlog_gives_nothing() -> None:
    assert backlog().take(0) is None
