"""The filtered history as CSV or Parquet, a batch at a time, whatever its length."""

from __future__ import annotations

import io
import threading
from collections.abc import Generator
from contextlib import ExitStack
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus
from typing import Any

from console.api.histories import Histories, records
from console.api.problems import Problem
from console.engineering.selection import Selection, require_known
from console.tables import History

BATCH_ROWS = 20_000
_WAIT_SECONDS = 5.0


class Format(StrEnum):
    """CSV opens in a spreadsheet; Parquet is a tenth of the size and keeps types."""

    CSV = "csv"
    PARQUET = "parquet"


MOST_ROWS = {Format.CSV: 1_000_000, Format.PARQUET: 10_000_000}
"""A spreadsheet takes 1,048,576 rows; whoever wants more than ten million reads the Delta table itself."""

MEDIA_TYPES = {Format.CSV: "text/csv; charset=utf-8", Format.PARQUET: "application/vnd.apache.parquet"}

_TEXTS = ("inspection_id", "line", "camera", "product", "verdict", "label", "detector", "detector_version")
_COLUMNS = (
    "inspection_id, line, camera, sequence, captured_at, product, score, threshold, verdict, label, "
    "detector.name AS detector, detector.version AS detector_version, detector.digest AS detector_digest, "
    "len(regions) AS regions, quality.blur AS blur, quality.exposure AS exposure, "
    "(epoch_us(timings.published_at) - epoch_us(captured_at)) / 1000.0 AS milliseconds_to_verdict"
)

_FORMULA = r"^[=+\-@\t\r]"
"""Beginnings that a spreadsheet takes for a formula (OWASP, "CSV Injection"): a quote before them makes them text."""


class Exports:
    """One export at a time, so that whoever takes all of the history does not keep others from their questions."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories
        self._turn = threading.Semaphore(1)

    def size(self, chosen: Selection, form: Format) -> int:
        """Rows that an export would hold; raises what `begin` raises, save that it waits for nobody."""
        with self._histories.borrow("inspections") as history:
            return _admitted(history, chosen, form)[0]

    def begin(self, chosen: Selection, form: Format) -> Export:
        """An export whose turn it is, to be closed whatever becomes of it.

        Everything that can be refused is refused here, before a byte has left: Problem 503 while another export runs,
        422 for more than MOST_ROWS, 404 for an unknown place, TableError where there are no inspections.
        """
        with ExitStack() as stack:
            if not self._turn.acquire(timeout=_WAIT_SECONDS):
                raise Problem(
                    HTTPStatus.SERVICE_UNAVAILABLE,
                    "busy",
                    "another export is running; try again when it is done",
                    headers={"Retry-After": "30"},
                )
            stack.callback(self._turn.release)
            history = stack.enter_context(self._histories.borrow("inspections"))
            where, values = _admitted(history, chosen, form)[1:]
            select = f"SELECT {_COLUMNS} FROM inspections WHERE {where}"
            if form is Format.CSV:
                select = _as_text(select)
            batches = history.connection.query(select, params=values or None).to_arrow_reader(BATCH_ROWS)
            return Export(_name(chosen, form), batches, form, stack.pop_all())


class Export:
    """One file on its way: its `name`, and in `chunks` its bytes as they are made.

    It holds the only turn and a borrowed history until the last chunk, or until it is closed: closing the chunks is not
    enough, since a generator that was never begun has nothing to clean up.
    """

    def __init__(self, name: str, batches: Any, form: Format, stack: ExitStack) -> None:
        self.name = name
        self.chunks = _written(batches, form, stack)
        self._stack = stack

    def close(self) -> None:
        """Make room for the next export; may be called again."""
        try:
            self.chunks.close()
        finally:
            self._stack.close()


def _admitted(history: History, chosen: Selection, form: Format) -> tuple[int, str, dict[str, Any]]:
    """How many rows, and the condition with its values."""
    where, values = chosen.where(history)
    rows: int = records(history, f"SELECT count(*) AS n FROM inspections WHERE {where}", values)[0]["n"]
    if not rows:
        require_known(history, chosen)
    if rows > MOST_ROWS[form]:
        raise _too_many(rows, form)
    return rows, where, values


def _written(batches: Any, form: Format, stack: ExitStack) -> Generator[bytes]:
    with stack:
        sink = _Sink()
        with _writer(sink, batches.schema, form) as writer:
            for batch in batches:
                writer.write_batch(batch)
                yield sink.taken()
        yield sink.taken()


def _writer(sink: _Sink, schema: Any, form: Format) -> Any:
    if form is Format.CSV:
        from pyarrow import csv

        return csv.CSVWriter(sink, schema, write_options=csv.WriteOptions(quoting_style="needed"))
    from pyarrow import parquet

    return parquet.ParquetWriter(sink, schema, compression="zstd")


class _Sink(io.RawIOBase):
    """A file that is emptied while it is written."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._length = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._length

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._length += len(part)
        return len(part)

    def taken(self) -> bytes:
        """What was written since the last call."""
        parts, self._parts = self._parts, []
        return b"".join(parts)


def _as_text(select: str) -> str:
    """Times as ISO 8601, and text that a spreadsheet would run with a quote before it."""
    safe = ", ".join(
        f"CASE WHEN regexp_matches({name}, '{_FORMULA}') THEN '''' || {name} ELSE {name} END AS {name}"
        for name in _TEXTS
    )
    time = "strftime(captured_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ') AS captured_at"
    return f"SELECT * REPLACE ({safe}, {time}) FROM ({select})"


def _too_many(rows: int, form: Format) -> Problem:
    most = MOST_ROWS[form]
    if form is Format.CSV and rows <= MOST_ROWS[Format.PARQUET]:
        remedy = f"choose Parquet, which takes up to {MOST_ROWS[Format.PARQUET]:,}, or a shorter time or more filters"
    else:
        remedy = "choose a shorter time or more filters, or read the Delta table itself (docs/tables.md)"
    return Problem(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "too-many-rows",
        f"{rows:,} inspections fit, and {form.value} takes at most {most:,}: {remedy}",
        more={"rows": rows, "most": most},
    )


def _name(chosen: Selection, form: Format) -> str:
    """A file name of letters, digits and dashes: it goes into a header, and onto people's disks."""
    parts = ["inspections", chosen.line, chosen.camera, chosen.product, chosen.verdict]
    parts += [_stamp(time) for time in (chosen.since, chosen.until) if time]
    text = "-".join(part for part in parts if part)
    return "".join(one if one.isascii() and (one.isalnum() or one in "-_") else "_" for one in text)[:150] + f".{form}"


def _stamp(time: datetime) -> str:
    return f"{time:%Y%m%dT%H%M}"
