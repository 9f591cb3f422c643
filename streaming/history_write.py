"""Micro-batches into Delta tables, each row once however often it comes.

Delivery: exactly once. A batch is written by a MERGE on the identity of its rows, in one commit of the table; a batch
that comes again (a crash between that commit and the checkpoint's), a record that is twice in its topic, a checkpoint
that was deleted and a second history job by mistake all find their rows there. Two MERGEs at the same time are told
apart by Delta: the later one fails and is tried again, and after some tries its batch comes again.

Batch numbers (`txnAppId`, `txnVersion`) would only cover the first of these, and a new checkpoint that starts again at
batch 0 under an old `txnAppId` would have its writes ignored without a word.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

from delta.tables import DeltaTable
from prometheus_client import CollectorRegistry
from pyspark.sql import Column, DataFrame, Row, SparkSession, Window
from pyspark.sql import functions as f

from sightline.errors import TableError
from sightline.settings import TableSettings
from sightline.traces import HEADER, Tracer, marked
from streaming.history_rows import malformed
from streaming.maintenance import again_on_conflict
from streaming.metrics import HistoryMetrics
from streaming.tables import TABLES, Table, create_table

log = logging.getLogger(__name__)

DEAD_LETTERS = TABLES["dead_letters"]
_FIRST_UPKEEP_SECONDS = 600.0
_UPKEEP_SECONDS = 24 * 3600.0


class TableWriter:
    """Writes the micro-batches of one query, as `history_rows.parse` gives them, into its table."""

    def __init__(
        self,
        table: Table,
        settings: TableSettings,
        keep_days: int | None = None,
        metrics: HistoryMetrics | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        self.table = table
        self._writing = threading.Lock()
        self._closed = False
        self._settings = settings
        self._keep_days = keep_days
        self._tracer = tracer if table.name == "inspections" else None
        self._metrics = metrics or HistoryMetrics(CollectorRegistry())
        self._upkeep_due = time.monotonic() + _FIRST_UPKEEP_SECONDS

    def __call__(self, parsed: DataFrame, batch: int) -> None:
        """Write one batch; an empty one leaves no commit."""
        with self._writing:
            if self._closed:
                raise TableError(f"batch {batch} of {self.table.name} is left for the next start: history stops")
            started = time.monotonic()
            parsed.persist()
            try:
                rows, bad = self._write(parsed)
            finally:
                parsed.unpersist()
            if rows or bad:
                seconds = time.monotonic() - started
                self._metrics.batch(self.table.name, rows, bad, seconds)
                facts = {"table": self.table.name, "rows": rows, "malformed": bad, "seconds": round(seconds, 2)}
                log.info("batch %d written", batch, extra=facts)
            if time.monotonic() > self._upkeep_due:
                self._upkeep_due = time.monotonic() + _UPKEEP_SECONDS
                self.upkeep(parsed.sparkSession)

    def close(self) -> None:
        """Wait until the batch that is being written is written, and refuse all further ones."""
        with self._writing:
            self._closed = True

    def upkeep(self, spark: SparkSession) -> None:
        """Delete rows past their days, then files that no version of the last week uses."""
        target = DeltaTable.forPath(spark, self._settings.path(self.table.name))
        if self._keep_days is not None:
            oldest = datetime.now(UTC).date() - timedelta(days=self._keep_days)
            target.delete(f.col("day") < f.lit(oldest))
        # listing starts as many tasks as this says, 10,000 of them by default, whatever there is to list
        spark.conf.set("spark.sql.sources.parallelPartitionDiscovery.parallelism", "2")
        target.vacuum()
        log.info("upkeep done", extra={"table": self.table.name})

    def _write(self, parsed: DataFrame) -> tuple[int, int]:
        """Rows of the batch that belong to the table, and malformed records among it."""
        facts = parsed.agg(
            f.count("row").alias("rows"),
            f.count_if(f.col("row").isNull()).alias("bad"),
            f.collect_set("row.day").alias("days"),
            f.min(f"row.{self.table.event_time}").alias("first"),
            f.max(f"row.{self.table.event_time}").alias("last"),
            *([_marks().alias("marks")] if self._tracer else []),
        ).first()
        assert facts is not None  # an aggregate without groups has one row
        if facts.bad:
            log.warning("records are not in their contract", extra={"table": self.table.name, "records": facts.bad})
            self._keep_malformed(parsed)
        if facts.rows:
            newest = parsed.where("row is not null").withColumn("nth", f.row_number().over(self._versions()))
            self._merge(newest.where("nth = 1").select("row.*"), self.table, facts)
            self._tell(facts)
        return facts.rows, facts.bad

    def _tell(self, facts: Row) -> None:
        """The spans of the marked frames in the batch: from the topic to the commit."""
        if self._tracer is None:
            return
        now = datetime.now(UTC)
        for one in facts.marks:
            if mark := marked([(HEADER, bytes(one.mark))]):
                at = one.at.astimezone(UTC)
                self._tracer.span("history", "table", mark, at, now, {"table": self.table.name, "rows": facts.rows})

    def _keep_malformed(self, parsed: DataFrame) -> None:
        letters = malformed(parsed, self.table)
        create_table(parsed.sparkSession, DEAD_LETTERS, self._settings)
        time_column = f.col(DEAD_LETTERS.event_time)
        extent = letters.agg(
            f.collect_set("day").alias("days"), f.min(time_column).alias("first"), f.max(time_column).alias("last")
        ).first()
        assert extent is not None
        self._merge(letters, DEAD_LETTERS, extent)

    def _versions(self) -> Window:
        """Rows of one identity, the one to keep first: the last revision, else the one that was there first."""
        same = Window.partitionBy(*(f"row.{name}" for name in self.table.key))
        if "revision" in self.table.schema.names:
            return same.orderBy(f.desc("row.revision"))
        return same.orderBy("offset")

    def _merge(self, rows: DataFrame, table: Table, extent: Row) -> None:
        def commit() -> None:
            target = DeltaTable.forPath(rows.sparkSession, self._settings.path(table.name)).alias("there")
            # one file a commit, for there are many commits; literal bounds let Delta skip all other files
            merge = target.merge(rows.coalesce(1).alias("new"), _same_row(table, extent))
            if "revision" in table.schema.names:
                merge = merge.whenMatchedUpdateAll("new.revision > there.revision")
            merge.whenNotMatchedInsertAll().execute()

        again_on_conflict(commit)


def _marks() -> Column:
    """The marks of traced frames, and when their records came."""
    mark = f.try_element_at(f.filter(f.col("headers"), lambda header: header["key"] == HEADER), f.lit(1))["value"]
    return f.collect_list(f.when(mark.isNotNull(), f.struct(mark.alias("mark"), f.col("timestamp").alias("at"))))


def _same_row(table: Table, extent: Row) -> Column:
    there = f.col(f"there.{table.event_time}")
    same = f.col("there.day").isin(*extent.days) & there.between(f.lit(extent.first), f.lit(extent.last))
    for name in table.key:
        same = same & (f.col(f"there.{name}") == f.col(f"new.{name}"))
    return same
