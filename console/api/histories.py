"""Opened histories that requests borrow: the tables as of a second ago, several questions at a time."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from console.api.problems import Problem
from console.bookkeeping import rows
from console.tables import History, open_history
from sightline.errors import QueryError, SightlineError
from sightline.settings import TableSettings

AHEAD = timedelta(minutes=5)
"""How far a camera's clock may run ahead of this host's before its frames no longer say where the tables end."""
AT_ONCE = 4
"""Questions that are answered at the same time; more wait."""
FRESH_SECONDS = 1.0
"""How old the tables' versions may be that a question is answered from."""

_WAIT_SECONDS = 20.0
_MEMORY = "1GB"
"""Of one question; what needs more spills to disk."""


class Histories:
    """Borrowed one question at a time, since DuckDB's connections are not shared between threads."""

    def __init__(self, settings: TableSettings) -> None:
        self._settings = settings
        self._idle: queue.LifoQueue[tuple[float, History]] = queue.LifoQueue()
        self._turns = threading.BoundedSemaphore(AT_ONCE)

    @contextmanager
    def borrow(self, *tables: str) -> Iterator[History]:
        """A history in which `tables` can be queried.

        Raises TableError when one is missing or cannot be read, QueryError when DuckDB gives up, and Problem 503 when
        others keep it busy.
        """
        import duckdb

        if not self._turns.acquire(timeout=_WAIT_SECONDS):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "busy",
                f"{AT_ONCE} questions have been running for {_WAIT_SECONDS:g} s; ask for less, or try again",
                headers={"Retry-After": "5"},
            )
        try:
            opened, history = self._opened()
            history.require(*tables)
            try:
                yield history
            except (duckdb.Error, OSError) as error:
                # files that compaction or retention has removed meanwhile: the next question sees the new ones
                raise QueryError(f"the tables could not be read: {error}; try again") from error
            self._idle.put((opened, history))
        finally:
            self._turns.release()

    def open_ahead(self, seconds: float) -> None:
        """Open one after so many `seconds`, in a thread: what that imports takes seconds, which no question shall."""
        timer = threading.Timer(seconds, self._open_ahead)
        timer.daemon = True
        timer.start()

    def _open_ahead(self) -> None:
        # what is wrong now, the first question will say if it still is
        with suppress(SightlineError, Problem), self.borrow():
            pass

    def _opened(self) -> tuple[float, History]:
        oldest = time.monotonic() - FRESH_SECONDS
        while True:
            try:
                opened, history = self._idle.get_nowait()
            except queue.Empty:
                return time.monotonic(), open_history(self._settings, memory=_MEMORY)
            if opened >= oldest:
                return opened, history
            history.connection.close()


def records(history: History, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of `sql` by column, structs and lists as dictionaries and lists, times in UTC."""
    found = history.connection.query(sql, params=parameters or None).to_arrow_table()
    return [dict(row) for row in found.to_pylist()]


def extent(history: History, table: str, begin: str, end: str) -> tuple[datetime, datetime] | None:
    """The first time in the column `begin` and the last in `end`: out of the log where its files' statistics tell.

    Rows that begin later than AHEAD from now are of a camera whose clock runs ahead and are no end of anything, unless
    all are: then it is the clock of this host that is behind. None for an empty table.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    files = pa.table(history.tables[table].get_add_actions(flatten=True))
    if not files.num_rows:
        return None
    edges = [files[name] for name in (f"min.{begin}", f"max.{end}") if name in files.column_names]
    if len(edges) < 2 or any(edge.null_count for edge in edges):
        first, last = rows(history.connection, f'SELECT min("{begin}"), max("{end}") FROM {table}')[0]
        if first is None:
            return None
    else:
        first, last = pc.min(edges[0]).as_py(), pc.max(edges[1]).as_py()
    latest = datetime.now(UTC) + AHEAD
    if _utc(last) > latest:
        where = f'"{begin}" <= {literal(latest)}'
        last = rows(history.connection, f'SELECT max("{end}") FROM {table} WHERE {where}')[0][0] or last
    return _utc(first), _utc(last)


def newest(history: History, table: str, column: str) -> datetime | None:
    """The last time in `column`, None for an empty table; see `extent`."""
    known = extent(history, table, column, column)
    return known[1] if known else None


def _utc(time: datetime) -> datetime:
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def literal(time: datetime) -> str:
    """`time` in SQL, as a constant, so that files outside it are left unread."""
    return f"TIMESTAMPTZ '{time.astimezone(UTC).isoformat(timespec='microseconds')}'"
