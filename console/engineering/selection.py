"""Which frames a question is about, as a condition in SQL whose values are bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Self, TypedDict

from console.api.histories import extent, literal, records
from console.api.problems import Problem, not_found
from console.tables import History
from sightline.errors import TableError

WEEK = timedelta(days=7)
_SHOWN = 30
_TIMES = {"inspections": ("captured_at", "captured_at"), "gold_drift": ("window_start", "window_end")}
"""Columns of the begin and the end of a row, by table."""

_TYPED = """
(label = $defect_type OR (verdict = 'defect' AND inspection_id IN (
    SELECT i.inspection_id
    FROM (SELECT alert_id FROM operator_actions WHERE kind IN ('confirm', 'false-alarm') GROUP BY alert_id
          HAVING arg_max(kind, "at") = 'confirm' AND arg_max(defect_type, "at") = $defect_type) o
    JOIN alerts a USING (alert_id)
    JOIN inspections i ON i.camera = a.camera AND i.sequence BETWEEN a.first_sequence AND a.last_sequence
        AND i.captured_at BETWEEN a.opened_at AND a.updated_at
    WHERE i.verdict = 'defect')))
"""


class Ends(TypedDict):
    """Both ends of a time, the first included."""

    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What is None is not asked for; `since` is included, `until` is not.

    `defect_type` is the type with which operators confirmed a frame's incident, or the label that its source gave.
    """

    since: datetime | None = None
    until: datetime | None = None
    line: str | None = None
    camera: str | None = None
    product: str | None = None
    verdict: str | None = None
    defect_type: str | None = None
    detector_version: str | None = None
    score_min: float | None = None
    score_max: float | None = None

    def filters(self, history: History) -> dict[str, tuple[str, Any]]:
        """Conditions on inspections by name with the value that `$name` stands for; without the times."""
        told = {"alerts", "operator_actions"} <= history.tables.keys()
        return {
            "line": ("line = $line", self.line),
            "camera": ("camera = $camera", self.camera),
            "product": ("product = $product", self.product),
            "verdict": ("verdict = $verdict", self.verdict),
            "defect_type": (_TYPED if told else "label = $defect_type", self.defect_type),
            "detector_version": ("detector.version = $detector_version", self.detector_version),
            "score_min": ("score >= $score_min", self.score_min),
            "score_max": ("score <= $score_max", self.score_max),
        }

    def where(self, history: History) -> tuple[str, dict[str, Any]]:
        """The condition on inspections, and the values of its parameters."""
        asked = {name: one for name, one in self.filters(history).items() if one[1] is not None}
        parts = [condition for condition, _ in asked.values()]
        return " AND ".join([*parts, self.during("captured_at")]), {name: value for name, (_, value) in asked.items()}

    def place(self, *, product: bool = True) -> tuple[str, dict[str, Any]]:
        """Line, camera and product alone, for tables that have no more of these columns."""
        asked = {"line": self.line, "camera": self.camera} | ({"product": self.product} if product else {})
        values = {name: value for name, value in asked.items() if value is not None}
        return " AND ".join(["true", *(f"{name} = ${name}" for name in values)]), values

    def during(self, column: str) -> str:
        """The time as a condition on `column` and on the partition `day`, so that other files are not opened."""
        parts = ["true"]
        if self.since is not None:
            parts += [f"{column} >= {literal(self.since)}", f"day >= DATE '{_date(self.since)}'"]
        if self.until is not None:
            parts += [f"{column} < {literal(self.until)}", f"day <= DATE '{_date(self.until)}'"]
        return " AND ".join(parts)

    def settled(self, history: History, length: timedelta = WEEK, table: str = "inspections") -> Self:
        """With both ends: where `until` is open the last frame, where `since` is `length` before, or the first frame.

        A frame that is dated later than a few minutes from now is not the last one (see `extent`).
        Raises TableError for an empty table where `until` is open.
        """
        if self.since is not None and self.until is not None:
            return self
        known = extent(history, table, *_TIMES[table])
        until = self.until
        if until is None:
            if known is None:
                raise TableError(f"the table {table} is empty; as soon as it has rows, this has an answer")
            until = max(known[1], self.since or known[1]) + timedelta(microseconds=1)
        since = self.since or until - length
        if self.since is None and known is not None and known[0] < until:
            since = max(since, known[0])
        return replace(self, since=since, until=until)

    @property
    def ends(self) -> Ends:
        """`since` and `until` of a settled selection."""
        assert self.since is not None
        assert self.until is not None
        return Ends(since=self.since, until=self.until)


def require_order(since: datetime | None, until: datetime | None, what: str = "until") -> None:
    """Raises Problem 422 where a time ends before it begins."""
    if since is not None and until is not None and until <= since:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid-request",
            f"{what} is {until.isoformat()}, which is not after {since.isoformat()}; choose an end after the begin",
        )


def require_known(history: History, chosen: Selection) -> None:
    """Raises Problem 404 where the selection names a line, camera or product of which there is no frame at all.

    For answers that came out empty: whoever mistyped a camera must not read that it had no defects.
    """
    for name in ("line", "camera", "product"):
        value = getattr(chosen, name)
        if value is None or records(history, f"SELECT 1 AS one FROM inspections WHERE {name} = $value LIMIT 1",
                                    {"value": value}):  # fmt: skip
            continue
        known = [row["name"] for row in records(history, f"SELECT DISTINCT {name} AS name FROM inspections ORDER BY 1")]
        more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
        raise not_found(name, value, f"known: {', '.join(known[:_SHOWN]) or 'none'}{more}")


def interval(chosen: Selection, seconds: int | None) -> int:
    """Length of an interval: `seconds`, or minutes up to three hours, hours up to ten days and days beyond."""
    if seconds is not None:
        return seconds
    length = chosen.ends["until"] - chosen.ends["since"]
    if length <= timedelta(hours=3):
        return 60
    return 3600 if length <= timedelta(days=10) else 86400


def bucket(seconds: int, column: str = "captured_at") -> str:
    """SQL: the number of the interval since 1970; date_trunc would ask the calendar row by row, ten times as slow."""
    return f"epoch_us({column}) // {seconds * 1_000_000}"


def _date(time: datetime) -> str:
    return time.astimezone(UTC).date().isoformat()
