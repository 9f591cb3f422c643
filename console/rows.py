"""Rows on their way out: a table for people, CSV or JSON lines for machines."""

from __future__ import annotations

import csv
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
from rich import box
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from console.output import Terminal, printable, write_line

LONGEST = 60
"""Characters of a value that a person is shown; machines get all of it."""
_NARROWEST = 19
"""Cells that a long value keeps when there is little room: a time to the second."""
_GAP = 2
_WORTH_A_TABLE = 0.5
_NUMBERS = (int, float, Decimal)


def show_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], out: Terminal) -> None:
    """A table of the columns that have room, naming the others; one block a row where most of them have none."""
    cells = {name: [cell(row[name]) for row in rows] for name in columns}
    widths = {name: max(map(cell_len, [name, *cells[name]])) for name in columns}
    if not out.is_terminal:
        out.width = max(out.width, sum(widths.values()) + _GAP * len(columns))
    shown = _fitting(widths, out.width)
    if len(shown) < _WORTH_A_TABLE * len(columns):
        _show_blocks(rows, columns, out)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, _GAP - 1, 0, 0), header_style="bold")
    for name in shown:
        number = any(isinstance(row[name], _NUMBERS) and not isinstance(row[name], bool) for row in rows)
        table.add_column(
            Text(printable(name)),
            justify="right" if number else "left",
            no_wrap=True,
            overflow="ellipsis",
            min_width=min(widths[name], _NARROWEST),
        )
    for at in range(len(rows)):
        texts = [cells[name][at] for name in shown]
        table.add_row(*(Text(text, "dim" if text == "null" else "") for text in texts))
    out.print(table)
    if hidden := [name for name in columns if name not in shown]:
        out.print(f"no room for {', '.join(map(printable, hidden))}", style="dim")


def _fitting(widths: Mapping[str, int], room: int) -> list[str]:
    """The first columns that fit side by side, each shortened to `_NARROWEST` if it must be."""
    shown, used = [], 0
    for name, width in widths.items():
        used += min(width, _NARROWEST) + _GAP
        if used > room + 1:
            break
        shown.append(name)
    return shown


def _show_blocks(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], out: Terminal) -> None:
    names = max(cell_len(name) for name in columns)
    for number, row in enumerate(rows, start=1):
        out.rule(Text(f"row {number}", "bold"), align="left", style="dim")
        for name in columns:
            text = cell(row[name])
            line = Text(f"{printable(name):<{names}}  ", "bold").append(text, "dim" if text == "null" else "not bold")
            out.print(line, no_wrap=True, overflow="ellipsis")


def cell(value: Any) -> str:
    """One value for a person: UTC times without a zone, sizes instead of bytes, long text cut."""
    match value:
        case None:
            return "null"
        case bytes():
            return f"({size(len(value))})"
        case float():
            return f"{value:.6g}"
        case datetime():
            local = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
            return local.isoformat(" ", "milliseconds" if local.microsecond else "seconds")
        case str():
            text = printable(value)
        case dict() | list() | tuple():
            text = printable(_json(_sizes(_plain(value, keep_bytes=True))).decode())
        case _:
            text = str(_plain(value))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def size(count: int) -> str:
    """A number of bytes: `812 B`, `4.2 kB`, `1.3 GB`."""
    if count < 1000:
        return f"{count} B"
    amount = float(count)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.5:
            return f"{amount:.3g} {unit}"
    return f"{amount / 1000:.3g} TB"


def write_json(rows: Iterable[Mapping[str, Any]]) -> None:
    """JSON lines on stdout: times in RFC 3339, bytes in base64."""
    for row in rows:
        write_line(_json(_plain(row)))


def write_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """CSV with a heading on stdout: NULL is empty, nested values are JSON, bytes base64."""
    out = csv.writer(sys.stdout, lineterminator="\n")
    out.writerow(columns)
    for row in rows:
        out.writerow([_csv_cell(_plain(row[name])) for name in columns])


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    return _json(value).decode() if isinstance(value, dict | list) else value


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value)


def _plain(value: Any, *, keep_bytes: bool = False) -> Any:
    """What Arrow gives as what JSON has; `keep_bytes` leaves bytes as they are."""
    match value:
        case Mapping():
            return {str(key): _plain(inner, keep_bytes=keep_bytes) for key, inner in value.items()}
        case tuple() if hasattr(value, "nanoseconds"):
            return _interval(value)
        case list() | tuple():
            return [_plain(inner, keep_bytes=keep_bytes) for inner in value]
        case bytes():
            return value if keep_bytes else b64encode(value).decode()
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z") if value.tzinfo else value.isoformat()
        case date() | time():
            return value.isoformat()
        case _:
            return value


def _sizes(value: Any) -> Any:
    match value:
        case bytes():
            return f"({size(len(value))})"
        case dict():
            return {key: _sizes(inner) for key, inner in value.items()}
        case list():
            return [_sizes(inner) for inner in value]
        case _:
            return value


def _interval(value: Any) -> str:
    """An ISO 8601 duration of Arrow's (months, days, nanoseconds)."""
    seconds = f"{Decimal(value.nanoseconds) / 10**9:f}"
    return f"P{value.months}M{value.days}DT{seconds}S"
