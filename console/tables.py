"""The Delta tables as DuckDB relations, without Spark: read-only, and with the doors to the machine shut.

Which files a table has is delta-rs' answer. A filter on `day` leaves the files of other days unread, one on a column
such as `captured_at` the rows of files whose minimum and maximum exclude it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from console.local_files import create_view, local_files
from console.questions import QUESTIONS
from console.views import VIEWS
from sightline.errors import TableError
from sightline.settings import TableSettings

if TYPE_CHECKING:
    from deltalake import DeltaTable
    from duckdb import DuckDBPyConnection

TABLE_NAMES = (
    "inspections",
    "shadow_inspections",
    "alerts",
    "operator_actions",
    "camera_events",
    "dead_letters",
    "frame_archive",
)
"""What `streaming.history` writes; other tables beside them in a local folder are found by themselves."""

GOLD_NAMES = ("gold_drift",)
"""What is computed from them; `sightline drift` writes it."""

_MEMORY = "2GB"
_SPILL = "20GB"


@dataclass(frozen=True, slots=True)
class History:
    """A connection in which every table and view of `present` can be queried.

    `tables` are the Delta tables as of when this was opened; `absent` names known tables that are not there yet.
    """

    connection: DuckDBPyConnection
    tables: dict[str, DeltaTable]
    absent: tuple[str, ...]
    root: str

    def require(self, *names: str) -> None:
        """Raises TableError naming the folder when one of these tables is not there."""
        missing = [name for name in names if name not in self.tables]
        if missing:
            raise missing_tables(missing, self.root)


def open_history(settings: TableSettings, *, memory: str = _MEMORY) -> History:
    """Open all tables under the root; raises TableError when there is none or one cannot be read."""
    tables = open_tables(settings)
    if not tables:
        raise missing_tables(["any"], settings.root)
    connection = _connect(memory)
    readable: list[str] = []
    for name, table in tables.items():
        readable += _register(connection, name, table)
    connection.execute("SET allowed_paths = $paths", {"paths": readable})
    # from here on SQL reaches nothing but the tables' files: no other files, no network, no extensions
    connection.execute("SET enable_external_access = false")
    for view in VIEWS:
        if tables.keys() >= view.needs:
            connection.execute(f'CREATE TEMP VIEW "{view.name}" AS {view.sql}')
    for one in QUESTIONS:
        if tables.keys() >= one.needs:
            connection.execute(one.macro)
    connection.execute("SET lock_configuration = true")
    absent = tuple(name for name in TABLE_NAMES if name not in tables)
    return History(connection=connection, tables=tables, absent=absent, root=settings.root)


def open_tables(settings: TableSettings) -> dict[str, DeltaTable]:
    """The Delta tables that exist under the root, by name; raises TableError for one that cannot be read."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    found = {}
    for name in _candidates(settings):
        try:
            found[name] = DeltaTable(**settings.delta_rs(name))
        except TableNotFoundError:
            continue
        except (DeltaError, OSError) as error:
            raise TableError(
                f"table {name!r} in {settings.root!r} cannot be read: {error}; if it is being replaced, try again; for "
                "an object store, look at [tables] storage_options or the AWS_* variables"
            ) from error
    return found


def missing_tables(names: Iterable[str], root: str) -> TableError:
    """The error that says where tables were looked for and what writes them."""
    wanted = "tables" if list(names) == ["any"] else "table " + ", ".join(repr(name) for name in names)
    return TableError(
        f"no {wanted} in {root!r}; `sightline history` writes them, and `make demo` starts everything; tables "
        "elsewhere are named by SIGHTLINE_TABLES_ROOT or [tables] root in sightline.toml"
    )


def _connect(memory: str) -> DuckDBPyConnection:
    import duckdb

    connection = duckdb.connect(
        ":memory:",
        config={
            "memory_limit": memory,
            "temp_directory": str(Path(tempfile.gettempdir()) / "sightline-duckdb"),
            "max_temp_directory_size": _SPILL,
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            # else a name in SQL that is no table would be looked up among Python's variables
            "python_enable_replacements": "false",
        },
    )
    connection.execute("SET TimeZone = 'UTC'")
    return connection


def _register(connection: DuckDBPyConnection, name: str, table: DeltaTable) -> list[str]:
    """Make the table known under its name; returns the files that queries of it open by themselves."""
    import duckdb

    dataset = _dataset(name, table)
    files = local_files(table)
    if files:
        connection.register("_declared", dataset)
        declared = {row[0]: row[1] for row in connection.execute("DESCRIBE _declared").fetchall()}
        connection.unregister("_declared")
        try:
            if create_view(connection, name, files, declared):
                return files
        except duckdb.Error as error:
            raise TableError(f"table {name!r} cannot be read: {error}; if it is being replaced, try again") from error
    connection.register(name, dataset)
    return []


def _dataset(name: str, table: DeltaTable) -> Any:
    from deltalake.exceptions import DeltaError

    try:
        return table.to_pyarrow_dataset()
    except (DeltaError, OSError) as error:
        raise TableError(
            f"table {name!r} cannot be read without Spark: {error}; Sightline's own tables use none of these features"
        ) from error


def _candidates(settings: TableSettings) -> list[str]:
    if urlsplit(settings.root).scheme:
        return [*TABLE_NAMES, *GOLD_NAMES]
    folders = Path(settings.root)
    others = sorted(log.parent.name for log in folders.glob("*/_delta_log") if log.parent.name.isidentifier())
    return list(dict.fromkeys((*TABLE_NAMES, *others)))
