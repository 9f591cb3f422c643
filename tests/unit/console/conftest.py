"""Delta tables as history writes them, made from events without Spark."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from pyspark.sql.pandas.types import to_arrow_schema

from sightline.codec import digest_id
from sightline.contracts import Alert, CameraEvent, DeadLetter, Inspection, OperatorAction, ShadowInspection
from sightline.settings import TableSettings
from streaming.tables import GOLD, TABLES

TABLE_OF = {
    Inspection: "inspections",
    ShadowInspection: "shadow_inspections",
    Alert: "alerts",
    OperatorAction: "operator_actions",
    CameraEvent: "camera_events",
    DeadLetter: "dead_letters",
}


@dataclass(frozen=True)
class HistoryWriter:
    """Appends events to the tables under `settings.root`, with exactly the columns of `streaming.tables`."""

    settings: TableSettings

    def write(self, *events: Any) -> None:
        rows = defaultdict(list)
        for event in events:
            rows[TABLE_OF[type(event)]].append(_row(event))
        for name, of_table in rows.items():
            self._append(name, of_table)

    def create(self, *names: str) -> None:
        """Empty tables; all of them without names."""
        for name in names or TABLES:
            self._append(name, [])

    def archive(self, *inspections: Inspection) -> None:
        kept = ("inspection_id", "line", "camera", "sequence", "captured_at", "product", "width", "height", "label")
        self._append(
            "frame_archive",
            [
                {name: getattr(inspection, name) for name in kept}
                | {"verdict": inspection.verdict.value, "jpeg": b"\xff\xd8", "day": _day(inspection.captured_at)}
                for inspection in inspections
            ],
        )

    def rows(self, name: str, rows: list[dict[str, Any]]) -> None:
        """Rows as they are, for tables that no contract would give."""
        self._append(name, rows)

    def _append(self, name: str, rows: list[dict[str, Any]]) -> None:
        # without a session there is no time zone to ask
        table = (TABLES | GOLD)[name]
        schema = to_arrow_schema(table.schema, timezone="UTC")
        write_deltalake(
            self.settings.path(name),
            pa.Table.from_pylist(rows, schema=schema),
            mode="append",
            partition_by=["day"],
            description=table.comment,
        )


def _row(event: Any) -> dict[str, Any]:
    row: dict[str, Any] = msgspec.to_builtins(event, builtin_types=(bytes, datetime))
    if isinstance(event, DeadLetter):
        source = event.source
        row["headers"] = [{"key": key, "value": value} for key, value in event.headers]
        row["dead_letter_id"] = digest_id(source.topic, source.partition, source.offset, event.ingested_at)
    row["day"] = _day(row[TABLES[TABLE_OF[type(event)]].event_time])
    return row


def _day(time: datetime) -> Any:
    return time.astimezone(UTC).date()


@pytest.fixture
def history(tmp_path: Path) -> HistoryWriter:
    """A writer of tables in a folder of this test's own; nothing is there yet."""
    return HistoryWriter(TableSettings(root=str(tmp_path / "tables")))
