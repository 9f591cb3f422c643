"""Reports of runs: kept whole in a file, and several of them in one table."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from benchmarks.chaos.experiment import Injection, Report, dropped_idly, read, show, write
from benchmarks.chaos.oracle import Finding


def report(seed: int, *recoveries: float, lost: int = 0) -> Report:
    injections = [
        Injection("broker-killed", f"{seed}/broker-killed/{number}", 0.0, 1.0, recovery, within=10.0)
        for number, recovery in enumerate(recoveries)
    ]
    keys = tuple(("cam-1", number) for number in range(lost))
    return Report(
        seed,
        whole=True,
        injections=injections,
        captured={"broker-killed": 100},
        findings=[Finding("lost", keys)] if keys else [],
        blamed={"broker-killed": {"lost": lost}} if lost else {},
        counted={"captured": 100, "inspected": 100 - lost},
    )


def shown(*reports: Report) -> str:
    console = Console(record=True, width=200, file=io.StringIO())
    show(console, *reports)
    return console.export_text()


def test_a_report_comes_back_from_its_file(tmp_path: Path) -> None:
    before = report(3, 1.0, 2.5, lost=2)
    assert read(write(before, tmp_path)) == before


def test_several_runs_make_one_table() -> None:
    text = shown(report(1, 1.0, 2.0), report(2, 9.0, lost=3))
    row = next(line for line in text.splitlines() if "broker-killed" in line)
    assert row.split() == ["broker-killed", "3", "0", "200", "0", "3", "0", "2.0", "9.0"]
    assert "3 injections of 1 kinds, seed 1, 2; 200 captured, 197 inspected" in text
    assert "broken: 3 lost: cam-1 0, cam-1 1, cam-1 2" in text
    assert "after broker-killed: 3 lost; again: python -m benchmarks.chaos --seed 2 --only broker-killed" in text


def test_a_fault_that_was_never_done_is_a_fault_of_the_run() -> None:
    missed = Injection("score-killed", "5/score-killed/0", 0.0, 1.0, missed="not within 300 s: a verdict")
    run = report(5, 1.0)
    run.injections.append(missed)
    text = shown(run)
    assert "missed: score-killed (5/score-killed/0): not within 300 s: a verdict" in text
    assert "1 injections of 1 kinds" in text
    assert run.faults == ["score-killed: never done, its moment was missed each time"]
    run.injections.append(replace(missed, missed=None))
    assert run.faults == []


def test_what_was_dropped_must_have_a_reason() -> None:
    begins = [(100.0, "gaps"), (1000.0, "disk-full-spool")]
    captured = {("cam", number): at for number, at in enumerate((150.0, 960.0, 980.0, 1200.0, 1400.0))}
    idly = dropped_idly([*captured, ("odd", 7)], captured, begins, {"disk-full-spool"})
    assert sorted(idly) == [("cam", 0), ("cam", 1), ("cam", 4)]


def test_what_came_back_too_late_is_named() -> None:
    assert "slow: broker-killed (4/broker-killed/1): 11.0 s, at most 10 s" in shown(report(4, 2.0, 11.0))
