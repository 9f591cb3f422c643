"""Availability, performance and quality of lines, as far as cameras can tell them.

After S. Nakajima, *Introduction to TPM* (1988): OEE = availability × performance × quality. What is counted here are
frames and verdicts, not parts and scrap: a camera that looks at each part once makes the two the same, others not.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from console.api.histories import records
from console.engineering.selection import Selection, require_known
from console.engineering.shapes import LineMetrics, Oee
from console.tables import History

_MINUTES_A_DAY = 24 * 60
_BEST = 0.95

NOTES = (
    "Availability: minutes with at least one inspected frame, of the planned minutes. A stop shorter than a minute is "
    "not seen, and a line that stands still before a working camera counts as stopped.",
    "Quality: frames with the verdict ok, of all inspected ones. It is the detector's word, not measured scrap: a "
    "false alarm lowers it, a missed defect does not. Frames for review count as not ok.",
)
_BEST_RATE = (
    "Performance: inspected frames against the best demonstrated rate, the 95th percentile of frames a minute of each "
    "camera in this time. Name the planned rate for a figure that can be compared with others."
)
_NAMED_RATE = "Performance: inspected frames against the planned rate that you named, over the minutes that ran."


def line_metrics(
    history: History,
    chosen: Selection,
    *,
    planned_rate: float | None = None,
    shift: tuple[int, int] = (0, 24),
) -> Oee:
    """Figures of each line and camera; `planned_rate` in frames a minute and camera, `shift` in hours of the day, UTC.

    Raises Problem 404 for an unknown place, TableError where there are no inspections.
    """
    chosen = chosen.settled(history)
    where, values = chosen.where(history)
    begin, end = shift
    planned = planned_minutes(chosen.ends["since"], chosen.ends["until"], shift)
    in_shift = f"minute % {_MINUTES_A_DAY} >= {begin * 60} AND minute % {_MINUTES_A_DAY} < {end * 60}"
    told = _TOLD.format(during=chosen.during('"at"')) if "camera_events" in history.tables else _NOT_TOLD
    found = records(
        history,
        f"""
        WITH seen AS (
            SELECT line, camera, epoch_us(captured_at) // 60_000_000 AS minute, count(*) AS frames,
                   count(*) FILTER (verdict = 'ok') AS ok
            FROM inspections WHERE {where} GROUP BY ALL
        ), heard AS ({told})
        SELECT s.line, s.camera, count(*) AS running_minutes, sum(s.frames)::BIGINT AS frames, sum(s.ok)::BIGINT AS ok,
               quantile_disc(s.frames, {_BEST}) AS best_rate,
               (SELECT count(*) FROM heard h ANTI JOIN seen o ON h.camera = o.camera AND h.minute = o.minute
                WHERE h.camera = s.camera AND {in_shift.replace("minute", "h.minute")}) AS idle_minutes
        FROM seen s WHERE {in_shift.replace("minute", "s.minute")} GROUP BY s.line, s.camera ORDER BY s.line, s.camera
        """,
        values,
    )
    if not found:
        require_known(history, chosen)
    cameras = [_of_camera(row, planned, planned_rate) for row in found]
    lines = [_together(name, [one for one in cameras if one.line == name])
             for name in dict.fromkeys(one.line for one in cameras)]  # fmt: skip
    notes = [*NOTES, _NAMED_RATE if planned_rate else _BEST_RATE]
    if shift == (0, 24):
        notes.append(
            "Planned time is all of the chosen time, nights too; name the hours of your shifts to leave them out."
        )
    return Oee(**chosen.ends, lines=lines, cameras=cameras, notes=notes)


def planned_minutes(since: datetime, until: datetime, shift: tuple[int, int]) -> int:
    """Minutes from `since` to `until`, begun ones too, that lie in the hours `shift` of a day, UTC."""
    since -= timedelta(seconds=since.second, microseconds=since.microsecond)
    until += -timedelta(seconds=until.second, microseconds=until.microsecond) % timedelta(minutes=1)
    total, day = timedelta(), since.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    while day < until:
        begin, end = day + timedelta(hours=shift[0]), day + timedelta(hours=shift[1])
        total += max(min(end, until) - max(begin, since), timedelta())
        day += timedelta(days=1)
    return int(total.total_seconds() // 60)


def _of_camera(row: dict[str, Any], planned: int, planned_rate: float | None) -> LineMetrics:
    running = min(row["running_minutes"], planned) if planned else row["running_minutes"]
    return _figures(
        line=row["line"],
        camera=row["camera"],
        planned_minutes=planned,
        running_minutes=running,
        silent_minutes=max(planned - running - row["idle_minutes"], 0),
        frames=row["frames"],
        ok=row["ok"],
        expected=(planned_rate or row["best_rate"]) * row["running_minutes"],
        planned_rate=planned_rate or row["best_rate"],
    )


def _together(line: str, cameras: Iterable[LineMetrics]) -> LineMetrics:
    """A line as the sum of its cameras."""
    of_line = list(cameras)
    return _figures(
        line=line,
        camera=None,
        planned_minutes=sum(one.planned_minutes for one in of_line),
        running_minutes=sum(one.running_minutes for one in of_line),
        silent_minutes=sum(one.silent_minutes for one in of_line),
        frames=sum(one.frames for one in of_line),
        ok=sum(one.ok for one in of_line),
        expected=sum(one.planned_rate * one.running_minutes for one in of_line),
        planned_rate=sum(one.planned_rate for one in of_line),
    )


def _figures(
    *, planned_minutes: int, running_minutes: int, frames: int, ok: int, expected: float, **more: Any
) -> LineMetrics:
    shares = [
        _share(running_minutes, planned_minutes),
        _share(frames, expected),
        _share(ok, frames),
    ]
    availability, performance, quality = shares
    oee = None if None in shares else availability * min(performance, 1.0) * quality  # type: ignore[operator, type-var]
    return LineMetrics(
        planned_minutes=planned_minutes,
        running_minutes=running_minutes,
        frames=frames,
        ok=ok,
        availability=availability,
        performance=performance,
        quality=quality,
        oee=oee,
        **more,
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


_TOLD = """
SELECT DISTINCT camera, epoch_us("at") // 60_000_000 AS minute FROM camera_events
WHERE kind IN ('heartbeat', 'connected') AND {during}
"""
_NOT_TOLD = "SELECT NULL::VARCHAR AS camera, NULL::BIGINT AS minute WHERE false"
