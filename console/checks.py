"""Checks of the tables against each other, beyond the count of frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from console.accounts import RANGES_SHOWN, Problem
from console.bookkeeping import rows

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@dataclass(frozen=True, slots=True)
class Check:
    """`faults` is SQL that gives one text for each fault; no rows mean that all is well."""

    kind: str
    message: str
    faults: str


def _unique(table: str, key: str, message: str, example: str) -> Check:
    faults = f"SELECT {example} FROM {table} GROUP BY {key} HAVING count(*) > 1 ORDER BY 1"
    return Check(f"repeated-in-{table.replace('_', '-')}", message, faults)


_AT_FRAME = "camera || ' ' || sequence"

CHECKS = (
    Check(
        "no-detector",
        "inspections that do not name the detector version and threshold that judged",
        f"""
        SELECT {_AT_FRAME} FROM inspections
        WHERE coalesce(detector.name, '') = '' OR coalesce(detector.version, '') = ''
           OR coalesce(detector.digest, '') = '' OR threshold IS NULL OR isnan(threshold)
        ORDER BY camera, sequence
        """,
    ),
    Check(
        "verdict-against-threshold",
        "inspections whose verdict does not follow from score and threshold",
        f"""
        SELECT {_AT_FRAME} || ': ' || verdict || ', score ' || score || ', threshold ' || threshold FROM inspections
        WHERE (verdict = 'defect') IS DISTINCT FROM (score >= threshold) ORDER BY camera, sequence
        """,
    ),
    # what is older than the oldest picture was removed by retention, which leaves at least a day
    Check(
        "not-archived",
        "inspections with the verdict defect or review whose frame is not in frame_archive",
        f"""
        WITH kept AS (SELECT coalesce(min(day), current_date - 1) AS since FROM frame_archive)
        SELECT {_AT_FRAME} FROM inspections ANTI JOIN frame_archive USING (camera, sequence, captured_at)
        WHERE verdict <> 'ok' AND day >= (SELECT since FROM kept) ORDER BY camera, sequence
        """,
    ),
    _unique("alerts", "alert_id", "incidents with more than one row in alerts", "alert_id"),
    _unique("camera_events", "event_id", "camera events stored more than once", "event_id"),
    _unique(
        "dead_letters",
        'source.topic, source."partition", source."offset"',
        "records dead-lettered more than once",
        "source.topic || ' ' || source.\"partition\" || '/' || source.\"offset\"",
    ),
    _unique(
        "frame_archive",
        "camera, sequence, captured_at",
        "frames archived more than once",
        _AT_FRAME,
    ),
    Check(
        "alert-contradicts-itself",
        "alerts whose own figures do not fit together",
        """
        SELECT alert_id || ' (' || camera || ')' FROM alerts
        WHERE state NOT IN ('opened', 'updated', 'closed') OR count < 1 OR opened_at > updated_at
        ORDER BY camera, opened_at
        """,
    ),
    Check(
        "several-open",
        "cameras with more than one open incident",
        """
        SELECT camera || ': ' || string_agg(alert_id, ', ' ORDER BY opened_at) FROM alerts
        WHERE state <> 'closed' GROUP BY camera HAVING count(*) > 1 ORDER BY 1
        """,
    ),
    Check(
        "incident-alerted-twice",
        "alerts that overlap an earlier one of their camera, in frames and in time",
        """
        WITH ordered AS (
            SELECT *, lag(alert_id) OVER of_camera AS before, lag(last_sequence) OVER of_camera AS before_last,
                   lag(updated_at) OVER of_camera AS before_until
            FROM (SELECT DISTINCT ON (alert_id) * FROM alerts)
            WINDOW of_camera AS (PARTITION BY camera ORDER BY opened_at, first_sequence)
        )
        SELECT alert_id || ' overlaps ' || before || ' (' || camera || ')' FROM ordered
        WHERE first_sequence <= before_last AND opened_at <= before_until ORDER BY camera, opened_at
        """,
    ),
    Check(
        "alert-without-defect",
        "alerts whose peak frame was inspected, but not as a defect with that score",
        """
        SELECT alert_id || ' (' || camera || ' ' || peak_sequence || ')' FROM alerts
        SEMI JOIN inspections
            ON inspections.camera = alerts.camera AND inspections.sequence = alerts.peak_sequence
        ANTI JOIN (SELECT * FROM inspections WHERE verdict = 'defect') AS defects
            ON defects.camera = alerts.camera AND defects.sequence = alerts.peak_sequence
           AND defects.score = alerts.peak_score
        ORDER BY camera, opened_at
        """,
    ),
)


def cross_check(connection: DuckDBPyConnection) -> Iterator[Problem]:
    """Every check that fails, with its first examples."""
    for check in CHECKS:
        found = rows(connection, f"SELECT *, count(*) OVER () FROM ({check.faults}) LIMIT {RANGES_SHOWN}")
        if found:
            yield Problem(check.kind, int(found[0][1]), check.message, examples=tuple(row[0] for row in found))
