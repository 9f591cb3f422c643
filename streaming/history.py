"""The history job: one streaming query per Delta table, at its own cadence, beside the hot path and never on it.

Delivery: exactly once, see `streaming.history_write`. Offsets are committed to a query's checkpoint after its rows are
in the table, so an outage of the table store loses nothing: the query is started again, with growing pauses, until the
store is back, while the other queries go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, field_validator

from infra.spark import SMALL_BATCHES, SparkSettings, build_session
from sightline import logs
from sightline.errors import TableError
from sightline.kafka_refusal import refusal
from sightline.metrics import MetricsServer, new_registry
from sightline.settings import MAX_MESSAGE_BYTES, KafkaSettings, Section, TableSettings, Topics, run_folder
from sightline.traces import Tracer, TraceSettings, open_tracer
from streaming.checkpoints import prepare
from streaming.history_rows import parse
from streaming.history_write import TableWriter
from streaming.maintenance import COMPACT_AFTER_COMMITS, MaintenanceSettings, keep_in_order
from streaming.metrics import HistoryMetrics, QueryMetrics
from streaming.query_watch import QueryWatch
from streaming.supervise import keep_running, stop_event
from streaming.tables import GOLD, TABLES, Table, create_table

if TYPE_CHECKING:
    from pyspark.sql import SparkSession
    from pyspark.sql.streaming import StreamingQuery

log = logging.getLogger(__name__)

_ATTEMPTS = 5

SESSION = {
    **SMALL_BATCHES,
    # Spark's default, INT96, takes 12 bytes and has no minimum and maximum that a reader could skip rows by
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
}
"""Spark keys that suit this job; those in `[spark] conf` win."""


class HistorySettings(Section):
    """How topics become tables."""

    section: ClassVar[str] = "history"

    trigger_seconds: Annotated[float, Field(gt=0)] = 10.0
    """Time between two commits of a table: shorter shows rows sooner, in more and smaller files."""
    max_records_per_trigger: Annotated[int, Field(ge=1)] = 5000
    """Bound of one batch of events; an inspection with its heat map has some 10 kB."""
    max_frames_per_trigger: Annotated[int, Field(ge=1)] = 250
    """Bound of one batch of pictures or dead letters, which carry frames of up to 10 MB."""
    compact_after_commits: Annotated[int, Field(ge=2)] = COMPACT_AFTER_COMMITS
    """Commits of a table after which the small files of its current days are merged."""
    archive_days: Annotated[int, Field(ge=1)] = 30
    """Days that a picture stays in frame_archive; its file goes up to a week later."""
    shadow_days: Annotated[int, Field(ge=1)] = 90
    """Days that a challenger's verdict stays in shadow_inspections."""
    only: tuple[str, ...] = ()
    """The tables that this job fills, all by default: several jobs share the work, each table being one job's."""
    checkpoints: str = Field(default_factory=lambda: str((run_folder() / "checkpoints" / "history").absolute()))
    """Where the queries note how far they are; on a cluster, a path that survives the driver."""

    @field_validator("only")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - TABLES.keys()):
            raise ValueError(f"{unknown[0]!r} is no table; there are {', '.join(TABLES)}")
        return names

    @property
    def tables(self) -> tuple[str, ...]:
        """Names of the tables that this job fills."""
        return tuple(dict.fromkeys(self.only)) or tuple(TABLES)


def main(until_caught_up: bool = False) -> None:
    """Run until SIGTERM or Ctrl-C, or until every topic's records of this moment are in their table."""
    logs.configure("history")
    stop = stop_event()
    kafka, tables, settings = KafkaSettings.load().for_role("historian"), TableSettings.load(), HistorySettings.load()
    session, maintenance = SparkSettings.load(), MaintenanceSettings.load()
    spark = build_session("sightline-history", session.model_copy(update={"conf": SESSION | session.conf}))
    try:
        registry = new_registry("history")
        if until_caught_up:
            with QueryWatch(QueryMetrics(registry), kafka) as watch:
                catch_up(spark, kafka, tables, settings, stop, settings.tables, watch)
        else:
            kept = (*settings.tables, *GOLD)
            upkeep = threading.Thread(target=keep_in_order, args=(spark, tables, maintenance, stop, kept), daemon=True)
            if maintenance.enabled:
                upkeep.start()
            tracer = open_tracer(TraceSettings.load())
            with MetricsServer("history", registry), QueryWatch(QueryMetrics(registry), kafka) as watch:
                metrics = HistoryMetrics(registry)
                follow(
                    spark, kafka, tables, settings, stop, settings.tables, metrics=metrics, watch=watch, tracer=tracer
                )
            if tracer:
                tracer.close()
    finally:
        spark.stop()
    log.info("stopped")


