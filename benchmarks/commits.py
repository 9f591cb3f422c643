"""What a commit of the history costs: the same micro-batches written by it and by Spark's own MERGE, in turns.

python -m benchmarks.commits --commits 60
python -m benchmarks.commits --commits 60 --ahead       # of each batch one row is an hour ahead, as of a wrong clock
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f
from rich.console import Console

from benchmarks.measured import Part, Series, processor_seconds, ratio, show
from infra.spark import SparkSettings, build_session
from sightline import codec, samples
from sightline.contracts import HeatMap
from sightline.settings import TableSettings
from streaming import history
from streaming.history_rows import parse
from streaming.history_write import TableWriter
from streaming.tables import TABLES, create_table

INSPECTIONS = TABLES["inspections"]
WARM = 10
"""Commits of either side before it counts."""
_RECORD = "key binary, value binary, headers array<struct<key:string,value:binary>>, topic string, partition int, "
_RECORD += "offset long, timestamp timestamp"


def measure(commits: int, rows: int, folder: Path, ahead: timedelta = timedelta()) -> Part:
    """Seconds and processor seconds of a commit of `rows` inspections, the first `ahead`, over as many `commits`."""
    part = Part("commits")
    settings = SparkSettings(folder=folder / "spark", master="local[1]", conf=history.SESSION)
    spark = build_session("sightline-commits", settings)
    sides = {
        "Spark's MERGE": _by_spark(spark, TableSettings(root=str(folder / "spark-merge"))),
        "the history's": _by_history(spark, TableSettings(root=str(folder / "history"))),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for number, batch in enumerate(_batches(spark, commits + WARM, rows, ahead)):
        for name, write in sides.items():
            before, began = processor_seconds(), time.perf_counter()
            write(batch)
            if number >= WARM:
                taken[name].append((time.perf_counter() - began, processor_seconds() - before))
    spark.stop()
    whole: dict[str, Series] = {}
    for name, both in taken.items():
        for what, values in zip(("seconds", "processor seconds"), zip(*both, strict=True), strict=True):
            whole[f"{name}: {what}"] = Series(values)
            part.add(f"{name}: {what}", Series(values), "s")
    spark_took, history_took = (whole[f"{name}: processor seconds"] for name in sides)
    part.add("processor seconds, the second over the first", ratio(history_took, spark_took), "×")
    return part


def _by_history(spark: SparkSession, tables: TableSettings) -> Callable[[DataFrame], None]:
    create_table(spark, INSPECTIONS, tables)
    writer = TableWriter(INSPECTIONS, tables)
    return lambda batch: writer(batch, 0)


def _by_spark(spark: SparkSession, tables: TableSettings) -> Callable[[DataFrame], None]:
    from delta.tables import DeltaTable

    path = create_table(spark, INSPECTIONS, tables)
    time_column = INSPECTIONS.event_time

    def write(batch: DataFrame) -> None:
        rows = batch.where("row is not null").select("row.*").persist()
        extent = rows.agg(f.min(time_column).alias("first"), f.max(time_column).alias("last")).first()
        assert extent is not None
        same = f.col("there.day").eqNullSafe(f.lit(samples.START.date()))
        same = same & f.col(f"there.{time_column}").between(f.lit(extent.first), f.lit(extent.last))
        for name in INSPECTIONS.key:
            same = same & (f.col(f"there.{name}") == f.col(f"new.{name}"))
        there = DeltaTable.forPath(spark, path).alias("there")
        there.merge(rows.coalesce(1).alias("new"), same).whenNotMatchedInsertAll().execute()
        rows.unpersist()

    return write


def _batches(spark: SparkSession, count: int, rows: int, ahead: timedelta) -> Iterator[DataFrame]:
    rng = random.Random(0)

    def heat_map() -> HeatMap:
        return HeatMap(rows=64, cols=64, scale=1.0, values=rng.randbytes(64 * 64))

    for number in range(count):
        first, *others = (samples.inspection(sequence=number * rows + place) for place in range(rows))
        found = [replace(first, captured_at=first.captured_at + ahead), *others]
        records: list[tuple[object, ...]] = [
            (b"", codec.encode(replace(one, heat_map=heat_map())), [], "inspections", 0, one.sequence, samples.START)
            for one in found
        ]
        yield parse(spark.createDataFrame(records, _RECORD), INSPECTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commits", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200, help="inspections in a commit")
    parser.add_argument("--ahead", action="store_true", help="one row of each commit is an hour ahead")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        ahead = timedelta(hours=int(given.ahead))
        show(Console(), measure(given.commits, given.rows, Path(scratch), ahead))


if __name__ == "__main__":
    main()
