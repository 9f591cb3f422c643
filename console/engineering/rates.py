"""How many frames were defective, when and where, and of which type."""

from __future__ import annotations

from console.api.histories import records
from console.engineering.selection import Selection, bucket, interval, require_known
from console.engineering.shapes import DefectRate, DefectType, Pareto, RatePoint
from console.tables import History

NO_TYPE = "(no type given)"


def defect_rate(history: History, chosen: Selection, seconds: int | None = None) -> DefectRate:
    """Share of defects by interval and line; how long one is, `interval` says unless `seconds` does.

    Raises Problem 404 for an unknown line, camera or product, TableError where there are no inspections.
    """
    chosen = chosen.settled(history)
    length = interval(chosen, seconds)
    where, values = chosen.where(history)
    found = records(
        history,
        f"""
        SELECT to_timestamp(slot * {length}) AS time, line, inspected, review, defects,
               defects / inspected AS rate
        FROM (SELECT {bucket(length)} AS slot, line, count(*) AS inspected,
                     count(*) FILTER (verdict = 'review') AS review, count(*) FILTER (verdict = 'defect') AS defects
              FROM inspections WHERE {where} GROUP BY ALL)
        ORDER BY time, line
        """,
        values,
    )
    if not found:
        require_known(history, chosen)
    return DefectRate(**chosen.ends, seconds=length, points=[RatePoint.model_validate(row) for row in found])


def pareto(history: History, chosen: Selection) -> Pareto:
    """Which types of defect make up most incidents, as operators confirmed them; the last answer of each counts.

    Raises Problem 404 and TableError as `defect_rate`.
    """
    history.require("inspections", "alerts", "operator_actions")
    chosen = chosen.settled(history)
    place, values = chosen.place()
    found = records(
        history,
        f"""
        WITH answers AS (
            SELECT alert_id, arg_max(kind, "at") AS answer, arg_max(defect_type, "at") AS defect_type
            FROM operator_actions WHERE kind IN ('confirm', 'false-alarm') GROUP BY alert_id
        )
        SELECT answer, CASE WHEN answer = 'confirm' THEN coalesce(defect_type, '{NO_TYPE}') END AS defect_type,
               count(*) AS incidents, sum(count)::BIGINT AS frames, count(DISTINCT camera) AS cameras
        FROM alerts LEFT JOIN answers USING (alert_id)
        WHERE {place} AND {chosen.during("opened_at")}
        GROUP BY 1, 2 ORDER BY incidents DESC, defect_type
        """,
        values,
    )
    if not found:
        require_known(history, chosen)
    counts = {answer: sum(row["incidents"] for row in found if row["answer"] == answer)
              for answer in ("confirm", "false-alarm", None)}  # fmt: skip
    types, before = [], 0
    for row in found:
        if row["answer"] == "confirm":
            before += row["incidents"]
            shares = {"share": row["incidents"] / counts["confirm"], "cumulative": before / counts["confirm"]}
            types.append(DefectType.model_validate(row | shares))
    notes = [f"{counts[None]:,} incidents have no answer and are in no bar"] if counts[None] else []
    return Pareto(
        **chosen.ends,
        types=types,
        confirmed=counts["confirm"],
        false_alarms=counts["false-alarm"],
        unanswered=counts[None],
        notes=notes,
    )
