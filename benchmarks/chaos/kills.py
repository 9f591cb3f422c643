"""Processes that are killed or frozen: at any moment, or right between two steps, which their files betray."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

from benchmarks.chaos.fault import Fault, MissedError, idle, wait_for
from benchmarks.chaos.line import Line, any_of, kill
from infra.processes import python_workers, tree

_MOMENT_SECONDS = 300.0
_BATCH_WRITTEN = re.compile(r'"batch \d+ written"')


def worker_killed(line: Line, rng: random.Random) -> float:
    idle(rng)
    victim = any_of(python_workers(line.score.pid), rng)
    if victim is None:
        raise MissedError("no Python worker runs")
    with contextlib.suppress(psutil.NoSuchProcess):
        victim.kill()
    return time.monotonic()


def worker_frozen(line: Line, rng: random.Random) -> float:
    idle(rng)
    victim = any_of(python_workers(line.score.pid), rng)
    if victim is None:
        raise MissedError("no Python worker runs")
    with frozen([victim]):
        time.sleep(rng.uniform(2, 5))
    return time.monotonic()


def score_killed(line: Line, rng: random.Random) -> float:
    idle(rng)
    return _kill_score(line, rng)


def score_killed_before_write(line: Line, rng: random.Random) -> float:
    """A batch is planned in the checkpoint, and nothing has been written since before its plan was there."""
    idle(rng)
    plans, commits = line.checkpoint("score") / "offsets", line.checkpoint("score") / "commits"
    deadline = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < deadline:
        processes, planned, written = tree(line.score.pid), newest(plans), _written(line)
        while newest(plans) == planned and time.monotonic() < deadline:
            asked = _written(line)
            # what was asked while the plan came may count some of its batch
            written = asked if newest(plans) == planned else written
        # what stands still can be looked at before it is killed
        with frozen(processes):
            if newest(commits) < newest(plans) and _written(line) == written:
                return _kill_all_of_score(line)
    raise MissedError("each batch was written before it could be killed")


def score_killed_between_write_and_commit(line: Line, rng: random.Random) -> float:
    commits = line.checkpoint("score") / "commits"
    idle(rng)
    noted = newest(commits)
    wait_for(lambda: newest(commits) > noted, _MOMENT_SECONDS, "a commit of the score query")
    noted, written = newest(commits), line.ends("inspections")
    processes = tree(line.score.pid)
    wait_for(lambda: line.ends("inspections") > written, _MOMENT_SECONDS, "a verdict on its topic")
    with frozen(processes):
        if newest(commits) > noted:
            raise MissedError("its commit was quicker")
        return _kill_all_of_score(line)


def score_frozen(line: Line, rng: random.Random) -> float:
    idle(rng)
    with frozen(tree(line.score.pid)):
        time.sleep(rng.uniform(2, 10))
    return time.monotonic()


def incidents_killed(line: Line, rng: random.Random) -> float:
    idle(rng)
    line.kill(line.incidents)
    return time.monotonic()


def incidents_killed_with_an_alert(line: Line, rng: random.Random) -> float:
    """Right when an alert shows: its transaction may have committed, or not yet."""
    idle(rng)
    told = line.ends("alerts")
    wait_for(lambda: line.ends("alerts") > told, _MOMENT_SECONDS, "an alert")
    line.kill(line.incidents)
    return time.monotonic()


def history_killed(line: Line, rng: random.Random) -> float:
    idle(rng, 4)
    line.kill(line.history)
    return time.monotonic()


def history_killed_before_commit(line: Line, rng: random.Random) -> float:
    """The batch is planned in the checkpoint, and the table has no version of it yet."""
    idle(rng)
    planned = line.checkpoint("history") / "inspections" / "offsets"
    before = newest(planned)
    wait_for(lambda: newest(planned) > before, _MOMENT_SECONDS, "a batch of the history", every=0.0005)
    version = newest(line.tables / "inspections" / "_delta_log")
    time.sleep(rng.uniform(0, 0.3))
    if newest(line.tables / "inspections" / "_delta_log") > version:
        raise MissedError("the commit was quicker")
    line.kill(line.history)
    return time.monotonic()


def history_killed_after_commit(line: Line, rng: random.Random) -> float:
    """The table has the batch, and the checkpoint does not know it."""
    idle(rng)
    _wait_for_version_of_a_batch(line)
    line.kill(line.history)
    return time.monotonic()


def history_killed_in_compaction(line: Line, rng: random.Random) -> float:
    """A batch is in the table, its commit is not in the checkpoint, and another data file is being written."""
    idle(rng)
    log, batches = line.tables / "inspections" / "_delta_log", line.checkpoint("history") / "inspections"
    deadline = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < deadline:
        _wait_for_version_of_a_batch(line)
        version, files = newest(log), _data_files(line)
        while newest(batches / "offsets") > newest(batches / "commits") and newest(log) == version:
            if _data_files(line) > files:
                line.kill(line.history)
                return time.monotonic()
    raise MissedError("no compaction")


def two_histories(line: Line, rng: random.Random) -> float:
    """A second history job is started by mistake, both write for a while, and it is stopped."""
    both = [(history, line.said(history)) for history in (line.twin, line.history)]
    line.twin.start()
    try:
        for history, said in both:
            wrote = partial(lambda *of: _BATCH_WRITTEN.search(line.log_since(*of)) is not None, history, said)
            wait_for(wrote, _MOMENT_SECONDS, f"a batch that {history.name} has written", every=0.2)
        time.sleep(rng.uniform(20, 30))
        if rng.random() < 0.5:
            kill(line.twin)
    finally:
        line.twin.stop()
    # the first one may have been refused by the second's checkpoint, and is started again with a pause
    line.revive()
    return time.monotonic()


def cameras_killed(line: Line, rng: random.Random) -> float:
    idle(rng)
    line.kill(line.cameras)
    return time.monotonic()


def broker_killed(line: Line, rng: random.Random) -> float:
    idle(rng)
    killed = time.monotonic()
    kill_broker(line)
    time.sleep(rng.uniform(0, 3))
    line.revive()
    return killed


def broker_frozen(line: Line, rng: random.Random) -> float:
    return _freeze_broker(line, rng, rng.uniform(3, 8))


def broker_frozen_30_seconds(line: Line, rng: random.Random) -> float:
    return _freeze_broker(line, rng, 30)


def cameras_killed_while_broker_is_away(line: Line, rng: random.Random) -> float:
    """The spool is in use, the producer dies, and the next one finds no broker."""
    idle(rng)
    kill_broker(line)
    time.sleep(rng.uniform(1.5, 3))
    kill(line.cameras)
    line.cameras.stop()
    back = time.monotonic()
    line.revive()
    return back


def newest(folder: Path) -> int:
    """The highest number that a file of the folder is named by; -1 without any."""
    try:
        names = [file.name.partition(".") for file in folder.iterdir()]
    except FileNotFoundError:
        return -1
    return max((int(stem) for stem, _, kind in names if stem.isdecimal() and kind in ("", "json")), default=-1)


@contextmanager
def frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """They stand still."""
    _signal(processes, signal.SIGSTOP)
    try:
        yield
    finally:
        _signal(processes, signal.SIGCONT)


def _signal(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _kill_all_of_score(line: Line) -> float:
    # a JVM without its driver would go on for a moment
    line.kill(line.score)
    return time.monotonic()


def _written(line: Line) -> int:
    """What the score query has ever written of frames."""
    return line.ends("inspections") + line.ends("frames.dead-letter")


def _kill_score(line: Line, rng: random.Random) -> float:
    line.kill(line.score, whole_tree=rng.random() < 0.5)
    return time.monotonic()


def kill_broker(line: Line) -> None:
    """It stays away until the line is revived."""
    if line.broker.pid is not None:
        os.kill(line.broker.pid, signal.SIGKILL)
    line.broker.stop()


def _freeze_broker(line: Line, rng: random.Random, seconds: float) -> float:
    idle(rng)
    with frozen(tree(line.broker.pid)):
        time.sleep(seconds)
    return time.monotonic()


def _data_files(line: Line) -> int:
    """Files of inspections, whether a commit names them or not yet; the log's own checkpoints are none."""
    return sum(1 for _ in (line.tables / "inspections").glob("day=*/*.parquet"))


