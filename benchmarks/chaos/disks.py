"""Disks that are full for a while, and checkpoint files that a power failure has torn."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.chaos.fault import Fault, Inject, MissedError, idle
from benchmarks.chaos.kills import newest
from benchmarks.chaos.line import Line, kill
from infra.processes import ManagedProcess


def _full(disk: str, shortest: float, longest: float) -> Inject:
    def inject(line: Line, rng: random.Random) -> float:
        idle(rng)
        line.disks[disk].fill()
        time.sleep(rng.uniform(shortest, longest))
        line.disks[disk].free()
        freed = time.monotonic()
        line.revive()
        return freed

    return inject


def spool_full(line: Line, rng: random.Random) -> float:
    """The broker falls silent and the disk of the camera's host is full: what goes by then must be counted."""
    idle(rng)
    line.disks["spool"].fill()
    line.proxy.hold()
    # the queue and the client's own room are full only after a while
    time.sleep(rng.uniform(8, 12))
    line.disks["spool"].free()
    line.proxy.reset()
    line.proxy.release()
    return time.monotonic()


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
    Fault("disk-full-checkpoint", _full("checkpoints", 3, 8), 4, needs="small disks"),
    Fault("disk-full-tables", _full("tables", 5, 10), 4, needs="small disks", table=True),
    Fault("disk-full-broker", _full("kafka", 3, 6), 3, needs="small disks", whole=False),
    Fault("disk-full-spool", spool_full, 4, needs="small disks", whole=False),
    Fault("torn-score-offsets", _torn(lambda line: line.score, "score", "offsets"), 4),
    Fault("torn-score-commits", _torn(lambda line: line.score, "score", "commits"), 4),
    Fault("torn-history-offsets", _torn(lambda line: line.history, "history/inspections", "offsets"), 3, table=True),
    Fault("torn-history-commits", _torn(lambda line: line.history, "history/inspections", "commits"), 3, table=True),
)
