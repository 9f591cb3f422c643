"""Settled days put in order, away from ingestion: few files of a good size, each with a few cameras.

While a day lasts, a table gets a file every few seconds, and its writer merges fifty at a time (`SmallFiles`); rows
stand in the order of their arrival, every file with all cameras. When the day has been over for some hours, `optimize`
rewrites it once: tables that have a camera in their key by camera (Delta's OPTIMIZE ZORDER BY, the curve of
one column being its order), the others merely merged. The commits change no data: streaming readers see nothing.

Safe beside writers and beside another OPTIMIZE: a rewrite and another commit to the same files are told apart by Spark,
and the later one fails. Either side tries again: these here, ingestion in `streaming.delta_merge`.
"""

from __future__ import annotations

import json
import logging
import math
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeVar

from pydantic import Field

from sightline.settings import Section, TableSettings
from streaming.tables import GOLD, TABLES, Table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

log = logging.getLogger(__name__)

T = TypeVar("T")

CLUSTER = "camera"
COMPACT_AFTER_COMMITS = 50
_SMALL_BYTES = 16 * 1024 * 1024
"""Files of this size are left alone while their day lasts: what is rewritten lies in memory, heat maps unpacked."""
_ATTEMPTS = 5
_PAUSE_SECONDS = 2.0
_MIB = 1024 * 1024
_SLACK = 1
"""Files more than needed that are left alone."""


class MaintenanceSettings(Section):
    """How tables are kept in order."""

    section: ClassVar[str] = "maintenance"

    enabled: bool = True
    """Whether `sightline history` does it by itself."""
    every_hours: Annotated[float, Field(gt=0)] = 6.0
    """How often it looks for days to put in order; a day that is in order costs a look at the log."""
    settle_hours: Annotated[float, Field(ge=0)] = 2.0
    """How long after its end (midnight UTC) a day is left alone: records of it still come."""
    file_mb: Annotated[int, Field(ge=1)] = 128
    """Size that files are brought to."""
    days_per_run: Annotated[int, Field(ge=1)] = 10
    """Days of one table that one run puts in order, the newest first."""


class SmallFiles:
    """The small files of a table that one thread writes: merged after so many commits, on the days that they touched.

    Raises nothing: where another commit comes first, or the disk is full, the next commits try again.
    """

    def __init__(self, table: Table, tables: TableSettings, after: int = COMPACT_AFTER_COMMITS) -> None:
        self._table = table
        self._path = tables.path(table.name)
        self._after = after
        self._commits = 0
        self._days: set[date] = set()

    def committed(self, spark: SparkSession, days: Iterable[date]) -> None:
        """Count a commit of rows of these days, in the thread that made it; merge if it is time."""
        self._commits += 1
        self._days.update(days)
        if self._commits < self._after:
            return
        try:
            metrics = self._merge(spark)
        except Exception as error:  # noqa: BLE001 - Delta's and Java's faults have no base of their own
            log.info("not compacted", extra={"table": self._table.name, "error": str(error)[:500]})
            return
        self._commits, self._days = 0, set()
        facts = {"table": self._table.name, "files": metrics.numFilesAdded, "before": metrics.numFilesRemoved}
        log.info("small files merged", extra=facts)

    def _merge(self, spark: SparkSession) -> Any:
        from delta.tables import DeltaTable

        _bring_to(spark, _SMALL_BYTES)
        days = ", ".join(f"'{day.isoformat()}'" for day in sorted(self._days))
        done = DeltaTable.forPath(spark, self._path).optimize().where(f"day IN ({days})").executeCompaction().first()
        assert done is not None  # one row says what was done
        return done.metrics


@dataclass(frozen=True, slots=True)
class DataFile:
    """One file of a table as its log tells; `lowest` and `highest` are cameras, None where it keeps no statistics."""

    day: str
    size: int
    lowest: str | None = None
    highest: str | None = None


@dataclass(frozen=True, slots=True)
class Optimized:
    """A day of a table that was put in order."""

    table: str
    day: str
    files_before: int
    files_after: int
    bytes_after: int


def optimize(
    spark: SparkSession,
    tables: TableSettings,
    settings: MaintenanceSettings,
    names: Iterable[str] = (*TABLES, *GOLD),
    *,
    now: datetime | None = None,
    stop: threading.Event | None = None,
) -> Iterator[Optimized]:
    """Put the settled days of these tables in order, one commit a day and table; what is in order is left alone.

    A table that is not there or cannot be written is logged and passed over; `stop` ends the run after the day at hand.
    """
    stop = stop or threading.Event()
    session = _session(spark, settings)
    last = _last_settled(settings, now or datetime.now(UTC))
    for name in names:
        table, path = (TABLES | GOLD)[name], tables.path(name)
        try:
            for day in due_days(data_files(session, path), _clustered(table), settings, last):
                if stop.is_set():
                    return
                yield _optimize_day(session, table, path, day, stop)
        except Exception as error:  # noqa: BLE001 - one table's trouble is not the others', and the next run tries again
            log.warning("table was not put in order", extra={"table": name, "error": str(error)[:2000]})


def keep_in_order(
    spark: SparkSession,
    tables: TableSettings,
    settings: MaintenanceSettings,
    stop: threading.Event,
    names: Collection[str] = (*TABLES, *GOLD),
) -> None:
    """Run `optimize` on these tables every so often until `stop` is set.

    The first time is after a minute, when ingestion has started.
    """
    pause = 60.0
    while not stop.wait(pause):
        for done in optimize(spark, tables, settings, names, stop=stop):
            facts = {"table": done.table, "day": done.day, "files": done.files_after, "before": done.files_before}
            log.info("day put in order", extra=facts)
        pause = settings.every_hours * 3600


