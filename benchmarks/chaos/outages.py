"""What is away for minutes, and what is done and not heard of."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import msgspec

from benchmarks.chaos.deaf_history import ERRORS, LostAnswer
from benchmarks.chaos.evidence import TopicReader
from benchmarks.chaos.fault import BrokenError, Fault, MissedError, idle, insist, wait_for
from benchmarks.chaos.kills import kill_broker, newest
from benchmarks.chaos.line import Line

OUTAGE_SECONDS = 180.0
_COMMIT_SECONDS = 120.0
_EMPTY_SECONDS = 300.0
_HEARTBEATS_SECONDS = 15.0
"""In which each camera tells at least twice how it is, after what it has dropped."""


class Drops:
    """Frames that cameras told to be dropped, for whatever reason, since this was made."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self._frames: dict[str, int] = {}
        self._before = self._read()

    def count(self) -> int:
        return self._read() - self._before

    def _read(self) -> int:
        for record in self._reader.read():
            event = msgspec.json.decode(record.value())
            if event["kind"] == "dropped":
                self._frames[event["event_id"]] = event["last_sequence"] - event["first_sequence"] + 1
        return sum(self._frames.values())


@contextmanager
def drops(line: Line) -> Iterator[Drops]:
    with closing(TopicReader(line.kafka, line.kafka.topics.camera_events)) as reader:
        yield Drops(reader)


def broker_away_for_minutes(line: Line, rng: random.Random) -> float:
    """The cameras go on capturing, and their spools have room for all of it: no frame may be dropped."""
    idle(rng)
    with drops(line) as dropped:
        kill_broker(line)
        time.sleep(OUTAGE_SECONDS)
        spooled = _spools(line)
        line.revive()
        back = time.monotonic()
        if not spooled:
            raise MissedError("no frame went to the disk")
        insist(lambda: not _spools(line), _EMPTY_SECONDS, "all frames have left the disk")
        time.sleep(_HEARTBEATS_SECONDS)
        if lost := dropped.count():
            raise BrokenError(f"{lost} frames were dropped, although the spool had room")
    return back


def commit_answer_lost(line: Line, rng: random.Random) -> float:
    """A commit of inspections is in the table, and the history is told that it failed."""
    idle(rng)
    lost = LostAnswer(line.lost_answer)
    lost.ask(rng.choice(sorted(ERRORS)))
    try:
        wait_for(lambda: lost.version() is not None, _COMMIT_SECONDS, "a commit of inspections", every=0.05)
    finally:
        lost.withdraw()
    if newest(line.tables / "inspections" / "_delta_log") < (lost.version() or 0):
        raise MissedError("what was unheard was no commit")
    return time.monotonic()


def _spools(line: Line) -> bool:
    """Whether frames wait on the disk."""
    return any((line.folder / "spool").rglob("*.segment"))


FAULTS = (
    Fault("broker-away-for-minutes", broker_away_for_minutes, 2),
    Fault("commit-answer-lost", commit_answer_lost, 10, table=True),
)
