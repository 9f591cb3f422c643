"""Rows into a Delta table by MERGE on their identity, with delta-rs: what a commit costs is its rows.

Spark's own MERGE plans and runs about ten jobs for a commit, however few its rows are; with delta-rs a commit takes a
fifth of the processor (docs/benchmarks.md). Both keep Delta's protocol and may write one table at the same time.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import tenacity

from sightline.settings import TableSettings
from streaming.tables import Table

if TYPE_CHECKING:
    from deltalake import DeltaTable

log = logging.getLogger(__name__)

COMPACT_AFTER_COMMITS = 50
_ATTEMPTS = 5
_COMPACTED_BYTES = 16 * 1024 * 1024
"""Files of this size are left alone while their day lasts: what is rewritten lies in memory, heat maps unpacked."""


class MergedTable:
    """A table that exists, for one writing thread.

    `compact_after`: commits after which the small files of the days that were written are merged.
    """

    def __init__(self, table: Table, settings: TableSettings, compact_after: int) -> None:
        self._table = table
        self._settings = settings
        self._compact_after = compact_after
        self._commits = 0
        self._days: set[date] = set()

    def merge(self, rows: pa.Table) -> None:
        """Insert `rows`, in the table's columns, each unless its key is there; a later revision replaces an earlier.

        No key may be twice in `rows`. Raises deltalake's TableNotFoundError and DeltaError, the latter after some tries
        where it was another writer's commit that came first.
        """
        from deltalake.exceptions import CommitFailedError

        for attempt in tenacity.Retrying(
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            retry=tenacity.retry_if_exception_type(CommitFailedError),
            before_sleep=tenacity.before_sleep_log(log, logging.INFO),
            reraise=True,
        ):
            with attempt:
                self._merge(rows)
        self._commits += 1
        self._days.update(rows["day"].unique().to_pylist())
        if self._commits >= self._compact_after:
            self._compact()

    def _merge(self, rows: pa.Table) -> None:
        merge = self._open().merge(rows, self._same_row(rows), source_alias="new", target_alias="there")
        if "revision" in self._table.schema.names:
            merge = merge.when_matched_update_all("new.revision > there.revision")
        merge.when_not_matched_insert_all().execute()

    def _compact(self) -> None:
        """Merge small files; where another commit comes first, or the disk is full, the next commits try again."""
        from deltalake.exceptions import DeltaError

        days = sorted(self._days)
        try:
            done = self._open().optimize.compact(
                [("day", "in", [day.isoformat() for day in days])], target_size=_COMPACTED_BYTES, max_concurrent_tasks=1
            )
        except (DeltaError, OSError) as error:
            log.info("not compacted", extra={"table": self._table.name, "error": str(error)[:500]})
            return
        self._commits, self._days = 0, set()
        facts = {"table": self._table.name, "files": done["numFilesAdded"], "before": done["numFilesRemoved"]}
        log.info("small files merged", extra=facts)

    def _open(self) -> DeltaTable:
        """The table as it is now. One that is kept open would go on writing into a folder that was replaced."""
        from deltalake import DeltaTable

        return DeltaTable(**self._settings.delta_rs(self._table.name))

    def _same_row(self, rows: pa.Table) -> str:
        """When a row that is there is the row to be written; the bounds let delta-rs skip all other files."""
        time = self._table.event_time
        extent = pc.min_max(rows[time]).as_py()
        days = ", ".join(f"DATE '{day.isoformat()}'" for day in sorted(rows["day"].unique().to_pylist()))
        conditions = [
            f"there.day IN ({days})",
            f"there.{time} >= {_literal(extent['min'])}",
            f"there.{time} <= {_literal(extent['max'])}",
            *(f"there.{name} = new.{name}" for name in self._table.key),
        ]
        return " AND ".join(conditions)


def one_of_each(rows: pa.Table, key: Collection[str], by: str, *, last: bool = False) -> pa.Table:
    """The row of each `key` that has the lowest `by`, or the highest."""
    ordered = rows.sort_by([(by, "descending" if last else "ascending")])
    places = ordered.select(list(key)).append_column("place", pa.array(range(len(ordered)), pa.int64()))
    first = places.group_by(list(key)).aggregate([("place", "min")])["place_min"]
    return ordered if len(first) == len(ordered) else ordered.take(first)


def _literal(moment: Any) -> str:
    since = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    return f"to_timestamp_micros({since // timedelta(microseconds=1)})"
