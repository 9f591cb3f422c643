"""What `sightline doctor` asks of the tables: whether they can be read, and how old they are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from sightline.diagnosis import Finding, failed, fine
from sightline.errors import TableError
from sightline.settings import TableSettings


def tables() -> Iterator[Finding]:
    """The Delta tables as readers without Spark see them."""
    from console.catalog import describe
    from console.tables import open_tables

    settings = TableSettings.load()
    try:
        found = {name: describe(name, table) for name, table in open_tables(settings).items()}
    except TableError as error:
        yield failed("tables", error)
        return
    if not found:
        yield fine("tables", f"none yet under {settings.root}; `sightline history` makes them")
        return
    newest = max(table.committed_at for table in found.values())
    age = (datetime.now(UTC) - newest).total_seconds()
    yield fine("tables", f"{len(found)} under {settings.root}, last written {age:.0f} s ago")


CHECKS = (tables,)
