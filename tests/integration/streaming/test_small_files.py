"""Small files merged while their day lasts: fewer files, the same rows, whoever else merges them at the time."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from pyspark.sql import SparkSession

from sightline.settings import TableSettings
from streaming.delta_merge import MergedTable
from streaming.maintenance import SmallFiles
from streaming.tables import TABLES, create_table

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
LETTERS = TABLES["dead_letters"]


@pytest.fixture
def tables(spark: SparkSession, tmp_path: Path) -> TableSettings:
    settings = TableSettings(root=str(tmp_path))
    create_table(spark, LETTERS, settings)
    return settings


def write(tables: TableSettings, offset: int) -> None:
    at = NOON + timedelta(seconds=offset)
    schema = pa.schema(DeltaTable(tables.path(LETTERS.name)).schema().to_arrow())
    (key,) = LETTERS.key
    row = {key: f"letter {offset:02}", LETTERS.event_time: at, "day": at.date()}
    MergedTable(LETTERS, tables).merge(pa.Table.from_pylist([row], schema=schema))


def found(tables: TableSettings) -> list[str]:
    return sorted(DeltaTable(tables.path(LETTERS.name)).to_pyarrow_table()[LETTERS.key[0]].to_pylist())


def files(tables: TableSettings) -> int:
    return len(DeltaTable(tables.path(LETTERS.name)).file_uris())


def test_they_are_merged_after_so_many_commits(spark: SparkSession, tables: TableSettings) -> None:
    small, counts = SmallFiles(LETTERS, tables, after=3), []
    for offset in range(5):
        write(tables, offset)
        small.committed(spark, [NOON.date()])
        counts.append(files(tables))
    assert counts == [1, 2, 1, 2, 3]
    assert found(tables) == [f"letter {offset:02}" for offset in range(5)]


def test_two_that_merge_the_same_files_at_once_double_no_row(spark: SparkSession, tables: TableSettings) -> None:
    for turn in range(3):
        for offset in range(4):
            write(tables, 4 * turn + offset)
        together = threading.Barrier(2)

        def merge(_: int, together: threading.Barrier = together) -> None:
            together.wait(30)
            SmallFiles(LETTERS, tables, after=1).committed(spark, [NOON.date()])

        with ThreadPoolExecutor(2) as pool:
            list(pool.map(merge, range(2)))
        assert files(tables) == 1
        assert found(tables) == [f"letter {offset:02}" for offset in range(4 * turn + 4)]


def test_what_cannot_be_merged_stops_no_writer_and_is_tried_again(spark: SparkSession, tables: TableSettings) -> None:
    for offset in range(2):
        write(tables, offset)
    small, there = SmallFiles(LETTERS, tables, after=2), Path(tables.path(LETTERS.name))
    small.committed(spark, [NOON.date()])
    away = shutil.move(there, there.with_name("away"))
    small.committed(spark, [NOON.date()])
    shutil.move(away, there)
    assert files(tables) == 2
    small.committed(spark, [NOON.date()])
    assert files(tables) == 1
    assert found(tables) == ["letter 00", "letter 01"]
