"""What `sightline drift` found, by camera: figures against their limits, window after window."""

from __future__ import annotations

from datetime import timedelta
from itertools import groupby

from console.api.histories import records
from console.engineering.selection import Selection, require_known
from console.engineering.shapes import Drift, DriftPoint, DriftSeries
from console.tables import History
from sightline.errors import TableError

MONTH = timedelta(days=30)
_KEY = ("camera", "product", "detector_version", "measure", "statistic")


def drift(history: History, chosen: Selection) -> Drift:
    """Every figure of the chosen cameras, those that drift first; the last 30 days of windows unless times are given.

    Raises TableError where drift was never computed, Problem 404 for an unknown place.
    """
    if "gold_drift" not in history.tables:
        raise TableError(
            f"there is no table 'gold_drift' in {history.root!r}; `sightline drift` compares what cameras see with "
            "their reference and writes it, once a day for example"
        )
    chosen = chosen.settled(history, MONTH, "gold_drift")
    values = {name: getattr(chosen, name) for name in ("camera", "product", "detector_version")}
    values = {name: value for name, value in values.items() if value is not None}
    where = " AND ".join([chosen.during("window_start"), *(f"{name} = ${name}" for name in values)])
    if chosen.line is not None:
        where += " AND camera IN (SELECT DISTINCT camera FROM inspections WHERE line = $line)"
        values["line"] = chosen.line
    found = records(history, f"SELECT * FROM gold_drift WHERE {where} ORDER BY {', '.join(_KEY)}, window_start", values)
    if not found:
        require_known(history, chosen)
    series = []
    for key, rows in groupby(found, key=lambda row: tuple(row[name] for name in _KEY)):
        points = [DriftPoint.model_validate(row) for row in rows]
        series.append(DriftSeries(**dict(zip(_KEY, key, strict=True)), status=points[-1].status, points=points))
    order = ("drift", "watch")
    series.sort(key=lambda one: order.index(one.status) if one.status in order else len(order))
    return Drift(**chosen.ends, series=series)
