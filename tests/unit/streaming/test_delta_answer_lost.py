"""A commit that was made and whose answer was lost: what is tried again, or comes again, finds its rows there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import deltalake
import deltalake.table
import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError
from pyspark.sql.types import LongType, StringType, StructField, StructType, TimestampType

from sightline.settings import TableSettings
from streaming.delta_merge import MergedTable
from streaming.tables import Table

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
CONTRACT = StructType(
    [
        StructField("camera", StringType()),
        StructField("captured_at", TimestampType()),
        StructField("revision", LongType()),
    ]
)
APPENDED = Table("appended", "", StructType(CONTRACT.fields[:2]), ("camera",), "captured_at")
REPLACED = Table("replaced", "", CONTRACT, ("camera",), "captured_at")
"""With revisions delta-rs merges, without it appends what is new."""
ARROW = {"camera": pa.string(), "captured_at": pa.timestamp("us", "UTC"), "revision": pa.int64(), "day": pa.date32()}

Deafen = Callable[[Exception], Callable[[], int]]


def rows(table: Table) -> pa.Table:
    made = [{"camera": f"cam-{n}", "captured_at": NOON, "revision": 1, "day": NOON.date()} for n in range(3)]
    return pa.Table.from_pylist(made, schema=pa.schema([(name, ARROW[name]) for name in table.schema.names]))


@pytest.fixture(params=[APPENDED, REPLACED], ids=lambda table: table.name)
def table(request: pytest.FixtureRequest) -> Table:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def tables(tmp_path: Path, table: Table) -> TableSettings:
    """The root of the table, which is there and empty."""
    settings = TableSettings(root=str(tmp_path))
    DeltaTable.create(settings.path(table.name), schema=rows(table).schema, partition_by=["day"])
    return settings


@pytest.fixture
def deafen(monkeypatch: pytest.MonkeyPatch) -> Deafen:
    """Lets the next commit of delta-rs happen and then raises; what it returns counts the commits that were unheard."""

    def deafen(error: Exception) -> Callable[[], int]:
        waiting, unheard = [error], []

        def deaf(commit: Callable[..., Any]) -> Callable[..., Any]:
            def committed(*arguments: Any, **options: Any) -> Any:
                done = commit(*arguments, **options)
                if waiting:
                    unheard.append(waiting.pop())
                    raise unheard[-1]
                return done

            return committed

        monkeypatch.setattr(deltalake, "write_deltalake", deaf(deltalake.write_deltalake))
        monkeypatch.setattr(deltalake.table.TableMerger, "execute", deaf(deltalake.table.TableMerger.execute))
        return lambda: len(unheard)

    return deafen


def there(tables: TableSettings, table: Table) -> tuple[int, list[str]]:
    """Version of the table, and the cameras of its rows."""
    found = DeltaTable(tables.path(table.name))
    return found.version(), sorted(found.to_pyarrow_table()["camera"].to_pylist())


def test_a_failed_commit_that_was_made_is_tried_again_and_writes_nothing_twice(
    table: Table, tables: TableSettings, deafen: Deafen
) -> None:
    unheard = deafen(CommitFailedError("the answer was lost"))
    MergedTable(table, tables).merge(rows(table))
    assert unheard() == 1
    assert there(tables, table)[1] == ["cam-0", "cam-1", "cam-2"]


def test_a_store_that_fails_after_the_commit_fails_the_batch_which_comes_again_and_writes_nothing_twice(
    table: Table, tables: TableSettings, deafen: Deafen
) -> None:
    unheard = deafen(OSError("the answer was lost"))
    with pytest.raises(OSError, match="the answer was lost"):
        MergedTable(table, tables).merge(rows(table))
    assert (unheard(), there(tables, table)) == (1, (1, ["cam-0", "cam-1", "cam-2"]))
    MergedTable(table, tables).merge(rows(table))
    assert there(tables, table)[1] == ["cam-0", "cam-1", "cam-2"]
