"""A fault counts only when its moment was there: a line of files and numbers, no process."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from benchmarks.chaos import disks, kills
from benchmarks.chaos.disk import SmallDisk
from benchmarks.chaos.fault import MissedError
from benchmarks.chaos.line import Line
from benchmarks.chaos.outages import Drops

NOW = random.Random(0)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kills, "_MOMENT_SECONDS", 0.2)
    monkeypatch.setattr(kills, "idle", lambda _rng: None)
    monkeypatch.setattr(disks, "_MET_SECONDS", 0.2)
    monkeypatch.setattr(disks, "idle", lambda _rng: None)
    monkeypatch.setattr("time.sleep", lambda _seconds: None)


class Part:
    """A process that is none; `start` says `words` in its log."""

    def __init__(self, folder: Path, name: str, words: str = "") -> None:
        self.name, self.words, self.pid, self.log_file = name, words, None, folder / f"{name}.log"
        self.log_file.touch()
        self.stopped = False

    def start(self) -> None:
        self.log_file.write_text(self.words)

    def stop(self) -> None:
        self.stopped = True


class Paper:
    """As much of a line as its faults look at. Whoever asks a topic's end lets the next of `steps` happen."""

    said, log_since = Line.said, Line.log_since

    def __init__(self, folder: Path) -> None:
        self.folder, self.tables = folder, folder / "tables"
        self.steps: Iterator[Callable[[], object]] = iter(())
        self.score, self.history, self.twin = (Part(folder, name) for name in ("score", "history", "twin"))
        self.verdicts = 7
        self.killed: list[Part] = []
        for log in ("offsets", "commits"):
            (self.checkpoint("score") / log).mkdir(parents=True)
            self.log(log, 4)

    def checkpoint(self, process: str) -> Path:
        return self.folder / "checkpoints" / process

    def log(self, log: str, batch: int) -> None:
        (self.checkpoint("score") / log / str(batch)).touch()

    def ends(self, topic: str) -> int:
        if topic != "inspections":
            return 0
        next(self.steps, lambda: None)()
        return self.verdicts

    def judge(self) -> None:
        self.verdicts += 1

    def kill(self, process: Part) -> None:
        self.killed.append(process)

    def revive(self) -> None:
        pass


def _nothing() -> None:
    pass


def line(paper: Paper) -> Line:
    return cast("Line", paper)


def test_a_batch_that_is_planned_and_not_written_is_killed(tmp_path: Path) -> None:
    paper = Paper(tmp_path)
    paper.steps = iter([_nothing, _nothing, lambda: paper.log("offsets", 5)])
    kills.score_killed_before_write(line(paper), NOW)
    assert paper.killed == [paper.score]


def test_a_batch_that_is_written_when_its_kill_comes_is_spared_and_the_next_one_awaited(tmp_path: Path) -> None:
    paper = Paper(tmp_path)

    def plan(batch: int, *, done: bool = False) -> None:
        assert not paper.killed
        paper.log("offsets", batch)
        if done:
            paper.log("commits", batch)

    written_meanwhile = [_nothing, lambda: plan(5), paper.judge]
    committed = [_nothing, lambda: plan(6, done=True), _nothing]
    paper.steps = iter([*written_meanwhile, *committed, _nothing, lambda: plan(7)])
    kills.score_killed_before_write(line(paper), NOW)
    assert paper.killed == [paper.score]
    assert kills.newest(paper.checkpoint("score") / "offsets") == 7


def test_without_such_a_batch_nothing_is_killed(tmp_path: Path) -> None:
    paper = Paper(tmp_path)

    def judge_and_plan(batch: int) -> None:
        paper.judge()
        paper.log("offsets", batch)

    paper.steps = (partial(judge_and_plan, batch) for batch in itertools.count(5))
    with pytest.raises(MissedError):
        kills.score_killed_before_write(line(paper), NOW)
    assert paper.killed == []


def test_a_log_that_is_summed_up_is_no_compaction(tmp_path: Path) -> None:
    table = tmp_path / "tables" / "inspections"
    for file in ("_delta_log/00000000000000000010.checkpoint.parquet", "day=2026-11-01/part-0.parquet"):
        (table / file).parent.mkdir(parents=True, exist_ok=True)
        (table / file).touch()
    assert kills._data_files(line(Paper(tmp_path))) == 1


WROTE = '{"message": "batch 12 written", "table": "inspections"}\n'


@pytest.mark.parametrize(("first", "second", "counts"), [(WROTE, WROTE, True), (WROTE, "", False), ("", WROTE, False)])
def test_two_histories_count_once_both_have_written(tmp_path: Path, first: str, second: str, counts: bool) -> None:
    paper = Paper(tmp_path)
    paper.twin.words = second
    # the first one goes on when the second starts
    paper.twin.start = lambda: (Part.start(paper.twin), paper.history.log_file.write_text(first))  # type: ignore
    if counts:
        kills.two_histories(line(paper), NOW)
    else:
        with pytest.raises(MissedError):
            kills.two_histories(line(paper), NOW)
    assert paper.twin.stopped


class Disk:
    """A disk that, when it is full, makes `writer` say `words`."""

    def __init__(self, writer: Part, words: str) -> None:
        self._writer, self._words, self.full = writer, words, False

    def fill(self) -> None:
        self.full = True
        with self._writer.log_file.open("a") as log:
            log.write(self._words)

    def free(self) -> None:
        self.full = False


@pytest.mark.parametrize(("words", "counts"), [(f"IOException: {disks.NO_SPACE}", True), ("all is well", False)])
def test_a_full_disk_counts_once_a_process_has_met_it(tmp_path: Path, words: str, counts: bool) -> None:
    paper: Any = Paper(tmp_path)
    paper.history.words = disks.NO_SPACE
    paper.history.start()  # of an earlier time
    disk = Disk(paper.history, words)
    paper.disks = {"tables": cast("SmallDisk", disk)}
    fill = disks._full("tables", lambda line: (line.history,), 0, 0)
    if counts:
        fill(paper, NOW)
    else:
        with pytest.raises(MissedError):
            fill(paper, NOW)
    assert not disk.full


class Record:
    def __init__(self, kind: str, event: str, first: int = 0, last: int = 0) -> None:
        self._text = f'{{"kind":"{kind}","event_id":"{event}","first_sequence":{first},"last_sequence":{last}}}'

    def value(self) -> bytes:
        return self._text.encode()


def test_drops_are_counted_by_frames_and_an_event_that_came_twice_once() -> None:
    class Reader:
        parts = iter(
            [[Record("dropped", "old", 1, 100)], [Record("dropped", "new", 5, 7)] * 2 + [Record("heartbeat", "b")]]
        )

        def read(self) -> list[Record]:
            return next(self.parts)

    assert Drops(cast("Any", Reader())).count() == 3
