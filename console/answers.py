"""One SQL statement to its rows, with faults explained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from console.questions import QUESTIONS
from console.tables import TABLE_NAMES, History, missing_tables
from console.views import VIEWS
from sightline.errors import QueryError

if TYPE_CHECKING:
    import pyarrow as pa
    from duckdb import DuckDBPyRelation

_BATCH = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """The rows of one statement, not fetched yet. Every method raises QueryError when DuckDB gives up."""

    relation: DuckDBPyRelation
    history: History

    @property
    def columns(self) -> list[str]:
        return list(self.relation.columns)

    def first(self, rows: int) -> pa.Table:
        """At most `rows` of them, in the statement's own order."""
        with _explained(self.history):
            return self.relation.limit(rows).to_arrow_table()

    def total(self) -> int:
        """How many there are; reads no column that counting does not need."""
        with _explained(self.history):
            return int(self.relation.aggregate("count(*) AS n").to_arrow_table()["n"][0].as_py())

    def records(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Row by row, in bounded memory."""
        with _explained(self.history):
            relation = self.relation if limit is None else self.relation.limit(limit)
            for batch in relation.to_arrow_reader(_BATCH):
                yield from batch.to_pylist()


def ask(history: History, sql: str) -> Answer:
    """Plan one SELECT, FROM, VALUES, DESCRIBE or SUMMARIZE.

    Raises QueryError for SQL that is not understood, with DuckDB's own hint, or that would do more than read, and
    TableError for a table of Sightline's that is not there yet.
    """
    with _explained(history):
        statements = history.connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError(f"expected one SQL statement, got {len(statements)}; ask one question at a time")
        kind = statements[0].type.name
        if kind != "SELECT":
            raise QueryError(f"{kind} does more than read, and tables are read-only here; use SELECT, FROM or DESCRIBE")
        return Answer(relation=history.connection.query(statements[0].query), history=history)


@contextmanager
def _explained(history: History) -> Iterator[None]:
    import duckdb

    try:
        yield
    except duckdb.CatalogException as error:
        needed = {name: {name} for name in TABLE_NAMES} | {view.name: set(view.needs) for view in VIEWS}
        needed |= {question.name: set(question.needs) for question in QUESTIONS}
        for name, tables in needed.items():
            absent = sorted(tables - history.tables.keys())
            if absent and f"with name {name} does not exist" in str(error):
                raise missing_tables(absent, history.root) from None
        raise QueryError(f"{error}\n\n`sightline tables` lists what there is") from None
    except duckdb.OutOfMemoryException as error:
        raise QueryError(f"{error}\n\nask for less at once: fewer days, fewer columns, no heat_map or jpeg") from None
    except duckdb.Error as error:
        raise QueryError(str(error)) from None