def data_files(spark: SparkSession, path: str) -> list[DataFile]:
    """The files of the table's current version, from its log; empty where there is no table."""
    from delta.tables import DeltaTable
    from pyspark.sql import DataFrame

    if not DeltaTable.isDeltaTable(spark, path):
        return []
    spark.read.format("delta").load(path)  # brings the log's snapshot up to date
    java: Any = spark
    delta_log = java._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(java._jsparkSession, path)
    files = DataFrame(delta_log.unsafeVolatileSnapshot().allFiles().toDF(), java)
    added = files.selectExpr("partitionValues['day'] AS day", "size", "stats")
    return [_data_file(row.day, row.size, row.stats) for row in added.toLocalIterator()]


def due_days(files: Iterable[DataFile], clustered: bool, settings: MaintenanceSettings, last: date) -> list[str]:
    """Days up to `last` that have more files than their bytes need, or files that each hold all cameras.

    The newest come first, at most `days_per_run`.
    """
    by_day: dict[str, list[DataFile]] = {}
    for file in files:
        if file.day and date.fromisoformat(file.day) <= last:
            by_day.setdefault(file.day, []).append(file)
    due = [day for day, of_day in by_day.items() if _is_due(of_day, clustered, settings)]
    return sorted(due, reverse=True)[: settings.days_per_run]


def _is_due(files: list[DataFile], clustered: bool, settings: MaintenanceSettings) -> bool:
    needed = math.ceil(sum(file.size for file in files) / (settings.file_mb * _MIB))
    if len(files) > needed + _SLACK:
        return True
    if not clustered or len(files) == 1:
        return False
    lowest = min((file.lowest for file in files if file.lowest is not None), default=None)
    highest = max((file.highest for file in files if file.highest is not None), default=None)
    # each file with all cameras; where there is one camera only, there is nothing to tell apart
    return lowest != highest and all((file.lowest, file.highest) == (lowest, highest) for file in files)


def _data_file(day: str, size: int, stats: str | None) -> DataFile:
    known = json.loads(stats) if stats else {}
    return DataFile(day, size, known.get("minValues", {}).get(CLUSTER), known.get("maxValues", {}).get(CLUSTER))


def _clustered(table: Table) -> bool:
    return CLUSTER in table.key


def _last_settled(settings: MaintenanceSettings, now: datetime) -> date:
    return (now.astimezone(UTC) - timedelta(hours=settings.settle_hours)).date() - timedelta(days=1)


def _optimize_day(session: SparkSession, table: Table, path: str, day: str, stop: threading.Event) -> Optimized:
    from delta.tables import DeltaTable

    def rewrite() -> Any:
        one_day = DeltaTable.forPath(session, path).optimize().where(f"day = '{day}'")
        return (one_day.executeZOrderBy(CLUSTER) if _clustered(table) else one_day.executeCompaction()).first()

    metrics = again_on_conflict(rewrite, stop).metrics
    added = metrics.filesAdded
    return Optimized(table.name, day, metrics.numFilesRemoved, metrics.numFilesAdded, int(added.totalSize or 0))


def again_on_conflict(commit: Callable[[], T], stop: threading.Event | None = None) -> T:
    """What `commit` returns; it is tried again, five times at most, when another writer's commit came first.

    `commit` looks at the table anew each time. Raises Delta's own exception after the last try, or once `stop` is set.
    """
    from delta import exceptions

    # in Python these have no base of their own
    conflicts = (
        exceptions.ConcurrentAppendException,
        exceptions.ConcurrentDeleteDeleteException,
        exceptions.ConcurrentDeleteReadException,
        exceptions.ConcurrentTransactionException,
        exceptions.ConcurrentWriteException,
        exceptions.DeltaConcurrentModificationException,
        exceptions.MetadataChangedException,
    )
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            return commit()
        except conflicts as error:
            if attempt == _ATTEMPTS or (stop is not None and stop.is_set()):
                raise
            log.info("another commit came first, trying again", extra={"error": type(error).__name__})
            (stop or threading.Event()).wait(_PAUSE_SECONDS * attempt)
    raise AssertionError("unreachable")


def _session(spark: SparkSession, settings: MaintenanceSettings) -> SparkSession:
    """A session of its own in the same process: big batches want generated code, ingestion's small ones none."""
    session = spark.newSession()
    _bring_to(session, settings.file_mb * _MIB)
    for key, value in {
        "spark.sql.codegen.wholeStage": "true",
        "spark.sql.codegen.factoryMode": "FALLBACK",
        "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
        "spark.databricks.io.skipping.mdc.sortWithinFiles": "true",
        # with it rows of one camera would be spread over files at random
        "spark.databricks.io.skipping.mdc.addNoise": "false",
    }.items():
        session.conf.set(key, value)
    return session


def _bring_to(session: SparkSession, size: int) -> None:
    """Set what size of file, in bytes, OPTIMIZE makes in this session; smaller ones are merged."""
    session.conf.set("spark.databricks.delta.optimize.maxFileSize", str(size))
    session.conf.set("spark.databricks.delta.optimize.minFileSize", str(size))
    # one day's files at a time, so that ingestion keeps a task slot
    session.conf.set("spark.databricks.delta.optimize.maxThreads", "1")
