"""Micro-batches into Delta tables, each row once however often it comes.

Delivery: exactly once. Spark reads the topic and makes rows of its records; the rows of a batch are written unless
their identity is in the table (`streaming.delta_merge`). A batch that comes again (a crash between the table's commit
and the checkpoint's), a record that is twice in its topic, a checkpoint that was deleted and a second history job by
mistake all find their rows there. Two commits at the same time are told apart by Delta: the later one fails and is
tried again, and after some tries its batch comes again.

Batch numbers (`txnAppId`, `txnVersion`) would only cover the first of these, and a new checkpoint that starts again at
batch 0 under an old `txnAppId` would have its writes ignored without a word.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from delta.tables import DeltaTable
from prometheus_client import CollectorRegistry
from pyspark.sql import Column, DataFrame, Row, SparkSession
from pyspark.sql import functions as f

from sightline.errors import TableError
from sightline.settings import TableSettings
from sightline.traces import HEADER, Tracer, marked
from streaming.delta_merge import MergedTable, one_of_each
from streaming.history_rows import malformed
from streaming.maintenance import COMPACT_AFTER_COMMITS, SmallFiles
from streaming.metrics import HistoryMetrics
from streaming.tables import TABLES, Table, create_table

if TYPE_CHECKING:
    import pyarrow as pa

log = logging.getLogger(__name__)

DEAD_LETTERS = TABLES["dead_letters"]
_FIRST_UPKEEP_SECONDS = 600.0
_UPKEEP_SECONDS = 24 * 3600.0
_PART_BYTES = 64 * 1024 * 1024
"""A batch with more than that in its records is written in several commits: this process holds one part at a time."""
_OFFSET = "kafka_offset"


class TableWriter:
    """Writes the micro-batches of one query, as `history_rows.parse` gives them, into its table."""

    def __init__(
        self,
        table: Table,
        settings: TableSettings,
        keep_days: int | None = None,
        metrics: HistoryMetrics | None = None,
        tracer: Tracer | None = None,
        compact_after: int = COMPACT_AFTER_COMMITS,
    ) -> None:
        self.table = table
        self._files = {each.name: SmallFiles(each, settings, compact_after) for each in (table, DEAD_LETTERS)}
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
            f.coalesce(f.sum(f.length("value")), f.lit(0)).alias("bytes"),
            *([_marks().alias("marks")] if self._tracer else []),
        ).first()
        assert facts is not None  # an aggregate without groups has one row
        if facts.bad:
            log.warning("records are not in their contract", extra={"table": self.table.name, "records": facts.bad})
            create_table(parsed.sparkSession, DEAD_LETTERS, self._settings)
            for letters in _parts(malformed(parsed, self.table), DEAD_LETTERS, facts.bytes):
                self._merge(DEAD_LETTERS, letters, parsed.sparkSession)
        if facts.rows:
            rows = parsed.where("row is not null").select("row.*", f.col("offset").alias(_OFFSET))
            for part in _parts(rows, self.table, facts.bytes):
                self._merge(self.table, self._newest(part).drop_columns(_OFFSET), parsed.sparkSession)
            self._tell(facts)
        return facts.rows, facts.bad

    def _merge(self, table: Table, rows: pa.Table, spark: SparkSession) -> None:
        MergedTable(table, self._settings).merge(rows)
        self._files[table.name].committed(spark, rows["day"].unique().to_pylist())

    def _newest(self, rows: pa.Table) -> pa.Table:
        """One row of each identity: the last revision, else the one that was there first."""
        if "revision" in self.table.schema.names:
            return one_of_each(rows, self.table.key, "revision", last=True)
        return one_of_each(rows, self.table.key, _OFFSET)

    def _tell(self, facts: Row) -> None:
        """The spans of the marked frames in the batch: from the topic to the commit."""
        if self._tracer is None:
            return
        now = datetime.now(UTC)
        for one in facts.marks:
            if mark := marked([(HEADER, bytes(one.mark))]):
                at = one.at.astimezone(UTC)
                self._tracer.span("history", "table", mark, at, now, {"table": self.table.name, "rows": facts.rows})


def _marks() -> Column:
    """The marks of traced frames, and when their records came."""
    mark = f.try_element_at(f.filter(f.col("headers"), lambda header: header["key"] == HEADER), f.lit(1))["value"]
    return f.collect_list(f.when(mark.isNotNull(), f.struct(mark.alias("mark"), f.col("timestamp").alias("at"))))


def _parts(rows: DataFrame, table: Table, size: int) -> Iterator[pa.Table]:
    """The rows, in as many parts as their bytes ask for; those of one identity are in the same part."""
    count = 1 + size // _PART_BYTES
    for number in range(count):
        part = rows if count == 1 else rows.where(f.pmod(f.xxhash64(*table.key), f.lit(count)) == number)
        if found := part.toArrow():
            yield found
