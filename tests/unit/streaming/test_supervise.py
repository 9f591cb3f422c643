"""A query that fails is started again alone; the others never notice."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from streaming import supervise
from streaming.real_time import CatchUpFirst
from streaming.supervise import keep_running


class Query:
    """Stands for a StreamingQuery: lives for `looks` looks, then has failed."""

    def __init__(self, looks: int) -> None:
        self.looks = looks
        self.stopped = False

    @property
    def isActive(self) -> bool:
        self.looks -= 1
        return self.looks > 0 and not self.stopped

    def exception(self) -> str:
        return "broker gone"

    def stop(self) -> None:
        self.stopped = True


class Done(Query):
    """Has ended because there is nothing left to do."""

    def exception(self) -> None:  # type: ignore[override]
        return None


def run_until(queries: dict[str, Callable[[], Query]], done: Callable[[], bool]) -> None:
    stop = threading.Event()
    looking = threading.Event()

    def wait(_seconds: float) -> bool:
        if done():
            stop.set()
        looking.wait(0.001)
        return stop.is_set()

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            return wait(timeout or 0)

    keep_running(queries, Stop())  # type: ignore[arg-type]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 0.0)
    monkeypatch.setattr(supervise, "LONGEST_PAUSE", 0.0)


def test_a_failed_query_starts_again_and_the_other_is_left_alone() -> None:
    frail, sound = [Query(3), Query(3), Query(1000)], [Query(1000)]
    started: dict[str, list[Query]] = {"frail": [], "sound": []}

    def starter(name: str, queries: list[Query]) -> Callable[[], Query]:
        def start() -> Query:
            started[name].append(queries[len(started[name])])
            return started[name][-1]

        return start

    run_until({"frail": starter("frail", frail), "sound": starter("sound", sound)}, lambda: len(started["frail"]) == 3)
    assert started["sound"] == sound
    assert sound[0].stopped
    assert frail[2].stopped


def test_a_query_that_has_done_all_is_followed_by_the_next_without_a_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "FIRST_PAUSE", 3600.0)
    given = iter([Done(3), Query(1000)])
    started: list[Query] = []
    run_until({"one": lambda: started.append(next(given)) or started[-1]}, lambda: len(started) == 2)  # type: ignore[func-returns-value]
    assert started[1].stopped


def test_what_waits_comes_first_again_after_each_failure() -> None:
    given: list[str] = []

    def gives(name: str, *queries: Query) -> Callable[[], Query]:
        waiting = iter(queries)
        return lambda: given.append(name) or next(waiting)  # type: ignore[func-returns-value]

    order = CatchUpFirst(gives("waits", Query(1), Done(1), Done(1)), gives("goes on", Query(1), Query(1)))  # type: ignore[arg-type]
    for _ in range(5):
        order()
    # the first one of what waits failed, and so did the first that went on
    assert given == ["waits", "waits", "goes on", "waits", "goes on"]


def test_a_query_that_cannot_start_is_tried_again() -> None:
    tries = []

    def start() -> Query:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("table store down")
        return Query(1000)

    run_until({"one": start}, lambda: len(tries) == 3)
    assert len(tries) == 3


def test_pauses_grow_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervise, "LONGEST_PAUSE", 30.0)
    one = supervise._Supervised(lambda: Query(1))  # type: ignore[arg-type,return-value]
    one.pause = 1.0
    pauses = []
    for _ in range(8):
        pauses.append(one.pause)
        supervise._put_off("one", one, "gone")
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