def _wait_for_version_of_a_batch(line: Line) -> None:
    """Return when a batch of inspections is in the table and its commit not yet in the checkpoint."""
    log, batches = line.tables / "inspections" / "_delta_log", line.checkpoint("history") / "inspections"
    deadline = time.monotonic() + _MOMENT_SECONDS
    while time.monotonic() < deadline:
        batch = newest(batches / "offsets")
        wait_for(lambda: newest(batches / "offsets") > batch, _MOMENT_SECONDS, "a batch of the history", every=0.0005)  # noqa: B023
        batch, version = newest(batches / "offsets"), newest(log)
        while newest(batches / "commits") < batch and time.monotonic() < deadline:
            if newest(log) > version:
                return
            time.sleep(0.0005)
    raise MissedError("no batch was between its two commits")


FAULTS = (
    Fault("worker-killed", worker_killed, 100, within=10),
    Fault("worker-frozen", worker_frozen, 15),
    Fault("score-killed", score_killed, 10, within=30),
    Fault("score-killed-before-write", score_killed_before_write, 10, within=30),
    Fault("score-killed-between-write-and-commit", score_killed_between_write_and_commit, 10, within=30),
    Fault("score-frozen", score_frozen, 10),
    Fault("incidents-killed", incidents_killed, 40),
    Fault("incidents-killed-with-an-alert", incidents_killed_with_an_alert, 20),
    Fault("history-killed", history_killed, 6, table=True),
    Fault("history-killed-before-commit", history_killed_before_commit, 6, table=True),
    Fault("history-killed-after-commit", history_killed_after_commit, 6, table=True),
    Fault("history-killed-in-compaction", history_killed_in_compaction, 4, table=True),
    Fault("two-histories", two_histories, 3, table=True),
    Fault("cameras-killed", cameras_killed, 60, whole=False),
    Fault("cameras-killed-while-broker-is-away", cameras_killed_while_broker_is_away, 6, whole=False),
    Fault("broker-killed", broker_killed, 8, whole=False),
    Fault("broker-frozen", broker_frozen, 8, whole=False),
    Fault("broker-frozen-30-seconds", broker_frozen_30_seconds, 2, whole=False),
)
