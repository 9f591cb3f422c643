"""Records that come one by one, and those that wait together."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pytest

from streaming.real_time import as_they_come

HEADERS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.binary())]))
AT = datetime(2026, 1, 2, tzinfo=UTC)


def batch(*offsets: int | None) -> pa.RecordBatch:
    """Rows of Spark's Kafka source; None is the row of nothing that follows a frame."""
    there = [offset is not None for offset in offsets]
    return pa.RecordBatch.from_arrays(
        [
            pa.array([b"cam-1" if one else None for one in there], pa.binary()),
            pa.array([b"jpeg" if one else None for one in there], pa.binary()),
            pa.nulls(len(offsets), HEADERS),
            pa.array(["frames" if one else None for one in there]),
            pa.array([0 if one else None for one in there], pa.int32()),
            pa.array(offsets, pa.int64()),
            pa.array([AT if one else None for one in there], pa.timestamp("us", "UTC")),
        ],
        names=["key", "value", "headers", "topic", "partition", "offset", "timestamp"],
    )


def test_a_record_is_given_on_before_the_next_one_comes() -> None:
    given = threading.Event()

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(0)
        assert given.wait(10), "the first record was held back"
        yield from (batch(None), batch(1), batch(None))

    groups = as_they_come(batches(), 4)
    assert [record.source.offset for record in next(groups)] == [0]
    given.set()
    assert [record.source.offset for group in groups for record in group] == [1]


def test_what_waits_is_taken_together_in_its_order_and_never_more_than_was_asked_for() -> None:
    read = threading.Event()

    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(*range(6))
        read.set()
        yield from (batch(number) for number in range(6, 20))

    groups = as_they_come(batches(), 3)
    first = next(groups)
    assert read.wait(10)
    sizes = [first, *groups]
    assert [record.source.offset for group in sizes for record in group] == list(range(20))
    assert max(map(len, sizes)) == 3


def test_nothing_came_and_nothing_is_given() -> None:
    assert list(as_they_come([], 4)) == []
    assert list(as_they_come([batch(None)], 4)) == []


def test_what_breaks_the_reading_breaks_the_task() -> None:
    def batches() -> Iterator[pa.RecordBatch]:
        yield batch(0)
        raise OSError("the pipe broke")

    with pytest.raises(OSError, match="the pipe broke"):
        list(as_they_come(batches(), 4))
