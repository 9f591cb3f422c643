from __future__ import annotations

import threading

import pytest

from producers.pacing import BURST, Allowance, Pacer


class Clock:
    """Time passes only by waiting, or when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> bool:
        self.now += seconds
        return False


def test_frames_keep_their_pace_although_each_takes_time() -> None:
    clock = Clock()
    pacer = Pacer(10, clock.pause, clock)
    moments = []
    for work in (0.0, 0.03, 0.09, 0.0, 0.05, 0.0):
        assert pacer.wait()
        moments.append(clock.now)
        clock.now += work
    assert moments == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4, 100.5])


def test_a_short_delay_is_caught_up() -> None:
    clock = Clock()
    pacer = Pacer(10, clock.pause, clock)
    pacer.wait()
    clock.now += 0.25
    late = [pacer.wait() and clock.now for _ in range(4)]
    assert late == pytest.approx([100.25, 100.25, 100.3, 100.4])


def test_a_long_delay_is_not_followed_by_a_burst() -> None:
    clock = Clock()
    pacer = Pacer(10, clock.pause, clock)
    pacer.wait()
    clock.now += 60
    at_once = 0
    before = clock.now
    while pacer.wait() and clock.now == before:
        at_once += 1
    assert at_once <= BURST + 1


def test_without_a_pace_nothing_waits() -> None:
    clock = Clock()
    assert all(Pacer(fps, clock.pause, clock).wait() for fps in (None, 0))
    assert clock.now == 100.0


def test_waiting_ends_when_the_producer_stops() -> None:
    stopping = threading.Event()
    stopping.set()
    assert not Pacer(0.001, stopping.wait).wait()
    assert not Pacer(0, stopping.wait).wait()


def test_a_queue_shrinks_at_its_rate_whatever_joins_it() -> None:
    clock = Clock()
    allowance = Allowance(20, clock)
    left = 0
    while allowance.take():  # what may go at once
        pass
    for _ in range(600):  # 10 s at 60 frames a second
        clock.now += 1 / 60
        allowance.joined()
        while allowance.take():
            left += 1
    assert left - 600 == pytest.approx(10 * 20, abs=2)


def test_an_outage_saves_up_no_allowance() -> None:
    clock = Clock()
    allowance = Allowance(20, clock)
    for _ in range(10_000):
        allowance.joined()
    clock.now += 3600
    left = 0
    while allowance.take():
        left += 1
    assert left == 5
