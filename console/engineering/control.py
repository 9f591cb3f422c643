"""Control charts out of the history: a p chart of defects, X̄ and S charts of one camera's scores."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from math import isfinite
from typing import Any, TypedDict

import numpy as np

from console.api.histories import records
from console.api.problems import Problem
from console.engineering.selection import Selection, bucket, interval, require_known
from console.engineering.shapes import Control, ControlPoint, Fractions, Subgroups
from console.spc import ControlChart, Flags, RuleSet, broken_rules, p_chart, xbar_s_charts
from console.tables import History

WIDENED = 1.5
"""From this factor on a reader is told that plain limits would mark too much."""


def fractions(
    history: History,
    chosen: Selection,
    baseline: tuple[datetime | None, datetime | None] = (None, None),
    *,
    rules: RuleSet = RuleSet.WESTERN_ELECTRIC,
    widened: bool = True,
    seconds: int | None = None,
) -> Fractions:
    """A p chart of the share of defects, with samples of unequal size.

    `baseline` is the time that limits come from, all of the selection's without it. Raises Problem 404 for an unknown
    place, 422 where the baseline is too short, TableError where there are no inspections.
    """
    chosen = chosen.settled(history)
    length = interval(chosen, seconds)
    where, values = chosen.where(history)
    found = records(
        history,
        f"""
        SELECT to_timestamp({bucket(length)} * {length}) AS time, count(*) AS size,
               count(*) FILTER (verdict = 'defect') AS defects, max(detector.version) AS detector_version
        FROM inspections WHERE {where} GROUP BY time ORDER BY time
        """,
        values,
    )
    _require_some(history, chosen, found)
    within = _within(found, baseline)
    defects, sizes = ([row[name] for row in found] for name in ("defects", "size"))
    try:
        chart = p_chart(defects, sizes, within, widened=widened)
        spread = chart.spread if widened else p_chart(defects, sizes, within, widened=True).spread
    except ValueError as error:
        raise _too_short(error) from error
    notes = []
    if widened and chart.spread > WIDENED:
        notes.append(
            f"defects come in bursts: the points scatter {chart.spread:.1f} times as much as chance would make them, "
            "and limits are widened by that (Laney's p′ chart); parts that share a cause are not independent"
        )
    elif not widened and spread > WIDENED:
        notes.append(
            f"the points scatter {spread:.1f} times as much as chance would make them; plain limits mark too many, "
            "choose widened ones"
        )
    notes += _versions(found)
    return Fractions(
        **chosen.ends, **_baseline(found, baseline, length), seconds=length, rules=rules,
        chart=_control(chart, found, rules), notes=notes,
    )  # fmt: skip


def subgroups(
    history: History,
    chosen: Selection,
    baseline: tuple[datetime | None, datetime | None] = (None, None),
    *,
    rules: RuleSet = RuleSet.WESTERN_ELECTRIC,
    size: int = 25,
    seconds: int | None = None,
) -> Subgroups:
    """X̄ and S charts of one camera's scores: each interval is a subgroup of at most `size` frames.

    Frames that were called a defect are left out, since the p chart counts them; the others show whether the process
    and the picture stay what they were. Of each interval's frames a fixed sample is taken, the same at every call.
    Raises Problem 422 without a camera or with too short a baseline, 404 for an unknown one.
    """
    if chosen.camera is None:
        raise Problem(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "camera-needed",
            "scores of different cameras are not comparable: name the camera whose scores to chart",
        )
    chosen = chosen.settled(history)
    length = interval(chosen, seconds)
    where, values = chosen.where(history)
    found = records(
        history,
        f"""
        WITH sampled AS (
            SELECT {bucket(length)} AS slot, arg_min(score, hash(sequence), {size}) AS scores,
                   max(detector.version) AS detector_version
            FROM inspections WHERE {where} AND verdict <> 'defect' GROUP BY slot
        )
        SELECT to_timestamp(slot * {length}) AS time, len(scores) AS size, list_avg(scores) AS mean,
               list_stddev_samp(scores) AS deviation, detector_version
        FROM sampled ORDER BY time
        """,
        values,
    )
    _require_some(history, chosen, found)
    means, deviations, sizes = (
        np.array([np.nan if row[name] is None else row[name] for row in found], np.float64)
        for name in ("mean", "deviation", "size")
    )
    try:
        mean, deviation = xbar_s_charts(means, deviations, sizes, _within(found, baseline))
    except ValueError as error:
        raise _too_short(error) from error
    return Subgroups(
        **chosen.ends, **_baseline(found, baseline, length), seconds=length, rules=rules,
        mean=_control(mean, found, rules), deviation=_control(deviation, found, rules), notes=_versions(found),
    )  # fmt: skip


def _control(chart: ControlChart, found: list[dict[str, Any]], rules: RuleSet) -> Control:
    points = [
        ControlPoint(
            time=row["time"],
            size=row["size"],
            value=_known(value),
            lower=_known(lower),
            upper=_known(upper),
            rules=list(broken),
            detector_version=row["detector_version"],
        )
        for row, value, lower, upper, broken in zip(
            found, chart.values, chart.lower, chart.upper, broken_rules(chart, rules), strict=True
        )
    ]
    return Control(center=chart.center, spread=chart.spread, points=points)


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _within(found: list[dict[str, Any]], baseline: tuple[datetime | None, datetime | None]) -> Flags:
    since, until = baseline
    return np.array([(since is None or row["time"] >= since) and (until is None or row["time"] < until)
                     for row in found], bool)  # fmt: skip


class _Baseline(TypedDict):
    baseline_since: datetime
    baseline_until: datetime


def _baseline(
    found: list[dict[str, Any]], baseline: tuple[datetime | None, datetime | None], seconds: int
) -> _Baseline:
    since, until = baseline
    return _Baseline(
        baseline_since=since or found[0]["time"],
        baseline_until=until or found[-1]["time"] + timedelta(seconds=seconds),
    )


def _versions(found: list[dict[str, Any]]) -> list[str]:
    versions = list(dict.fromkeys(row["detector_version"] for row in found))
    if len(versions) < 2:
        return []
    return [
        f"the detector changed within this time (versions {', '.join(versions)}): a step at its change is the "
        "detector's, not the process's; choose one version, or a baseline after the change"
    ]


def _require_some(history: History, chosen: Selection, found: list[dict[str, Any]]) -> None:
    if not found:
        require_known(history, chosen)
        raise Problem(
            HTTPStatus.NOT_FOUND, "no-frames", "no frame was inspected in this time with these filters; choose others"
        )


def _too_short(error: ValueError) -> Problem:
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, "baseline", str(error))
