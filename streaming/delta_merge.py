"""Rows into a Delta table, each once by its identity, with delta-rs: what a commit costs is its rows.

Spark's own MERGE plans and runs about ten jobs for a commit, however few its rows are; with delta-rs a commit takes a
fifth of the processor (docs/benchmarks.md). Both keep Delta's protocol and may write one table at the same time.

delta-rs's MERGE reads every column of each file whose times meet those of the rows, and a few frames of a camera whose
clock is an hour ahead stretch the times of a file over all of that hour. Rows that never change are therefore looked
for by their keys alone and the new ones appended.

Every commit is for the very version that was looked at, and fails where another came between. What delta-rs would
compare otherwise is not enough: files that a compaction removed count as untouched there (its pull request 3982), so
that two compactions of the same files both succeed and each row is there twice. Small files are therefore merged by
Spark (`streaming.maintenance.SmallFiles`), which tells such commits apart.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import tenacity

from sightline.settings import TableSettings
from streaming.tables import Table

if TYPE_CHECKING:
    from deltalake import CommitProperties, DeltaTable

log = logging.getLogger(__name__)

_ATTEMPTS = 5
_PLACE = "place"


class MergedTable:
    """A table that exists, for one writing thread."""

    def __init__(self, table: Table, settings: TableSettings) -> None:
        self._table = table
        self._settings = settings

    def merge(self, rows: pa.Table) -> None:
        """Insert `rows`, in the table's columns, each unless its key is there; a later revision replaces an earlier.

        No key may be twice in `rows`. Raises deltalake's TableNotFoundError and DeltaError, the latter after some tries
        where it was another writer's commit that came first.
        """
        from deltalake.exceptions import CommitFailedError

        write = self._replace if "revision" in self._table.schema.names else self._append
        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            retry=tenacity.retry_if_exception_type(CommitFailedError),
            before_sleep=tenacity.before_sleep_log(log, logging.INFO),
            reraise=True,
        ):
            with attempt:
                write(self._open(), rows)

    def _append(self, there: DeltaTable, rows: pa.Table) -> None:
        from deltalake import QueryBuilder, write_deltalake

        keys = ", ".join(self._table.key)
        # names of the contract's columns, days and times: nothing that came over a topic
        asked = f"SELECT {keys} FROM there WHERE {' AND '.join(self._near(rows))}"  # noqa: S608
        found = pa.table(QueryBuilder().register("there", there).execute(asked).read_all())
        if new := without(rows, found, self._table.key):
            write_deltalake(there, new, mode="append", commit_properties=_for_this_version())

    def _replace(self, there: DeltaTable, rows: pa.Table) -> None:
        same = [*self._near(rows), *(f"there.{name} = new.{name}" for name in self._table.key)]
        merge = there.merge(
            rows, " AND ".join(same), source_alias="new", target_alias="there", commit_properties=_for_this_version()
        )
        merge.when_matched_update_all("new.revision > there.revision").when_not_matched_insert_all().execute()

    def _open(self) -> DeltaTable:
        """The table as it is now. One that is kept open would go on writing into a folder that was replaced."""
        from deltalake import DeltaTable

        return DeltaTable(**self._settings.delta_rs(self._table.name))

    def _near(self, rows: pa.Table) -> list[str]:
        """What holds of every row with one of their keys; delta-rs skips the files that these bounds leave out."""
        time = self._table.event_time
        extent = pc.min_max(rows[time]).as_py()
        days = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(rows["day"].unique().to_pylist()))
        return [
            f"there.day IN ({days})",
            f"there.{time} >= {_literal(extent['min'])}",
            f"there.{time} <= {_literal(extent['max'])}",
        ]


def _for_this_version() -> CommitProperties:
    from deltalake import CommitProperties

    return CommitProperties(max_commit_retries=0)


def without(rows: pa.Table, there: pa.Table, key: Sequence[str]) -> pa.Table:
    """The rows whose `key` is not in `there`, in their order."""
    asked = rows.select(list(key))
    places = asked.append_column(_PLACE, pa.array(range(len(rows)), pa.int64()))
    new = places.join(there.cast(asked.schema), list(key), join_type="left anti")[_PLACE]
    return rows if len(new) == len(rows) else rows.take(new.take(pc.sort_indices(new)))


def one_of_each(rows: pa.Table, key: Collection[str], by: str, *, last: bool = False) -> pa.Table:
    """The row of each `key` that has the lowest `by`, or the highest."""
    ordered = rows.sort_by([(by, "descending" if last else "ascending")])
    places = ordered.select(list(key)).append_column(_PLACE, pa.array(range(len(ordered)), pa.int64()))
    first = places.group_by(list(key)).aggregate([(_PLACE, "min")])[f"{_PLACE}_min"]
    return ordered if len(first) == len(ordered) else ordered.take(first)


def _literal(moment: Any) -> str:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return f"to_timestamp_micros({since // timedelta(microseconds=1)})"
