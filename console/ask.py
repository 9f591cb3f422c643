"""`sightline query` and `sightline tables`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from console.answers import Answer, ask
from console.catalog import columns, describe
from console.output import reader_may_leave, terminal
from console.questions import QUESTIONS
from console.rows import cell, show_rows, size, write_csv, write_json
from console.tables import History, open_history, open_tables
from console.views import VIEWS
from sightline.errors import QueryError
from sightline.settings import TableSettings

SHOWN = 50
"""Rows that a person gets without asking for more."""


class Form(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def read_sql(sql: str | None, file: Path | None) -> str:
    """The statement from the argument, the file, or stdin (`-` or a pipe); raises QueryError when there is none."""
    if file is not None:
        try:
            return file.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise QueryError(f"cannot read SQL from {str(file)!r}: {error}") from error
    if sql is not None and sql != "-":
        return sql
    if sql is None and sys.stdin.isatty():
        raise QueryError('no SQL; try `sightline query "FROM latest_alerts"`, --file, or pipe it in')
    return sys.stdin.read()


def query(settings: TableSettings, sql: str, form: Form, limit: int | None) -> None:
    """Answer one statement on stdout."""
    answer = ask(open_history(settings), sql)
    with reader_may_leave():
        match form:
            case Form.CSV:
                write_csv(answer.records(limit), answer.columns)
            case Form.JSON:
                write_json(answer.records(limit))
            case Form.TABLE:
                _show(answer, limit or SHOWN)


def _show(answer: Answer, limit: int) -> None:
    found = answer.first(limit + 1)
    rows = found.slice(0, limit).to_pylist()
    out = terminal()
    if not rows:
        out.print("no rows", style="dim")
        return
    show_rows(rows, answer.columns, out)
    if found.num_rows > limit:
        out.print(f"the first {limit:,} of {answer.total():,} rows; --limit shows more, --csv and --json all")
    else:
        out.print(f"{len(rows):,} row{'' if len(rows) == 1 else 's'}", style="dim")


def list_tables(settings: TableSettings) -> list[dict[str, Any]]:
    """Facts of every table, as `sightline tables --json` gives them."""
    return [
        {
            "table": stored.name,
            "rows": stored.rows,
            "files": stored.files,
            "bytes": stored.size,
            "version": stored.version,
            "committed_at": stored.committed_at,
            "comment": stored.comment,
        }
        for stored in (describe(name, table) for name, table in open_history(settings).tables.items())
    ]


def show_tables(settings: TableSettings) -> None:
    """All tables and views."""
    history = open_history(settings)
    out = terminal()
    roomy = out.width >= 110
    table = Table(box=box.SIMPLE_HEAD, title=f"tables in {settings.root}", title_justify="left", expand=False)
    table.add_column("table", no_wrap=True)
    for name in ("rows", "files", "size"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("last commit (UTC)", no_wrap=True)
    if roomy:
        table.add_column("what a row is")
    for name, delta in history.tables.items():
        stored = describe(name, delta)
        committed = f"{stored.committed_at:%Y-%m-%d %H:%M:%S}"
        facts = [f"{stored.rows:,}", f"{stored.files:,}", size(stored.size), committed]
        table.add_row(Text(name, "bold"), *facts, *([stored.comment] if roomy else []))
    out.print(table)
    _show_views(history)
    if history.absent:
        out.print(f"not there yet: {', '.join(history.absent)}", style="dim")
    out.print("`sightline tables NAME` shows the columns of one; docs/tables.md has examples", style="dim")


def _show_views(history: History) -> None:
    views = Table(box=box.SIMPLE_HEAD, title="views", title_justify="left")
    views.add_column("view", no_wrap=True)
    views.add_column("what it answers")
    for view in VIEWS:
        if history.tables.keys() >= view.needs:
            views.add_row(Text(view.name, "bold"), view.comment)
    for one in QUESTIONS:
        if history.tables.keys() >= one.needs:
            views.add_row(Text(f"{one.name}(…)", "bold"), one.comment)
    terminal().print(views)


def show_columns(settings: TableSettings, name: str) -> None:
    """The columns of one table or view; raises TableError or QueryError when it is not there."""
    tables = open_tables(settings)
    listing = Table(box=box.SIMPLE_HEAD)
    listing.add_column("column", no_wrap=True)
    listing.add_column("type", no_wrap=True)
    if name in tables:
        listing.add_column("meaning")
        for column in columns(tables[name]):
            listing.add_row(Text(column.path, "bold"), column.type, column.comment)
    else:
        quoted = '"' + name.replace('"', '""') + '"'
        for row in ask(open_history(settings), f"DESCRIBE {quoted}").records():
            listing.add_row(Text(row["column_name"], "bold"), cell(row["column_type"]).lower())
    terminal().print(listing)
