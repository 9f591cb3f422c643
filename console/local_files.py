"""Delta tables in a local folder, read by DuckDB itself.

Against the Arrow dataset that any other table is read through, DuckDB's own reader takes single fields out of structs,
opens `thumbnail`, `heat_map` and `jpeg` for the rows of the answer alone, and leaves row groups out by their minimum
and maximum. Which files belong to the table is Delta's answer in both.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from duckdb import DuckDBPyConnection

_GLOB = set("*?[")


def local_files(table: DeltaTable) -> list[str]:
    """The table's files, the newest first; empty where DuckDB cannot read it by itself.

    That is a table in an object store, one without files, one with a partition other than `day`, or one that uses
    Delta features beyond the first reader version.
    """
    import pyarrow as pa

    root = urlsplit(table.table_uri)
    if root.scheme not in ("", "file") or table.protocol().min_reader_version != 1:
        return []
    if table.metadata().partition_columns != ["day"]:
        return []
    added = pa.table(table.get_add_actions()).select(["path", "modification_time"])
    paths = added.sort_by([("modification_time", "descending"), ("path", "descending")])["path"].to_pylist()
    folder = Path(unquote(root.path))
    if _GLOB & set(str(folder)) or any("://" in path or path.startswith("/") for path in paths):
        return []
    return [str(folder / unquote(path)) for path in paths]


def create_view(connection: DuckDBPyConnection, name: str, files: list[str], columns: dict[str, str]) -> bool:
    """Create the view `name` of these files with exactly these columns (name to DuckDB's type), in their order.

    False, and no view, where older files have other columns than newer ones. Spark before `TIMESTAMP_MICROS` wrote
    times without a zone: they are UTC.
    """
    wanted = {column: _zoneless(kind) for column, kind in columns.items()}
    for file in {files[0], files[-1]}:
        if {column: _zoneless(kind) for column, kind in _columns(connection, [file]).items()} != wanted:
            return False
    listed = ", ".join(f'"{column}"::{kind} AS "{column}"' for column, kind in columns.items())
    connection.execute(f'CREATE TEMP VIEW "{name}" AS SELECT {listed} FROM {_read(files)}')
    return True


def _columns(connection: DuckDBPyConnection, files: list[str]) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"DESCRIBE SELECT * FROM {_read(files)}").fetchall()}


def _read(files: list[str]) -> str:
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], hive_partitioning = true, hive_types = {{day: DATE}})"


def _zoneless(kind: str) -> str:
    return kind.replace("TIMESTAMP WITH TIME ZONE", "TIMESTAMP")
