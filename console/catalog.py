"""What tables and columns there are, as their own metadata tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from deltalake import DeltaTable


@dataclass(frozen=True, slots=True)
class StoredTable:
    """One Delta table as of its last commit; `size` in bytes of the files that belong to that version."""

    name: str
    comment: str
    rows: int
    files: int
    size: int
    version: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class StoredColumn:
    """One column, `parent.child` inside a struct, `parent[].child` inside an array of structs."""

    path: str
    type: str
    comment: str


def describe(name: str, table: DeltaTable) -> StoredTable:
    """Read from the log alone; no data file is opened."""
    import pyarrow as pa

    files = pa.table(table.get_add_actions(flatten=True))
    last = table.history(1)[0]
    return StoredTable(
        name=name,
        comment=table.metadata().description or "",
        rows=table.count(),
        files=files.num_rows,
        size=sum(files["size_bytes"].to_pylist()),
        version=table.version(),
        committed_at=datetime.fromtimestamp(last["timestamp"] / 1000, UTC),
    )


def columns(table: DeltaTable) -> Iterator[StoredColumn]:
    """Every column, nested ones below their parent, with the comments that the writer left."""
    import msgspec

    schema = msgspec.json.decode(table.schema().to_json())
    for field in schema["fields"]:
        yield from _columns("", field)


def _columns(path: str, field: Mapping[str, Any]) -> Iterator[StoredColumn]:
    name, kind = path + field["name"], field["type"]
    yield StoredColumn(name, _type_name(kind), field["metadata"].get("comment", ""))
    if isinstance(kind, dict) and kind["type"] == "array":
        name, kind = name + "[]", kind["elementType"]
    if isinstance(kind, dict) and kind["type"] == "struct":
        for inner in kind["fields"]:
            yield from _columns(name + ".", inner)


def _type_name(kind: Any) -> str:
    """The name as SQL has it; what a struct holds stands in lines of its own."""
    if not isinstance(kind, dict):
        return {"long": "bigint", "integer": "int"}.get(kind, str(kind))
    if kind["type"] == "array":
        return f"array of {_type_name(kind['elementType'])}"
    return str(kind["type"])
