"""The Delta tables: what each holds, what a row's identity is, and how it is laid out for readers and writers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from pyspark.sql.types import ArrayType, DataType, DateType, StructField, StructType

from sightline.settings import TableSettings
from streaming import schemas

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class Table:
    """One table. `contract` is what a row must have; `schema` adds what history derives from it.

    No two rows have the same `key`. `event_time` is the column whose UTC date is the partition `day`; as both belong to
    the identity of a row, a writer looks for it in the files of those days only.
    """

    name: str
    comment: str
    contract: StructType
    key: tuple[str, ...]
    event_time: str
    derived: tuple[StructField, ...] = ()

    @property
    def schema(self) -> StructType:
        """All columns, nullable: what a writer must fill is checked before, record by record."""
        day = schemas.column(
            "day", DateType(), f"Partition: UTC date of {self.event_time}; filter on it to read fewer files"
        )
        kept = [*self.derived, *self.contract.fields, day]
        return StructType([_nullable(field) for field in kept])


TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            name="inspections",
            comment="One row per inspected frame: the verdict, the detector that gave it, and the evidence",
            contract=schemas.INSPECTION,
            key=("camera", "sequence", "captured_at"),
            event_time="captured_at",
        ),
        Table(
            name="shadow_inspections",
            comment="What challengers said of frames beside the champion, one row a frame; nothing follows from it",
            contract=schemas.SHADOW_INSPECTION,
            key=("camera", "sequence", "captured_at"),
            event_time="captured_at",
        ),
        Table(
            name="alerts",
            comment="One row per incident, as of its last revision",
            contract=schemas.ALERT,
            key=("alert_id",),
            event_time="opened_at",
        ),
        Table(
            name="operator_actions",
            comment="What operators said about alerts, and mutes that were set or ended, one row per action",
            contract=schemas.OPERATOR_ACTION,
            key=("action_id",),
            event_time="at",
        ),
        Table(
            name="camera_events",
            comment="What producers report about cameras: health, dropped frames",
            contract=schemas.CAMERA_EVENT,
            key=("event_id",),
            event_time="at",
        ),
        Table(
            name="dead_letters",
            comment="Records that could not be used: their bytes untouched, and why",
            contract=schemas.DEAD_LETTER,
            key=("dead_letter_id",),
            event_time="ingested_at",
            derived=(
                schemas.column("dead_letter_id", schemas.TEXT, "Digest of the record's place in Kafka and ingested_at"),
            ),
        ),
        Table(
            name="frame_archive",
            comment="Frames kept as captured: every defect and review, a sample of ok, for a limited number of days",
            contract=schemas.ARCHIVED_FRAME,
            key=("camera", "sequence", "captured_at"),
            event_time="captured_at",
        ),
    )
}

GOLD: dict[str, Table] = {
    table.name: table
    for table in (
        Table(
            name="gold_drift",
            comment="How far scores, picture quality and embeddings are from their reference, by camera and window",
            contract=schemas.DRIFT,
            key=("camera", "product", "detector_digest", "measure", "statistic", "window_start", "window_end"),
            event_time="window_start",
        ),
    )
}
"""Tables that are computed from the others, not moved from a topic."""

PROPERTIES = {
    # DuckDB and delta-rs read these tables without Spark
    "delta.enableDeletionVectors": "false",
    # a commit every few seconds: the default of 10 would write a checkpoint in every second minute
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 7 days",
}


def table_properties(table: Table) -> dict[str, str]:
    """Delta's own properties of this table, as it is created with them."""
    # min and max of these alone: of the pictures they would be waste
    measured = dict.fromkeys((table.event_time, *table.key))
    return PROPERTIES | {"delta.dataSkippingStatsColumns": ",".join(measured)}


_CREATING = threading.Lock()


def create_table(spark: SparkSession, table: Table, settings: TableSettings) -> str:
    """Create the table if it is not there, empty and ready for readers; returns its path.

    Any number of queries of this process may do so at once; of several processes, each but the first has to try again,
    as Delta's exceptions say.
    """
    from delta.tables import DeltaTable

    path = settings.path(table.name)
    builder = (
        DeltaTable.createIfNotExists(spark)
        .location(path)
        .comment(table.comment)
        .addColumns(table.schema)
        .partitionedBy("day")
    )
    for key, value in table_properties(table).items():
        builder = builder.property(key, value)
    # Delta answers the second of two creations at once with one of several exceptions, by how far the first has come
    with _CREATING:
        _add_new_columns(spark, table, path)
        builder.execute()
    return path


def _add_new_columns(spark: SparkSession, table: Table, path: str) -> None:
    """Give a table that an earlier version made the columns that it lacks, NULL in the rows that are there."""
    from delta.tables import DeltaTable

    if not DeltaTable.isDeltaTable(spark, path):
        return
    known = DeltaTable.forPath(spark, path).toDF().columns
    for before, field in pairwise(table.schema.fields):
        if field.name not in known:
            column = StructType([field]).toDDL()
            spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMN {column} AFTER `{before.name}`")


@dataclass(frozen=True, slots=True)
class DocumentedColumn:
    """One column for readers: `column` is its path, `[]` standing for the items of an array."""

    table: str
    column: str
    type: str
    comment: str


def documented_columns() -> Iterator[DocumentedColumn]:
    """Every column of every table, nested ones included, in the order of the tables."""
    for table in (*TABLES.values(), *GOLD.values()):
        for field in table.schema.fields:
            yield from _documented(table.name, "", field)


def _documented(table: str, path: str, field: StructField) -> Iterator[DocumentedColumn]:
    name = path + field.name
    kind = field.dataType
    yield DocumentedColumn(table, name, _type_name(kind), field.metadata.get("comment", ""))
    if isinstance(kind, ArrayType):
        name, kind = name + "[]", kind.elementType
    if isinstance(kind, StructType):
        for inner in kind.fields:
            yield from _documented(table, name + ".", inner)


def _type_name(kind: DataType) -> str:
    """The type as SQL names it; what a struct holds stands in rows of its own."""
    if isinstance(kind, ArrayType):
        return f"array of {_type_name(kind.elementType)}"
    return "struct" if isinstance(kind, StructType) else str(kind.simpleString())


def _nullable(field: StructField) -> StructField:
    return StructField(field.name, nullable(field.dataType), True, field.metadata)


def nullable(kind: DataType) -> DataType:
    """The same type with everything in it nullable, as a parser returns it."""
    if isinstance(kind, StructType):
        return StructType([_nullable(field) for field in kind.fields])
    if isinstance(kind, ArrayType):
        return ArrayType(nullable(kind.elementType))
    return kind
