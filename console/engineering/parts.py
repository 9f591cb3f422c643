"""One part's way: from its capture to what operators said of its incident."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from console.api.actions import Actions, merged
from console.api.histories import literal, records
from console.api.problems import not_found
from console.api.shapes import Action, AlertSummary, InspectionSummary
from console.engineering.shapes import Challenger, Neighbour, Part, Stage
from console.tables import History
from sightline.contracts import ActionKind

NEIGHBOURS = 4
"""Frames that are shown on either side."""

_AROUND = timedelta(hours=1)


def part(history: History, inspection_id: str, captured_at: datetime | None, actions: Actions) -> Part:
    """Everything about the frame of an inspection; tables that are not there are named in `notes`.

    `inspection_id` is hexadecimal; with `captured_at` it is found at once, without all of the table is searched.
    `actions` has what operators said in the last seconds. Raises Problem 404 where there is none.
    """
    where = f"inspection_id = '{inspection_id}'"
    if captured_at is not None:
        where += f" AND {_at(captured_at)}"
    found = records(history, f"SELECT * EXCLUDE (heat_map, thumbnail) FROM inspections WHERE {where} LIMIT 1")
    if not found:
        raise not_found("inspection", inspection_id, "it may be too new, or older than what the tables keep")
    row = found[0]
    missing = [name for name in ("alerts", "operator_actions", "frame_archive") if name not in history.tables]
    stages = _stages(row)
    alert, said = _incident(history, row, actions)
    return Part(
        inspection=InspectionSummary.model_validate(row | {"href": href(row)}),
        stages=stages,
        total_milliseconds=_between(stages[0].at, stages[-1].at),
        archived="frame_archive" in history.tables and _is_in(history, "frame_archive", row),
        alert=alert,
        actions=said,
        challenger=_challenger(history, row),
        neighbours=_neighbours(history, row),
        notes=[f"the table {name} is not there yet, so nothing of it is shown" for name in missing],
    )


def href(row: dict[str, Any]) -> str:
    """Where the API tells of an inspection."""
    time: datetime = row["captured_at"]
    text = time.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return f"/v1/inspections/{row['inspection_id']}?captured_at={text}"


def _stages(row: dict[str, Any]) -> list[Stage]:
    timings = row["timings"]
    times = [
        ("captured", row["captured_at"]),
        ("ingested", timings["ingested_at"]),
        ("decoded", timings["decoded_at"]),
        ("scored", timings["scored_at"]),
        ("published", timings["published_at"]),
    ]
    found: list[Stage] = []
    for name, at in times:
        if at is not None:
            found.append(Stage(name=name, at=at, milliseconds=_between(found[-1].at, at) if found else None))
    return found


def _between(one: datetime, other: datetime) -> float:
    return (other - one) / timedelta(milliseconds=1)


def _incident(history: History, row: dict[str, Any], actions: Actions) -> tuple[AlertSummary | None, list[Action]]:
    if "alerts" not in history.tables:
        return None, []
    found = records(
        history,
        f"""
        SELECT * EXCLUDE (thumbnail, regions) FROM alerts
        WHERE camera = $camera AND $sequence BETWEEN first_sequence AND last_sequence
          AND {literal(row["captured_at"])} BETWEEN opened_at AND updated_at
        ORDER BY opened_at DESC LIMIT 1
        """,
        {"camera": row["camera"], "sequence": row["sequence"]},
    )
    if not found:
        return None, []
    alert = found[0]
    stored = []
    if "operator_actions" in history.tables:
        stored = records(history, "SELECT * FROM operator_actions WHERE alert_id = $id", {"id": alert["alert_id"]})
    said = [Action.model_validate(one) for one in merged(stored, actions.recent(alert["alert_id"]))]
    answers = [one for one in said if one.kind is not ActionKind.COMMENT]
    answered = {"answer": answers[-1].kind, "answered_by": answers[-1].actor} if answers else {}
    return AlertSummary.model_validate(alert | answered), said


def _challenger(history: History, row: dict[str, Any]) -> Challenger | None:
    if "shadow_inspections" not in history.tables:
        return None
    found = records(
        history,
        "SELECT detector.version AS version, score, threshold, verdict, error FROM shadow_inspections "
        f"WHERE {_FRAME} AND {_at(row['captured_at'])} LIMIT 1",
        _frame(row),
    )
    return Challenger.model_validate(found[0]) if found else None


def _neighbours(history: History, row: dict[str, Any]) -> list[Neighbour]:
    at: datetime = row["captured_at"]
    days = f"day BETWEEN DATE '{(at - _AROUND).date()}' AND DATE '{(at + _AROUND).date()}'"
    found = records(
        history,
        f"""
        SELECT inspection_id, sequence, captured_at, verdict, score FROM inspections
        WHERE camera = $camera AND sequence BETWEEN $sequence - {NEIGHBOURS} AND $sequence + {NEIGHBOURS}
          AND captured_at BETWEEN {literal(at - _AROUND)} AND {literal(at + _AROUND)} AND {days}
        ORDER BY sequence
        """,
        _frame(row),
    )
    return [Neighbour.model_validate(one | {"href": href(one)}) for one in found]


def _is_in(history: History, table: str, row: dict[str, Any]) -> bool:
    sql = f"SELECT 1 AS one FROM {table} WHERE {_FRAME} AND {_at(row['captured_at'])} LIMIT 1"
    return bool(records(history, sql, _frame(row)))


_FRAME = "camera = $camera AND sequence = $sequence"


def _frame(row: dict[str, Any]) -> dict[str, Any]:
    return {"camera": row["camera"], "sequence": row["sequence"]}


def _at(time: datetime) -> str:
    """The instant, and its partition, so that files of other days are not opened."""
    return f"captured_at = {literal(time)} AND day = DATE '{time.astimezone(UTC).date()}'"
