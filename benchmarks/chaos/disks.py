"""Disks that are full for a while, and checkpoint files that a power failure has torn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.chaos.disk import SmallDisk
from benchmarks.chaos.fault import Fault, Inject, MissedError, idle, wait_for
from benchmarks.chaos.kills import newest
from benchmarks.chaos.line import Line, Rooted, kill
from benchmarks.chaos.outages import drops
from benchmarks.chaos.proxy import FaultyProxy
from infra.broker import EmbeddedBroker
from infra.processes import ManagedProcess

NO_SPACE = "No space left on device"
"""What ENOSPC is called, by C, Java and Rust alike."""
_MET_SECONDS = 60.0

_SMALL: Rooted = "small disks"

Writers = Callable[[Line], Sequence[ManagedProcess | EmbeddedBroker]]


def _full(disk: str, writers: Writers, shortest: float, longest: float) -> Inject:
    """Until one of those who write there has said so, and for a while."""

    def inject(line: Line, rng: random.Random) -> float:
        idle(rng)
        before = [(writer, line.said(writer)) for writer in writers(line)]
        with _filled(line.disks[disk]):
            time.sleep(rng.uniform(shortest, longest))
            wait_for(
                lambda: any(NO_SPACE in line.log_since(*writer) for writer in before),
                _MET_SECONDS,
                f"a process met the full disk of {disk}",
                every=0.1,
            )
        freed = time.monotonic()
        line.revive()
        return freed

    return inject


def spool_full(line: Line, rng: random.Random) -> float:
    """The broker falls silent and the disk of the camera's host is full: what goes by then must be counted."""
    idle(rng)
    with drops(line) as dropped:
        with _filled(line.disks["spool"]), _silent(line.proxy):
            # the queue and the client's own room are full only after a while
            time.sleep(rng.uniform(8, 12))
        freed = time.monotonic()
        wait_for(lambda: dropped.count() > 0, _MET_SECONDS, "a camera told of frames that found no room", every=0.5)
    return freed


@contextmanager
def _filled(disk: SmallDisk) -> Iterator[None]:
    disk.fill()
    try:
        yield
    finally:
        disk.free()


@contextmanager
def _silent(proxy: FaultyProxy) -> Iterator[None]:
    proxy.hold()
    try:
        yield
    finally:
        proxy.reset()
        proxy.release()


def _torn(process: Callable[[Line], ManagedProcess], query: str, log: str) -> Inject:
    """`kill -9`, and the newest file of `log` in the checkpoint ends in its midst, or is empty."""

    def inject(line: Line, rng: random.Random) -> float:
        idle(rng)
        victim = process(line)
        kill(victim)
        victim.stop()
        folder = line.checkpoint(query) / log
        file = folder / str(newest(folder))
        if not file.is_file():
            victim.start()
            raise MissedError(f"no file in {folder}")
        tear(file, rng)
        killed = time.monotonic()
        victim.start()
        return killed

    return inject


def tear(file: Path, rng: random.Random) -> None:
    """Leave a random part of the file's beginning, or nothing; its checksum stays as it was."""
    content = file.read_bytes()
    file.write_bytes(content[: rng.choice((0, rng.randrange(len(content))))])


FAULTS = (
    Fault("disk-full-checkpoint", _full("checkpoints", lambda line: (line.score, line.history), 3, 8), 4, needs=_SMALL),
    Fault("disk-full-tables", _full("tables", lambda line: (line.history,), 5, 10), 4, needs=_SMALL, table=True),
    Fault("disk-full-broker", _full("kafka", lambda line: (line.broker,), 3, 6), 3, needs=_SMALL, whole=False),
    Fault("disk-full-spool", spool_full, 4, needs=_SMALL, whole=False, may_drop=True),
    Fault("torn-score-offsets", _torn(lambda line: line.score, "score", "offsets"), 4),
    Fault("torn-score-commits", _torn(lambda line: line.score, "score", "commits"), 4),
    Fault("torn-history-offsets", _torn(lambda line: line.history, "history/inspections", "offsets"), 3, table=True),
    Fault("torn-history-commits", _torn(lambda line: line.history, "history/inspections", "commits"), 3, table=True),
)
