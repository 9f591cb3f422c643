"""MERGE with delta-rs: each identity once, whoever else writes the table and however Spark wrote it before."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from sightline.settings import TableSettings
from streaming.delta_merge import MergedTable, one_of_each
from streaming.tables import Table

NOON = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
CONTRACT = StructType(
    [
        StructField("camera", StringType()),
        StructField("sequence", LongType()),
        StructField("captured_at", TimestampType()),
        StructField("verdict", StringType()),
    ]
)
SEEN = Table("seen", "", CONTRACT, key=("camera", "sequence", "captured_at"), event_time="captured_at")
REVISED = Table(
    "revised", "", StructType([*CONTRACT.fields, StructField("revision", LongType())]), ("camera",), "captured_at"
)
ARROW = {
    "camera": pa.string(),
    "sequence": pa.int64(),
    "captured_at": pa.timestamp("us", "UTC"),
    "verdict": pa.string(),
    "revision": pa.int64(),
    "day": pa.date32(),
}


def rows(*sequences: int, table: Table = SEEN, **more: Any) -> pa.Table:
    made = []
    for sequence in sequences:
        at = NOON + timedelta(seconds=sequence)
        made.append(
            {"camera": "cam", "sequence": sequence, "captured_at": at, "verdict": "ok", "day": at.date()} | more
        )
    return pa.Table.from_pylist(made, schema=pa.schema([(name, ARROW[name]) for name in table.schema.names]))


@pytest.fixture
def tables(tmp_path: Path) -> TableSettings:
    """The root of both tables, which are there and empty."""
    settings = TableSettings(root=str(tmp_path))
    for table in (SEEN, REVISED):
        empty = rows(table=table).schema
        DeltaTable.create(settings.path(table.name), schema=empty, partition_by=["day"])
    return settings


def sequences(tables: TableSettings) -> list[int]:
    return sorted(DeltaTable(tables.path("seen")).to_pyarrow_table()["sequence"].to_pylist())


def test_a_row_that_is_there_is_not_written_again(tables: TableSettings) -> None:
    merged = MergedTable(SEEN, tables)
    merged.merge(rows(1, 2))
    merged.merge(rows(2, 3, verdict="defect"))
    MergedTable(SEEN, tables).merge(rows(1, 4))
    assert sequences(tables) == [1, 2, 3, 4]
    table = DeltaTable(tables.path("seen")).to_pyarrow_table()
    assert dict(zip(*(table[name].to_pylist() for name in ("sequence", "verdict")), strict=True))[2] == "ok"


def test_only_a_later_revision_replaces_a_row(tables: TableSettings) -> None:
    merged = MergedTable(REVISED, tables)
    for revision in (2, 3, 1):
        merged.merge(rows(7, table=REVISED, revision=revision, verdict=f"by {revision}"))
    (row,) = DeltaTable(tables.path("revised")).to_pyarrow_table().to_pylist()
    assert (row["revision"], row["verdict"]) == (3, "by 3")


def test_a_row_is_found_in_a_file_whose_times_spark_noted_in_whole_milliseconds(tables: TableSettings) -> None:
    """Spark rounds down: the row's 123,456 microseconds are above the 123 milliseconds of the file's highest time."""
    MergedTable(SEEN, tables).merge(rows(5))
    entry = max((Path(tables.path("seen")) / "_delta_log").glob("*.json"))
    actions = [json.loads(line) for line in entry.read_text().splitlines()]
    (added,) = (action["add"] for action in actions if "add" in action)
    stats = json.loads(added["stats"])
    for bound in ("minValues", "maxValues"):
        stats[bound]["captured_at"] = "2026-11-01T12:00:05.123Z"
    added["stats"] = json.dumps(stats)
    entry.write_text("".join(json.dumps(action) + "\n" for action in actions))
    MergedTable(SEEN, tables).merge(rows(5))
    assert sequences(tables) == [5]


def test_writers_of_the_same_rows_at_the_same_time_write_them_once(tables: TableSettings) -> None:
    def write(_: int) -> None:
        merged = MergedTable(SEEN, tables)
        for first in range(0, 20, 4):
            merged.merge(rows(*range(first, first + 8)))

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, range(3)))
    assert sequences(tables) == list(range(24))


def test_a_compaction_between_look_and_commit_doubles_nothing(
    tables: TableSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that changes no data is still another version: what was looked at is looked at again."""
    merged = MergedTable(REVISED, tables)
    for sequence in (1, 2):
        merged.merge(rows(sequence, table=REVISED, camera=f"cam-{sequence}", revision=1))
    opened, open_now = [merged._open()], merged._open
    merged._open().optimize.compact()
    monkeypatch.setattr(merged, "_open", lambda: opened.pop() if opened else open_now())
    merged.merge(rows(1, table=REVISED, camera="cam-1", revision=2))
    assert not opened
    found = open_now().to_pyarrow_table()
    assert sorted(zip(found["camera"].to_pylist(), found["revision"].to_pylist(), strict=True)) == [
        ("cam-1", 2),
        ("cam-2", 1),
    ]


def test_a_table_that_is_gone_is_an_error_and_nothing_is_made_in_its_place(tables: TableSettings) -> None:
    merged = MergedTable(SEEN, tables)
    merged.merge(rows(1))
    shutil.rmtree(tables.path("seen"))
    with pytest.raises(TableNotFoundError):
        merged.merge(rows(2))
    assert not Path(tables.path("seen")).exists()


def test_of_rows_with_one_identity_the_first_or_the_last_is_taken() -> None:
    table = pa.table({"camera": ["a", "b", "a", "a"], "at": [3, 1, 2, 4], "picture": [[3], [1], [2], [4]]})
    assert sorted(one_of_each(table, ["camera"], "at")["picture"].to_pylist()) == [[1], [2]]
    assert sorted(one_of_each(table, ["camera"], "at", last=True)["picture"].to_pylist()) == [[1], [4]]
    assert len(one_of_each(table, ["camera", "at"], "at")) == 4
