"""Lines, cameras, products, versions and types of defect that there are, for people to choose from."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from console.api.histories import records
from console.tables import History

KEPT_SECONDS = 60.0
MOST = 200
"""Of each; who has more types the name."""


@dataclass(frozen=True, slots=True)
class Known:
    """Names in their order."""

    line: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    product: tuple[str, ...] = ()
    detector_version: tuple[str, ...] = ()
    defect_type: tuple[str, ...] = ()


class Places:
    """Asks the tables once a minute: a line is not built more often."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known = Known()
        self._asked = -float("inf")

    def known(self, history: History) -> Known:
        """As of a minute ago at most."""
        with self._lock:
            if time.monotonic() - self._asked > KEPT_SECONDS:
                self._known, self._asked = _asked(history), time.monotonic()
            return self._known


def _asked(history: History) -> Known:
    found = {}
    if "inspections" in history.tables:
        columns = {"line": "line", "camera": "camera", "product": "product", "detector_version": "detector.version"}
        listed = ", ".join(f"{column} AS {name}" for name, column in columns.items())
        rows = records(history, f"SELECT DISTINCT {listed} FROM inspections")
        found = {name: tuple(sorted({row[name] for row in rows})[:MOST]) for name in columns}
    if "operator_actions" in history.tables:
        sql = "SELECT DISTINCT defect_type FROM operator_actions WHERE defect_type IS NOT NULL ORDER BY 1"
        found["defect_type"] = tuple(row["defect_type"] for row in records(history, sql)[:MOST])
    return Known(**found)
