"""Where a drawing's times are written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from console.engineering.shapes import RatePoint
from console.web.plots import rates


@pytest.mark.parametrize(
    ("minutes", "seconds", "ticks"),
    [
        (4, 60, ["06:00", "06:01", "06:02", "06:03", "06:04", "06:05"]),
        (50, 60, ["06:00", "06:05", "06:10", "06:15", "06:20", "06:25", "06:30", "06:35", "06:40", "06:45", "06:50"]),
        (
            4 * 60,
            3600,
            ["06:00", "06:30", "07:00", "07:30", "08:00", "08:30", "09:00", "09:30", "10:00", "10:30", "11:00"],
        ),
        (3 * 24 * 60, 86400, ["03 Mar", "04 Mar", "05 Mar", "06 Mar"]),
    ],
)
def test_times_are_written_on_round_ones_and_not_too_close(minutes: int, seconds: int, ticks: list[str]) -> None:
    begin = datetime(2026, 3, 2, 6, tzinfo=UTC)
    points = [
        RatePoint(time=at, line="line-a", inspected=20, review=0, defects=1, rate=0.05)
        for at in (begin, begin + timedelta(minutes=minutes))
    ]
    plot = rates(points, seconds)["line-a"]
    assert [tick.text for tick in plot.x_ticks] == ticks
