"""Kafka records to table rows, in Spark expressions: no Python worker is needed.

Each function takes the columns of Spark's Kafka source (key, value, headers, topic, partition, offset, timestamp) and
adds `row`, a struct in the table's schema that is NULL where the record is not what its contract says.
"""

from __future__ import annotations

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as f
from pyspark.sql.types import DataType, StructType

from sightline.codec import MAX_NAME
from sightline.contracts import Reason, Verdict
from streaming.tables import Table, nullable

_CONNECT = "__connect.errors."
_LAST_YEAR = 9999
_OWN = ("sightline.reason", "sightline.ingested")


def parse(records: DataFrame, table: Table) -> DataFrame:
    """The records with their `row` for `table`."""
    if table.name == "dead_letters":
        return _with_row(records, _dead_letter(), table)
    if table.name == "frame_archive":
        return _with_row(records, _archived_frame(), table)
    event = f.from_json(f.col("value").cast("string"), nullable(table.contract), {"mode": "PERMISSIVE"})
    return _with_row(records, event, table)


def malformed(parsed: DataFrame, table: Table) -> DataFrame:
    """Rows of `dead_letters` for the records that are not what `table` expects."""
    text = f.try_validate_utf8(f.col("value").cast("string"))
    return parsed.where("row is null").select(
        _dead_letter_id(f.col("topic"), f.col("partition"), f.col("offset"), f.col("timestamp")),
        f.lit(Reason.UNKNOWN_SCHEMA.value).alias("reason"),
        f.lit(f"not a record for the table {table.name}; see docs/tables.md for what its columns hold").alias(
            "message"
        ),
        f.lit("history").alias("stage"),
        f.struct(
            f.col("topic"), f.col("partition").cast("long").alias("partition"), f.col("offset").alias("offset")
        ).alias("source"),
        f.col("timestamp").alias("ingested_at"),
        f.col("value"),
        f.col("key"),
        _headers().alias("headers"),
        f.try_validate_utf8(f.col("key").cast("string")).alias("camera"),
        f.get_json_object(text, "$.sequence").try_cast("long").alias("sequence"),
        f.to_date("timestamp").alias("day"),
    )


def _with_row(records: DataFrame, event: Column, table: Table) -> DataFrame:
    """Add `row` where `event` has all that the contract requires."""
    columns = {name: f.col(f"event.{name}") for name in table.schema.names if name != "day"}
    if table.name == "inspections":
        # the writer cannot know it: the topic's timestamps are the broker's
        columns["timings"] = columns["timings"].withField("published_at", f.col("timestamp"))
    columns["day"] = f.to_date(f.col(f"event.{table.event_time}"))
    row = f.struct(*(column.alias(name) for name, column in columns.items()))
    present = f.col("event").isNotNull() & _complete(f.col("event"), table.contract)
    # Spark reads years that neither Python nor a table's reader has
    present = present & f.year(f"event.{table.event_time}").between(1, _LAST_YEAR)
    return records.withColumn("event", event).withColumn("row", f.when(present, row)).drop("event")


def _complete(value: Column, contract: DataType) -> Column:
    """Whether everything that `contract` requires is there, in nested structs too."""
    if not isinstance(contract, StructType):
        return f.lit(True)
    required = [
        value[field.name].isNotNull() & _complete(value[field.name], field.dataType)
        for field in contract.fields
        if not field.nullable
    ]
    return reduce(Column.__and__, required, f.lit(True))


def _headers() -> Column:
    """The record's headers; Spark gives NULL for none."""
    return f.coalesce(f.col("headers"), f.array().cast("array<struct<key:string,value:binary>>"))


def _header(name: str) -> Column:
    """Text of the last header of that name; NULL when it is absent or no UTF-8."""
    last = f.try_element_at(f.filter(_headers(), lambda header: header["key"] == name), f.lit(-1))
    return f.try_validate_utf8(last["value"].cast("string"))


def _name(name: str) -> Column:
    text = _header(name)
    return f.when(f.length(text).between(1, MAX_NAME), text)


def _count(name: str) -> Column:
    text = _header(name)
    return f.when(text.rlike("^[0-9]{1,19}$"), text.try_cast("long"))


def _time(name: str) -> Column:
    return f.try_to_timestamp(_header(name))


def _archived_frame() -> Column:
    verdict = _header("sightline.verdict")
    return f.struct(
        _name("sightline.inspection_id").alias("inspection_id"),
        _name("ce_line").alias("line"),
        _name("ce_camera").alias("camera"),
        _count("ce_sequence").alias("sequence"),
        _time("ce_time").alias("captured_at"),
        _name("ce_product").alias("product"),
        _count("ce_width").alias("width"),
        _count("ce_height").alias("height"),
        _name("ce_label").alias("label"),
        f.when(verdict.isin(*(known.value for known in Verdict)), verdict).alias("verdict"),
        f.col("value").alias("jpeg"),
    )


def _dead_letter() -> Column:
    """The dead letter in a record of `frames.dead-letter`, as `sightline.codec` reads it."""
    partition, offset = _count(_CONNECT + "partition"), _count(_CONNECT + "offset")
    topic, ingested = _header(_CONNECT + "topic"), _time("sightline.ingested")
    original = f.filter(_headers(), lambda header: ~header["key"].startswith(_CONNECT) & ~header["key"].isin(*_OWN))
    return f.struct(
        _dead_letter_id(topic, partition, offset, ingested),
        _header("sightline.reason").alias("reason"),
        _header(_CONNECT + "exception.message").alias("message"),
        _header(_CONNECT + "stage").alias("stage"),
        f.struct(topic.alias("topic"), partition.alias("partition"), offset.alias("offset")).alias("source"),
        ingested.alias("ingested_at"),
        f.col("value"),
        f.col("key"),
        original.alias("headers"),
        _name("ce_camera").alias("camera"),
        _count("ce_sequence").alias("sequence"),
    )


def _dead_letter_id(topic: Column, partition: Column, offset: Column, ingested_at: Column) -> Column:
    """128 bits in hex that depend on the record's place in Kafka alone; the time tells a re-created topic apart."""
    place = f.concat_ws(
        "\x1f", topic, partition.cast("string"), offset.cast("string"), f.unix_micros(ingested_at).cast("string")
    )
    return f.substring(f.sha2(place, 256), 1, 32).alias("dead_letter_id")