def follow(
    spark: SparkSession,
    kafka: KafkaSettings,
    tables: TableSettings,
    settings: HistorySettings,
    stop: threading.Event,
    names: Collection[str] = tuple(TABLES),
    *,
    metrics: HistoryMetrics | None = None,
    watch: QueryWatch | None = None,
    tracer: Tracer | None = None,
) -> None:
    """Keep the queries of these tables running until `stop` is set; then let each finish the batch that it writes."""
    trigger = {"processingTime": f"{settings.trigger_seconds} seconds"}
    queries = {
        name: partial(start, spark, TABLES[name], kafka, tables, settings, trigger, metrics, tracer) for name in names
    }
    keep_running(_followed(queries, settings, watch), stop, explain=partial(refusal, kafka))


def catch_up(
    spark: SparkSession,
    kafka: KafkaSettings,
    tables: TableSettings,
    settings: HistorySettings,
    stop: threading.Event,
    names: Collection[str] = tuple(TABLES),
    watch: QueryWatch | None = None,
) -> None:
    """Move what the topics of these tables hold now into them and return.

    Raises TableError with the fault of a query that failed several times in a row.
    """
    trigger = {"availableNow": True}
    queries = {name: partial(start, spark, TABLES[name], kafka, tables, settings, trigger) for name in names}
    starts = _followed(queries, settings, watch)
    waiting = dict.fromkeys(names, 0)
    running: dict[str, StreamingQuery] = {}
    while waiting and not stop.is_set():
        for name in waiting.keys() - running.keys():
            running[name] = starts[name]()
        time.sleep(0.1)
        for name, query in list(running.items()):
            if query.isActive:
                continue
            del running[name]
            fault = query.exception()
            if fault is None:
                del waiting[name]
                continue
            waiting[name] += 1
            log.warning("query failed: %s", fault, extra={"query": name})
            if waiting[name] == _ATTEMPTS:
                raise TableError(f"table {name} at {tables.path(name)} cannot be written: {fault}")
    for query in running.values():
        query.stop()


def _followed(
    queries: Mapping[str, Callable[[], Any]], settings: HistorySettings, watch: QueryWatch | None
) -> Mapping[str, Callable[[], StreamingQuery]]:
    if watch is None:
        return queries
    return {name: watch.following(name, begin, _checkpoint(settings, name)) for name, begin in queries.items()}


def _checkpoint(settings: HistorySettings, table: str) -> str:
    return f"{settings.checkpoints.rstrip('/')}/{table}"


@dataclass(frozen=True, slots=True)
class RunningQuery:
    """A streaming query whose stop lets the batch that is being written come to its end."""

    query: StreamingQuery
    writer: TableWriter

    def __getattr__(self, name: str) -> Any:
        return getattr(self.query, name)

    def stop(self) -> None:
        self.writer.close()
        self.query.stop()


def start(
    spark: SparkSession,
    table: Table,
    kafka: KafkaSettings,
    tables: TableSettings,
    settings: HistorySettings,
    trigger: Mapping[str, Any],
    metrics: HistoryMetrics | None = None,
    tracer: Tracer | None = None,
) -> RunningQuery:
    """Create the table where it is missing and start the query that fills it."""
    create_table(spark, table, tables)
    pictures = table.name in ("frame_archive", "dead_letters")
    limit = settings.max_frames_per_trigger if pictures else settings.max_records_per_trigger
    keep_days = {"frame_archive": settings.archive_days, "shadow_inspections": settings.shadow_days}
    checkpoint = _checkpoint(settings, table.name)
    prepare(spark, checkpoint)
    kept = keep_days.get(table.name)
    writer = TableWriter(table, tables, kept, metrics, tracer, settings.compact_after_commits)
    records = (
        spark.readStream.format("kafka")
        .options(**kafka.spark(), **_SOURCE)
        .option("subscribe", topic_of(table, kafka.topics))
        .option("maxOffsetsPerTrigger", limit)
        .load()
    )
    query = (
        parse(records, table)
        .writeStream.queryName(table.name)
        .option("checkpointLocation", checkpoint)
        .foreachBatch(writer)
        .trigger(**trigger)
        .start()
    )
    return RunningQuery(query, writer)


def topic_of(table: Table, topics: Topics) -> str:
    """The topic that fills the table."""
    return {
        "inspections": topics.inspections,
        "shadow_inspections": topics.shadow,
        "alerts": topics.alerts,
        "operator_actions": topics.operator_actions,
        "camera_events": topics.camera_events,
        "dead_letters": topics.dead_letters,
        "frame_archive": topics.archive,
    }[table.name]


_SOURCE = {
    "startingOffsets": "earliest",
    "includeHeaders": "true",
    # alerts leave in transactions
    "kafka.isolation.level": "read_committed",
    # what retention took is gone: history goes on, and `sightline verify` names what is missing
    "failOnDataLoss": "false",
    "kafka.max.partition.fetch.bytes": str(2 * MAX_MESSAGE_BYTES),
}


if __name__ == "__main__":
    main()
