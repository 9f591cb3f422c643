"""Kafka records on their way through a worker: from Arrow, to Arrow, and what is known of a frame in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pyarrow as pa

from models.runtime.decode import DecodedFrame
from models.runtime.view import View
from sightline.contracts import Frame, SourceOffset

_HEADER = pa.struct([("key", pa.string()), ("value", pa.binary())])
OUTGOING = pa.schema(
    [("topic", pa.string()), ("key", pa.binary()), ("value", pa.binary()), ("headers", pa.list_(_HEADER))]
)
OUTGOING_DDL = "topic string, key binary, value binary, headers array<struct<key: string, value: binary>>"


class Outgoing(NamedTuple):
    """One Kafka record to be written."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Record(NamedTuple):
    """One Kafka record as read."""

    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    source: SourceOffset
    ingested_at: datetime


class Opened(NamedTuple):
    """A frame whose headers and pixels are sound, waiting for its score; `view` is what its camera's settings say."""

    record: Record
    frame: Frame
    decoded: DecodedFrame
    decoded_at: datetime
    slot: int
    view: View | None


def read_records(batch: pa.RecordBatch) -> Iterator[Record]:
    """Rows of Spark's Kafka source: key, value, headers, topic, partition, offset, timestamp."""
    columns: dict[str, list[Any]] = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    for key, value, headers, topic, partition, offset, timestamp in zip(
        *(columns[name] for name in ("key", "value", "headers", "topic", "partition", "offset", "timestamp")),
        strict=True,
    ):
        yield Record(
            key=key,
            value=value,
            headers=[(header["key"], header["value"]) for header in headers or ()],
            source=SourceOffset(topic=topic, partition=partition, offset=offset),
            ingested_at=timestamp.astimezone(UTC),
        )


def to_arrow(outgoing: list[Outgoing]) -> pa.RecordBatch:
    """Rows for Spark's Kafka sink, in the schema `OUTGOING`."""
    return pa.RecordBatch.from_arrays(
        [
            pa.array([record.topic for record in outgoing], pa.string()),
            pa.array([record.key for record in outgoing], pa.binary()),
            pa.array([record.value for record in outgoing], pa.binary()),
            pa.array(
                [[{"key": name, "value": data} for name, data in record.headers] for record in outgoing],
                pa.list_(_HEADER),
            ),
        ],
        schema=OUTGOING,
    )
