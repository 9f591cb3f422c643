"""Pages of rows that grow at one end: a cursor names the last row seen, so new rows shift nothing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, NamedTuple

import msgspec

from console.api.histories import literal, newest, records
from console.api.problems import Problem
from console.tables import History
from sightline.codec import digest_id

_SPANS = (timedelta(minutes=10), timedelta(hours=6), timedelta(days=7))
"""Stretches of time that are searched one after the other before all of it is; most pages are full after the first."""


class Position(NamedTuple):
    """Time and id of the last row of a page."""

    time: datetime
    id: str


class Listing(NamedTuple):
    """What is listed: `columns` of `source`, which reads `table`, ordered by `time` and `id`, the newest first."""

    table: str
    source: str
    columns: str
    time: str
    id: str


class Found(NamedTuple):
    """One page, and the cursor of the next; None when this was the last."""

    rows: list[dict[str, Any]]
    next: str | None


def page(
    history: History,
    listing: Listing,
    filters: Mapping[str, tuple[str, Any]],
    *,
    since: datetime | None,
    until: datetime | None,
    cursor: str | None,
    limit: int,
) -> Found:
    """At most `limit` rows; `filters` are conditions by name, `$name` in them their value, None where not asked for.

    `since` is included, `until` is not. Raises Problem 400 for a cursor of another question.
    """
    values = {name: value for name, (_, value) in filters.items() if value is not None}
    conditions = [filters[name][0] for name in values]
    question = digest_id(listing.table, *sorted(values.items()), since, until)
    last = _read(cursor, question) if cursor else None
    end = newest(history, listing.table, listing.time)
    rows: list[dict[str, Any]] = []
    if end is not None:
        start = min(time for time in (end, until, last and last.time) if time is not None)
        for low in _lows(start, since):
            rows = records(history, _sql(listing, conditions, low, until, last, limit + 1), values)
            if len(rows) > limit:
                break
    if len(rows) <= limit:
        return Found(rows, None)
    rows = rows[:limit]
    return Found(rows, _write(Position(rows[-1][listing.time], rows[-1][listing.id]), question))


def _lows(start: datetime, since: datetime | None) -> list[datetime | None]:
    """Begins of ever longer stretches that end at `start`, the last of which is `since`."""
    try:
        lows = [start - span for span in _SPANS]
    except OverflowError:
        lows = []
    return [*(low for low in lows if since is None or low > since), since]


def _sql(
    listing: Listing,
    conditions: Sequence[str],
    low: datetime | None,
    until: datetime | None,
    last: Position | None,
    limit: int,
) -> str:
    parts = list(conditions)
    if low is not None:
        # the partition is its day: files of other days are not even opened
        parts += [f"{listing.time} >= {literal(low)}", f"day >= DATE '{low.astimezone(UTC).date().isoformat()}'"]
    if until is not None:
        parts += [f"{listing.time} < {literal(until)}", f"day <= DATE '{until.astimezone(UTC).date().isoformat()}'"]
    if last is not None:
        parts.append(f"{listing.time} <= {literal(last.time)}")
        parts.append(f"({listing.time} < {literal(last.time)} OR {listing.id} < '{last.id}')")
    where = " AND ".join(parts) or "true"
    return (
        f"SELECT {listing.columns} FROM {listing.source} WHERE {where} "
        f"ORDER BY {listing.time} DESC, {listing.id} DESC LIMIT {limit}"
    )


def _write(position: Position, question: str) -> str:
    text = msgspec.json.encode((position.time.astimezone(UTC), position.id, question[:8]))
    return base64.urlsafe_b64encode(text).decode().rstrip("=")


def _read(cursor: str, question: str) -> Position:
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        time, row_id, asked = msgspec.json.decode(raw, type=tuple[datetime, str, str])
    except (ValueError, msgspec.DecodeError):
        raise _wrong("is none that was given out") from None
    if time.tzinfo is None or not row_id.isalnum() or not row_id.isascii():
        raise _wrong("is none that was given out")
    if asked != question[:8]:
        raise _wrong("belongs to other filters")
    return Position(time, row_id)


def _wrong(why: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, "cursor", f"this cursor {why}; start again without one")
