"""Which days are put in order, and that a lost race is run again."""

from __future__ import annotations

import threading
from datetime import date

import pytest
from delta.exceptions import ConcurrentDeleteReadException

from streaming import maintenance
from streaming.maintenance import DataFile, MaintenanceSettings, again_on_conflict, due_days

MB = 1024 * 1024
SETTINGS = MaintenanceSettings(file_mb=100, days_per_run=2)
LAST = date(2026, 3, 4)


def of(day: str, *sizes: int, cameras: tuple[str, str] = ("a", "z")) -> list[DataFile]:
    return [DataFile(day, size * MB, *cameras) for size in sizes]


def test_a_day_with_more_files_than_its_bytes_need_is_due() -> None:
    files = [*of("2026-03-01", 1, 1, 1), *of("2026-03-02", 90, 90), *of("2026-03-03", 100, 100, 100, 5, 5, 5)]
    assert due_days(files, False, SETTINGS, LAST) == ["2026-03-03", "2026-03-01"]


def test_a_day_whose_files_all_hold_all_cameras_is_due_where_the_table_is_kept_by_camera() -> None:
    mixed = of("2026-03-01", 90, 90)
    parted = [*of("2026-03-02", 90, cameras=("a", "m")), *of("2026-03-02", 90, cameras=("m", "z"))]
    one_camera = of("2026-03-03", 90, 90, cameras=("a", "a"))
    alone = of("2026-03-04", 90)
    assert due_days([*mixed, *parted, *one_camera, *alone], True, SETTINGS, LAST) == ["2026-03-01"]
    assert due_days(mixed, False, SETTINGS, LAST) == []


def test_days_that_are_not_settled_are_left_alone_and_a_run_does_so_many() -> None:
    files = [file for day in range(1, 7) for file in of(f"2026-03-0{day}", 1, 1, 1)]
    assert due_days(files, False, SETTINGS, LAST) == ["2026-03-04", "2026-03-03"]


def test_a_commit_that_came_second_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maintenance, "_PAUSE_SECONDS", 0.0)
    outcomes: list[Exception | str] = [ConcurrentDeleteReadException("a file was removed"), "done"]

    def commit() -> str:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    assert again_on_conflict(commit) == "done"
    outcomes[:] = [ConcurrentDeleteReadException("a file was removed")] * 9
    with pytest.raises(ConcurrentDeleteReadException):
        again_on_conflict(commit)
    assert len(outcomes) == 4
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(ConcurrentDeleteReadException):
        again_on_conflict(commit, stopped)
    assert len(outcomes) == 3
